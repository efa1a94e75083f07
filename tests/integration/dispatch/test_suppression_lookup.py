"""The look-up in the statement that begins attempts: what it sees while others write, and what it reads."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from services.adapters.base import Channel
from services.dispatch import ledger
from services.dispatch.attempt import begin
from services.dispatch.ledger import Transition
from services.dispatch.store import Store
from tests.builders import PROJECT, a_provider
from tests.integration.dispatch.queue_rows import queued, shard_id
from tests.integration.rig import eventually

EPOCH = 1


@pytest.fixture
async def store(database_url: str):
    """A store alone on its database."""
    opened = await Store.open(database_url, worker="w", lease_seconds=30.0, connections=4)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(database_url: str):
    """A connection of somebody else."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def begins(message_id: UUID, *recipients: str) -> Transition:
    """The step that begins a message's first attempt."""
    people = tuple((Channel.EMAIL, each) for each in recipients)
    attempt = begin(a_provider(), (), round_number=1, epoch=EPOCH)
    return Transition(message_id=message_id, project_id=PROJECT, epoch=EPOCH, opens=attempt, recipients=people)


async def suppressed(connection: asyncpg.Connection, recipient: str) -> None:
    """Somebody comes on the list."""
    await connection.execute(
        "INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason) VALUES ($1, 1, $2, 'MANUAL')",
        PROJECT,
        recipient,
    )


async def test_a_batch_begins_all_but_those_to_suppressed_recipients(store: Store, connection: asyncpg.Connection):
    """Each step for itself; who it is about is answered with the step that it concerns."""
    ids = [shard_id(number, 0) for number in range(3)]
    await queued(connection, ids, worker="w", due_in=30, epoch=EPOCH)
    await suppressed(connection, "bob@example.com")
    await suppressed(connection, "eve@example.com")
    batch = [
        begins(ids[0], "ada@example.com"),
        begins(ids[1], "ada@example.com", "eve@example.com", "bob@example.com"),
        begins(ids[2], "cem@example.com"),
    ]

    settled = await ledger.apply(connection, batch, 30.0)

    assert [each.held for each in settled] == [True, False, True]
    assert [sorted(each.suppressed) for each in settled] == [
        [],
        [("bob@example.com", "MANUAL"), ("eve@example.com", "MANUAL")],
        [],
    ]
    begun = await connection.fetch("SELECT message_id FROM dispatch.attempts ORDER BY message_id")
    assert [row["message_id"] for row in begun] == [ids[0], ids[2]]


async def test_a_step_that_waited_for_its_row_decides_the_same(store: Store, connection: asyncpg.Connection):
    """Somebody else held the rows in the queue meanwhile: PostgreSQL looks at them again, and at the list."""
    ids = [shard_id(number, 0) for number in range(2)]
    await queued(connection, ids, worker="w", due_in=30, epoch=EPOCH)
    await suppressed(connection, "bob@example.com")
    holding = connection.transaction()
    await holding.start()
    await connection.execute("UPDATE dispatch.queue SET due_at = due_at + interval '1 second'")
    batch = [begins(ids[0], "bob@example.com"), begins(ids[1], "ada@example.com")]

    async def write(batches: ledger.Connection, steps: list[Transition]) -> list[ledger.Settled]:
        return await ledger.apply(batches, steps, 30.0)

    waiting = asyncio.create_task(store.write_batch(write, batch))

    async def waits() -> bool:
        rows = await store.fetch("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(rows)

    await eventually(waits)
    await holding.commit()
    answers = [each for each in await waiting if isinstance(each, ledger.Settled)]

    assert [(each.held, bool(each.suppressed)) for each in answers] == [(False, True), (True, False)]
    begun = await store.fetch("SELECT message_id FROM dispatch.attempts")
    assert [row["message_id"] for row in begun] == [ids[1]]


async def test_the_look_up_walks_down_one_index(store: Store, connection: asyncpg.Connection):
    """With a hundred thousand on the list: by key, in the plan that batches keep, a handful of pages a recipient."""
    await connection.execute(
        "INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason)"
        " SELECT $1, 1, 'p' || n || '@example.com', 'MANUAL' FROM generate_series(1, 100000) n",
        PROJECT,
    )
    ids = [shard_id(number, 0) for number in range(50)]
    await queued(connection, ids, worker="w", due_in=30, epoch=EPOCH)
    batch = [begins(message_id, f"q{number}@example.com") for number, message_id in enumerate(ids)]
    before = await _blocks(connection)

    async def write(batches: ledger.Connection, steps: list[Transition]) -> list[ledger.Settled]:
        return await ledger.apply(batches, steps, 30.0)

    settled = await store.write_batch(write, batch)

    assert all(isinstance(each, ledger.Settled) and each.held for each in settled)
    scans, blocks = (after - earlier for after, earlier in zip(await _blocks(connection), before, strict=True))
    assert scans == 0
    assert blocks < 50 * 8


async def _blocks(connection: asyncpg.Connection) -> tuple[int, int]:
    """How often the list was read from end to end, and the pages of its key that were read, by the statistics."""
    await asyncio.sleep(1.2)  # a backend tells them once a second at most
    row = await connection.fetchrow(
        "SELECT t.seq_scan, i.idx_blks_hit + i.idx_blks_read AS blocks"
        " FROM pg_stat_user_tables t JOIN pg_statio_user_indexes i USING (relid)"
        " WHERE t.relname = 'suppressions' AND i.indexrelname = 'suppressions_pkey'"
    )
    return row["seq_scan"], row["blocks"]
