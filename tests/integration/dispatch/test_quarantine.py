"""Messages that no dispatcher survives, against a real PostgreSQL: suspects alone, then out of work, in sight."""

import asyncio
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.attempt_pb2 import Attempt

from services.adapters.outcome import Outcome, Result
from services.dispatch import history as tell
from services.dispatch.ledger import Completion, Transition
from services.dispatch.message import State
from services.dispatch.store import Store
from services.dispatch.turns import Turns
from tests.integration.dispatch.queue_rows import queued, shard_id
from tests.integration.dispatch.test_leases import an_open_attempt, claim_one, leased, step
from tests.integration.rig import PROJECT, eventually, metadata, rig


@pytest.fixture
async def connection(database_url):
    """A connection of the test's own."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def store(database_url):
    """A store whose leases last a moment."""
    opened = await Store.open(database_url, worker="mortal", lease_seconds=0.2, connections=4)
    yield opened
    await opened.close()


async def claims_of(connection: asyncpg.Connection) -> dict[UUID, int]:
    """How often each message in the queue was taken without any result."""
    return {row["id"]: row["claims"] for row in await connection.fetch("SELECT id, claims FROM dispatch.queue")}


async def overdue(connection: asyncpg.Connection) -> None:
    """Every lease has run out."""
    await connection.execute("UPDATE dispatch.queue SET due_at = now() - interval '2 seconds'")


async def test_what_nobody_survives_is_taken_out_and_seen(database_url: str, connection: asyncpg.Connection) -> None:
    """Three strikes: FAILED with reason QUARANTINED, told in the stream, found in the list; nobody was called."""
    poison = shard_id(1, 5)
    await queued(connection, [poison], claims=3, worker="dead", epoch=3)
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        story = await pipe.watch(str(poison))
        message = await pipe.get(str(poison))
        found = [
            await pipe.messages.ListMessages(
                pb.ListMessagesRequest(project_id=PROJECT, state=message_pb2.Message.STATE_FAILED, reason=reason),
                metadata=metadata(),
            )
            for reason in ("QUARANTINED", "NO_PROVIDER", "")
        ]

    assert (story.kinds(), story.state, story.end.reason) == (["queued", "completed"], "FAILED", "QUARANTINED")
    assert "died" in story.end.detail
    assert (message.state, message.reason) == (message_pb2.Message.STATE_FAILED, "QUARANTINED")
    assert [len(page.messages) for page in found] == [1, 0, 1]
    assert not pipe.adapters["A"].calls
    assert await claims_of(connection) == {}


async def test_an_open_attempt_of_the_quarantined_is_unknown_first(
    store: Store, database_url: str, connection: asyncpg.Connection
) -> None:
    """A provider may have taken it: then it is UNKNOWN, not FAILED, and says through whom."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        message = await leased(store)
        attempt = an_open_attempt(pipe.ids["A"])
        started = tell.numbered(1, [tell.attempt_started(attempt)])
        async with connection.transaction():
            await connection.execute("SELECT FROM dispatch.queue FOR UPDATE")  # nobody takes it meanwhile
            await connection.execute(
                "INSERT INTO dispatch.attempts (message_id, number, round, epoch, provider_id, kind, provider_name,"
                " chain_version) VALUES ($1, 1, 1, 1, $2, 'a', 'A', 1)",
                message.id,
                pipe.ids["A"],
            )
            await connection.execute(
                "INSERT INTO dispatch.events (message_id, sequence, project_id, payload) VALUES ($1, 2, $2, $3)",
                message.id,
                PROJECT,
                started[0].payload,
            )
            await connection.execute("UPDATE dispatch.queue SET claims = 3")
        story = await pipe.watch(str(message.id))
        seen = await pipe.get(str(message.id))

    assert (story.calls, story.state, story.end.reason) == ("A:unknown", "UNKNOWN", "QUARANTINED")
    assert [(each.outcome, each.HasField("finished_at")) for each in seen.attempts] == [(Attempt.OUTCOME_UNKNOWN, True)]
    assert (seen.provider_id, seen.possible_duplicate) == (pipe.ids["A"], False)
    assert not any(adapter.calls for adapter in pipe.adapters.values())


async def test_only_the_poison_is_quarantined(store: Store, database_url: str, connection: asyncpg.Connection) -> None:
    """A message kills every dispatcher that has it in work. Its mates of the first two batches go through all the same:
    after two deaths each of them is worked on alone, and only what struck alone is taken out.
    """
    ids = [shard_id(number, number) for number in range(1, 13)]
    poison = ids[6]
    await queued(connection, ids)
    for death in (1, 2):
        assert len(await store.claim(Turns(limit=200))) == 12
        assert set((await claims_of(connection)).values()) == {death}
        await overdue(connection)
    assert await store.claim(Turns(limit=200)) == []  # nobody takes them by the dozen any more

    mates: list[UUID] = []
    while suspect := await store.claim_suspect():
        if suspect.id == poison:  # the third death: alone
            assert suspect.claims == 3
            continue
        mates.append(suspect.id)
        assert (await store.apply(step_of(suspect.id, suspect.epoch))).held
    assert sorted(mates) == sorted(set(ids) - {poison})
    assert await claims_of(connection) == {poison: 3}
    await overdue(connection)

    async with rig(database_url) as pipe:
        story = await pipe.watch(str(poison))
    assert (story.state, story.end.reason) == ("FAILED", "QUARANTINED")


