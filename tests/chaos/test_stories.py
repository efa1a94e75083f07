"""Short stories of the world in miniature, one for each thing that a long walk meets too rarely to be relied upon."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from services.adapters.receipts import ReceiptStatus
from tests.chaos.invariants import hold
from tests.chaos.miniature import KEY_HOURS, LEASE_SECONDS
from tests.chaos.pair import fail_next, fail_no_more
from tests.chaos.world import World

Story = Callable[[World], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture
def play(world: tuple[World, asyncio.Runner]) -> Iterator[Play]:
    """Plays a story from an empty database; the invariants hold at its end."""
    made, runner = world
    runner.run(made.begin_anew())

    async def played(story: Story) -> None:
        await story(made)
        await hold(made)

    yield lambda story: runner.run(played(story))
    fail_no_more()
    runner.run(made.end())


async def accept(world: World, place: int = 0, *, at_most_once: bool = False, again: bool = False) -> None:
    """A message of the plainest kind."""
    await world.accept(place, at_most_once=at_most_once, tries=1, again=again, ttl=3600)


@pytest.mark.parametrize("at_most_once", [False, True])
def test_a_bounce_followed_by_delivered_excuses_the_second_acceptance(play: Play, at_most_once: bool) -> None:
    """What a receipt refused may be taken by another provider, though it is said to have arrived after all."""

    async def story(world: World) -> None:
        await accept(world, at_most_once=at_most_once, again=True)
        await world.answer(0, "accepted")
        await world.receipt(0, ReceiptStatus.BOUNCED_SOFT)
        await world.advance(2)
        await world.claim(0)
        await world.answer(0, "accepted")
        await world.receipt(0, ReceiptStatus.DELIVERED)
        assert len(world.calls) == 2

    play(story)


def test_who_was_taken_over_from_renews_nothing(play: Play) -> None:
    """A process that wakes up after its lease renews no lease of the one that has the message now."""

    async def story(world: World) -> None:
        await accept(world)
        await world.advance(LEASE_SECONDS + 1)
        await world.claim(1)
        await world.advance(LEASE_SECONDS / 2)
        await world.renew(0)

    play(story)


def test_a_renewal_that_was_on_its_way_leaves_alone_what_was_put_off(play: Play) -> None:
    """A message that is put off while its lease is being renewed stays due when it was to be."""

    async def story(world: World) -> None:
        await world.accept(0, at_most_once=False, tries=3, again=False, ttl=3600)
        await world.renew_late(0, 0, "deferred")

    play(story)


def test_who_stops_gives_back_what_it_has_not_begun(play: Play) -> None:
    """A process that is told to stop gives back the messages whose next attempt is not recorded, due at once and
    without a strike.
    """

    async def story(world: World) -> None:
        await world.accept(0, at_most_once=False, tries=3, again=False, ttl=3600)
        await world.answer(0, "deferred")
        await world.advance(LEASE_SECONDS)
        await world.drain(0, at_once=True)
        (kept,) = world.model.messages.values()
        assert kept.row is not None
        assert (kept.row.worker, kept.row.claims, kept.row.due_at) == (None, 0, world.model.now)

    play(story)


def test_who_stops_in_the_middle_of_a_call_leaves_its_lease(play: Play) -> None:
    """A message whose call was cut off by a stop waits for its lease to run out: nobody knows whether it was sent."""

    async def story(world: World) -> None:
        await accept(world, at_most_once=True)
        await world.drain(0, at_once=False)
        await world.advance(2)
        await world.claim(1)
        (kept,) = world.model.messages.values()
        assert kept.row is not None
        assert kept.row.worker is not None

    play(story)


def test_who_stood_still_before_the_wire_sends_nothing(play: Play) -> None:
    """A process that wakes up between its record and its first byte, after its lease, does not call the provider."""

    async def story(world: World) -> None:
        await world.accept(0, at_most_once=True, tries=3, again=False, ttl=3600)
        await world.answer(0, "deferred")
        await world.advance(LEASE_SECONDS)
        await world.stand_before_the_wire(0)
        assert not world.sins

    play(story)


def test_a_key_stands_for_one_message_until_its_time_is_over(play: Play) -> None:
    """The same content at any process is the same message, another content is refused, and an old key is a new one."""

    async def story(world: World) -> None:
        first = await world.accept_keyed(0, "k", "Hello")
        assert first is not None
        assert await world.accept_keyed(1, "k", "Hello") == first
        assert await world.accept_keyed(1, "k", "Goodbye") is None
        assert await world.accept_keyed(1, "l", "Hello") != first
        await world.advance(KEY_HOURS * 3600)
        assert await world.accept_keyed(0, "k", "Goodbye") not in (None, first)
        assert len(world.model.messages) == 3

    play(story)


@pytest.mark.parametrize(("point", "messages"), [("accept_keyed.before_commit", 0), ("accept_keyed.committed", 1)])
def test_a_key_whose_commit_was_cut_off_finds_out(play: Play, point: str, messages: int) -> None:
    """Nobody knows what became of a keyed message; the same again, elsewhere, makes it or finds it."""

    async def story(world: World) -> None:
        fail_next(point)
        assert await world.accept_keyed(0, "k", "Hello") is None
        assert len(world.model.messages) == messages
        found = await world.accept_keyed(1, "k", "Hello")
        assert list(world.model.messages) == [found]

    play(story)
