"""Nothing crosses projects: another project's message answers like one that does not exist, for every id field.

The tables below are checked against the descriptors: a new method or field fails here until somebody has thought of it.
"""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import log_service_pb2, message_pb2

from services.chassis.auth import mint
from services.chassis.contract import DISPATCH_SERVICES
from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from tests.integration.rig import EMAIL, SECRET, Pipe, eventually, metadata, rig

NOWHERE = "01920000-0000-7000-8000-000000000000"
BY_MESSAGE_ID: dict[tuple[str, str], tuple[Callable[[str], Message], str]] = {
    ("WatchMessage", "message_id"): (lambda it: pb.WatchMessageRequest(message_id=it), "MESSAGE_NOT_FOUND"),
    ("GetMessage", "id"): (lambda it: pb.GetMessageRequest(id=it), "MESSAGE_NOT_FOUND"),
    ("CancelMessage", "id"): (lambda it: pb.CancelMessageRequest(id=it), "MESSAGE_NOT_FOUND"),
    ("RetryMessage", "id"): (lambda it: pb.RetryMessageRequest(id=it), "MESSAGE_NOT_FOUND"),
    ("GetLogEntry", "id"): (lambda it: log_service_pb2.GetLogEntryRequest(id=it), "MESSAGE_NOT_FOUND"),
    ("RetryDelivery", "delivery_log_id"): (lambda it: pb.RetryDeliveryRequest(delivery_log_id=it), "MESSAGE_NOT_FOUND"),
}


def _spec(project: str) -> message_pb2.MessageSpec:
    return message_pb2.MessageSpec(
        project_id=project, channel=EMAIL, to="ada@example.com", subject="Hello", text="Hello"
    )


BY_PROJECT_ID: dict[tuple[str, str], Callable[[str], Message]] = {
    ("CreateMessage", "message.project_id"): lambda it: pb.CreateMessageRequest(message=_spec(it)),
    ("DispatchMessage", "message.project_id"): lambda it: pb.DispatchMessageRequest(message=_spec(it)),
    ("SendMessage", "message.project_id"): lambda it: pb.SendMessageRequest(message=_spec(it)),
    ("SendBulkMessages", "message.project_id"): lambda it: pb.SendBulkMessagesRequest(
        message=message_pb2.MessageSpec(project_id=it, channel=EMAIL, subject="Hello", text="Hello"),
        recipients=["ada@example.com"],
    ),
    ("ExplainRoute", "message.project_id"): lambda it: pb.ExplainRouteRequest(message=_spec(it)),
    ("WatchProject", "project_id"): lambda it: pb.WatchProjectRequest(project_id=it),
    ("ListMessages", "project_id"): lambda it: pb.ListMessagesRequest(project_id=it),
    ("ListLogEntries", "project_id"): lambda it: log_service_pb2.ListLogEntriesRequest(project_id=it),
    ("GetAnalytics", "project_id"): lambda it: log_service_pb2.GetAnalyticsRequest(project_id=it),
}
# Named elsewhere, and why.
ELSEWHERE = {
    ("BatchCreateMessages", "messages.project_id"): "answers item by item, see the test below",
    ("RetryDeliveries", "delivery_log_ids"): "answers item by item, see test_retry_documented.py",
    ("ListMessages", "page_token"): "refused for another filter, see the test below",
    ("WatchProject", "resume_token"): "a place in the events of the caller's own project",
    ("ReceiveReceipt", "provider_id"): "scope internal, and not served yet",
    ("DeleteSuppression", "id"): "test_suppression.py",
    ("ListSuppressions", "project_id"): "test_suppression.py",
    ("ListSuppressions", "page_token"): "test_suppression.py",
    ("CreateSuppression", "project_id"): "test_suppression.py",
    ("CreateSuppression", "suppression.id"): "output only",
    ("CreateSuppression", "suppression.source_message_id"): "output only",
    ("CreateSuppression", "suppression.project_id"): "test_suppression.py",
    ("ImportSuppressions", "project_id"): "test_suppression.py",
    ("CreateWebhook", "project_id"): "test_webhook_service.py",
    ("CreateWebhook", "webhook.id"): "output only",
    ("CreateWebhook", "webhook.project_id"): "test_webhook_service.py",
    ("GetWebhook", "id"): "test_webhook_service.py",
    ("ListWebhooks", "project_id"): "test_webhook_service.py",
    ("UpdateWebhook", "webhook.id"): "test_webhook_service.py",
    ("UpdateWebhook", "webhook.project_id"): "not read: the endpoint's own counts",
    ("DeleteWebhook", "id"): "test_webhook_service.py",
    ("RotateWebhookSecret", "id"): "test_webhook_service.py",
    ("TestWebhook", "id"): "test_webhook_service.py",
}
NAMES_NOTHING = ("content_id", "template_id")  # inside one message; test_templates.py has other projects' templates
STRANGER = metadata("other", scopes="messages:send messages:read config:read config:write")


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


def _id_fields(message: Descriptor, prefix: str = "") -> set[str]:
    found = set()
    for field in message.fields:
        if field.message_type is not None and field.message_type.file.package.startswith("messagepipe."):
            found |= _id_fields(field.message_type, f"{prefix}{field.name}.")
        elif re.search(r"(^|_)(id|ids|token)$", field.name) and field.name not in NAMES_NOTHING:
            found.add(prefix + field.name)
    return found


async def refused(pipe: Pipe, method: str, request: Message, caller: Any = STRANGER) -> ServiceError:
    """The error that a call ends with."""
    (called,) = [getattr(stub, method) for stub in (pipe.messages, pipe.log) if hasattr(stub, method)]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await _answered(called(request, metadata=caller, timeout=5))
    return from_rpc_error(raised.value)


