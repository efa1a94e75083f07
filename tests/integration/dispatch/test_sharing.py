"""Several dispatchers on one database: they share the work, and each rescues what another one left."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from services.adapters.base import Channel
from services.chassis.env import SecretText
from services.dispatch.app import RunningDispatch, open_dispatch
from services.dispatch.message import SHARDS
from services.dispatch.settings import DispatchSettings
from services.dispatch.store import Store
from tests.integration.dispatch.queue_rows import queued, shard_id
from tests.integration.dispatch.test_leases import an_open_attempt, leased, step
from tests.integration.rig import Pipe, auth_settings, eventually, rig

LEASE = 2.0


@asynccontextmanager
async def further(pipe: Pipe, database_url: str, count: int) -> AsyncIterator[list[RunningDispatch]]:
    """So many dispatchers more on the same database, with the same adapters."""
    settings = DispatchSettings(
        database_url=SecretText(database_url),
        auth=auth_settings(),
        dispatch_port=0,
        config_target=pipe.config_address,
        lease_seconds=LEASE,
        drain_grace=2.0,
        database_connections=4,
    )
    by_kind = {(Channel.EMAIL, adapter.spec.kind): adapter for adapter in pipe.adapters.values()}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(open_dispatch(settings, adapters=by_kind, readers={})) for _ in range(count)
        ]


async def test_three_dispatchers_rescue_within_a_lease_and_five_seconds(database_url: str) -> None:
    """Whatever a dead dispatcher held, in every share and its own among them, with attempts open and without, has ended
    five seconds after its lease at the latest; nothing is called twice.
    """
    connection = await asyncpg.connect(database_url)
    dead = await Store.open(database_url, worker="dead", lease_seconds=LEASE, connections=4)
    async with rig(database_url, lease_seconds=LEASE) as pipe:
        await pipe.chain("A")
        async with further(pipe, database_url, 2):
            # It lived a moment ago: its share is still taken for its own.
            await connection.execute("INSERT INTO dispatch.workers (name) VALUES ('dead')")
            ids = [shard_id(number, number * 16 % SHARDS) for number in range(1, 61)]
            begun = time.monotonic()
            await queued(connection, ids, claims=1, worker="dead", epoch=1, due_in=LEASE)
            opened = await leased(dead)
            assert (await dead.apply(step(opened, opens=an_open_attempt(pipe.ids["A"])))).held

            async def all_ended() -> bool:
                return not await connection.fetchval("SELECT count(*) FROM dispatch.queue")

            await eventually(all_ended, seconds=30)
            took = time.monotonic() - begun
            states = await connection.fetch("SELECT state, count(*) FROM dispatch.completions GROUP BY 1 ORDER BY 1")
    await dead.close()
    await connection.close()

    assert LEASE <= took <= LEASE + 5
    assert [tuple(row) for row in states] == [(3, 60), (9, 1)]
    assert len(pipe.adapters["A"].calls) == 60


async def test_messages_that_become_due_are_everybodys_work(database_url: str) -> None:
    """Three dispatchers that idle: what becomes due is taken by each of them from its own range of shards."""
    connection = await asyncpg.connect(database_url)
    async with rig(database_url, lease_seconds=LEASE) as pipe:
        await pipe.chain("A")
        answer = asyncio.Event()
        pipe.script("A", answer)
        async with further(pipe, database_url, 2):

            async def all_known() -> bool:
                return bool(await connection.fetchval("SELECT count(*) = 3 FROM dispatch.workers"))

            await eventually(all_known)
            await asyncio.sleep(1.5)  # everybody has beaten once more and has seen the others
            await queued(connection, [shard_id(number, number * 16 % SHARDS) for number in range(1, 61)], due_in=0.1)
            await eventually(lambda: len(pipe.adapters["A"].calls) == 60)
            rows = await connection.fetch("SELECT worker, count(*) FROM dispatch.queue GROUP BY worker")
            answer.set()

            async def all_ended() -> bool:
                return not await connection.fetchval("SELECT count(*) FROM dispatch.queue")

            await eventually(all_ended)
    await connection.close()

    assert len(rows) == 3
    assert all(15 <= row["count"] <= 25 for row in rows)


async def test_who_left_is_not_waited_for(database_url: str) -> None:
    """A dispatcher that drains takes itself off the list: nobody keeps a share for it."""
    connection = await asyncpg.connect(database_url)
    async with rig(database_url, lease_seconds=LEASE) as pipe:
        async with further(pipe, database_url, 1):
            pass
        assert await connection.fetchval("SELECT count(*) FROM dispatch.workers") == 1
    assert await connection.fetchval("SELECT count(*) FROM dispatch.workers") == 0
    await connection.close()


async def test_one_statement_renews_every_lease(database_url: str) -> None:
    """Five hundred leases are renewed by one UPDATE, and only those that are still ours."""
    connection = await asyncpg.connect(database_url)
    store = await Store.open(database_url, worker="one", lease_seconds=30.0, connections=4)
    ids = [shard_id(number, number % SHARDS) for number in range(1, 501)]
    await queued(connection, ids, claims=1, worker="one", epoch=1, due_in=5)
    await connection.execute("UPDATE dispatch.queue SET epoch = 2, worker = 'other' WHERE id = $1", ids[0])
    told: list[str] = []
    inner = store._pool

    async with inner.acquire() as first, inner.acquire() as second:
        for each in (first, second):
            each.add_query_logger(lambda record: told.append(record.query))
    renewed = await store.renew(dict.fromkeys(ids, 1))
    ends = await connection.fetch(
        "SELECT due_at - now() > interval '20 seconds' AS longer FROM dispatch.queue ORDER BY id"
    )
    await store.close()
    await connection.close()

    assert renewed == frozenset(ids[1:])
    assert [row["longer"] for row in ends] == [False] + [True] * 499
    assert len([query for query in told if "dispatch." in query]) == 1
