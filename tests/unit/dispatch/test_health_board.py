"""What a process knows about providers' health: its own lessons at once, the others' with the next reading."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from services.dispatch.breaker import RETURN_SECONDS, Breaker
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.health import Block, Mark
from services.dispatch.health_board import COUNT_EVERY, REFRESH, HealthBoard
from tests.builders import NOON, a_provider, seconds
from tests.fakes.clock import FakeClock
from tests.unit.dispatch.test_breaker import ALL, a_breaker, an_open_breaker


class Pages:
    """A book that holds what it was told, or raises it."""

    def __init__(self) -> None:
        self.answer: list[Breaker] | Exception = []
        self.grants: tuple[bool, list[Breaker]] | Exception = (False, [])
        self.readings = 0
        self.during: Breaker | None = None
        self.board: HealthBoard | None = None
        self.counted: list[Mapping[str, int]] = []
        self.probes: list[str] = []
        self.pause: asyncio.Event | None = None

    async def breakers(self) -> list[Breaker]:
        self.readings += 1
        if self.during is not None and self.board is not None:
            self.board.learned((self.during,))
        if isinstance(self.answer, Exception):
            raise self.answer
        return list(self.answer)

    async def take_probe(
        self, provider_id: str, version: int, scopes: frozenset[str], prober: str, seconds: float
    ) -> tuple[bool, list[Breaker]]:
        self.probes.append(prober)
        if self.pause is not None:
            await self.pause.wait()
        if isinstance(self.grants, Exception):
            raise self.grants
        return self.grants

    async def count(self, accepted: Mapping[str, int]) -> None:
        self.counted.append(dict(accepted))

    async def forget(self) -> None:
        """Nothing to forget."""


@pytest.fixture
def pages() -> Pages:
    """What the database would answer."""
    return Pages()


@pytest.fixture
def clock() -> FakeClock:
    """Time that moves only when told."""
    return FakeClock(NOON)


@pytest.fixture
def board(pages: Pages, clock: FakeClock) -> HealthBoard:
    """A board that knows nothing yet."""
    made = HealthBoard(pages, clock, clock.now)
    pages.board = made
    return made


def of(name: str, breaker: Breaker | None = None) -> Breaker:
    """The breaker, open unless given, of another provider."""
    return replace(breaker or an_open_breaker(), provider_id=name, provider_name=name.upper())


def a_mark_of(board: HealthBoard, provider_id: str = "a") -> Mark:
    """The only mark of a provider."""
    (mark,) = board.marks()[provider_id]
    return mark


async def test_a_lesson_of_this_process_holds_at_once(board: HealthBoard) -> None:
    """What is learned here is known here without a reading."""
    board.learned((an_open_breaker(),))

    assert board.marks() == {"a": an_open_breaker().marks}


async def test_a_reading_replaces_what_was_known(board: HealthBoard, pages: Pages) -> None:
    """What the database no longer holds is forgotten; what others wrote is known."""
    pages.answer = [an_open_breaker()]
    await board.refresh()
    pages.answer = [of("b")]
    await board.refresh()

    assert set(board.marks()) == {"b"}


async def test_a_lesson_that_a_reading_missed_survives_it(board: HealthBoard, pages: Pages) -> None:
    """What was learned just before or during a reading that does not show it yet is kept on top of it."""
    board.learned((an_open_breaker(),))
    pages.during = of("b")

    await board.refresh()

    assert set(board.marks()) == {"a", "b"}


async def test_a_newer_reading_wins_over_a_lesson(board: HealthBoard, pages: Pages) -> None:
    """By revision: what others wrote after our lesson counts, what they wrote before it does not."""
    pages.answer = [a_breaker(revision=8)]
    board.learned((an_open_breaker(revision=7),))
    await board.refresh()
    assert board.marks() == {}

    pages.answer = [a_breaker(revision=8)]
    board.learned((an_open_breaker(revision=9),))
    await board.refresh()
    assert a_mark_of(board).block is Block.BREAKER_OPEN


async def test_scopes_stand_side_by_side(board: HealthBoard) -> None:
    """A provider has one breaker per scope."""
    board.learned((an_open_breaker(), an_open_breaker(scope="country:NG")))

    assert {mark.scope for mark in board.marks()["a"]} == {"", "country:NG"}


async def test_what_is_known_stays_known_while_the_database_is_away(
    board: HealthBoard, pages: Pages, clock: FakeClock
) -> None:
    """While the database is away `run` goes on, and the first reading that succeeds counts."""
    pages.answer = DatabaseUnavailable()
    board.learned((an_open_breaker(),))
    task = asyncio.create_task(board.run())
    await settle()
    clock.advance(REFRESH)
    await settle()
    assert not task.done()
    assert set(board.marks()) == {"a"}
    pages.answer = [of("b")]
    clock.advance(REFRESH)
    await settle()
    task.cancel()

    assert pages.readings == 2
    assert "b" in board.marks()


async def test_a_lesson_survives_a_reading_that_failed(board: HealthBoard, pages: Pages) -> None:
    """What was learned before a reading failed is still kept on top of the next one."""
    board.learned((an_open_breaker(),))
    pages.answer = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await board.refresh()
    pages.answer = []

    await board.refresh()

    assert set(board.marks()) == {"a"}


async def test_who_gets_the_probe_and_who_does_not(board: HealthBoard, pages: Pages) -> None:
    """X15: one caller asks the database; others of this process do not, and pass the provider by meanwhile."""
    due = an_open_breaker(until=NOON - seconds(1))
    board.learned((due,))
    taken = replace(due, prober="me", probed_until=NOON + seconds(17), revision=due.revision + 1)
    pages.grants, pages.pause = (True, [taken]), asyncio.Event()

    first = asyncio.create_task(board.take_probe(a_provider("A"), ALL, "me", 17))
    await settle()
    second = await board.take_probe(a_provider("A"), ALL, "you", 17)
    assert not a_mark_of(board).probe_due(NOON)
    pages.pause.set()

    assert (await first, second, pages.probes) == (True, False, ["me"])
    assert a_mark_of(board).probed_until == NOON + seconds(17)


@pytest.mark.parametrize("answer", ["refused", "away"])
async def test_who_is_refused_does_not_ask_again_at_once(board: HealthBoard, pages: Pages, answer: str) -> None:
    """However the clocks stand, a refusal or a database that is away never becomes a loop."""
    due = an_open_breaker(until=NOON - seconds(1))
    board.learned((due,))
    pages.grants = (False, [due]) if answer == "refused" else DatabaseUnavailable()

    assert not await board.take_probe(a_provider("A"), ALL, "me", 17)
    assert not a_mark_of(board).probe_due(NOON)
    assert a_mark_of(board).probe_due(NOON + seconds(1))


async def test_a_probe_of_what_closed_meanwhile_finds_it_closed(board: HealthBoard, pages: Pages) -> None:
    """Another process's probe succeeded: the answer says so, and the provider is not passed by."""
    board.learned((an_open_breaker(until=NOON - seconds(1)),))
    pages.grants = (False, [])

    assert not await board.take_probe(a_provider("A"), ALL, "me", 17)
    assert board.marks() == {}


