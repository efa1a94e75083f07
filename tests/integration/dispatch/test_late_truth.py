"""Late truth against a real PostgreSQL: what a dispatcher learned after it lost a message is kept, and read before
anything is decided (reliability.md §3.3).
"""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.outcome import Outcome, Result
from services.dispatch import history as tell
from services.dispatch import ledger
from services.dispatch.attempt import NOT_SENT, Attempt, interrupted
from services.dispatch.ledger import Completion, Transition
from services.dispatch.message import State
from services.dispatch.store import Store
from tests.integration.dispatch.test_leases import an_open_attempt, claim_one, leased, step
from tests.integration.rig import Pipe, eventually, rig

ACCEPTED = Result(outcome=Outcome.ACCEPTED, reason="ACCEPTED", provider_message_id="p-123")
DEFERRED = Result(outcome=Outcome.DEFERRED, reason="UNAVAILABLE", provider_text="503")
AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE


@pytest.fixture
async def paused(database_url):
    """The store of a dispatcher that stands still for longer than its lease, which is a second."""
    opened = await Store.open(database_url, worker="paused", lease_seconds=1.0, connections=4)
    yield opened
    await opened.close()


async def in_a_call(pipe: Pipe, paused: Store, **fields: Any) -> tuple[UUID, Attempt]:
    """A message whose dispatcher stands still in a call of A."""
    message = await leased(paused, **fields)
    attempt = an_open_attempt(pipe.ids["A"])
    started = tell.numbered(1, [tell.attempt_started(attempt)])
    assert (await paused.apply(step(message, opens=attempt, chain_version=1, events=started))).held
    return message.id, attempt


async def wakes_up(paused: Store, message_id: UUID, attempt: Attempt, result: Result) -> None:
    """The paused dispatcher goes on with what the provider answered: too late to settle it, so it is kept."""
    late = Transition(
        message_id=message_id,
        project_id="shop",
        epoch=1,
        closes=attempt.finished(result, latency=9.0),
    )
    assert not (await paused.apply(late)).held
    await paused.keep_evidence(late)


async def test_what_was_accepted_is_not_given_to_anybody_else(paused: Store, database_url: str) -> None:
    """A is unknown by the rescue, B is being asked when A's dispatcher wakes up and says "accepted, id p-123": B
    defers, C is never called, the message is SENT via A.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", "C")
        answer = asyncio.Event()
        deferred = Result(outcome=Outcome.DEFERRED, reason="UNAVAILABLE")
        send = pipe.adapters["B"].send

        async def slow(call: Any) -> Result:
            await send(call)
            await answer.wait()
            return deferred

        pipe.adapters["B"].send = slow  # type: ignore[method-assign]
        message_id, attempt = await in_a_call(pipe, paused)
        await eventually(lambda: pipe.adapters["B"].calls)
        await wakes_up(paused, message_id, attempt, ACCEPTED)
        answer.set()
        story = await pipe.watch(str(message_id))
        message = await pipe.get(str(message_id))

    assert (story.calls, story.state) == ("A:unknown B:deferred A:accepted", "SENT")
    assert not pipe.adapters["C"].calls
    assert (message.kind, message.attempts[0].provider_message_id) == ("a", "p-123")
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))


async def test_what_is_known_at_the_takeover_needs_no_further_call(paused: Store, database_url: str) -> None:
    """Evidence that is there when a message is taken up again ends it: nobody is called."""
    other = await Store.open(database_url, worker="other", lease_seconds=1.0, connections=4)
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        pipe.dispatch.worker._stopping = True  # the rig's own dispatcher takes nothing yet
        await asyncio.sleep(1)
        message_id, attempt = await in_a_call(pipe, paused)
        await claim_one(other)  # and dies
        await wakes_up(paused, message_id, attempt, ACCEPTED)
        await other.close()
    async with rig(database_url) as pipe:
        story = await pipe.watch(str(message_id))

    assert (story.calls, story.state) == ("A:accepted", "SENT")
    assert not any(adapter.calls for adapter in pipe.adapters.values())
    assert not story.end.possible_duplicate


@pytest.mark.parametrize(
    ("result", "calls", "state"),
    [
        (ACCEPTED, "A:unknown A:accepted", "SENT"),
        (DEFERRED, "A:unknown A:deferred B:accepted", "SENT"),
        (NOT_SENT, "A:unknown A:deferred A:accepted", "SENT"),
    ],
    ids=["accepted", "deferred", "never sent"],
)
async def test_a_message_that_ended_unknown_comes_back_when_the_truth_comes(
    paused: Store, database_url: str, result: Result, calls: str, state: str
) -> None:
    """AT_MOST_ONCE: it is UNKNOWN and nobody was called; when its first dispatcher tells what happened, it goes on from
    there.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        message_id, attempt = await in_a_call(pipe, paused, unknown_policy=AT_MOST_ONCE)
        story = await pipe.watch(str(message_id))
        assert (story.calls, story.state) == ("A:unknown", "UNKNOWN")
        await wakes_up(paused, message_id, attempt, result)
        message = await pipe.becomes(str(message_id), state)
        story = await pipe.watch(str(message_id))

    assert story.calls == calls
    assert story.kinds()[-1] == "ended_again"
    assert not message.possible_duplicate


