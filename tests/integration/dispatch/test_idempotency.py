"""R9 over the whole service, on two dispatchers: the same key is the same message and the same answer, whoever asks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2

from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from tests.integration.rig import EMAIL, PROJECT, Pipe, eventually, metadata, rig

REPLAYED = ("messagepipe-replayed", "true")


@pytest.fixture
async def pipes(database_url: str) -> AsyncIterator[list[Pipe]]:
    """Two whole services on one database, with one provider."""
    async with rig(database_url) as one, rig(database_url) as two:
        await one.chain("A")
        yield [one, two]


@pytest.fixture
async def pipe(pipes: list[Pipe]) -> Pipe:
    """The first of them."""
    return pipes[0]


def calls(pipes: list[Pipe]) -> int:
    """How often the provider was called, by anybody."""
    return sum(len(pipe.adapters["A"].calls) for pipe in pipes)


async def was_replayed(call: Any) -> bool:
    """Whether the answer's initial metadata says that it repeats an earlier one."""
    return REPLAYED in [tuple(each) for each in await call.initial_metadata()]


async def refusal(call: Any) -> ServiceError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)


async def test_a_repeated_create_is_the_same_answer(pipes: list[Pipe]) -> None:
    """On another dispatcher, and after the dispatch has ended: the first answer again, marked."""
    first = await pipes[0].create(idempotency_key="k", tags=["t"], metadata={"order": "7"})
    await pipes[0].becomes(first.id, "SENT")
    call = pipes[1].messages.CreateMessage(
        pb.CreateMessageRequest(message=pipes[1].spec(idempotency_key="k", tags=["t"], metadata={"order": "7"})),
        metadata=metadata(),
    )
    again = await call

    assert (first.replayed, again.replayed, await was_replayed(call)) == (False, True, True)
    again.replayed = False
    assert again == first
    assert calls(pipes) == 1


async def test_another_content_is_refused_and_nothing_sent(pipe: Pipe) -> None:
    """ALREADY_EXISTS with IDEMPOTENCY_KEY_REUSED by every method; a key of another project is another key."""
    await pipe.create(idempotency_key="k")
    other = pipe.spec(idempotency_key="k", subject="Another")
    dispatch = pipe.messages.DispatchMessage(pb.DispatchMessageRequest(message=other), metadata=metadata())

    errors = [
        await refusal(pipe.messages.CreateMessage(pb.CreateMessageRequest(message=other), metadata=metadata())),
        await refusal(pipe.messages.SendMessage(pb.SendMessageRequest(message=other), metadata=metadata())),
        await refusal(dispatch.read()),
    ]

    assert [(error.code.value, error.reason) for error in errors] == [("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")] * 3
    other.project_id = "other"
    answer = await pipe.messages.CreateMessage(pb.CreateMessageRequest(message=other), metadata=metadata("other"))
    assert not answer.replayed


