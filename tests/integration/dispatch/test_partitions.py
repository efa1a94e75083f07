"""Partitions in PostgreSQL: made ahead and dropped behind by the service, never in the way of a message."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from cli.serve import MIGRATIONS
from services.chassis.migrations import migrate
from services.dispatch import log_book, partition_book
from services.dispatch.access import FOR_BATCHES
from services.dispatch.delivery_log import Filter, Page, first_id_at
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.housekeeping import keep_partitions, mark_log
from services.dispatch.partitions import Partition
from services.dispatch.store import Store
from tests.integration.rig import Pipe, rig
from tests.postgres import with_database

MONTH = timedelta(days=30)
TABLES = ("messages", "attempts", "completions", "events")
# As the batch statements find their rows (ledger.py).
SETTLE = """
UPDATE dispatch.attempts a SET latency = 1 FROM unnest($1, $2) AS t (id, number)
WHERE a.message_id = t.id AND a.number = t.number
"""
OLD_ROWS = """
INSERT INTO dispatch.messages (id, project_id, channel, recipient, spec, labels, deadline)
SELECT id, 'shop', 1, 'ada@example.com', '', '', now() FROM unnest($1::uuid[]) AS t (id)
"""
OLD_EVENTS = """
INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
SELECT id, 1, 'shop', '' FROM unnest($1::uuid[]) AS t (id)
"""
OLD_RECEIPTS = """
INSERT INTO dispatch.receipts (provider_id, event_id, call_id, status, provider_message_id, recipient, route_at_fault,
                               provider_status, detail, look_at, message_id, number)
SELECT 'p', place, 1, 'DELIVERED', '', '', false, '', '', NULL, $1, 1 FROM generate_series(1, $2::int) AS place
"""
# As ConfigService makes ids of providers: at random.
PROVIDER = UUID("f3b1d0a4-6d6e-4c0f-9f57-2d8c3a5b7e11")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on the test's database."""
    opened = await Store.open(database_url, worker="w", lease_seconds=30, connections=6)
    yield opened
    await opened.close()


@pytest.fixture
async def pipe(database_url: str) -> AsyncIterator[Pipe]:
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


async def spread(store: Store, table: str) -> dict[str, int]:
    """How many rows of a table each partition has."""
    rows = await store.fetch(f"SELECT tableoid::regclass::text AS name, count(*) AS n FROM dispatch.{table} GROUP BY 1")
    return {row["name"].removeprefix(f"dispatch.{table}_"): row["n"] for row in rows}


async def move(store: Store, message_id: str, moment: datetime) -> UUID:
    """A message, sent just now, as if it had been sent at a moment; its new id."""
    moved = UUID(int=first_id_at(moment).int | UUID(message_id).int & ((1 << 80) - 1))
    async with store.transaction() as connection:
        for table, key in partition_book.KEYS.items():
            at = partition_book.WRITTEN[f"{table}_rest"]
            statement = f"UPDATE dispatch.{table} SET {key} = $2, {at} = $3 WHERE {key} = $1"
            await connection.execute(statement, UUID(message_id), moved, moment)
    return moved


async def test_messages_go_where_their_time_is(store: Store, pipe: Pipe) -> None:
    """A month of messages lies in its partitions, whole: message, attempts, end and events of one lie together."""
    await keep_partitions(store, MONTH)
    names = [each.name for each in await _there(store)]
    now = datetime.now(UTC)
    for days in (0, 3, 8):
        await move(store, (await pipe.send()).message_id, now + timedelta(days=days))

    found = [set(await spread(store, table)) for table in TABLES]

    assert found[0] == set(names[:2]) | {"rest"}
    assert all(each == found[0] for each in found)


async def test_what_is_past_its_retention_goes(store: Store, pipe: Pipe) -> None:
    """A month after it was filled a partition is gone with its marks, and not a day before; what came later is there,
    and a message is sent through the new ones.
    """
    old = (await pipe.send()).message_id
    async with store.connection() as connection:
        await connection.execute("INSERT INTO dispatch.log_marks VALUES ('shop', 0, 1000, $1)", UUID(old))
    end = timedelta(days=2)

    await keep_partitions(store, MONTH, passed=MONTH - timedelta(days=1))
    assert (await pipe.get(old)).id == old
    await keep_partitions(store, MONTH, passed=MONTH + end)

    assert "first" not in {each.name for each in await _there(store)}
    assert await store.fetch("SELECT FROM dispatch.log_marks") == []
    assert [await spread(store, table) for table in TABLES] == [{}, {}, {}, {}]
    assert (await pipe.send()).state == "SENT"