async def test_an_end_and_its_late_truth_take_turns(paused: Store, database_url: str) -> None:
    """The truth comes in the very moment in which the message ends UNKNOWN: whoever is first, it comes back."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        for _ in range(10):
            message_id, attempt = await in_a_call(pipe, paused, unknown_policy=AT_MOST_ONCE)
            late = Transition(
                message_id=message_id, project_id="shop", epoch=1, closes=attempt.finished(ACCEPTED, latency=9.0)
            )

            async def taken_over(message_id: UUID = message_id) -> bool:
                rows = await paused.fetch("SELECT epoch FROM dispatch.queue WHERE id = $1", message_id)
                return not rows or rows[0]["epoch"] > 1

            await eventually(taken_over)
            await paused.keep_evidence(late)
            await pipe.becomes(str(message_id), "SENT")

    assert not any(adapter.calls for adapter in pipe.adapters.values())


async def test_evidence_waits_for_an_end_that_is_being_written(paused: Store, database_url: str) -> None:
    """While the end UNKNOWN is written but not committed, neither side sees the other: evidence waits for the lock,
    then finds the end and brings the message back.
    """
    message = await leased(paused)
    attempt = an_open_attempt()
    assert (await paused.apply(step(message, opens=attempt))).held
    lost = interrupted(attempt)
    end = step(message, closes=lost, completes=Completion(state=State.UNKNOWN, reason="OUTCOME_UNKNOWN"))
    late = step(message, closes=attempt.finished(ACCEPTED, latency=9.0))
    connection = await asyncpg.connect(database_url)
    async with paused.transaction() as writing:
        assert (await ledger.apply(writing, [end], 1.0))[0].held
        keeping = asyncio.create_task(paused.keep_evidence(late))

        async def waits_or_done() -> bool:
            return keeping.done() or bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(waits_or_done)
    await keeping
    back = await connection.fetch("SELECT id FROM dispatch.queue")
    await connection.close()

    assert [row["id"] for row in back] == [message.id]


async def test_evidence_that_says_nothing_changes_nothing(paused: Store, database_url: str) -> None:
    """A late "nobody knows" is kept and wakes nobody."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        message_id, attempt = await in_a_call(pipe, paused, unknown_policy=AT_MOST_ONCE)
        await pipe.watch(str(message_id))
        await wakes_up(paused, message_id, attempt, Result(outcome=Outcome.UNKNOWN, reason="TIMEOUT"))
        assert await paused.fetch("SELECT FROM dispatch.queue") == []
        assert len(await paused.fetch("SELECT FROM dispatch.evidence")) == 1
