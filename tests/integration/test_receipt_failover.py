"""failover.md R6 where a receipt, or the want of one, makes the dispatch go on. Chain A > B > C."""

import asyncio

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.dispatch.retry import Backoff
from tests.integration.rig import Pipe, eventually, metadata, rig
from tests.integration.test_receipts import SOON, about, history, told, words

SENT = message_pb2.Message.STATE_SENT


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with the chain A > B > C."""
    async with rig(database_url) as running:
        await running.chain("A", "B", "C")
        yield running


async def through(pipe: Pipe, message_id: str, kind: str) -> message_pb2.Message:
    """The message once it is owed to a provider of this kind."""
    seen: list[message_pb2.Message] = []

    async def there() -> bool:
        seen.append(await pipe.get(message_id))
        return seen[-1].kind == kind

    await eventually(there)
    return seen[-1]


async def test_a_refusal_of_the_route_goes_on(pipe: Pipe) -> None:
    """R6: failoverOnReceipt: the chain continues after A; still one `completed`, no gap, and no doubt about copies."""
    sent = await pipe.send(failover_on_receipt=True)
    await pipe.receipt("A", about("A", "BOUNCED_SOFT", route_at_fault=True))
    message = await through(pipe, sent.message_id, "b")
    story = await history(pipe, sent.message_id)

    assert (message.state, message.possible_duplicate, len(message.attempts)) == (SENT, False, 2)
    assert story.calls == "A:accepted B:accepted"
    after = ["receipt", "failover", "attempt_started", "attempt_finished", "ended_again"]
    assert story.kinds() == [*sent.kinds(), *after]
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))
    moved = next(event.failover for event in story.events if event.HasField("failover"))
    assert (moved.from_provider, moved.to_provider, moved.reason) == ("a", "b", "BOUNCED_SOFT")


async def test_a_refusal_by_the_recipient_does_not_go_on(pipe: Pipe) -> None:
    """R6: a dead mailbox is dead for every provider."""
    sent = await pipe.send(failover_on_receipt=True)
    await pipe.receipt("A", about("A", "BOUNCED_HARD"))
    await pipe.becomes(sent.message_id, "UNDELIVERED")

    assert not pipe.adapters["B"].calls


async def test_every_provider_refused(pipe: Pipe) -> None:
    """R6: when the chain is over, the message is UNDELIVERED; nobody is asked twice, whatever maxRounds says."""
    sent = await pipe.send(failover_on_receipt=True, max_rounds=3)
    for name in "ABC":
        await through(pipe, sent.message_id, name.lower())
        await pipe.receipt(name, about(name, "FAILED", route_at_fault=True))
    message = await pipe.becomes(sent.message_id, "UNDELIVERED")

    assert (message.reason, message.kind) == ("ALL_PROVIDERS_FAILED", "c")
    assert [len(pipe.adapters[name].calls) for name in "ABC"] == [1, 1, 1]
    story = await history(pipe, sent.message_id)
    assert story.kinds()[-1] == "ended_again"
    assert story.kinds().count("completed") == 1


async def test_no_call_after_the_deadline(pipe: Pipe) -> None:
    """R4, R6: a refusal that comes after the deadline makes the message UNDELIVERED and starts no call."""
    sent = await pipe.send(failover_on_receipt=True, ttl=SOON)
    await asyncio.sleep(0.5)
    await pipe.receipt("A", about("A", "FAILED", route_at_fault=True))
    message = await pipe.becomes(sent.message_id, "UNDELIVERED")

    assert message.reason == "DEADLINE_PASSED"
    assert not pipe.adapters["B"].calls


async def test_silence_goes_on(pipe: Pipe) -> None:
    """R6: receiptTimeout: B is asked when A was silent for so long, and the message may arrive twice."""
    sent = await pipe.send(receipt_timeout=SOON)
    message = await through(pipe, sent.message_id, "b")
    story = await history(pipe, sent.message_id)

    assert (message.state, message.possible_duplicate) == (SENT, True)
    moved = next(event.failover for event in story.events if event.HasField("failover"))
    assert moved.reason == "RECEIPT_TIMEOUT"
    times = pipe.adapters["A"].times[0], pipe.adapters["B"].times[0]
    assert 0.4 <= times[1] - times[0] < 3


@pytest.mark.parametrize("status", ["DELIVERED", "BOUNCED_HARD"])
async def test_a_verdict_ends_the_waiting(pipe: Pipe, status: str) -> None:
    """R6: a provider that said how it ended was not silent: nobody else is asked."""
    sent = await pipe.send(receipt_timeout=SOON)
    await pipe.receipt("A", about("A", status))
    await pipe.becomes(sent.message_id, "DELIVERED" if status == "DELIVERED" else "UNDELIVERED")
    await asyncio.sleep(1.2)

    assert not pipe.adapters["B"].calls
    assert (await history(pipe, sent.message_id)).kinds() == [*sent.kinds(), "receipt"]


async def test_silence_of_the_last_provider(pipe: Pipe) -> None:
    """R6: when everybody was silent the message stays SENT through the last one."""
    await pipe.change("C", enabled=False)
    sent = await pipe.send(receipt_timeout=SOON)
    await through(pipe, sent.message_id, "b")
    await asyncio.sleep(1.5)
    message = await pipe.get(sent.message_id)

    assert (message.state, message.kind, len(message.attempts)) == (SENT, "b", 2)
    assert (await history(pipe, sent.message_id)).kinds().count("ended_again") == 1


async def test_delivered_late_after_a_failover(pipe: Pipe) -> None:
    """R6: after a failover the first `delivered` wins, and the next one only counts as a duplicate."""
    await pipe.change("C", enabled=False)
    sent = await pipe.send(receipt_timeout=SOON)
    await through(pipe, sent.message_id, "b")
    await pipe.receipt("A", about("A", "DELIVERED"))
    first = await pipe.becomes(sent.message_id, "DELIVERED")
    await pipe.receipt("B", about("B", "DELIVERED"))
    story = await told(pipe, sent.message_id, 2)
    message = await pipe.get(sent.message_id)

    assert (first.kind, first.duplicates) == ("a", 0)
    assert (message.kind, message.duplicates, message.state) == ("a", 1, message_pb2.Message.STATE_DELIVERED)
    assert words(story) == ["DELIVERED", "DELIVERED"]


async def test_delivered_while_the_next_one_is_waited_for(pipe: Pipe) -> None:
    """R6: A was unknown and B asked for a pause; `delivered` for A ends the dispatch, and B is not asked again."""
    pipe.script("A", "unknown")
    pipe.script("B", "deferred")
    pipe.script("C", "deferred")
    created = await pipe.create(max_tries=1, max_rounds=10)
    await eventually(lambda: len(pipe.adapters["C"].calls) == 1)
    await pipe.receipt("A", {"status": "DELIVERED", "message_id": created.id})
    message = await pipe.becomes(created.id, "DELIVERED")
    story = await history(pipe, created.id)

    assert message.kind == "a"
    assert story.kinds().count("completed") == 1
    assert story.kinds()[-1] == "completed"


async def test_a_message_that_is_sent_can_not_be_cancelled(pipe: Pipe) -> None:
    """A message that waits for its receipt is SENT, for CancelMessage too."""
    sent = await pipe.send(receipt_timeout=Duration(seconds=60))
    request = dispatch_service_pb2.CancelMessageRequest(id=sent.message_id)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pipe.messages.CancelMessage(request, metadata=metadata())

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    message = await pipe.get(sent.message_id)
    assert (message.state, message.HasField("next_attempt_in")) == (SENT, False)


async def test_silence_outlives_the_dispatcher(database_url) -> None:
    """R6, R11: the time of silence goes on while no dispatcher runs; the next one asks B."""
    async with rig(database_url) as first:
        await first.chain("A", "B")
        sent = await first.send(receipt_timeout=Duration(seconds=1))
    async with rig(database_url) as second:
        message = await through(second, sent.message_id, "b")

    assert len(message.attempts) == 2
    assert message.state == SENT


async def test_stale_holders_stay_fenced_after_a_return_to_the_queue(pipe: Pipe, database_url: str) -> None:
    """ADR 0003: what goes on after its end goes on under a higher epoch than anybody ever held."""
    sent = await pipe.send(failover_on_receipt=True)
    await pipe.receipt("A", about("A", "FAILED", route_at_fault=True))
    await through(pipe, sent.message_id, "b")
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT epoch FROM dispatch.attempts ORDER BY number")
    finally:
        await connection.close()

    assert rows[1]["epoch"] > rows[0]["epoch"]


async def test_receipts_amid_waits_and_claims(database_url) -> None:
    """R10: while messages wait, are claimed and tried, receipts about them leave no gap and lose no event."""
    async with rig(database_url, backoff=Backoff(base=0.02, factor=1.0)) as pipe:
        await pipe.chain("A", "B")
        pipe.script("A", "unknown")
        pipe.script("B", "deferred")
        # Four: a fifth one's failure would open the breakers, and the tries would wait for a probe.
        created = [await pipe.create(max_tries=8) for _ in range(4)]
        # None that puts the recipient on the list of those who get nothing more (dispatch/test_suppression.py).
        statuses = ["OPENED", "CLICKED", "BOUNCED_SOFT", "FAILED"]
        for status in statuses:
            about_all = [{"status": status, "message_id": message.id} for message in created]
            await pipe.receipt("A", *about_all)
            await asyncio.sleep(0.05)
        stories = [await told(pipe, message.id, len(statuses)) for message in created]
        ends = [await pipe.get(message.id) for message in created]

    for story in stories:
        assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))
        assert story.kinds().count("completed") == 1
        assert story.kinds().count("attempt_started") == story.kinds().count("attempt_finished") == 9
        assert sorted(words(story)) == sorted(statuses)
    assert {end.state for end in ends} == {message_pb2.Message.STATE_UNDELIVERED}