async def test_what_is_gone_is_not_in_the_total(store: Store, pipe: Pipe) -> None:
    """When every mark of a long past went with its partition, the total is what is left."""
    async with store.connection() as connection:
        head = first_id_at(datetime.now(UTC) - timedelta(days=40))
        await connection.execute("INSERT INTO dispatch.log_heads VALUES ('shop', 0, 50500, $1)", head)
        nothing = await log_book.find(connection, Filter(project_id="shop"), Page())
    await pipe.send()
    async with store.connection() as connection:
        one = await log_book.find(connection, Filter(project_id="shop"), Page())

    assert (nothing.total, nothing.is_estimate) == (0, False)
    assert (one.total, one.is_estimate, len(one.ids)) == (1, False, 1)


async def test_a_partition_with_a_message_in_work_stays(store: Store, pipe: Pipe) -> None:
    """However old: it goes when the message has ended."""
    held = asyncio.Event()
    pipe.script("A", held)
    made = await pipe.create()

    await keep_partitions(store, MONTH, passed=2 * MONTH)
    assert (await pipe.get(made.id)).id == made.id
    held.set()
    await pipe.becomes(made.id, "SENT")
    await keep_partitions(store, MONTH, passed=2 * MONTH)

    assert await store.fetch("SELECT FROM dispatch.messages") == []


async def test_accepting_never_waits_for_housekeeping_or_needs_it(store: Store, pipe: Pipe) -> None:
    """Without a partition a message goes into the rest; later ones have one again, and the rest is swept in time."""
    now = datetime.now(UTC)
    late = await move(store, (await pipe.send()).message_id, now + timedelta(days=40))
    assert await spread(store, "messages") == {"rest": 1}

    await keep_partitions(store, MONTH, passed=timedelta(days=40, minutes=1))
    after = await move(store, (await pipe.send()).message_id, now + timedelta(days=41))
    names = [each.name for each in await _there(store)]
    assert await spread(store, "messages") == {"rest": 1, names[-1]: 1}

    await keep_partitions(store, MONTH, passed=timedelta(days=70, hours=1))
    rows = await store.fetch("SELECT id FROM dispatch.messages")
    assert [row["id"] for row in rows] == [after] != [late]


async def test_what_is_past_its_retention_goes_though_no_partition_can_be_made(store: Store, pipe: Pipe) -> None:
    """Something in the way of the next partition, such as a clock that was wrong, keeps nothing else from its time."""
    now = datetime.now(UTC)
    await pipe.send()
    await keep_partitions(store, MONTH)
    ahead = await move(store, (await pipe.send()).message_id, now + timedelta(days=39))
    old = await move(store, (await pipe.send()).message_id, now + timedelta(days=3))
    async with store.transaction() as connection:
        await connection.execute("UPDATE dispatch.messages SET created_at = $2 WHERE id = $1", ahead, now)
    rows = await store.fetch("SELECT id FROM dispatch.messages WHERE id = $1", old)
    assert len(rows) == 1

    with pytest.raises(asyncpg.CheckViolationError):
        await keep_partitions(store, MONTH, passed=timedelta(days=38))

    rows = await store.fetch("SELECT id FROM dispatch.messages")
    assert [row["id"] for row in rows] == [old]
    assert "first" not in {each.name for each in await _there(store)}


async def test_receipts_go_with_their_messages_however_many(store: Store, pipe: Pipe) -> None:
    """More receipts than one transaction takes are gone after one round."""
    old = first_id_at(datetime.now(UTC) - 2 * MONTH)
    async with store.connection() as connection:
        await connection.execute(OLD_RECEIPTS, old, 2_500)
    await keep_partitions(store, MONTH)

    assert await store.fetchval("SELECT count(*) FROM dispatch.receipts") == 0


