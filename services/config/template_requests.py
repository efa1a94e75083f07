"""What a request of TemplateService asks for, read into values, and values into its answers. Rules: template.py."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb2

from services.chassis.auth import Principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.pagination import PageRequest, parse_page
from services.chassis.validation import validate
from services.config.access import project_of
from services.config.convert import object_of, odd_numbers, timestamp_of
from services.config.idempotency import key_violations
from services.config.provider import parse_id
from services.config.template import (
    PARTS,
    Content,
    Template,
    TemplateChange,
    TemplateDraft,
    TemplatePosition,
    TemplateType,
    content_violations,
    nested,
    read_parts,
    template_violations,
    variables_in,
)

PAGE_SIZE = 1000
_UPDATABLE = ("name", *PARTS)
# What a body that was read before may well hold: the mask may name it, and nothing comes of it.
_OTHERS = ("id", "project_id", "type", "variables", "version", "created_at", "updated_at")
_WORDS = ", ".join(f"TYPE_{each}" for each in TemplateType)
_TYPES = {template_pb2.Template.Type.Value(f"TYPE_{each}"): each for each in TemplateType}
_NUMBERS = {each: number for number, each in _TYPES.items()}

Inline = pb2.PreviewTemplateRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatePage:
    """Which templates are listed: of whom, from where, how many."""

    project_id: str
    type: TemplateType | None
    after: TemplatePosition | None
    page: PageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What PreviewTemplate is asked for: a stored template, parts that stand in for its own, and values.

    `project_id` is None where any of the token's will do.
    """

    template_id: str
    project_id: str | None
    type: TemplateType | None
    given: Content
    values: dict[str, Any] = field(repr=False)
    strict: bool


def read_draft(principal: Principal, request: pb2.CreateTemplateRequest) -> TemplateDraft:
    """The template CreateTemplate asks for, parsed; raises InvalidArgument or ProjectNotFound."""
    asked = request.template
    said = {"projectId": request.project_id, "template.projectId": asked.project_id}
    project, violations = project_of(principal, said)
    violations += [*validate(request), *key_violations(request)]
    type_, more = _type_in(asked.type, "template.type")
    violations += more
    if request.HasField("template") and not asked.type:
        violations.append(FieldViolation("template.type", f"is required: one of {_WORDS}"))
    if asked.name:
        violations += template_violations(asked.name, "template.name")
    content = _content_of(asked)
    if type_ is None:
        raise InvalidArgument(violations=violations)
    variables, more = checked(type_, content)
    refuse([*violations, *more])
    return TemplateDraft(project_id=project, type=type_, name=asked.name, content=content, variables=variables)


def checked(type_: TemplateType, content: Content) -> tuple[tuple[str, ...], list[FieldViolation]]:
    """The variables that the content reads, and everything wrong with it, line by line."""
    violations = content_violations(type_, content, "template.")
    if violations:
        return (), violations
    parts, violations = read_parts(content, "template.")
    return variables_in(parts), violations


def read_change(request: pb2.UpdateTemplateRequest) -> tuple[TemplateChange, list[FieldViolation]]:
    """The change UpdateTemplate asks for, and what is wrong with how; its content is checked when it is applied."""
    asked = request.template
    if not asked.id:
        raise InvalidArgument(violations=[FieldViolation("template.id", "is required")])
    type_, violations = _type_in(asked.type, "template.type")
    named = list(request.update_mask.paths)
    violations += [
        FieldViolation("updateMask", f'"{path[:100]}" can not be updated; what can: {", ".join(_UPDATABLE)}')
        for path in named
        if path not in (*_UPDATABLE, *_OTHERS)
    ]
    chosen = {path for path in named if path in _UPDATABLE} if named else {f.name for f, _ in asked.ListFields()}
    if "name" in chosen:
        violations += template_violations(asked.name, "template.name")
    change = TemplateChange(
        name=asked.name if "name" in chosen else None,
        parts={name: getattr(asked, name) or None for name in PARTS if name in chosen},
        project_id=asked.project_id or None,
        type=type_,
    )
    return change, [*violations, *key_violations(request)]


