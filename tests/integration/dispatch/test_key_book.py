"""Idempotency keys against a real PostgreSQL: who is first, what the others are answered, and when a key is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.chassis.errors import ServiceError
from services.dispatch import history as tell
from services.dispatch import key_book
from services.dispatch.convert import message_from_spec
from services.dispatch.errors import IdempotencyKeyReused
from services.dispatch.housekeeping import sweep_keys
from services.dispatch.idempotency import Key, Standing, key_of
from services.dispatch.ledger import Acceptance
from services.dispatch.message import Message, new_message_id
from services.dispatch.store import Store
from tests.integration.rig import EMAIL, PROJECT


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[list[Store]]:
    """Two dispatchers' stores on one database."""
    async with AsyncExitStack() as stack:
        opened = [await Store.open(database_url, worker=name, lease_seconds=30.0, connections=4) for name in ("a", "b")]
        for each in opened:
            stack.push_async_callback(each.close)
        yield opened


@pytest.fixture
async def store(stores: list[Store]) -> Store:
    """The first of them."""
    return stores[0]


def an_acceptance(store: Store, now: Any, key: str = "", project: str = PROJECT, **fields: Any) -> Acceptance:
    """A message about to be accepted under a key."""
    given = {"to": "ada@example.com", "subject": "Hello", "text": "Hello", "idempotency_key": key, **fields}
    spec = message_pb2.MessageSpec(channel=EMAIL, **given)
    message = message_from_spec(spec, message_id=new_message_id(now), project_id=project, now=now)
    assert isinstance(message, Message)
    events = tell.numbered(0, [tell.queued(message.deadline)])
    return Acceptance(
        message=message,
        spec=spec.SerializeToString(),
        labels=b"",
        events=events,
        worker=store.worker,
        key=key_of(spec, project),
    )


async def count(store: Store, statement: str) -> int:
    """What a query counts."""
    async with store.transaction() as connection:
        found: int = await connection.fetchval(statement)
    return found


async def end(store: Store, key: str) -> None:
    """The key's time is over."""
    async with store.transaction() as connection:
        done = await connection.execute(
            "UPDATE dispatch.idempotency_keys SET expires_at = now() - interval '1 second' WHERE key = $1", key
        )
    assert done == "UPDATE 1"


async def test_a_repeat_is_the_same_message(store: Store) -> None:
    """A second request with the key and the content gets the first one's id and times, and writes nothing."""
    now = await store.now()
    first = await store.accept(an_acceptance(store, now, "k"))
    again = await store.accept(an_acceptance(store, now, "k"))

    assert (first.replayed, again.replayed) == (False, True)
    assert again == Standing(
        message_id=first.message_id, created_at=first.created_at, deadline=first.deadline, replayed=True
    )
    for table in ("messages", "queue", "events"):
        assert await count(store, f"SELECT count(*) FROM dispatch.{table}") == 1


async def test_another_content_is_refused(store: Store) -> None:
    """The key with another content is refused and accepts nothing; in another project it is another key."""
    now = await store.now()
    await store.accept(an_acceptance(store, now, "k"))

    with pytest.raises(IdempotencyKeyReused):
        await store.accept(an_acceptance(store, now, "k", subject="Another"))

    assert await count(store, "SELECT count(*) FROM dispatch.messages") == 1
    assert not (await store.accept(an_acceptance(store, now, "k", project="other", subject="Another"))).replayed


async def test_one_batch_with_everything(store: Store) -> None:
    """In one commit: new keys, repeats within the batch and of earlier ones, other contents; each is answered alone."""
    now = await store.now()
    earlier = await store.accept(an_acceptance(store, now, "old"))
    batch = [
        an_acceptance(store, now, "new"),
        an_acceptance(store, now, "old"),
        an_acceptance(store, now, "new"),
        an_acceptance(store, now, "new", subject="Another"),
        an_acceptance(store, now, "old", subject="Another"),
        an_acceptance(store, now, "newer", subject="Another"),
    ]

    async with store.transaction() as connection:
        answers = await key_book.accept(connection, batch, 30.0, 168)

    new, old, repeat, wrong, wrong_old, newer = answers
    assert isinstance(new, Standing)
    assert isinstance(repeat, Standing)
    assert isinstance(old, Standing)
    assert isinstance(newer, Standing)
    assert (new.message_id, new.replayed) == (batch[0].message.id, False)
    assert (repeat.message_id, repeat.replayed) == (batch[0].message.id, True)
    assert (old.message_id, old.replayed) == (earlier.message_id, True)
    assert (newer.message_id, newer.replayed) == (batch[5].message.id, False)
    assert isinstance(wrong, IdempotencyKeyReused)
    assert isinstance(wrong_old, IdempotencyKeyReused)
    assert await count(store, "SELECT count(*) FROM dispatch.messages") == 3


