"""What is written about an attempt when leases end, dispatchers die, the database is away, or the process stops."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from services.adapters.outcome import Outcome
from services.chassis.errors import Unavailable
from services.dispatch.attempt import Attempt
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.ledger import Transition
from services.dispatch.message import State
from services.dispatch.ports import Lease
from services.dispatch.settler import PAUSE
from tests.builders import (
    MESSAGE_ID,
    NOON,
    a_history,
    a_message,
    an_attempt,
    at_most_once,
    seconds,
)
from tests.unit.dispatch.bench import Bench, closed, settle


async def test_an_open_attempt_of_a_dead_dispatcher_becomes_unknown(bench: Bench) -> None:
    """R11, X21: AT_LEAST_ONCE goes on to the next provider and closes the lost attempt in the same step."""
    await bench.run(history=(an_attempt("A", None),), last_sequence=2)

    lost = closed(bench.ledger.written[0])
    assert (lost.number, lost.outcome) == (1, Outcome.UNKNOWN)
    assert lost.result is not None
    assert lost.result.reason == "LEASE_LOST"
    assert [len(bench.adapters[name].calls) for name in "AB"] == [0, 1]


async def test_an_open_attempt_under_at_most_once_ends_unknown(bench: Bench) -> None:
    """R11, X21: AT_MOST_ONCE calls nobody and ends as UNKNOWN via the lost attempt."""
    await bench.run(at_most_once(), history=(an_attempt("A", None),), last_sequence=2)

    assert not any(adapter.calls for adapter in bench.adapters.values())
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.provider_id) == (State.UNKNOWN, "a")


@pytest.mark.parametrize(("age", "pause"), [(0, 1.0), (2, 1.0), (10, 5.0), (600, 10.0)])
async def test_configuration_that_can_not_be_had_is_waited_for(bench: Bench, age: float, pause: float) -> None:
    """Without ConfigService a message waits half of its age, 1 s to 10 s, and is not failed."""
    bench.chain = ConfigUnavailable()
    bench.clock.advance(age)

    due = await bench.run()

    assert due == pause
    assert bench.kinds == ["retry_scheduled"]
    assert bench.events[0].retry_scheduled.reason == "CONFIGURATION_UNAVAILABLE"


@pytest.mark.parametrize(
    ("history", "deadline", "state"),
    [
        (a_history(("A", "accepted")), 3600, State.SENT),
        (a_history(("A", "invalid")), 3600, State.FAILED),
        ((), 0, State.EXPIRED),
        (a_history(("A", "unknown")), 0, State.UNKNOWN),
    ],
)
async def test_an_end_that_is_certain_needs_no_configuration(
    bench: Bench, history: tuple[Attempt, ...], deadline: float, state: State
) -> None:
    """What is decided already, or past its deadline, ends without ConfigService."""
    bench.chain = ConfigUnavailable()

    await bench.run(a_message(deadline=NOON + seconds(deadline)), history=history)

    assert bench.end.completes is not None
    assert bench.end.completes.state is state


async def test_waiting_for_configuration_stops_at_the_deadline(bench: Bench) -> None:
    """A wait for ConfigService never goes past the deadline."""
    bench.chain = ConfigUnavailable()

    assert await bench.run(a_message(deadline=NOON + seconds(0.3))) == pytest.approx(0.3)


async def test_a_start_under_a_lost_epoch_calls_nobody(bench: Bench) -> None:
    """X22: when somebody else holds the message, nothing is called, written, told or kept."""
    bench.ledger.epochs[MESSAGE_ID] = 2

    assert await bench.run() is None

    assert not bench.first.calls
    assert (bench.ledger.written, bench.published, bench.ledger.evidence) == ([], [], [])


@pytest.mark.parametrize("answer", ["accepted", "deferred"], ids=["at the end", "before a failover"])
async def test_a_result_under_a_lost_epoch_is_kept_as_evidence(bench: Bench, answer: str) -> None:
    """X22: a result that comes after a takeover settles nothing, is told to nobody, and is not thrown away."""
    bench.script("A", answer)
    bench.ledger.before = lambda step: bench.ledger.epochs.update({MESSAGE_ID: 2 if step.closes else 1})

    assert await bench.run() is None

    assert len(bench.ledger.written) == len(bench.published) == 1
    assert [closed(step).outcome for step in bench.ledger.evidence] == [Outcome(answer.upper())]
    assert not bench.adapters["B"].calls


async def test_a_result_counts_when_the_lease_ended_and_nobody_took_over(bench: Bench) -> None:
    """The answer of A is written and the message given back at once; B is not started by this holder."""
    bench.script("A", "deferred")
    bench.ledger.before = lambda step: bench.ledger.expired.add(MESSAGE_ID) if step.closes else None

    assert await bench.run() is None

    assert (closed(bench.end).outcome, bench.end.opens, bench.end.due_in) == (Outcome.DEFERRED, None, 0.0)
    assert bench.kinds == ["attempt_started", "attempt_finished"]
    assert not bench.adapters["B"].calls
    assert bench.ledger.evidence == []


async def test_a_result_is_written_when_the_database_comes_back(bench: Bench) -> None:
    """What a provider answered is written as soon as the database answers again, however long that takes."""
    task = asyncio.create_task(bench.run())
    bench.ledger.before = lambda step: away_for_twice(bench) if step.closes else None
    await settle()
    for _ in range(5):
        bench.clock.advance(PAUSE * 10)
        await settle()

    assert task.done()
    assert len(bench.first.calls) == 1
    assert bench.end.completes is not None
    assert bench.end.completes.state is State.SENT


def away_for_twice(bench: Bench) -> None:
    """The database is away for the next two writes."""
    bench.ledger.before = lambda _: None
    bench.ledger.failures = [Unavailable(), Unavailable()]


async def test_a_start_that_can_not_be_recorded_is_given_up_with_the_lease(bench: Bench) -> None:
    """R11: while the lease lives the start is tried again; when it is over, this holder stops and nobody was called."""
    bench.ledger.failures = [Unavailable() for _ in range(1000)]
    task = asyncio.create_task(bench.run())
    await settle()
    assert not task.done()
    bench.left = 0.0
    bench.clock.advance(60)
    await settle()

    assert task.done()
    assert task.result() is None
    assert not bench.first.calls


async def test_a_result_outlives_the_stop(bench: Bench) -> None:
    """A delivery that is told to stop while it writes a result writes it, then stops."""
    writing, go = asyncio.Event(), asyncio.Event()
    apply = bench.ledger.apply

    async def slow(transition: Transition) -> Any:
        if transition.closes is not None:
            writing.set()
            await go.wait()
        return await apply(transition)

    bench.ledger.apply = slow  # type: ignore[method-assign]
    task = asyncio.create_task(bench.run())
    await writing.wait()
    task.cancel()
    await settle()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.end.completes is not None
    assert bench.end.completes.state is State.SENT


async def test_a_call_is_cut_when_its_lease_can_not_be_renewed(bench: Bench) -> None:
    """I4: a call never outlives what its lease covers; the cut attempt is unknown, and the policy decides."""
    bench.script("A", asyncio.Event())
    task = asyncio.create_task(bench.run(at_most_once()))
    await settle()
    assert len(bench.first.calls) == 1
    bench.left = 0.0
    async with asyncio.timeout(5):
        await task

    lost = closed(bench.end).result
    assert lost is not None
    assert (lost.outcome, lost.reason) == (Outcome.UNKNOWN, "LEASE_LOST")
    assert bench.end.completes is not None
    assert bench.end.completes.state is State.UNKNOWN


async def test_a_lease_is_told_by_its_message() -> None:
    """A lease has the id of its message."""
    message = replace(a_message(), id=UUID(int=5))

    assert Lease(message=message, epoch=1).id == UUID(int=5)
