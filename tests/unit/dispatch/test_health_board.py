"""What a process knows about providers' health: its own lessons at once, the others' with the next reading."""

import asyncio

import pytest

from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.health import Mark
from services.dispatch.health_board import REFRESH, HealthBoard
from tests.builders import a_cooldown, a_mark
from tests.fakes.clock import FakeClock


class Readings:
    """A reader that answers what it was told, or raises it."""

    def __init__(self) -> None:
        self.answer: dict[str, list[Mark]] | Exception = {}
        self.count = 0
        self.during: Mark | None = None
        self.board: HealthBoard | None = None

    async def marks(self) -> dict[str, list[Mark]]:
        self.count += 1
        if self.during is not None and self.board is not None:
            self.board.learned(self.during)
        if isinstance(self.answer, Exception):
            raise self.answer
        return {key: list(marks) for key, marks in self.answer.items()}


@pytest.fixture
def readings() -> Readings:
    """What the database would answer."""
    return Readings()


@pytest.fixture
def clock() -> FakeClock:
    """Time that moves only when told."""
    return FakeClock()


@pytest.fixture
def board(readings: Readings, clock: FakeClock) -> HealthBoard:
    """A board that knows nothing yet."""
    made = HealthBoard(readings, clock)
    readings.board = made
    return made


async def test_a_lesson_of_this_process_holds_at_once(board: HealthBoard) -> None:
    """What is learned here is known here without a reading."""
    board.learned(a_mark("A"))

    assert board.marks() == {"a": [a_mark("A")]}


async def test_a_reading_replaces_what_was_known(board: HealthBoard, readings: Readings) -> None:
    """What the database no longer holds is forgotten; what others wrote is known."""
    readings.answer = {"a": [a_mark("A")]}
    await board.refresh()
    readings.answer = {"b": [a_mark("B")]}
    await board.refresh()

    assert board.marks() == {"b": [a_mark("B")]}


async def test_a_lesson_that_is_not_written_yet_survives_a_reading(board: HealthBoard, readings: Readings) -> None:
    """A mark learned just before or during a reading that does not show it yet is kept on top of it."""
    board.learned(a_mark("A"))
    readings.during = a_mark("B")

    await board.refresh()

    assert set(board.marks()) == {"a", "b"}


async def test_one_mark_per_provider_and_scope(board: HealthBoard) -> None:
    """A newer lesson replaces the older of the same scope and stands beside those of other scopes."""
    board.learned(a_mark("A"))
    board.learned(a_mark("A", scope="country:NG"))
    board.learned(a_cooldown("A"))

    assert list(board.marks()["a"]) == [a_mark("A", scope="country:NG"), a_cooldown("A")]


async def test_what_is_known_stays_known_while_the_database_is_away(
    board: HealthBoard, readings: Readings, clock: FakeClock
) -> None:
    """While the database is away `run` goes on, and the first reading that succeeds counts."""
    readings.answer = DatabaseUnavailable()
    board.learned(a_mark("A"))
    task = asyncio.create_task(board.run())
    await settle()
    clock.advance(REFRESH)
    await settle()
    assert not task.done()
    assert board.marks() == {"a": [a_mark("A")]}
    readings.answer = {"b": [a_mark("B")]}
    clock.advance(REFRESH)
    await settle()
    task.cancel()

    assert readings.count == 2
    assert "b" in board.marks()


async def test_a_lesson_survives_a_reading_that_failed(board: HealthBoard, readings: Readings) -> None:
    """A mark that was learned before a reading failed is still kept on top of the next one."""
    board.learned(a_mark("A"))
    readings.answer = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await board.refresh()
    readings.answer = {}

    await board.refresh()

    assert board.marks() == {"a": [a_mark("A")]}


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)
