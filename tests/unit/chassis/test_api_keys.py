"""What an API key looks like and whom it stands for; which keys work, and when nobody can tell."""

import asyncio
import math
from datetime import timedelta

import pytest

from services.chassis.api_key_roll import MAX_WAITING, ApiKeyRoll, Uses
from services.chassis.api_keys import ActiveKey, has_form, hash_of, key_invalid, new_key, prefix_of
from services.chassis.errors import ResourceExhausted, Unauthenticated, Unavailable
from tests.fakes.clock import START, FakeClock

SECRET = b"s" * 32
KEY, OTHER = "mzl_" + "a" * 40, "mzl_" + "b" * 40


def active(key: str = KEY, key_id: str = "k-1") -> ActiveKey:
    """An active key of project `shop`."""
    return ActiveKey(hash=hash_of(SECRET, key), id=key_id, project_id="shop")


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still."""
    return FakeClock()


@pytest.fixture
def roll(clock: FakeClock) -> ApiKeyRoll:
    """A roll with KEY, complete as of now, whose askers lose their patience soon."""
    made = ApiKeyRoll(clock, patience=0.05)
    made.begin(SECRET, [active()])
    made.complete_as_of(clock.boottime())
    return made


def test_a_new_key_has_the_form_and_is_another_each_time():
    """`mzl_` and 40 letters and digits; lists show twelve characters of it."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(has_form(key) and prefix_of(key) == key[:12] for key in keys)


@pytest.mark.parametrize(
    "text", ["", "mzl_", KEY[:-1], KEY + "a", KEY + "\n", " " + KEY, KEY.upper(), "mzl_" + "é" * 40]
)
def test_what_has_not_the_form_is_no_key(text: str):
    """Nothing before, nothing after, nothing else."""
    assert not has_form(text)


def test_a_key_stands_for_its_project_and_may_send_and_read():
    """Whatever its maker may do, and for as long as it works."""
    principal = active().principal
    assert principal.projects == frozenset({"shop"})
    assert principal.scopes == {"messages:send", "messages:read"}
    assert (principal.expires_at, principal.api_key) == (math.inf, "k-1")


def test_another_secret_makes_another_hash():
    """Who has the hashes and not the secret can not try keys."""
    assert hash_of(SECRET, KEY) != hash_of(b"t" * 32, KEY)
    assert len(hash_of(SECRET, KEY)) == 32


async def test_a_fresh_roll_answers_at_once(roll: ApiKeyRoll):
    """A key it holds is good; one that it does not hold is bad, as it is complete as of the question."""
    assert (await roll.find(KEY)).id == "k-1"
    with pytest.raises(Unauthenticated, match="not valid") as caught:
        await roll.find(OTHER)
    assert caught.value.reason == key_invalid().reason == "KEY_INVALID"


async def test_a_stale_roll_calls_nobody_good_or_bad(roll: ApiKeyRoll, clock: FakeClock):
    """After its time, until somebody says that it is complete."""
    clock.advance(0.91)
    for key in (KEY, OTHER):
        with pytest.raises(Unavailable) as caught:
            await roll.find(key)
        assert caught.value.retry_after == 1.0
    roll.complete_as_of(clock.boottime())
    assert (await roll.find(KEY)).id == "k-1"


async def test_a_key_that_is_not_held_waits_for_a_look_after_the_question(roll: ApiKeyRoll, clock: FakeClock):
    """It may have been made a moment ago: news as of before the question decides nothing."""
    clock.advance(0.1)
    asked = asyncio.create_task(roll.find(OTHER))
    await asyncio.sleep(0)
    roll.complete_as_of(0.05)
    await asyncio.sleep(0)
    assert not asked.done()
    roll.change([active(OTHER, "k-2")], [])
    roll.complete_as_of(0.1)
    assert (await asked).id == "k-2"


async def test_a_removed_key_is_bad_and_ends_what_is_open(roll: ApiKeyRoll):
    """Whoever waits for its end hears of it; of another key they hear nothing."""
    roll.change([active(OTHER, "k-2")], [])
    ends = [asyncio.create_task(roll.until_gone(key)) for key in ("k-1", "k-2")]
    await asyncio.sleep(0)
    roll.change([], [hash_of(SECRET, KEY)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [end.done() for end in ends] == [True, False]
    with pytest.raises(Unauthenticated):
        await roll.find(KEY)
    roll.begin(SECRET, [])
    await asyncio.wait_for(ends[1], 1)


async def test_what_is_open_ends_when_nobody_can_tell(roll: ApiKeyRoll, clock: FakeClock):
    """The roll is a second old: a key that was revoked meanwhile must not be told any more, through nobody's fault."""
    end = asyncio.create_task(roll.until_gone("k-1"))
    await asyncio.sleep(0)
    roll.complete_as_of(clock.boottime())
    await asyncio.sleep(0)
    assert not end.done()
    clock.advance(1.0)
    assert isinstance(await asyncio.wait_for(end, 3), Unavailable)
    assert isinstance(await roll.until_gone("k-9"), Unauthenticated)


async def test_a_roll_that_never_began_knows_nothing(clock: FakeClock):
    """Not even that a key is bad."""
    empty = ApiKeyRoll(clock, patience=0.01)
    empty.complete_as_of(1.0)
    with pytest.raises(Unavailable):
        await empty.find(KEY)


async def test_only_so_many_wait(clock: FakeClock):
    """Who tries made-up keys in masses is shed; a key that is held goes on."""
    crowded = ApiKeyRoll(clock, patience=5)
    crowded.begin(SECRET, [active()])
    waiting = [asyncio.create_task(crowded.find(new_key())) for _ in range(MAX_WAITING)]
    known = asyncio.create_task(crowded.find(KEY))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):
        await crowded.find(OTHER)
    crowded.complete_as_of(clock.boottime())
    assert (await known).id == "k-1"
    assert {type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)} == {Unauthenticated}


def test_uses_are_given_out_once_a_minute():
    """The first at once, those after it when the minute is over; nothing that was not written is forgotten."""
    uses, later = Uses(), START + timedelta(seconds=30)
    uses.saw("k-1", START)
    assert uses.due(START) == uses.due(START) == {"k-1": START}
    uses.wrote({"k-1": START})
    assert uses.due(START) == {}
    assert uses.due(START + timedelta(hours=1)) == {}
    uses.saw("k-1", START)
    uses.wrote({"k-1": START})
    uses.saw("k-1", later)
    assert uses.due(later) == {}
    assert uses.due(START + timedelta(seconds=60)) == {"k-1": later}
    uses.saw("k-1", START + timedelta(seconds=61))
    uses.wrote({"k-1": later})
    assert uses.due(START + timedelta(seconds=90)) == {"k-1": START + timedelta(seconds=61)}


async def test_nothing_shows_a_key(roll: ApiKeyRoll):
    """Neither the roll nor an error says what it was asked."""
    with pytest.raises(Unauthenticated) as caught:
        await roll.find(OTHER)
    assert OTHER not in repr(roll) + repr(caught.value) + str(caught.value.metadata)
