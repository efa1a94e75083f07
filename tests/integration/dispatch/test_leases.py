"""Leases, epochs and rescue against a real PostgreSQL: who may write, and what happens to what a dead dispatcher left
behind.
"""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.outcome import Outcome, Result
from services.chassis.clock import SystemClock
from services.dispatch import history as tell
from services.dispatch import ledger
from services.dispatch.attempt import Attempt
from services.dispatch.convert import message_from_spec
from services.dispatch.ledger import Acceptance, Completion, Transition
from services.dispatch.message import Message, State, new_message_id
from services.dispatch.records import Claim
from services.dispatch.store import Store
from services.dispatch.turns import Turns
from tests.integration.rig import EMAIL, PROJECT, Pipe, rig

AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE
TEN = Turns(limit=10)
ACCEPTED = Result(outcome=Outcome.ACCEPTED, reason="ACCEPTED", provider_message_id="p-1")


@pytest.fixture
async def store(database_url):
    """A store whose leases last a second."""
    opened = await Store.open(database_url, worker="first", lease_seconds=1.0, connections=4)
    yield opened
    await opened.close()


@pytest.fixture
async def other(database_url):
    """The store of another dispatcher on the same database."""
    opened = await Store.open(database_url, worker="second", lease_seconds=30.0, connections=4)
    yield opened
    await opened.close()


async def leased(store: Store, **fields: Any) -> Message:
    """A message that was accepted and is leased by the store's worker under epoch 1."""
    spec = message_pb2.MessageSpec(
        channel=EMAIL, to="ada@example.com", subject="Hello", text="Hello", sender="shop@example.com", **fields
    )
    now = await store.now()
    message = message_from_spec(spec, message_id=new_message_id(now), project_id=PROJECT, now=now)
    assert isinstance(message, Message)
    events = tell.numbered(0, [tell.queued(message.deadline)])
    await store.accept(
        Acceptance(message=message, spec=spec.SerializeToString(), labels=b"", events=events, worker=store.worker)
    )
    return message


def step(message: Message, epoch: int = 1, **fields: Any) -> Transition:
    """A transition of the message."""
    return Transition(message_id=message.id, project_id=PROJECT, epoch=epoch, **fields)


def an_open_attempt(provider_id: str = "p", name: str = "A", epoch: int = 1) -> Attempt:
    """The first attempt of a message, open."""
    return Attempt(number=1, round=1, provider_id=provider_id, kind=name.lower(), provider_name=name, epoch=epoch)


async def claim_one(store: Store) -> Claim:
    """The one message that is due, as soon as it is."""
    async with asyncio.timeout(10):
        while not (claims := await store.claim(TEN)):
            await asyncio.sleep(0.02)
    assert len(claims) == 1
    return claims[0]


async def test_a_lease_that_lives_is_not_claimed(store: Store, other: Store) -> None:
    """A message whose lease lives is nobody else's."""
    await leased(other)

    assert await store.claim(TEN) == []


async def test_an_expired_lease_is_claimed_under_a_new_epoch(store: Store, other: Store) -> None:
    """When a lease runs out, the next worker takes the message under a greater epoch."""
    message = await leased(store)

    claim = await claim_one(other)

    assert (claim.id, claim.epoch, claim.attempts) == (message.id, 2, ())


async def test_the_old_holder_settles_nothing(store: Store, other: Store, database_url: str) -> None:
    """X22: after a takeover the old holder's result changes nothing and is kept as evidence; the new holder's
    stands.
    """
    message = await leased(store)
    attempt = an_open_attempt()
    assert (await store.apply(step(message, opens=attempt))).held
    claim = await claim_one(other)
    late = step(
        message, closes=attempt.finished(ACCEPTED, latency=0.1), completes=Completion(state=State.SENT, kind="a")
    )

    settled = await store.apply(late)
    await store.keep_evidence(late)
    lost = claim.attempts[0].finished(Result(outcome=Outcome.UNKNOWN, reason="LEASE_LOST"), latency=None)
    await other.apply(step(message, epoch=2, closes=lost, completes=Completion(state=State.UNKNOWN)))

    assert not settled.held
    overview = await other.overview(message.id, [PROJECT])
    assert overview is not None
    assert overview.state is State.UNKNOWN
    connection = await asyncpg.connect(database_url)
    evidence = await connection.fetch("SELECT reason, provider_message_id FROM dispatch.evidence")
    await connection.close()
    assert [tuple(row) for row in evidence] == [("ACCEPTED", "p-1")]


async def test_two_epochs_of_one_message_in_one_batch(store: Store, other: Store) -> None:
    """X22: after a pause a process may hold a message anew while its old delivery settles in the same commit: the old
    epoch changes nothing.
    """
    message = await leased(store)
    await claim_one(other)
    stale = step(message, completes=Completion(state=State.FAILED))
    current = step(message, epoch=2, completes=Completion(state=State.SENT, kind="a"))

    async with other.transaction() as connection:
        settled = await ledger.apply(connection, [stale, current], 30.0)

    overview = await other.overview(message.id, [PROJECT])
    assert [each.held for each in settled] == [False, True]
    assert overview is not None
    assert overview.state is State.SENT


async def test_no_attempt_is_opened_after_the_lease_ended(store: Store) -> None:
    """A start is refused when the lease ran out, even if nobody has taken the message yet."""
    message = await leased(store)
    deadline = (await store.now()) + timedelta(seconds=1.2)
    while await store.now() < deadline:
        await asyncio.sleep(0.05)

    settled = await store.apply(step(message, opens=an_open_attempt()))

    assert not settled.held
    assert await store.attempts(message.id) == ()


