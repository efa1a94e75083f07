"""Which dispatchers live, and how they share the queue, against a real PostgreSQL."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from services.dispatch.message import SHARDS, shard_of
from services.dispatch.peers import Peers, Share
from services.dispatch.store import Store
from services.dispatch.turns import Turns
from tests.fakes.clock import FakeClock
from tests.integration.dispatch.queue_rows import queued, shard_id


@pytest.fixture
async def store(database_url):
    """A store of one dispatcher."""
    opened = await Store.open(database_url, worker="any", lease_seconds=30.0, connections=4)
    yield opened
    await opened.close()


@pytest.fixture
async def connection(database_url):
    """A connection of the test's own."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


def peer(store: Store, name: str) -> Peers:
    """One dispatcher that says that it lives."""
    return Peers(store.transaction, FakeClock(), name=name)


async def test_everybody_who_lives_has_a_rank(store: Store) -> None:
    """Dispatchers rank themselves by name; each has one rank, and all know how many they are."""
    peers = [peer(store, name) for name in ("b", "c", "a")]
    assert [(each.rank, each.count) for each in peers] == [(0, 1)] * 3
    for _ in range(2):
        await asyncio.gather(*(each.beat() for each in peers))

    assert [(each.rank, each.count) for each in peers] == [(1, 3), (2, 3), (0, 3)]


async def test_who_is_silent_does_not_count(store: Store, connection: asyncpg.Connection) -> None:
    """After five silent seconds a dispatcher has no share any more; after a minute nothing is left of it; one that was
    only paused comes back by itself.
    """
    paused, alive = peer(store, "a"), peer(store, "b")
    await paused.beat()
    await alive.beat()
    assert alive.share == Share(1, 2)
    await connection.execute("UPDATE dispatch.workers SET seen_at = now() - interval '6 seconds' WHERE name = 'a'")
    await alive.beat()
    assert alive.share == Share(0, 1)
    await paused.beat()
    await alive.beat()
    assert alive.share == Share(1, 2)

    await connection.execute("UPDATE dispatch.workers SET seen_at = now() - interval '61 seconds' WHERE name = 'a'")
    await alive.beat()
    assert [row["name"] for row in await connection.fetch("SELECT name FROM dispatch.workers")] == ["b"]


async def test_who_stops_gives_its_share_up_at_once(store: Store) -> None:
    """A dispatcher that drains is not counted any more, though it still beats."""
    leaving, staying = peer(store, "a"), peer(store, "b")
    await leaving.beat()
    await leaving.leave()
    await leaving.beat()
    await staying.beat()

    assert staying.share == Share(0, 1)


async def test_beating_outlives_the_database(store: Store, database_url: str) -> None:
    """While the database is away, what is known of the others stays known."""
    first, second = peer(store, "a"), peer(store, "b")
    await first.beat()
    await second.beat()
    gone = await Store.open(database_url, worker="gone", lease_seconds=30.0, connections=4)
    await gone.close()
    cut_off = Peers(gone.transaction, FakeClock(), name="b")
    await cut_off.beat()
    await cut_off.leave()

    assert cut_off.share == Share(0, 1)
    assert second.share == Share(1, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
async def test_every_shard_is_somebodys_and_nobody_elses(
    store: Store, connection: asyncpg.Connection, count: int
) -> None:
    """The shares of any number of dispatchers are ranges that cover all 1,024 shards without overlap."""
    ids = [shard_id(number, shard) for number, shard in enumerate(range(SHARDS), start=1)]
    await queued(connection, ids)

    taken: list[set[int]] = []
    for rank in range(count):
        found: set[UUID] = set()
        while claims := await store.claim(Turns(limit=200), Share(rank, count)):
            found |= {claim.id for claim in claims}
        taken.append({shard_of(each) for each in found})

    assert sorted(shard for part in taken for shard in part) == list(range(SHARDS))
    assert all(max(part) - min(part) == len(part) - 1 for part in taken)


async def test_what_nobody_took_for_a_second_is_everybodys(store: Store, connection: asyncpg.Connection) -> None:
    """A share whose dispatcher died or is busy is not left lying: after a second anybody takes it."""
    mine, others = shard_id(1, 0), shard_id(2, SHARDS - 1)
    await queued(connection, [mine, others])
    assert [claim.id for claim in await store.claim(Turns(limit=10), Share(0, 2))] == [mine]
    await connection.execute("UPDATE dispatch.queue SET due_at = now() - interval '1 second' WHERE id = $1", others)

    assert [claim.id for claim in await store.claim(Turns(limit=10), Share(0, 2))] == [others]
