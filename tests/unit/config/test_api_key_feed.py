"""What dispatchers are told about API keys, and when their word is enough."""

import asyncio

import pytest

from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.api_keys import ActiveKey, hash_of, new_key
from services.chassis.errors import ResourceExhausted, Unavailable
from services.config.api_key_feed import (
    KEYS_PER_ANSWER,
    MAX_UNSENT,
    SILENCE_SECONDS,
    ApiKeyFeed,
    Keys,
    RollAnswer,
    RollWatcher,
)
from tests.fakes.clock import FakeClock

SECRET = b"s" * 32


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def feed(clock: FakeClock) -> ApiKeyFeed:
    """A feed that has not looked yet, and loses its patience soon."""
    return ApiKeyFeed(ApiKeyRoll(clock), SECRET, clock, patience=0.05)


def keys(*numbers: int) -> Keys:
    """Some active keys."""
    made = (ActiveKey(hash=hash_of(SECRET, str(each)), id=str(each), project_id="shop") for each in numbers)
    return {key.hash: key for key in made}


async def told(watcher: RollWatcher) -> list[RollAnswer]:
    """Everything that waits for the dispatcher by now."""
    found: list[RollAnswer] = []
    answers = watcher.answers()
    while True:
        try:
            async with asyncio.timeout(0.01):
                found.append(await anext(answers))
        except TimeoutError:
            return found


async def test_a_dispatcher_is_told_the_whole_roll_then_changes(feed: ApiKeyFeed):
    """The secret first; what a look has found comes with the word that had come in before that look."""
    feed.changed(feed.ask(), 1, keys(1, 2))
    with feed.watch() as watcher:
        watcher.hear(1, 0)
        feed.same(feed.ask())
        first, *_, last = await told(watcher)
        assert (first.secret, last.heard, last.version) == (SECRET, 1, 1)
        assert {key.id for key in last.added} == {"1", "2"}
        question = feed.ask()
        watcher.hear(2, 1)
        feed.changed(question, 2, keys(2, 3))
        (answer,) = await told(watcher)
        assert (answer.heard, answer.version) == (1, 2)
        assert ([key.id for key in answer.added], answer.removed) == (["3"], tuple(keys(1)))


async def test_a_large_roll_comes_in_parts(feed: ApiKeyFeed):
    """None of which says that it is complete."""
    feed.changed(feed.ask(), 1, keys(*range(KEYS_PER_ANSWER + 1)))
    with feed.watch() as watcher:
        answers = await told(watcher)
        assert [len(answer.added) for answer in answers] == [0, KEYS_PER_ANSWER, 1]
        assert {answer.heard for answer in answers} == {0}


async def test_that_nothing_changed_is_told_once(feed: ApiKeyFeed):
    """To a dispatcher that does not read: the newest word counts, and nothing gathers."""
    feed.changed(feed.ask(), 1, keys(1))
    with feed.watch() as watcher:
        await told(watcher)
        for word in range(1, 10):
            watcher.hear(word, 1)
            feed.same(feed.ask())
        assert [answer.heard for answer in await told(watcher)] == [9]


async def test_a_write_waits_for_every_dispatcher_s_word(feed: ApiKeyFeed):
    """Not for those that are gone, and not longer than its patience."""
    feed.changed(feed.ask(), 1, keys(1))
    with feed.watch() as quick, feed.watch() as slow:
        writing = asyncio.create_task(feed.settle(2))
        await asyncio.sleep(0)
        assert feed.look_now.is_set()
        feed.changed(feed.ask(), 2, {})
        quick.hear(1, 2)
        feed.moved()
        await asyncio.sleep(0.01)
        assert not writing.done()
        slow.hear(1, 2)
        feed.moved()
        assert await writing
        assert not await feed.settle(3)
    feed.changed(feed.ask(), 3, {})
    assert await feed.settle(3)


async def test_who_falls_behind_has_to_begin_anew(feed: ApiKeyFeed, clock: FakeClock):
    """By silence, or by not reading what changed."""
    with feed.watch() as silent:
        clock.advance(SILENCE_SECONDS + 1)
        feed.same(feed.ask())
        with pytest.raises(ResourceExhausted):
            await anext(silent.answers())
    with feed.watch() as slow:
        for number in range(MAX_UNSENT + 1):
            feed.changed(feed.ask(), number + 2, keys(number))
        with pytest.raises(ResourceExhausted):
            await anext(slow.answers())


async def test_nobody_watches_a_closed_feed(feed: ApiKeyFeed):
    """Who does, and who comes later, is let go at once."""
    with feed.watch() as before:
        feed.close()
        with feed.watch() as after:
            for watcher in (before, after):
                assert [answer async for answer in watcher.answers()] == []


async def test_its_own_roll_is_as_new_as_its_looks(clock: FakeClock):
    """Complete as of the moment a look was begun."""
    roll, key = ApiKeyRoll(clock, patience=0.01), new_key()
    feed = ApiKeyFeed(roll, SECRET, clock)
    question = feed.ask()
    clock.advance(0.5)
    feed.changed(question, 1, {(hashed := hash_of(SECRET, key)): ActiveKey(hash=hashed, id="1", project_id="shop")})
    assert (await roll.find(key)).id == "1"
    clock.advance(0.5)
    with pytest.raises(Unavailable):
        await roll.find(key)
    feed.same(feed.ask())
    assert (await roll.find(key)).id == "1"
    assert SECRET.decode() not in repr(RollAnswer(secret=SECRET))