def read_page(principal: Principal, request: pb2.ListTemplatesRequest) -> TemplatePage:
    """What ListTemplates is asked for; raises InvalidArgument or ProjectNotFound."""
    project, violations = project_of(principal, {"projectId": request.project_id})
    type_, more = _type_in(request.type, "type")
    violations += more
    after: TemplatePosition | None = None
    try:
        page = parse_page(
            request.page_size,
            request.page_token,
            "ListTemplates",
            project,
            type_ or "",
            default=PAGE_SIZE,
            maximum=PAGE_SIZE,
            key_types=(str, str),
        )
        after = _position(page)
    except InvalidArgument as error:
        raise InvalidArgument(violations=[*violations, *error.violations]) from None
    refuse(violations)
    return TemplatePage(project_id=project, type=type_, after=after, page=page)


def read_type(request: Any) -> TemplateType | None:
    """The type that the template of a request must be of, if any; raises InvalidArgument with all that is wrong."""
    type_, violations = _type_in(request.type, "type")
    refuse([*validate(request), *violations, *key_violations(request), *_version_violations(request)])
    return type_


def read_version(request: Any) -> int | None:
    """The version that is meant; None for the current one. Raises InvalidArgument with all that is wrong."""
    refuse([*validate(request), *_version_violations(request)])
    return request.version or None


def read_preview(principal: Principal, request: Inline) -> Preview:
    """What PreviewTemplate is asked for; raises InvalidArgument or ProjectNotFound."""
    project, violations = None, list[FieldViolation]()
    if request.project_id:
        project, violations = project_of(principal, {"projectId": request.project_id})
    type_, more = _type_in(request.type, "type")
    violations += more
    values = object_of(request.variables)
    violations += [FieldViolation(path, "must be a number that JSON has") for path in odd_numbers(values, "variables")]
    given = _content_of(request)
    if not request.template_id and not given.parts():
        violations.append(FieldViolation("templateId", "is required, or html, text or body"))
    refuse(violations)
    return Preview(
        template_id=request.template_id,
        project_id=project,
        type=type_,
        given=given,
        values=values,
        strict=request.strict,
    )


def read_values(request: pb2.RenderTemplateRequest) -> dict[str, Any]:
    """The values RenderTemplate is given; raises InvalidArgument."""
    values, violations = nested(request.variables)
    refuse(violations)
    return values


def template_message(template: Template) -> template_pb2.Template:
    """The template, with its content where it is there."""
    message = template_pb2.Template(
        id=str(template.id),
        project_id=template.project_id,
        type=_NUMBERS[template.type],
        name=template.name,
        variables=template.variables,
        version=template.version,
        created_at=timestamp_of(template.created_at),
        updated_at=timestamp_of(template.updated_at),
    )
    for name, source in template.content.parts().items() if template.content is not None else ():
        setattr(message, name, source)
    return message


def refuse(violations: Iterable[FieldViolation]) -> None:
    """Raises InvalidArgument when there are violations, each once."""
    if found := list(dict.fromkeys(violations)):
        raise InvalidArgument(violations=found)


def _content_of(asked: template_pb2.Template | Inline) -> Content:
    return Content(**{name: getattr(asked, name) or None for name in PARTS})


def _type_in(number: int, path: str) -> tuple[TemplateType | None, list[FieldViolation]]:
    """The type, None when none was said; a number that the contract does not have is a violation."""
    if number and number not in _TYPES:
        return None, [FieldViolation(path, f"must be one of {_WORDS}")]
    return _TYPES.get(template_pb2.Template.Type.ValueType(number)), []


def _version_violations(request: Any) -> list[FieldViolation]:
    wrong = getattr(request, "version", 0) < 0
    return [FieldViolation("version", "must be 1 or more, or 0 for the current one")] if wrong else []


def _position(page: PageRequest) -> TemplatePosition | None:
    match page.cursor:
        case None:
            return None
        case [str(created), str(template_id)] if (found := parse_id(template_id)) is not None:
            try:
                time = datetime.fromisoformat(created)
            except ValueError:
                time = None
            if time is not None and time.tzinfo is not None:
                return TemplatePosition(time, found)
    raise InvalidArgument(violations=[FieldViolation("pageToken", "is not a token of this list")])
