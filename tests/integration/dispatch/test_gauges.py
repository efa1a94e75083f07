"""What is shown of the queue and of leases: right when much waits, and as cheap as when nothing does."""

import json
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.chassis.clock import SystemClock
from services.chassis.telemetry_prometheus import PrometheusMeter
from services.dispatch import queue_book
from services.dispatch.gauges import LOOK_EVERY, QueueWatch, show_queue
from services.dispatch.store import Store
from tests.fakes.clock import FakeClock
from tests.integration.dispatch.queue_rows import queued, shard_id
from tests.integration.rig import eventually, rig

LEASE = 1.0


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store that nobody works with."""
    store = await Store.open(database_url, worker="nobody", lease_seconds=30.0, connections=4)
    yield store
    await store.close()


def value(text: str, name: str) -> float | None:
    """The only sample of this name; None when there is none."""
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]
    return samples[0].value if samples else None


async def test_what_is_due_is_counted_and_what_is_held_is_not(connection: asyncpg.Connection, store: Store) -> None:
    """Due are messages that anybody may take now; those in a living lease and those of later are not."""
    await queued(connection, [shard_id(number, 1) for number in range(1, 4)], due_in=-90)
    await queued(connection, [shard_id(4, 1)], due_in=60)
    await queued(connection, [shard_id(5, 1)], due_in=30, worker="alive", epoch=1, claims=1)
    clock, meter = FakeClock(), PrometheusMeter()
    show_queue(meter, QueueWatch(store.connection, clock))
    text = (await meter.scrape()).decode()
    assert value(text, "messagepipe_queue_due_messages") == 3
    age = value(text, "messagepipe_queue_oldest_due_seconds")
    assert age is not None
    assert 90 <= age < 120


async def test_the_queue_is_asked_at_most_every_few_seconds(connection: asyncpg.Connection, store: Store) -> None:
    """However often somebody scrapes, the database is asked once in LOOK_EVERY seconds."""
    clock, meter = FakeClock(), PrometheusMeter()
    show_queue(meter, QueueWatch(store.connection, clock))
    await meter.scrape()
    await queued(connection, [shard_id(1, 1)])
    clock.advance(LOOK_EVERY - 0.1)
    assert value((await meter.scrape()).decode(), "messagepipe_queue_due_messages") == 0
    clock.advance(0.1)
    assert value((await meter.scrape()).decode(), "messagepipe_queue_due_messages") == 1


async def test_a_database_that_is_away_shows_nothing(database_url: str) -> None:
    """The scrape goes on without the queue: no number is better than an old one."""
    store = await Store.open(database_url, worker="nobody", lease_seconds=30.0, connections=4)
    meter = PrometheusMeter()
    show_queue(meter, QueueWatch(store.connection, SystemClock()))
    await store.close()
    text = (await meter.scrape()).decode()
    assert value(text, "messagepipe_queue_due_messages") is None
    assert "process_cpu_seconds_total" in text


async def test_a_long_queue_costs_no_more_than_what_is_counted(connection: asyncpg.Connection) -> None:
    """Of forty thousand due messages a quarter is counted, and no more of the index is read than that."""
    await connection.execute(
        "INSERT INTO dispatch.queue (id, due_at, epoch, project_id)"
        " SELECT gen_random_uuid(), now() - n * interval '1 second', 0, 'shop' FROM generate_series(1, 40000) AS n"
    )
    await connection.execute("VACUUM ANALYZE dispatch.queue")
    state = await queue_book.look(connection)
    (plan,) = json.loads(
        await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queue_book._LOOK}", queue_book.MOST_COUNTED
        )
    )
    buffers = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert state.due == queue_book.MOST_COUNTED
    assert 39_990 < state.oldest_due < 40_100
    assert "Seq Scan" not in json.dumps(plan)
    assert buffers < 200


async def test_leases_of_the_dead_are_counted_as_rescued(database_url: str, connection: asyncpg.Connection) -> None:
    """Each message of a dispatcher that died counts once where it is taken over; one that was only due does not."""
    async with rig(database_url, lease_seconds=LEASE, dispatch_metrics_port=0) as pipe:
        await pipe.chain("A")
        await queued(connection, [shard_id(number, 1) for number in (1, 2)], claims=1, worker="dead", epoch=1)
        await queued(connection, [shard_id(3, 1)])

        async def all_ended() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM dispatch.queue")

        await eventually(all_ended)
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"http://127.0.0.1:{pipe.dispatch.metrics_port}/metrics")).text
    assert value(text, "messagepipe_leases_rescued_total") == 2
    assert value(text, "messagepipe_leases_lost_total") == 0
