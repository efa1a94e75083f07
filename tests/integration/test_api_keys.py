"""API keys, with real services: they work everywhere as soon as they are made, and nowhere a second after they are
revoked.

Two ConfigServices, A and B, on one database; each has a dispatcher of its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.config.v1 import config_service_pb2, provider_pb2, template_pb2, template_service_pb2
from messagepipe.config.v1 import project_service_pb2 as pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.chassis.errors import Kind
from services.chassis.log import get_logger
from tests.integration.rig import EMAIL, PROJECT, eventually, metadata
from tests.integration.two_of_each import NO_MESSAGE, Side, TwoOfEach, refusal, two_of_each, with_key

_log = get_logger()
NO_KEY = "mzl_" + "x" * 40


@pytest.fixture
async def pipe(database_url: str) -> AsyncIterator[TwoOfEach]:
    """Two of each."""
    async with two_of_each(database_url) as pipe:
        yield pipe


async def seconds_until_refused(side: Side, key: str, since: float) -> float:
    """How long after `since` the side took the key for the last time; asked all the time."""
    last = since
    while (said := await side.judged(key)) == "good":
        last = time.monotonic()
        await asyncio.sleep(0.005)
    assert said == "KEY_INVALID"
    return last - since


async def last_use(side: Side) -> Timestamp | None:
    """When the project's only key was last used, as lists show it."""
    request = pb2.ListApiKeysRequest(project_id=PROJECT)
    (kept,) = (await side.projects.ListApiKeys(request, metadata=metadata())).api_keys
    return kept.last_used_at if kept.HasField("last_used_at") else None


async def to_the_end(stream: Any) -> None:
    """Reads a stream until it ends."""
    while await stream.read() is not grpc.aio.EOF:
        pass


async def add_provider(side: Side) -> None:
    """A provider of the kind `a`."""
    provider = provider_pb2.Provider(channel=EMAIL, kind="a", name="A", config=Struct())
    request = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
    await side.config.CreateProvider(request, metadata=metadata())


async def test_a_new_key_works_at_once_and_everywhere(pipe: TwoOfEach) -> None:
    """On the dispatcher that was told before the answer, and on one that has not heard of it: nobody calls it bad."""
    for _ in range(5):
        key = (await pipe.a.new_key()).key
        assert [await pipe.b.judged(key), await pipe.a.judged(key)] == ["good", "good"]


async def test_a_key_sends_into_its_project_alone(pipe: TwoOfEach) -> None:
    """The body need not name the project; another project answers like one that does not exist."""
    await add_provider(pipe.a)
    key = (await pipe.a.new_key()).key
    sent = await pipe.a.send(key)
    read = dispatch_service_pb2.GetMessageRequest(id=sent.message_id)
    assert (await pipe.b.messages.GetMessage(read, metadata=with_key(key))).project_id == PROJECT
    assert (await refusal(pipe.a.send(key, project_id="other"))).reason == "PROJECT_NOT_FOUND"
    other = (await pipe.a.new_key("other")).key
    assert (await refusal(pipe.a.messages.GetMessage(read, metadata=with_key(other)))).reason == "MESSAGE_NOT_FOUND"


async def test_a_revoked_key_stops_within_a_second_everywhere(pipe: TwoOfEach) -> None:
    """Deactivated at A: A's dispatcher refuses it when the write is answered, B's within a second of the commit."""
    key = await pipe.a.new_key()
    assert await pipe.b.judged(key.key) == "good"
    began = time.monotonic()
    elsewhere = asyncio.create_task(seconds_until_refused(pipe.b, key.key, began))
    await pipe.a.deactivate(key)
    answered = time.monotonic()
    assert await pipe.a.judged(key.key) == "KEY_INVALID"
    assert await elsewhere < 1.0
    _log.info("measured", answered=answered - began, last_taken_elsewhere=await elsewhere)
    await pipe.a.deactivate(key, active=True)
    assert [await pipe.b.judged(key.key), await pipe.a.judged(key.key)] == ["good", "good"]
    await pipe.b.projects.DeleteApiKey(pb2.DeleteApiKeyRequest(project_id=PROJECT, id=key.id), metadata=metadata())
    assert await pipe.b.judged(key.key) == "KEY_INVALID"
    assert await seconds_until_refused(pipe.a, key.key, time.monotonic()) < 1.0