async def test_send_answers_the_end_of_the_same_message(pipes: list[Pipe]) -> None:
    """A repeated SendMessage waits for the one message and answers as the first call does."""
    taken = asyncio.Event()
    for pipe in pipes:
        pipe.script("A", taken)
    request = pb.SendMessageRequest(message=pipes[0].spec(idempotency_key="k"))
    sending = [asyncio.ensure_future(pipe.messages.SendMessage(request, metadata=metadata())) for pipe in pipes * 2]
    await eventually(lambda: calls(pipes) == 1)
    taken.set()
    answers = await asyncio.gather(*sending)

    assert {answer.message for answer in answers} == {"Email sent successfully"}
    assert len({answer.message_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True]
    assert calls(pipes) == 1


async def test_a_failure_is_replayed_too(pipes: list[Pipe]) -> None:
    """When every provider failed, a repeat answers that very failure, marked, and calls nobody."""
    pipes[0].script("A", "deferred")
    request = pb.SendMessageRequest(message=pipes[0].spec(idempotency_key="k"))
    with pytest.raises(grpc.aio.AioRpcError) as first:
        await pipes[0].messages.SendMessage(request, metadata=metadata())
    call = pipes[1].messages.SendMessage(request, metadata=metadata())
    with pytest.raises(grpc.aio.AioRpcError) as again:
        await call

    assert again.value.details() == first.value.details() == "All providers failed: Provider A says deferred"
    assert again.value.trailing_metadata() == first.value.trailing_metadata()
    assert await was_replayed(call)
    assert calls(pipes) == 1


async def test_dispatch_tells_the_same_history_from_the_start(pipes: list[Pipe]) -> None:
    """A repeated DispatchMessage streams what the first one did, event by event, and says so before the first."""
    first = await pipes[0].send(idempotency_key="k")
    call = pipes[1].messages.DispatchMessage(
        pb.DispatchMessageRequest(message=pipes[1].spec(idempotency_key="k")), metadata=metadata()
    )
    marked = await was_replayed(call)
    again = [event async for event in call]

    assert marked
    assert again == first.events
    assert not await was_replayed(
        new := pipes[1].messages.DispatchMessage(
            pb.DispatchMessageRequest(message=pipes[1].spec(idempotency_key="k2")), metadata=metadata()
        )
    )
    assert [event async for event in new]


async def test_one_key_by_all_methods(pipe: Pipe) -> None:
    """The key names the message, not the method: create, dispatch, send and batch meet at one message."""
    spec = pipe.spec(idempotency_key="k")
    created = await pipe.create(idempotency_key="k")
    story = await pipe.send(idempotency_key="k")
    sent = await pipe.messages.SendMessage(pb.SendMessageRequest(message=spec), metadata=metadata())
    batch = await pipe.messages.BatchCreateMessages(pb.BatchCreateMessagesRequest(messages=[spec]), metadata=metadata())

    assert {created.id, story.message_id, sent.message_id, batch.results[0].message_id} == {created.id}
    assert len(pipe.adapters["A"].calls) == 1


async def test_each_item_of_a_batch_has_its_own_key(pipe: Pipe) -> None:
    """R12 and R9: new, repeated, reused, malformed and without a key stand side by side, each with its own result."""
    await pipe.create(idempotency_key="old")
    specs = [
        pipe.spec(idempotency_key="new"),
        pipe.spec(idempotency_key="old"),
        pipe.spec(idempotency_key="new"),
        pipe.spec(idempotency_key="old", subject="Another"),
        pipe.spec(idempotency_key="x" * 256),
        pipe.spec(),
    ]
    request = pb.BatchCreateMessagesRequest(messages=specs)
    call = pipe.messages.BatchCreateMessages(request, metadata=metadata())
    answer = await call
    results = answer.results

    assert (answer.accepted, answer.refused) == (4, 2)
    assert [result.WhichOneof("result") for result in results] == ["message_id"] * 3 + ["error"] * 2 + ["message_id"]
    assert results[0].message_id == results[2].message_id
    assert sorted([results[0].replayed, results[2].replayed]) == [False, True]
    assert (results[1].replayed, results[5].replayed) == (True, False)
    assert not await was_replayed(call)
    whole = pipe.messages.BatchCreateMessages(pb.BatchCreateMessagesRequest(messages=specs[:2]), metadata=metadata())
    await whole
    assert await was_replayed(whole)


async def test_a_refused_request_is_not_remembered(pipe: Pipe) -> None:
    """A message that broke a rule leaves its key free for the corrected one."""
    with pytest.raises(grpc.aio.AioRpcError):
        await pipe.create(idempotency_key="k", to="nobody")

    assert not (await pipe.create(idempotency_key="k")).replayed


async def test_the_project_may_be_said_or_implied(pipe: Pipe) -> None:
    """The same message, once with the token's only project named and once not, is the same message."""
    first = await pipe.create(idempotency_key="k")
    spec = pipe.spec(idempotency_key="k")
    spec.project_id = ""
    again = await pipe.messages.CreateMessage(pb.CreateMessageRequest(message=spec), metadata=metadata(PROJECT))

    assert again.id == first.id


def bulk(*recipients: str, key: str = "k", subject: str = "Hello") -> pb.SendBulkMessagesRequest:
    """One content for these recipients under a key."""
    content = message_pb2.MessageSpec(
        project_id=PROJECT, channel=EMAIL, subject=subject, text="Hello", sender="shop@example.com", idempotency_key=key
    )
    return pb.SendBulkMessagesRequest(message=content, recipients=recipients)


async def test_a_repeated_bulk_sends_nothing_twice(pipes: list[Pipe]) -> None:
    """The same bulk request again, elsewhere: the same messages and results, each marked, bad recipients as before."""
    request = bulk("a@example.com", "nobody", "b@example.com", "a@example.com")
    first = await pipes[0].messages.SendBulkMessages(request, metadata=metadata())
    call = pipes[1].messages.SendBulkMessages(request, metadata=metadata())
    again = await call

    assert [result.replayed for result in first.results] == [False] * 4
    assert [result.replayed for result in again.results] == [True, False, True, True]
    assert await was_replayed(call)
    assert [result.message_id for result in again.results] == [result.message_id for result in first.results]
    assert again.message == first.message == "Bulk email processed: 3 sent, 1 failed"
    assert calls(pipes) == 2


async def test_a_bulk_key_stands_for_the_whole_request(pipes: list[Pipe]) -> None:
    """Another content, or other recipients, under the same key: refused as a whole, and nobody is sent anything."""
    await pipes[0].messages.SendBulkMessages(bulk("a@example.com"), metadata=metadata())

    for request in (bulk("a@example.com", "b@example.com"), bulk("a@example.com", subject="Another")):
        error = await refusal(pipes[1].messages.SendBulkMessages(request, metadata=metadata()))
        assert error.reason == "IDEMPOTENCY_KEY_REUSED"
    assert calls(pipes) == 1


async def test_a_refused_bulk_is_not_remembered(pipe: Pipe) -> None:
    """A bulk request that was refused, or that has no good recipient, leaves its key free; a bad key is refused."""
    refused = await refusal(pipe.messages.SendBulkMessages(bulk("a@example.com", subject=""), metadata=metadata()))
    nobody = await pipe.messages.SendBulkMessages(bulk("nobody"), metadata=metadata())
    bad = await refusal(pipe.messages.SendBulkMessages(bulk("a@example.com", key="é"), metadata=metadata()))

    assert [violation.field for violation in refused.violations] == ["message.subject"]
    assert nobody.message == "Bulk email processed: 0 sent, 1 failed"
    assert [violation.field for violation in bad.violations] == ["message.idempotencyKey"]
    answer = await pipe.messages.SendBulkMessages(bulk("a@example.com"), metadata=metadata())
    assert answer.success


async def test_a_bulk_goes_on_where_a_first_one_broke_off(pipes: list[Pipe], database_url: str) -> None:
    """A dispatcher died after the key and one of the messages were durable: the repeat makes only what is missing."""
    request = bulk("a@example.com", "b@example.com")
    first = await pipes[0].messages.SendBulkMessages(request, metadata=metadata())
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "DELETE FROM dispatch.idempotency_keys WHERE key LIKE 'bulk:%' AND message_id = $1",
        first.results[1].message_id,
    )
    await connection.close()

    again = await pipes[1].messages.SendBulkMessages(request, metadata=metadata())

    assert [result.replayed for result in again.results] == [True, False]


@pytest.mark.parametrize("processes", [1, 2])
async def test_fifty_callers_of_one_key(pipes: list[Pipe], processes: int) -> None:
    """R9: 50 concurrent callers with one key make one message, in one process and in two."""
    answers = await asyncio.gather(*(pipes[number % processes].create(idempotency_key="k") for number in range(50)))

    assert len({answer.id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    await pipes[0].becomes(answers[0].id, "SENT")
    assert calls(pipes) == 1
