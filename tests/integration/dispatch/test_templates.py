"""Messages that name a template, through the real ConfigService: which version counts, whose it is, and in bulk."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import template_pb2, template_service_pb2
from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb

from services.adapters.base import EmailContent
from services.chassis.status import from_rpc_error
from services.dispatch import bulk
from services.dispatch.template_cache import FRESH_SECONDS
from tests.integration.rig import PROJECT, Pipe, eventually, metadata, rig, struct

NOWHERE = "01920000-0000-4000-8000-000000000000"


@pytest.fixture
async def pipe(database_url: str) -> AsyncIterator[Pipe]:
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


@pytest.fixture
async def templates(pipe: Pipe) -> AsyncIterator[Any]:
    """TemplateService."""
    async with grpc.aio.insecure_channel(pipe.config_address) as channel:
        yield TemplateServiceStub(channel)


async def a_template(templates: Any, project: str = PROJECT, **parts: Any) -> str:
    """The id of a new email template."""
    asked = template_pb2.Template(name="T", type=template_pb2.Template.TYPE_EMAIL, **parts)
    request = template_service_pb2.CreateTemplateRequest(project_id=project, template=asked)
    made = await templates.CreateTemplate(request, metadata=metadata(project))
    return str(made.id)


def sent(pipe: Pipe) -> list[EmailContent]:
    """The contents that the provider was handed."""
    contents = [call.content for call in pipe.adapters["A"].calls]
    assert all(isinstance(each, EmailContent) for each in contents)
    return [each for each in contents if isinstance(each, EmailContent)]


async def refused(pipe: Pipe, **fields: Any) -> str:
    """Why such a message is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pipe.messages.SendMessage(pb.SendMessageRequest(message=pipe.spec(**fields)), metadata=metadata())
    return from_rpc_error(caught.value).reason


async def test_a_message_keeps_the_version_it_was_made_with(pipe: Pipe, templates: Any) -> None:
    """A change counts a second later, for what is accepted then."""
    template = await a_template(templates, subject="Hi {{name}}", html="<p>{{name}}</p>")
    fields: dict[str, Any] = {"template_id": template, "subject": "", "text": "", "variables": struct(name="<Ada>")}
    first = await pipe.send(**fields)
    request = template_service_pb2.UpdateTemplateRequest(
        template=template_pb2.Template(id=template, html="<b>{{name}}</b>")
    )
    await templates.UpdateTemplate(request, metadata=metadata())

    async def newest() -> bool:
        await pipe.send(**fields)
        return sent(pipe)[-1].html.startswith("<b>")

    await eventually(newest, seconds=FRESH_SECONDS + 5)
    old = await pipe.send(**fields, template_version=1)
    assert (sent(pipe)[0].subject, sent(pipe)[0].html) == ("Hi <Ada>", "<p>&lt;Ada&gt;</p>")
    assert sent(pipe)[-1].html == "<p>&lt;Ada&gt;</p>"
    for story in (first, old):
        shown = await pipe.get(story.message_id)
        assert (shown.template_id, shown.template_version) == (template, 1)


async def test_another_project_s_template_does_not_exist(pipe: Pipe, templates: Any) -> None:
    """It answers like an id that does not exist, and like one that is no id."""
    theirs = await a_template(templates, "other", html="<p>secret</p>")
    for template in (theirs, NOWHERE, "no-id"):
        assert await refused(pipe, template_id=template, text="") == "TEMPLATE_NOT_FOUND"
    assert not pipe.adapters["A"].calls


@pytest.mark.parametrize("recipients", [300, pytest.param(10_000, marks=[pytest.mark.fuzz, pytest.mark.timeout(300)])])
async def test_each_of_many_recipients_gets_their_own(pipe: Pipe, templates: Any, recipients: int) -> None:
    """One template, variables of each recipient's own over those of all, one message and one result each."""
    template = await a_template(templates, subject="{{shop}}", html="<p>{{name}} {{shop}}</p>")
    addresses = [f"u{number}@example.com" for number in range(recipients)]
    own = {address: Struct() for address in addresses}
    for number, address in enumerate(addresses):
        own[address].update({"name": f"N{number}"})
    spec = pipe.spec(to="", text="", subject="", template_id=template, variables=struct(shop="S", name="nobody"))
    request = pb.SendBulkMessagesRequest(message=spec, recipients=addresses, recipient_variables=own)
    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata(), timeout=280)
    assert answer.message == f"Bulk email processed: {recipients} sent, 0 failed"
    assert [each.recipient for each in answer.results] == addresses
    assert len({each.message_id for each in answer.results}) == recipients
    got = {content.to.email: content.html for content in sent(pipe)}
    assert got == {address: f"<p>N{number} S</p>" for number, address in enumerate(addresses)}
    assert len(pipe.adapters["A"].calls) == recipients