async def test_a_lost_notification_makes_no_difference_to_the_second(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notifications are hints: without any, the next look finds the change."""
    monkeypatch.setattr("services.config.api_key_reader.NOTIFY_CHANNEL", "nobody_notifies_here")
    async with two_of_each(database_url) as pipe:
        key = await pipe.a.new_key()
        assert await pipe.b.judged(key.key) == "good"
        began = time.monotonic()
        elsewhere = asyncio.create_task(seconds_until_refused(pipe.b, key.key, began))
        await pipe.a.deactivate(key)
        assert await elsewhere < 1.0
        _log.info("measured", last_taken_elsewhere=await elsewhere)


async def test_who_can_not_know_says_unavailable(pipe: TwoOfEach) -> None:
    """B is gone: its dispatcher takes no key after a second and calls none bad, whether it knew the key or not."""
    known, revoked = await pipe.a.new_key(), await pipe.a.new_key()
    assert [await pipe.b.judged(each.key) for each in (known, revoked)] == ["good", "good"]
    await pipe.b.stop_config()
    unknown = await pipe.a.new_key()
    await pipe.a.deactivate(revoked)
    await asyncio.sleep(1.0)
    said = await asyncio.gather(*(pipe.b.judged(each) for each in (known.key, unknown.key, revoked.key, NO_KEY)))
    assert said == ["UNAVAILABLE"] * 4
    request = dispatch_service_pb2.GetMessageRequest(id=NO_MESSAGE)
    error = await refusal(pipe.b.messages.GetMessage(request, metadata=with_key(known.key)))
    assert (error.code, error.retry_after) == (Kind.UNAVAILABLE, 1.0)
    assert await pipe.a.judged(known.key) == "good"


@pytest.mark.parametrize("text", [NO_KEY, "mzl_", "", "Bearer x", NO_KEY + "x", NO_KEY.upper()])
async def test_what_is_no_key_is_told_so(pipe: TwoOfEach, text: str) -> None:
    """Without a word about why, and without the text."""
    request = dispatch_service_pb2.GetMessageRequest(id=NO_MESSAGE)
    error = await refusal(pipe.a.messages.GetMessage(request, metadata=with_key(text)))
    assert (error.reason, error.message, error.metadata) == ("KEY_INVALID", "The API key is not valid.", {})


async def test_a_key_opens_only_what_takes_one(pipe: TwoOfEach) -> None:
    """Anything else needs a token; both at once are refused."""
    key = await pipe.a.new_key()
    calls = [
        pipe.a.config.ListProviders(config_service_pb2.ListProvidersRequest(), metadata=with_key(key.key)),
        pipe.a.projects.CreateApiKey(
            pb2.CreateApiKeyRequest(project_id=PROJECT, name="More"), metadata=with_key(key.key)
        ),
        pipe.a.messages.ExplainRoute(dispatch_service_pb2.ExplainRouteRequest(), metadata=with_key(key.key)),
        pipe.a.messages.ReceiveReceipt(dispatch_service_pb2.ReceiveReceiptRequest(), metadata=with_key(key.key)),
    ]
    assert [(await refusal(call)).reason for call in calls] == ["SCOPE_MISSING"] * 4
    request = dispatch_service_pb2.GetMessageRequest(id=NO_MESSAGE)
    error = await refusal(pipe.a.messages.GetMessage(request, metadata=[*with_key(key.key), *metadata()]))
    assert (error.reason, "not both" in error.message) == ("TOKEN_INVALID", True)


async def test_config_service_checks_keys_by_itself(pipe: TwoOfEach) -> None:
    """Templates are previewed with a key of their project, at either replica, until it is revoked at one of them."""
    stored = template_pb2.Template(name="Greeting", type=template_pb2.Template.TYPE_SMS, body="Hi {{name}}")
    creation = template_service_pb2.CreateTemplateRequest(project_id=PROJECT, template=stored)
    template = await pipe.a.templates.CreateTemplate(creation, metadata=metadata())
    preview = template_service_pb2.PreviewTemplateRequest(template_id=template.id)
    preview.variables.update({"name": "Ada"})
    key, other = await pipe.a.new_key(), await pipe.b.new_key("other")
    for side in (pipe.a, pipe.b):
        answer = await side.templates.PreviewTemplate(preview, metadata=with_key(key.key))
        assert "Hi Ada" in str(answer)
        error = await refusal(side.templates.PreviewTemplate(preview, metadata=with_key(other.key)))
        assert error.reason == "TEMPLATE_NOT_FOUND"
    await pipe.a.deactivate(key)
    error = await refusal(pipe.a.templates.PreviewTemplate(preview, metadata=with_key(key.key)))
    assert error.reason == "KEY_INVALID"

    async def refused_elsewhere() -> bool:
        try:
            await pipe.b.templates.PreviewTemplate(preview, metadata=with_key(key.key))
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await eventually(refused_elsewhere, seconds=1.0)


async def test_an_open_stream_ends_with_its_key(pipe: TwoOfEach) -> None:
    """Who watches with a key is cut off when it is revoked; the message goes on."""
    await add_provider(pipe.a)
    go_on = asyncio.Event()
    pipe.a.adapters["A"].script(go_on)
    key = await pipe.a.new_key()
    spec: dict[str, Any] = {"to": "ada@example.com", "subject": "Hello", "text": "Hello.", "sender": "a@example.com"}
    message = message_pb2.MessageSpec(channel=EMAIL, **spec)
    request = dispatch_service_pb2.DispatchMessageRequest(message=message)
    stream = pipe.a.messages.DispatchMessage(request, metadata=with_key(key.key))
    first = await stream.read()
    ended = asyncio.create_task(refusal(to_the_end(stream)))
    await pipe.a.deactivate(key)
    assert (await asyncio.wait_for(ended, 5)).reason == "KEY_INVALID"
    go_on.set()
    watch = dispatch_service_pb2.WatchMessageRequest(message_id=first.message_id)
    events = [event async for event in pipe.a.messages.WatchMessage(watch, metadata=metadata())]
    assert events[-1].HasField("completed")


async def test_an_open_stream_ends_when_nobody_can_tell(pipe: TwoOfEach) -> None:
    """B is gone: a key that is revoked at A goes on hearing at B's dispatcher for a second at most."""
    await add_provider(pipe.a)
    go_on = asyncio.Event()
    pipe.b.adapters["A"].script(go_on)
    key = await pipe.a.new_key()
    spec: dict[str, Any] = {"to": "ada@example.com", "subject": "Hello", "text": "Hello.", "sender": "a@example.com"}
    message = message_pb2.MessageSpec(channel=EMAIL, **spec)
    request = dispatch_service_pb2.DispatchMessageRequest(message=message)
    assert await pipe.b.judged(key.key) == "good"
    stream = pipe.b.messages.DispatchMessage(request, metadata=with_key(key.key))
    await stream.read()
    ended = asyncio.create_task(refusal(to_the_end(stream)))
    try:
        await pipe.b.stop_config()
        await pipe.a.deactivate(key)
        error = await asyncio.wait_for(ended, 2)
    finally:
        go_on.set()
    assert (error.code, error.retry_after) == (Kind.UNAVAILABLE, 1.0)


async def test_the_last_use_is_listed(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon after the first use, and not written again for every use."""
    monkeypatch.setattr("services.dispatch.api_key_watch.TELL_SECONDS", 0.05)
    async with two_of_each(database_url) as pipe:
        key = await pipe.a.new_key()
        assert await last_use(pipe.a) is None
        await pipe.a.judged(key.key)
        used = time.time()
        await eventually(lambda: _is_there(pipe.a))
        first = await last_use(pipe.a)
        assert first is not None
        assert abs(first.ToMicroseconds() / 1e6 - used) < 5
        await pipe.a.judged(key.key)
        await pipe.b.judged(key.key)
        await asyncio.sleep(0.3)
        assert await last_use(pipe.b) == first


async def _is_there(side: Side) -> bool:
    return await last_use(side) is not None