async def test_traffic_returns_step_by_step(board: HealthBoard) -> None:
    """R7: one call at a time, then two, four … and after five successes as many as ever."""
    board.learned((a_breaker(returned_at=NOON),))
    most = []
    for _ in range(5):
        calls = 0
        while not board.marks():
            board.begins("a")
            calls += 1
        most.append(calls)
        assert a_mark_of(board).block is Block.RETURNING
        for place in range(calls):
            board.ended("a", accepted=place == 0)

    assert most == [1, 2, 4, 8, 16]
    for _ in range(100):
        board.begins("a")
    assert board.marks() == {}


async def test_a_sequence_of_messages_finds_it_primary_at_once(board: HealthBoard) -> None:
    """X15: one after the other, none is passed by."""
    board.learned((a_breaker(returned_at=NOON),))
    for _ in range(3):
        assert board.marks() == {}
        board.begins("a")
        board.ended("a", accepted=True)


async def test_a_return_ends_after_a_minute(board: HealthBoard, clock: FakeClock) -> None:
    """Without enough traffic to prove itself, the provider is taken as healthy a minute later."""
    board.learned((a_breaker(returned_at=NOON),))
    board.begins("a")
    mark = a_mark_of(board)

    assert mark.holds(a_provider("A"), NOON + seconds(RETURN_SECONDS - 0.1))
    assert not mark.holds(a_provider("A"), NOON + seconds(RETURN_SECONDS))


async def test_acceptances_are_counted_for_a_few_seconds(board: HealthBoard, clock: FakeClock) -> None:
    """In memory, per second; older ones are dropped."""
    for _ in range(3):
        board.ended("a", accepted=True)
        board.ended("a", accepted=False)
        clock.advance(4)

    assert board.accepted("a") == 2
    assert board.accepted("b") == 0


async def test_only_counts_of_providers_that_failed_lately_are_told(board: HealthBoard, clock: FakeClock) -> None:
    """The happy path writes nothing: what a healthy provider accepts is nobody's news."""
    pages = board._book
    assert isinstance(pages, Pages)
    failed = replace(a_breaker(), failures=((int(NOON.timestamp()), 1),))
    pages.answer = [failed, of("b", a_breaker())]
    for provider_id in "abc":
        board.ended(provider_id, accepted=True)
    task = asyncio.create_task(board.run())
    await settle()
    clock.advance(COUNT_EVERY)
    await settle()
    task.cancel()

    assert pages.counted == [{"a": 1}]


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)