async def test_a_result_counts_as_long_as_nobody_took_over(store: Store) -> None:
    """A result that comes after the lease ended still settles when the epoch is unchanged."""
    message = await leased(store)
    attempt = an_open_attempt()
    await store.apply(step(message, opens=attempt))
    deadline = (await store.now()) + timedelta(seconds=1.2)
    while await store.now() < deadline:
        await asyncio.sleep(0.05)

    done = step(message, closes=attempt.finished(ACCEPTED, latency=1.3), completes=Completion(state=State.SENT))

    assert (await store.apply(done)).held


async def test_renewing_keeps_a_lease(store: Store, other: Store) -> None:
    """A renewed lease is not claimed past its first end; one of another epoch is not renewed."""
    message = await leased(store)
    deadline = (await store.now()) + timedelta(seconds=1.5)
    while await store.now() < deadline:
        assert await store.renew({message.id: 1}) == {message.id}
        assert await other.claim(TEN) == []
        await asyncio.sleep(0.1)

    assert await store.renew({message.id: 7}) == frozenset()


async def test_what_was_put_off_is_neither_renewed_nor_released(store: Store, other: Store) -> None:
    """A message that was put off keeps its time, though a renewal or a release under its epoch comes a moment late."""
    message = await leased(other)
    await other.apply(step(message, due_in=1.0))

    assert await other.renew({message.id: 1}) == frozenset()
    await other.release({message.id: 1})

    assert await store.claim(TEN) == []
    assert (await claim_one(store)).epoch == 2


async def test_releasing_gives_back_only_what_never_started(store: Store, other: Store) -> None:
    """Released leases are due at once, except those with an open attempt."""
    idle, busy = await leased(other), await leased(other)
    await other.apply(step(busy, opens=an_open_attempt()))

    await other.release({idle.id: 1, busy.id: 1})

    assert [claim.id for claim in await store.claim(TEN)] == [idle.id]


async def test_one_message_never_has_two_open_attempts(store: Store, database_url: str) -> None:
    """The database itself refuses a second open attempt of a message."""
    message = await leased(store)
    await store.apply(step(message, opens=an_open_attempt()))
    connection = await asyncpg.connect(database_url)
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            "INSERT INTO dispatch.attempts (message_id, number, round, epoch, provider_id, kind, provider_name,"
            " chain_version) VALUES ($1, 2, 1, 1, 'p', 'a', 'A', 1)",
            message.id,
        )
    await connection.close()


async def crashed_in_an_attempt(pipe: Pipe, store: Store, **fields: Any) -> Message:
    """A message whose dispatcher recorded an attempt through A and then died."""
    message = await leased(store, **fields)
    attempt = an_open_attempt(pipe.ids["A"])
    started = tell.numbered(1, [tell.attempt_started(attempt)])
    await store.apply(step(message, opens=attempt, chain_version=1, events=started))
    return message


async def test_x21_at_least_once_tries_somewhere_else(store: Store, database_url: str) -> None:
    """X21: a dispatcher died with an open attempt; it becomes unknown and under AT_LEAST_ONCE somebody else is
    asked.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        message = await crashed_in_an_attempt(pipe, store)

        story = await pipe.watch(str(message.id))

    assert story.calls == "A:unknown B:accepted"
    assert story.end.possible_duplicate
    assert not pipe.adapters["A"].calls
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))


async def test_x21_at_most_once_calls_nobody(store: Store, database_url: str) -> None:
    """X21: under AT_MOST_ONCE nobody is asked again; the message is never lost, it is UNKNOWN."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        message = await crashed_in_an_attempt(pipe, store, unknown_policy=AT_MOST_ONCE)

        story = await pipe.watch(str(message.id))

    assert (story.calls, story.state) == ("A:unknown", "UNKNOWN")
    assert not pipe.adapters["A"].calls
    assert not pipe.adapters["B"].calls


async def test_a_crash_before_any_attempt_costs_nothing(store: Store, database_url: str) -> None:
    """A dispatcher died before it recorded an attempt: the message is simply sent by the next one."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        message = await leased(store)

        story = await pipe.watch(str(message.id))

    assert story.calls == "A:accepted"
    assert not story.end.possible_duplicate


async def test_a_long_call_keeps_its_lease(database_url: str) -> None:
    """A call that takes longer than a lease is not taken over: the lease is renewed meanwhile."""
    async with rig(database_url, lease_seconds=1.0) as pipe:
        await pipe.chain("A", "B")
        answered = asyncio.Event()
        pipe.script("A", answered)
        message = await pipe.create()
        begun = SystemClock().boottime()
        while SystemClock().boottime() - begun < 2.5:
            await asyncio.sleep(0.05)
        answered.set()

        story = await pipe.watch(message.id)

    assert story.calls == "A:accepted"
    assert not pipe.adapters["B"].calls


async def test_more_messages_than_places_all_end(database_url: str) -> None:
    """With two places in flight, fifty messages wait their turn in the database and all are sent, each once."""
    async with rig(database_url, max_in_flight=2) as pipe:
        await pipe.chain("A")
        created = await asyncio.gather(*(pipe.create() for _ in range(50)))

        stories = await asyncio.gather(*(pipe.watch(message.id) for message in created))

    assert {story.calls for story in stories} == {"A:accepted"}
    assert len(pipe.adapters["A"].calls) == 50
