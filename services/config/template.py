"""What a template is and which content it may have: pure values and rules. The language itself: services/templates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.chassis.errors import FieldViolation
from services.config.provider import name_violations
from services.templates.errors import MissingValues, TemplateError
from services.templates.parts import parse_parts, render_parts, variables_of
from services.templates.tree import Template as Parsed

MAX_CONTENT_BYTES: Final = 1024 * 1024
MAX_SUBJECT_CHARS: Final = 2000
MAX_TEMPLATES: Final = 1000
PARTS: Final = ("subject", "html", "text", "body")


class TemplateType(StrEnum):
    """What a template is for; the words of the contract."""

    EMAIL = "EMAIL"
    MESSAGE = "MESSAGE"
    SMS = "SMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a template says; None is a part that it does not have."""

    subject: str | None = None
    html: str | None = None
    text: str | None = None
    body: str | None = None

    def parts(self) -> dict[str, str]:
        """The parts there are, by name."""
        found = ((name, getattr(self, name)) for name in PARTS)
        return {name: source for name, source in found if source is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template in one of its versions; `content` is None where it was not asked for."""

    id: UUID
    project_id: str
    type: TemplateType
    name: str
    version: int
    variables: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    content: Content | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDraft:
    """A template somebody asks for, checked, with the variables that it reads."""

    project_id: str
    type: TemplateType
    name: str
    content: Content
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChange:
    """New values: None leaves the name; `parts` holds the new parts by name, None for one that is to go.

    `project_id` and `type` are what the caller believes; they can not change.
    """

    name: str | None
    parts: Mapping[str, str | None]
    project_id: str | None = None
    type: TemplateType | None = None


class TemplatePosition(NamedTuple):
    """A template's place in a list."""

    created_at: datetime
    id: UUID


def changed_content(content: Content, change: TemplateChange) -> Content:
    """`content` with every part that `change` names; an empty part is none."""
    return replace(content, **{name: source or None for name, source in change.parts.items()})


def identity_violations(template: Template, change: TemplateChange) -> Iterator[FieldViolation]:
    """A change that believes another project or type than the template has."""
    if change.project_id is not None and change.project_id != template.project_id:
        yield FieldViolation("template.projectId", "can not be changed")
    if change.type is not None and change.type is not template.type:
        yield FieldViolation("template.type", f"can not be changed; it is {template.type}")


def template_violations(name: str, path: str) -> list[FieldViolation]:
    """Everything wrong with a name."""
    return list(name_violations(name, path))


def content_violations(type_: TemplateType, content: Content, path: str) -> list[FieldViolation]:
    """Everything wrong with the content but its language; `path` is what field names begin with."""
    return [FieldViolation(f"{path}{name}", words) for name, words in _complaints(type_, content)]


def _complaints(type_: TemplateType, content: Content) -> Iterator[tuple[str, str]]:
    parts = content.parts()
    foreign = ("body",) if type_ is TemplateType.EMAIL else ("subject", "html", "text")
    for name in foreign:
        if name in parts:
            owner = "MESSAGE and SMS" if name == "body" else "EMAIL"
            yield name, f"belongs to templates of type {owner}; leave it out"
    if type_ is TemplateType.EMAIL and not (content.html or content.text):
        yield "html", "is required, or text"
    if type_ is not TemplateType.EMAIL and not content.body:
        yield "body", "is required"
    for name, source in parts.items():
        if "\0" in source:
            yield name, "must not contain the character U+0000"
    if content.subject is not None and any(character in content.subject for character in "\r\n"):
        yield "subject", "must not contain line breaks"
    if content.subject is not None and len(content.subject) > MAX_SUBJECT_CHARS:
        yield "subject", f"must be at most {MAX_SUBJECT_CHARS} characters long"
    size = sum(len(source.encode("utf-8", "surrogatepass")) for source in parts.values())
    if size > MAX_CONTENT_BYTES:
        yield (
            max(parts, key=lambda name: len(parts[name])),
            (f"all content together has {size} bytes; a template may have {MAX_CONTENT_BYTES}"),
        )


def read_parts(content: Content, path: str) -> tuple[dict[str, Parsed], list[FieldViolation]]:
    """The parts as they parse, and every mistake with its line and column. Takes a moment for a large template."""
    try:
        return parse_parts(content.parts()), []
    except TemplateError as error:
        return {}, problems_of(error, path)


def problems_of(error: TemplateError, path: str) -> list[FieldViolation]:
    """What is wrong with a template as violations of its parts' fields."""
    return [FieldViolation(f"{path}{each.part}", str(replace(each, part=""))) for each in error.problems]


def variables_in(parts: Mapping[str, Parsed]) -> tuple[str, ...]:
    """The paths that the parts read."""
    return variables_of(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """What parts became, and the paths that the values left out."""

    parts: Mapping[str, str]
    missing: tuple[str, ...]


def rendered(parts: Mapping[str, Parsed], values: Mapping[str, Any]) -> Rendering:
    """The parts with the values; what is missing is empty, and named. Raises TemplateError for values of no use."""
    try:
        return Rendering(parts=render_parts(parts, values, strict=True), missing=())
    except MissingValues as error:
        return Rendering(parts=render_parts(parts, values), missing=error.names)


def nested(variables: Mapping[str, str]) -> tuple[dict[str, Any], list[FieldViolation]]:
    """Values out of names with dots: `user.name` is `name` in `user`. What is both a text and an object is wrong."""
    made: dict[str, Any] = {}
    wrong: list[FieldViolation] = []
    for name in sorted(variables):
        *front, last = name.split(".")
        owner: Any = made
        for step in front:
            owner = owner.setdefault(step, {}) if isinstance(owner, dict) else None
        if not isinstance(owner, dict) or last in owner:
            wrong.append(FieldViolation(name, "is given as a text and as a path through it"))
        else:
            owner[last] = variables[name]
    return made, wrong