async def test_a_lock_is_waited_for_briefly(store: Store, pipe: Pipe, database_url: str) -> None:
    """While somebody reads, nothing is dropped, nobody else waits long, and nothing is left half done."""
    reader = await asyncpg.connect(database_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT FROM dispatch.events")
            with pytest.raises(DatabaseUnavailable):
                await keep_partitions(store, MONTH, passed=2 * MONTH)
            assert (await pipe.send()).state == "SENT"
            assert next(each.name for each in await _there(store)) == "first"
    finally:
        await reader.close()


async def test_one_dispatcher_at_a_time(store: Store) -> None:
    """While another one is at it, nothing is changed."""
    async with store.transaction() as connection:
        assert await partition_book.is_ours(connection)
        await keep_partitions(store, MONTH, passed=2 * MONTH)
        assert [each.name for each in await partition_book.there(connection)] == ["first"]


async def test_the_log_goes_on_over_partitions(store: Store, pipe: Pipe) -> None:
    """Marks and lists see all partitions as one table."""
    await keep_partitions(store, MONTH)
    now = datetime.now(UTC)
    moved = [await move(store, (await pipe.send()).message_id, now + timedelta(days=days)) for days in (-1, 3, 8)]
    await mark_log(store)

    listed = await store.fetch("SELECT id FROM dispatch.messages WHERE project_id = 'shop' ORDER BY id DESC LIMIT 2")
    counted = await store.fetchval("SELECT ordinal FROM dispatch.log_heads WHERE channel = 0")

    assert [row["id"] for row in listed] == moved[:0:-1]
    assert counted == 1


async def _there(store: Store) -> list[Partition]:
    async with store.connection() as connection:
        return await partition_book.there(connection)


async def test_only_the_partition_with_the_row_is_read(store: Store, database_url: str) -> None:
    """The kept plans of the batches look a row up in its own partition: the others are never executed."""
    await keep_partitions(store, MONTH, passed=timedelta(days=12))
    connection = await asyncpg.connect(database_url, server_settings=FOR_BATCHES)
    try:
        await connection.execute(f"PREPARE settle (uuid[], int[]) AS {SETTLE}")
        asked = f"ARRAY['{first_id_at(datetime.now(UTC))}'::uuid], ARRAY[1]"
        plan = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE settle ({asked})")
    finally:
        await connection.close()

    scans = [row[0] for row in plan if "Index Scan" in row[0]]
    assert len(scans) == 4
    assert ["never executed" in scan for scan in scans] == [False, True, True, True]


async def test_what_was_there_before_is_the_first_partition(postgres_server: str, tmp_path: Path) -> None:
    """The migration copies no message: the tables as they were hold their rows. What a clock put far ahead, and what is
    told of a provider, whose id carries no time, goes into the rest: else the first partition would never end.
    """
    older = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS["dispatch"], older)
    for newer in older.glob("versions/*.*"):
        if newer.name[:4] > "0007":
            newer.unlink()
    now = datetime.now(UTC)
    ids = [first_id_at(now - timedelta(days=90)), first_id_at(now + timedelta(days=90))]
    name = f"older_{uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_server)
    await server.execute(f"CREATE DATABASE {name}")
    dsn = with_database(postgres_server, name)
    try:
        await migrate(dsn, script_location=older, version_schema="dispatch")
        connection = await asyncpg.connect(dsn)
        await connection.execute(OLD_ROWS, ids)
        await connection.execute(OLD_EVENTS, [*ids, PROVIDER])
        before = await connection.fetchval("SELECT pg_relation_filenode('dispatch.messages'::regclass)")
        await migrate(dsn, script_location=MIGRATIONS["dispatch"], version_schema="dispatch")
        rows = await connection.fetch("SELECT id, tableoid::regclass::text AS lies FROM dispatch.messages ORDER BY id")
        told = await connection.fetch("SELECT message_id, tableoid::regclass::text FROM dispatch.events ORDER BY 1")
        after = await connection.fetchval("SELECT pg_relation_filenode('dispatch.messages_first'::regclass)")
        await connection.close()
        store = await Store.open(dsn, worker="w", lease_seconds=30, connections=6)
        await keep_partitions(store, MONTH)
        there = await _there(store)
        await store.close()
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()

    assert [tuple(row) for row in rows] == [(ids[0], "dispatch.messages_first"), (ids[1], "dispatch.messages_rest")]
    places = ["dispatch.events_first", "dispatch.events_rest", "dispatch.events_rest"]
    assert [tuple(row) for row in told] == list(zip([*ids, PROVIDER], places, strict=True))
    assert before == after
    assert len(there) > 1
    assert there[0].upper <= first_id_at(now + timedelta(days=2))
