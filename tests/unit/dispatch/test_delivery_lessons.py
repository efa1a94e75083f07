"""When what an attempt taught about its provider is written, and what depends on it."""

import asyncio

import pytest

from services.adapters.outcome import Outcome
from services.chassis.errors import Unavailable
from services.dispatch.breaker import Breaker
from services.dispatch.ledger import Transition
from services.dispatch.settler import LONGEST_LESSON
from tests.builders import MESSAGE_ID
from tests.unit.dispatch.bench import Bench, closed, settle


async def test_what_the_last_attempt_taught_goes_with_its_end(bench: Bench) -> None:
    """Where no other provider waits, the lesson and the end are one transaction."""
    for name in bench.adapters:
        bench.script(name, "denied")

    await bench.run()

    assert [step.lesson.provider.name for step in bench.ledger.taught if step.lesson] == ["A", "B"]
    assert bench.end.completes is not None
    assert bench.end.lesson is not None
    assert bench.end.lesson.provider.name == "C"


async def test_the_end_waits_for_the_lesson(bench: Bench) -> None:
    """B is asked meanwhile; but who sees the end of the message can rely on what it taught."""
    let_go = asyncio.Event()
    teach = bench.ledger.teach

    async def slowly(step: Transition) -> tuple[Breaker, ...]:
        await let_go.wait()
        return await teach(step)

    bench.ledger.teach = slowly  # type: ignore[method-assign]
    bench.script("A", "denied")
    running = asyncio.create_task(bench.run())
    await settle()

    assert len(bench.adapters["B"].calls) == 1
    assert bench.end.completes is None
    let_go.set()
    await running
    assert bench.end.completes is not None


async def test_a_lesson_that_hangs_keeps_no_answer_back(bench: Bench) -> None:
    """What B answered is written after a moment, whatever became of what A taught."""

    async def never(step: Transition) -> tuple[Breaker, ...]:
        await asyncio.Event().wait()
        return ()

    bench.ledger.teach = never  # type: ignore[method-assign]
    bench.script("A", "denied")

    async with asyncio.timeout(5 * LONGEST_LESSON):
        await bench.run()

    assert bench.end.completes is not None


async def test_a_stop_while_a_lesson_is_written_keeps_the_answer(bench: Bench) -> None:
    """Told to stop while B's answer waits for what A taught: it is written all the same, then the stop goes on."""
    let_go = asyncio.Event()

    async def slowly(step: Transition) -> tuple[Breaker, ...]:
        await let_go.wait()
        return ()

    bench.ledger.teach = slowly  # type: ignore[method-assign]
    bench.script("A", "denied")
    running = asyncio.create_task(bench.run())
    await settle()
    assert len(bench.adapters["B"].calls) == 1
    running.cancel()
    await settle()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert closed(bench.end).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("error", [Unavailable(), RuntimeError("a bug")], ids=["away", "broken"])
async def test_a_lesson_that_can_not_be_written_is_lost(bench: Bench, error: Exception) -> None:
    """It stops nothing: the next message learns it again."""

    async def away(step: Transition) -> tuple[Breaker, ...]:
        raise error

    bench.ledger.teach = away  # type: ignore[method-assign]
    bench.script("A", "denied")

    await bench.run()

    assert bench.end.completes is not None
    assert len(bench.adapters["B"].calls) == 1


async def test_a_step_that_is_given_up_keeps_its_lesson(bench: Bench) -> None:
    """The lease ended while A answered: the answer counts, and so does what it taught."""
    bench.script("A", "denied")
    bench.ledger.before = lambda step: bench.ledger.expired.add(MESSAGE_ID) if step.closes else None

    assert await bench.run() is None

    assert bench.end.due_in == 0.0
    assert bench.end.lesson is not None
    assert bench.ledger.taught == []