async def _answered(call: Any) -> None:
    if hasattr(call, "__aiter__"):
        _ = [event async for event in call]
    else:
        await call


def _body(error: ServiceError, said: str) -> Any:
    return re.sub(re.escape(said), "<id>", repr((error.code, error.reason, error.message, error.metadata)))


def test_every_id_field_of_every_method_is_covered() -> None:
    """The tables above name each field of the contract that names something of a project, and no other."""
    there = {
        (method.name, path)
        for service in DISPATCH_SERVICES
        for method in service.methods
        for path in _id_fields(method.input_type)
    }

    assert there == BY_MESSAGE_ID.keys() | BY_PROJECT_ID.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("where", BY_MESSAGE_ID, ids=".".join)
async def test_a_foreign_message_answers_like_an_unknown_one(pipe: Pipe, where: tuple[str, str]) -> None:
    """Another project's message, an unknown id and a text that is no id answer alike."""
    mine = (await pipe.send()).message_id
    asked, reason = BY_MESSAGE_ID[where]

    errors = [await refused(pipe, where[0], asked(it)) for it in (mine, NOWHERE, "no-id")]

    assert errors[0].reason == reason
    assert len({_body(error, it) for error, it in zip(errors, (mine, NOWHERE, "no-id"), strict=True)}) == 1


@pytest.mark.parametrize("where", BY_PROJECT_ID, ids=".".join)
async def test_a_foreign_project_answers_like_an_unknown_one(pipe: Pipe, where: tuple[str, str]) -> None:
    """A project with messages and one that nobody uses answer alike to a token that names neither."""
    await pipe.send()

    errors = [await refused(pipe, where[0], BY_PROJECT_ID[where](it)) for it in ("shop", "nobody")]

    assert errors[0].reason == "PROJECT_NOT_FOUND"
    assert _body(errors[0], "shop") == _body(errors[1], "nobody")
    assert len(pipe.adapters["A"].calls) == 1


async def test_a_foreign_project_in_a_batch_is_refused_alone(pipe: Pipe) -> None:
    """In a batch the item for another project is refused; the caller's own goes on."""
    request = pb.BatchCreateMessagesRequest(messages=[_spec("shop"), _spec("other")])

    answer = await pipe.messages.BatchCreateMessages(request, metadata=STRANGER)

    assert (answer.accepted, answer.refused) == (1, 1)
    assert "Project not found" in answer.results[0].error.message


async def test_a_foreign_provider_can_not_be_preferred(pipe: Pipe) -> None:
    """The id of another project's provider is as unknown as any other."""
    request = pb.DispatchMessageRequest(message=_spec("other"))
    request.message.preferred_provider = pipe.ids["A"]
    request.message.preferred_provider_strict = True

    events = [event async for event in pipe.messages.DispatchMessage(request, metadata=STRANGER)]

    assert events[-1].completed.reason == "PREFERRED_PROVIDER_NOT_FOUND"
    assert not pipe.adapters["A"].calls


async def test_a_page_token_does_not_carry_over(pipe: Pipe) -> None:
    """A page token of one project is refused for another."""
    await pipe.send()
    await pipe.send()
    page = await pipe.messages.ListMessages(pb.ListMessagesRequest(project_id="shop", page_size=1), metadata=metadata())
    request = pb.ListMessagesRequest(project_id="other", page_token=page.next_page_token)

    error = await refused(pipe, "ListMessages", request)

    assert [violation.field for violation in error.violations] == ["pageToken"]


async def test_the_token_decides(pipe: Pipe) -> None:
    """No token, a forged one, an expired one and one without the scope are told apart, and nothing is accepted."""
    request = pb.CreateMessageRequest(message=_spec("shop"))
    expired = mint(
        SECRET,
        subject="tests",
        projects=["shop"],
        scopes=["messages:send"],
        ttl_seconds=1,
        now=datetime.now(UTC) - timedelta(hours=1),
    )
    callers = {
        "TOKEN_MISSING": (),
        "TOKEN_INVALID": (("authorization", "Bearer a.b.c"),),
        "TOKEN_EXPIRED": (("authorization", f"Bearer {expired}"),),
        "SCOPE_MISSING": metadata(scopes="messages:read"),
    }

    reasons = [(await refused(pipe, "CreateMessage", request, caller)).reason for caller in callers.values()]

    assert reasons == list(callers)
    listed = await pipe.messages.ListMessages(pb.ListMessagesRequest(), metadata=metadata())
    assert not listed.messages


async def test_a_list_shows_the_messages_in_one_state(pipe: Pipe) -> None:
    """ListMessages by state: those that ended in it, and those that are in it while their dispatch goes on."""
    sent = (await pipe.send()).message_id
    answered = asyncio.Event()
    pipe.script("A", "invalid", answered)
    failed = (await pipe.send()).message_id
    sending = (await pipe.create()).id
    await eventually(lambda: len(pipe.adapters["A"].calls) == 3)

    async def ids(state: message_pb2.Message.State.ValueType) -> list[str]:
        listed = await pipe.messages.ListMessages(pb.ListMessagesRequest(state=state), metadata=metadata())
        return [message.id for message in listed.messages]

    found = [await ids(state) for state in message_pb2.Message.State.values()]
    answered.set()

    states = message_pb2.Message
    expected = {0: [sending, failed, sent], states.STATE_SENT: [sent], states.STATE_FAILED: [failed]}
    expected[states.STATE_SENDING] = [sending]
    assert found == [expected.get(state, []) for state in states.State.values()]