def step_of(message_id: UUID, epoch: int) -> Transition:
    """The end of a message."""
    return Transition(
        message_id=message_id, project_id=PROJECT, epoch=epoch, completes=Completion(state=State.SENT, kind="a")
    )


async def test_suspects_are_worked_on_one_after_the_other(database_url: str, connection: asyncpg.Connection) -> None:
    """Five suspects that are harmless: never two at a time, all sent, none quarantined."""
    ids = [shard_id(number, number) for number in range(1, 6)]
    at_work: list[int] = []
    async with rig(database_url) as pipe:
        await pipe.chain("A")

        async def send(call: object) -> Result:
            at_work.append(pipe.dispatch.worker.in_flight)
            await asyncio.sleep(0.05)
            return Result(outcome=Outcome.ACCEPTED, reason="ACCEPTED")

        pipe.adapters["A"].send = send  # type: ignore[method-assign]
        await queued(connection, ids, claims=2, worker="dead", epoch=2)
        stories = await asyncio.gather(*(pipe.watch(str(each)) for each in ids))

    assert {story.state for story in stories} == {"SENT"}
    assert at_work == [1] * 5


async def test_a_result_forgets_the_strikes(store: Store, connection: asyncpg.Connection) -> None:
    """An attempt that its own dispatcher closed, a wait, and a lease that was given back take strikes away; an attempt
    that a rescuer closed does not.
    """
    message = await leased(store)
    await connection.execute("UPDATE dispatch.queue SET claims = 2")
    first = an_open_attempt()
    assert (await store.apply(step(message, opens=first))).held
    assert await claims_of(connection) == {message.id: 2}
    deferred = first.finished(Result(outcome=Outcome.DEFERRED, reason="UNAVAILABLE"), latency=0.1)
    second = an_open_attempt("q", "B")
    second = replace(second, number=2)
    assert (await store.apply(step(message, closes=deferred, opens=second))).held
    assert await claims_of(connection) == {message.id: 1}

    await overdue(connection)
    claim = await claim_one(store)
    lost = claim.attempts[-1].finished(Result(outcome=Outcome.UNKNOWN, reason="LEASE_LOST"), latency=None)
    third = replace(an_open_attempt("r", "C", epoch=claim.epoch), number=3)
    assert (await store.apply(step(message, epoch=claim.epoch, closes=lost, opens=third))).held
    assert await claims_of(connection) == {message.id: 2}

    closed = third.finished(Result(outcome=Outcome.DEFERRED, reason="UNAVAILABLE"), latency=0.1)
    assert (await store.apply(step(message, epoch=claim.epoch, closes=closed, due_in=0.0))).held
    assert await claims_of(connection) == {message.id: 0}


async def test_a_lease_that_was_given_back_is_no_strike(store: Store, connection: asyncpg.Connection) -> None:
    """Restarting dispatchers one after the other makes no suspects of the messages that wait."""
    message = await leased(store)
    for _ in range(3):
        epoch = (await connection.fetchval("SELECT epoch FROM dispatch.queue")) or 0
        await store.release({message.id: epoch})
        assert await claims_of(connection) == {message.id: 0}
        assert (await claim_one(store)).claims == 1


async def test_a_message_that_can_not_be_read_stops_nobody(database_url: str, connection: asyncpg.Connection) -> None:
    """A stored message that breaks whoever reads it is quarantined in the end; meanwhile others are sent."""
    poison = shard_id(1, 5)
    await queued(connection, [poison])
    await connection.execute("UPDATE dispatch.messages SET spec = '\\xff'")
    async with rig(database_url, lease_seconds=1.0) as pipe:
        await pipe.chain("A")
        assert (await pipe.send()).state == "SENT"
        story = await pipe.watch(str(poison))
        assert (await pipe.send()).state == "SENT"

    assert (story.state, story.end.reason) == ("FAILED", "QUARANTINED")


RENEWED_FOR_LEASES = """
SELECT q.due_at > m.created_at + interval '4 seconds' FROM dispatch.queue q JOIN dispatch.messages m USING (id)
"""


async def test_a_start_that_can_not_be_recorded_strikes_nobody(
    database_url: str, connection: asyncpg.Connection
) -> None:
    """A dispatcher that can not write for several leases, and lives, keeps its message unstruck and sends it then."""
    async with rig(database_url, lease_seconds=1.0) as pipe:
        await pipe.chain("A")
        async with connection.transaction():
            await connection.execute("LOCK dispatch.attempts IN SHARE MODE")
            message = await pipe.create()

            async def renewed_for_leases() -> bool:
                return bool(await connection.fetchval(RENEWED_FOR_LEASES))

            await eventually(renewed_for_leases, seconds=30)
            assert await claims_of(connection) == {UUID(message.id): 1}
        story = await pipe.watch(message.id)
    assert (story.state, story.calls) == ("SENT", "A:accepted")


async def test_what_is_set_apart_is_not_taken(store: Store, connection: asyncpg.Connection) -> None:
    """A claim leaves what the process lost and still works on, be it a suspect or not."""
    ids = [shard_id(number, number) for number in range(1, 4)]
    await queued(connection, ids[:2])
    await queued(connection, ids[2:], claims=2, worker="dead", epoch=2)

    assert [claim.id for claim in await store.claim(Turns(limit=10), apart=[ids[0]])] == [ids[1]]
    assert await store.claim_suspect([ids[2]]) is None
    assert [claim.id for claim in await store.claim(Turns(limit=10))] == [ids[0]]
    suspect = await store.claim_suspect()
    assert suspect is not None
    assert suspect.id == ids[2]
