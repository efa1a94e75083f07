"""What the tests of TemplateService share: callers of it, and templates. No tests."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import grpc
from messagepipe.config.v1 import template_pb2
from messagepipe.config.v1 import template_service_pb2 as pb2
from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceStub

from services.chassis.auth import SCOPES
from tests.integration.config.service import Caller, a_token

EMAIL, MESSAGE, SMS = (
    template_pb2.Template.TYPE_EMAIL,
    template_pb2.Template.TYPE_MESSAGE,
    template_pb2.Template.TYPE_SMS,
)


@asynccontextmanager
async def templating(
    address: str, projects: Sequence[str] | Literal["*"] = ("shop",), scopes: Iterable[str] = SCOPES
) -> AsyncIterator[Caller]:
    """A caller of TemplateService with a token for these projects and scopes."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(
            stub=TemplateServiceStub(channel), metadata=(("authorization", f"Bearer {a_token(projects, scopes)}"),)
        )


def a_template(*, project: str = "shop", type_: Any = EMAIL, **values: Any) -> pb2.CreateTemplateRequest:
    """A request for an email template that greets, or for another one; None leaves a part out."""
    content = {"subject": "Hi {{name}}", "html": "<p>{{name}}</p>"} if type_ == EMAIL else {"body": "Hi {{name}}"}
    given = {"name": "Greeting", **content, **values}
    said = {name: value for name, value in given.items() if value is not None}
    return pb2.CreateTemplateRequest(project_id=project, template=template_pb2.Template(type=type_, **said))


async def a_stored(caller: Caller, **values: Any) -> template_pb2.Template:
    """That template, stored, as it was answered."""
    made: template_pb2.Template = await caller.call("CreateTemplate", a_template(**values))
    return made


def a_change(template_id: str, *paths: str, idempotency_key: str = "", **values: Any) -> pb2.UpdateTemplateRequest:
    """A request to change a template; `paths` are its update mask."""
    request = pb2.UpdateTemplateRequest(
        template=template_pb2.Template(id=template_id, **values), idempotency_key=idempotency_key
    )
    request.update_mask.paths.extend(paths)
    return request