async def test_what_is_not_committed_leaves_no_key(store: Store) -> None:
    """A crash between the key and its message leaves neither: the next request is the first."""
    now = await store.now()
    async with store.transaction() as connection:
        await key_book.accept(connection, [an_acceptance(store, now, "k")], 30.0, 168)
        await connection.execute("ROLLBACK; BEGIN")

    assert await count(store, "SELECT count(*) FROM dispatch.idempotency_keys") == 0
    assert not (await store.accept(an_acceptance(store, now, "k"))).replayed


async def test_who_comes_second_waits_for_the_first_and_can_read_it(stores: list[Store]) -> None:
    """While another process's commit of the same key is open the second one waits; then it answers that message."""
    one, two = stores
    now = await one.now()
    async with one.transaction() as connection:
        (first,) = await key_book.accept(connection, [an_acceptance(one, now, "k")], 30.0, 168)
        second = asyncio.create_task(two.accept(an_acceptance(two, now, "k")))
        while not await count(one, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        # Nobody without a key waits with it.
        async with asyncio.timeout(2):
            await two.accept(an_acceptance(two, now))
        assert not second.done()

    assert isinstance(first, Standing)
    answer = await second
    assert (answer.message_id, answer.replayed) == (first.message_id, True)
    assert await two.events_after(answer.message_id, 0)


async def test_if_the_first_fails_the_second_is_the_first(stores: list[Store]) -> None:
    """When the first one's transaction is undone, whoever waited for it accepts."""
    one, two = stores
    now = await one.now()

    async def fail() -> asyncio.Task[Standing]:
        async with one.transaction() as connection:
            await key_book.accept(connection, [an_acceptance(one, now, "k")], 30.0, 168)
            second = asyncio.create_task(two.accept(an_acceptance(two, now, "k")))
            while not await count(one, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await connection.execute("ROLLBACK; BEGIN")
        return second

    assert not (await (await fail())).replayed


async def test_many_callers_of_two_processes(stores: list[Store]) -> None:
    """50 callers with the same 500 keys in two processes, each in an order of its own: one message per key, the same
    answer for everybody, no deadlock.
    """
    now = await stores[0].now()
    asked = [an_acceptance(stores[0], now, f"key-{number}", subject=f"{number}") for number in range(500)]

    async def call(store: Store, each: Acceptance) -> Standing:
        message = replace(each.message, id=new_message_id(now))
        return await store.accept(replace(each, message=message, worker=store.worker))

    async def caller(number: int) -> list[Standing]:
        mine = asked[number * 10 :] + asked[: number * 10]
        if number % 3 == 0:
            mine.reverse()
        # A hundred at a time: more than 10,000 that wait would be refused.
        chunks = [mine[start : start + 100] for start in range(0, 500, 100)]
        store = stores[number % 2]
        return [each for chunk in chunks for each in await asyncio.gather(*(call(store, one) for one in chunk))]

    answers = [answer for told in await asyncio.gather(*(caller(number) for number in range(50))) for answer in told]

    assert len(answers) == 25_000
    assert len({answer.message_id for answer in answers}) == 500
    assert sum(not answer.replayed for answer in answers) == 500
    assert await count(stores[0], "SELECT count(*) FROM dispatch.messages") == 500
    assert await count(stores[0], "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


async def test_batches_that_share_keys_in_other_orders_do_not_deadlock(stores: list[Store]) -> None:
    """Two processes write the same keys at once, each in an order of its own, again and again; nobody is the victim."""
    now = await stores[0].now()

    async def write(store: Store, turn: int, *, backwards: bool) -> None:
        batch = [an_acceptance(store, now, f"{turn}-{number}") for number in range(100)]
        if backwards:
            batch.reverse()
        async with store.transaction() as connection:
            await key_book.accept(connection, batch, 30.0, 168)

    for turn in range(20):
        await asyncio.gather(
            *(write(store, turn, backwards=place == 1) for place, store in enumerate(stores)),
        )

    assert await count(stores[0], "SELECT count(*) FROM dispatch.messages") == 2000


async def test_a_replay_waits_for_the_standbys_as_any_write(store: Store) -> None:
    """Who only finds an earlier message has written too (a lock): so its commit waits for the standbys like any."""
    now = await store.now()
    await store.accept(an_acceptance(store, now, "k"))

    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT pg_current_xact_id_if_assigned()") is None
        await key_book.accept(connection, [an_acceptance(store, now, "k")], 30.0, 168)
        assert await connection.fetchval("SELECT pg_current_xact_id_if_assigned()") is not None


async def test_without_a_key_no_key_is_looked_for(store: Store) -> None:
    """A message without a key is accepted by the one statement it always was: the keys need not even be there."""
    async with store.transaction() as connection:
        await connection.execute("DROP TABLE dispatch.idempotency_keys")

    assert not (await store.accept(an_acceptance(store, await store.now()))).replayed


async def test_a_key_whose_time_is_over_is_new(store: Store) -> None:
    """Before it is swept already: another content is accepted and holds the key from then on."""
    now = await store.now()
    await store.accept(an_acceptance(store, now, "k"))
    await end(store, "k")

    changed = await store.accept(an_acceptance(store, now, "k", subject="Another"))
    again = await store.accept(an_acceptance(store, now, "k", subject="Another"))

    assert (changed.replayed, again.replayed, again.message_id) == (False, True, changed.message_id)


async def test_a_key_is_kept_as_long_as_the_setting_says(database_url: str) -> None:
    """MESSAGEPIPE_IDEMPOTENCY_HOURS from its commit."""
    store = await Store.open(database_url, worker="w", lease_seconds=30.0, connections=4, idempotency_hours=24)
    accepted = await store.accept(an_acceptance(store, await store.now(), "k"))
    async with store.transaction() as connection:
        expires = await connection.fetchval("SELECT expires_at FROM dispatch.idempotency_keys")
    await store.close()

    assert (expires - accepted.created_at).total_seconds() == 24 * 3600


async def test_only_what_is_over_is_swept(store: Store) -> None:
    """Expired keys go, in batches; the others and all messages stay."""
    now = await store.now()
    count_of = key_book.SWEEP_ROWS + 10
    await asyncio.gather(*(store.accept(an_acceptance(store, now, f"k{number}")) for number in range(count_of)))
    async with store.transaction() as connection:
        await connection.execute("UPDATE dispatch.idempotency_keys SET expires_at = now() WHERE key <> 'k7'")

    assert await sweep_keys(store) == count_of - 1
    assert await count(store, "SELECT count(*) FROM dispatch.idempotency_keys WHERE key = 'k7'") == 1
    assert await count(store, "SELECT count(*) FROM dispatch.messages") == count_of


async def test_a_key_that_is_taken_over_is_not_swept(stores: list[Store]) -> None:
    """The sweeper passes by what somebody holds instead of waiting for it."""
    one, two = stores
    now = await one.now()
    await one.accept(an_acceptance(one, now, "k"))
    await end(one, "k")
    async with one.transaction() as connection:
        await key_book.accept(connection, [an_acceptance(one, now, "k")], 30.0, 168)
        async with asyncio.timeout(2):
            assert await sweep_keys(two) == 0

    assert (await two.accept(an_acceptance(two, now, "k"))).replayed


async def test_a_message_that_the_database_refuses_does_not_take_the_others_along(store: Store) -> None:
    """One bad item of a batch fails alone, and leaves no key."""
    now = await store.now()
    good, bad = an_acceptance(store, now, "good"), an_acceptance(store, now, "bad", text="Bad")
    await store.accept(an_acceptance(store, now, "first"))
    async with store.transaction() as connection:
        await connection.execute(
            "ALTER TABLE dispatch.messages ADD CONSTRAINT t CHECK (position('Bad'::bytea IN spec) = 0)"
        )

    answers = await asyncio.gather(store.accept(good), store.accept(bad), return_exceptions=True)

    assert isinstance(answers[0], Standing)
    assert isinstance(answers[1], asyncpg.CheckViolationError)
    assert await count(store, "SELECT count(*) FROM dispatch.idempotency_keys WHERE key = 'bad'") == 0


async def test_the_key_of_a_whole_request(store: Store) -> None:
    """A bulk request's key stands for it again and again, for nothing else, and no message has it."""
    now = await store.now()

    async def bind(fingerprint: bytes) -> None:
        async with store.transaction() as connection:
            await key_book.bind(connection, PROJECT, Key("k", fingerprint), 168)

    await bind(b"one")
    await bind(b"one")
    with pytest.raises(IdempotencyKeyReused):
        await bind(b"two")
    with pytest.raises(ServiceError, match="another content"):
        await store.accept(an_acceptance(store, now, "k"))
