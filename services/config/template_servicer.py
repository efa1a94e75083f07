"""The methods of TemplateService, one short function each: read the request, do it, answer. Rules live elsewhere.

Reading a large template and rendering one take up to some tenths of a second of processor time: that is done in a
thread, so that other requests go on.
"""

# ruff: noqa: N802 - methods have the contract's names

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.empty_pb2 import Empty
from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb2
from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceServicer

from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.config import template_requests as requests
from services.config.access import project_of
from services.config.errors import TemplateNotFound
from services.config.idempotency import once_of
from services.config.provider import parse_id
from services.config.servicer import Answer, Context
from services.config.store import Store
from services.config.template import (
    Content,
    Rendering,
    Template,
    TemplateType,
    content_violations,
    problems_of,
    read_parts,
    rendered,
)
from services.config.template_editor import TemplateEditor
from services.config.template_requests import template_message
from services.templates.errors import TemplateError

Projects = Sequence[str] | None


class TemplateServicer(TemplateServiceServicer):
    """TemplateService behind the interceptor, which has checked token and scope; errors are raised as ServiceError."""

    def __init__(self, store: Store, editor: TemplateEditor) -> None:
        self._store = store
        self._editor = editor

    async def CreateTemplate(self, request: pb2.CreateTemplateRequest, context: Context) -> template_pb2.Template:
        """The new template, without its content."""
        draft = await asyncio.to_thread(requests.read_draft, current_principal(), request)
        answer = Answer(template_pb2.Template, template_message, context)
        return await answer.of(await self._editor.create(draft, once_of(request, answer.write_down)))

    async def GetTemplate(self, request: pb2.GetTemplateRequest, context: Context) -> template_pb2.Template:
        """One template with its content, now or in a version."""
        type_ = requests.read_type(request)
        projects = current_principal().project_filter()
        return template_message(await self._find(request.id, projects, type_, request.version or None))

    async def ListTemplates(self, request: pb2.ListTemplatesRequest, context: Context) -> pb2.ListTemplatesResponse:
        """A page of a project's templates without content, the oldest first."""
        asked = requests.read_page(current_principal(), request)
        size = asked.page.size
        async with self._store.transaction() as transaction:
            found = await transaction.templates.list(asked.project_id, asked.type, after=asked.after, limit=size + 1)
        answer = pb2.ListTemplatesResponse(templates=[template_message(each) for each in found[:size]])
        if len(found) > size:
            last = found[size - 1]
            answer.next_page_token = asked.page.next_token(last.created_at.isoformat(), str(last.id))
        return answer

    async def UpdateTemplate(self, request: pb2.UpdateTemplateRequest, context: Context) -> template_pb2.Template:
        """The template with its new values, without its content."""
        change, problems = requests.read_change(request)
        answer = Answer(template_pb2.Template, template_message, context)
        once = once_of(request, answer.write_down)
        projects = current_principal().project_filter()
        return await answer.of(await self._editor.update(request.template.id, change, problems, projects, once))

    async def DeleteTemplate(self, request: pb2.DeleteTemplateRequest, context: Context) -> Empty:
        """Nothing, once the template is gone."""
        type_ = requests.read_type(request)
        answer: Answer[None, Empty] = Answer(Empty, lambda _: Empty(), context)
        once = once_of(request, answer.write_down)
        projects = current_principal().project_filter()
        return await answer.of(await self._editor.delete(request.id, projects, type_, once))

    async def GetTemplateVariables(
        self, request: pb2.GetTemplateVariablesRequest, context: Context
    ) -> pb2.GetTemplateVariablesResponse:
        """What a caller has to give for a template."""
        type_ = requests.read_type(request)
        template = await self._find(request.id, current_principal().project_filter(), type_)
        return pb2.GetTemplateVariablesResponse(variables=template.variables)

    async def PreviewTemplate(
        self, request: pb2.PreviewTemplateRequest, context: Context
    ) -> pb2.PreviewTemplateResponse:
        """What a template becomes; nothing is kept of it."""
        asked = requests.read_preview(current_principal(), request)
        content, type_ = asked.given, asked.type
        if asked.template_id:
            projects = [asked.project_id] if asked.project_id else current_principal().project_filter()
            stored = await self._find(asked.template_id, projects, asked.type)
            content, type_ = replace(stored.content or content, **asked.given.parts()), stored.type
        made = await asyncio.to_thread(_rendering, type_ or _type_of(content), content, asked.values)
        if asked.strict:
            requests.refuse([FieldViolation(f"variables.{name}", "is missing") for name in made.missing])
        if "body" in made.parts:
            return pb2.PreviewTemplateResponse(rendered_message=made.parts["body"], missing=made.missing)
        preview = made.parts.get("html", made.parts.get("text"))
        subject, text = made.parts.get("subject"), made.parts.get("text")
        return pb2.PreviewTemplateResponse(preview=preview, subject=subject, text=text, missing=made.missing)

    async def RenderTemplate(self, request: pb2.RenderTemplateRequest, context: Context) -> pb2.RenderTemplateResponse:
        """What a stored template becomes with values that are all text."""
        type_ = requests.read_type(request)
        values = requests.read_values(request)
        stored = await self._find(request.id, current_principal().project_filter(), type_)
        made = await asyncio.to_thread(_rendering, stored.type, stored.content or Content(), values)
        return pb2.RenderTemplateResponse(**made.parts)

    async def ResolveTemplate(self, request: pb2.ResolveTemplateRequest, context: Context) -> template_pb2.Template:
        """One template with its content for a dispatcher; the scope `internal` was checked before."""
        version = requests.read_version(request)
        project, violations = project_of(current_principal(), {"projectId": request.project_id})
        requests.refuse(violations)
        return template_message(await self._find(request.template_id, [project], None, version))

    async def _find(
        self, template_id: str, projects: Projects, type_: TemplateType | None, version: int | None = None
    ) -> Template:
        known = parse_id(template_id)
        if known is not None:
            async with self._store.transaction() as transaction:
                found = await transaction.templates.find(known, projects, type_, version=version)
            if found is not None:
                return found
        raise TemplateNotFound(template_id)


def _type_of(content: Content) -> TemplateType:
    return TemplateType.SMS if content.body is not None else TemplateType.EMAIL


def _rendering(type_: TemplateType, content: Content, values: Mapping[str, Any]) -> Rendering:
    """The content rendered; raises InvalidArgument for content that is wrong and values of no use."""
    requests.refuse(content_violations(type_, content, ""))
    parts, violations = read_parts(content, "")
    requests.refuse(violations)
    try:
        return rendered(parts, values)
    except TemplateError as error:
        raise InvalidArgument(violations=problems_of(error, "")) from None