async def test_one_recipient_s_missing_value_is_theirs_alone(pipe: Pipe, templates: Any) -> None:
    """With `strict_variables`: refused by name; the others are sent."""
    template = await a_template(templates, subject="S", html="<p>{{name}}</p>")
    spec = pipe.spec(to="", text="", subject="", template_id=template, strict_variables=True)
    own = {"a@example.com": struct(name="Ada"), "b@example.com": struct(age=7)}
    request = pb.SendBulkMessagesRequest(message=spec, recipients=list(own), recipient_variables=own)
    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata())
    assert [(each.success, each.error) for each in answer.results] == [
        (True, ""),
        (False, "variables.name is missing"),
    ]


async def test_variables_for_somebody_who_is_no_recipient(pipe: Pipe, templates: Any) -> None:
    """A slip of the pen is not passed over in silence."""
    template = await a_template(templates, subject="S", html="<p>{{name}}</p>")
    spec = pipe.spec(to="", text="", subject="", template_id=template)
    own = {"a@example.com ": struct(name="Ada")}
    request = pb.SendBulkMessagesRequest(message=spec, recipients=["a@example.com"], recipient_variables=own)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pipe.messages.SendBulkMessages(request, metadata=metadata())
    assert [each.field for each in from_rpc_error(caught.value).violations] == ["recipientVariables.a@example.com "]


async def test_what_a_bulk_request_makes_of_a_template_is_bounded(
    pipe: Pipe, templates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand times a megabyte is refused for those who come last; what was made before is sent."""
    template = await a_template(templates, subject="S", html="<p>" + "x" * 60_000)
    monkeypatch.setattr(bulk, "MAX_BULK_BYTES", 100_000)
    monkeypatch.setattr(bulk, "CHUNK_BYTES", 1)
    spec = pipe.spec(to="", text="", subject="", template_id=template)
    recipients = [f"u{number}@example.com" for number in range(4)]
    request = pb.SendBulkMessagesRequest(message=spec, recipients=recipients)
    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata())
    assert [each.success for each in answer.results] == [True, True, False, False]
    assert "send the rest apart" in answer.results[3].error
    assert {content.to.email for content in sent(pipe)} == set(recipients[:2])


async def test_a_repeat_tells_the_version_of_the_first_call(pipe: Pipe, templates: Any) -> None:
    """Not the one that the template has by now."""
    template = await a_template(templates, subject="S", html="<p>1")
    fields: dict[str, Any] = {"template_id": template, "subject": "", "text": "", "idempotency_key": "k"}
    first = await pipe.create(**fields)
    request = template_service_pb2.UpdateTemplateRequest(template=template_pb2.Template(id=template, html="<p>2"))
    await templates.UpdateTemplate(request, metadata=metadata())

    async def newest() -> bool:
        return (await pipe.create(template_id=template, subject="", text="")).template_version == 2

    await eventually(newest, seconds=FRESH_SECONDS + 5)
    again = await pipe.create(**fields)
    assert (again.id, again.replayed, again.template_version) == (first.id, True, 1)


async def test_a_number_that_json_does_not_have(pipe: Pipe, templates: Any) -> None:
    """gRPC can carry it; it is refused by name, for one and for many."""
    template = await a_template(templates, subject="S", html="<p>{{x}}")
    odd = struct(x=float("nan"))
    assert await refused(pipe, template_id=template, subject="", text="", variables=odd) == "INVALID_ARGUMENT"
    spec = pipe.spec(to="", text="", subject="", template_id=template)
    own = {"a@example.com": odd}
    request = pb.SendBulkMessagesRequest(message=spec, recipients=list(own), recipient_variables=own)
    answer = await pipe.messages.SendBulkMessages(request, metadata=metadata())
    assert [each.error for each in answer.results] == ["variables.x must be a number that JSON has"]
