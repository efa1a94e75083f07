"""What is known late of an attempt, and what it makes of a message."""

import asyncio

import pytest

from services.adapters.outcome import Outcome
from services.chassis.errors import Unavailable
from services.dispatch.attempt import CUT, NOT_SENT, interrupted
from services.dispatch.failover import Finish, Situation, decide
from services.dispatch.late_truth import as_known_by_now, is_lost
from services.dispatch.message import State
from tests.builders import NOON, a_chain, a_history, a_message, a_result, an_attempt, at_most_once
from tests.unit.dispatch.bench import Bench, closed, settle

LOST = interrupted(an_attempt("A", None))


def test_only_what_nobody_knew_for_want_of_its_dispatcher_is_lost() -> None:
    """An attempt is lost when its dispatcher went away or was cut off; a provider's own silence is not that."""
    assert is_lost(LOST)
    assert is_lost(an_attempt("A", CUT))
    assert not any(map(is_lost, a_history(("A", "unknown"), ("B", "accepted"), ("C", NOT_SENT))))
    assert not is_lost(an_attempt("A", None))


def test_evidence_is_about_lost_attempts_alone() -> None:
    """What is known already is never changed by what comes late."""
    history = (LOST, an_attempt("B", "unknown", number=2), an_attempt("C", "deferred", number=3))
    late = {number: a_result("accepted") for number in (1, 2, 3, 4)}

    now = as_known_by_now(history, late)

    assert [attempt.outcome for attempt in now] == [Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.DEFERRED]
    assert now[1:] == history[1:]
    assert as_known_by_now(history, {}) == history


async def test_evidence_is_read_before_anything_is_decided(bench: Bench) -> None:
    """The rescuer of an attempt that was accepted after all closes it so and calls nobody."""
    bench.ledger.late = {1: a_result("accepted")}

    await bench.run(history=(an_attempt("A", None),), last_sequence=2)

    (step,) = bench.ledger.written
    assert closed(step).outcome is Outcome.ACCEPTED
    assert step.completes is not None
    assert (step.completes.state, step.completes.provider_id) == (State.SENT, "a")
    assert bench.kinds == ["attempt_finished", "completed"]
    assert not any(adapter.calls for adapter in bench.adapters.values())


async def test_evidence_that_comes_during_another_call_counts_after_it(bench: Bench) -> None:
    """While B is asked it becomes known that A took it: B's refusal leads nowhere, and A's attempt is amended."""
    bench.script("B", "deferred")
    bench.ledger.before = lambda step: bench.ledger.late.update({1: a_result("accepted")} if step.opens else {})

    await bench.run(history=(an_attempt("A", None),), last_sequence=2)

    assert [len(bench.adapters[name].calls) for name in "ABC"] == [0, 1, 0]
    assert (closed(bench.end).provider_name, [each.provider_name for each in bench.end.amends]) == ("B", ["A"])
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.kind) == (State.SENT, "a")
    assert [event.attempt_finished.attempt.number for event in bench.events if event.HasField("attempt_finished")] == [
        1,
        2,
        1,
    ]


async def test_what_was_never_sent_is_tried_again_there(bench: Bench) -> None:
    """AT_MOST_ONCE: the lost dispatcher saw in time that it must not send; so nobody has it, and A is asked anew."""
    bench.ledger.late = {1: NOT_SENT}

    await bench.run(at_most_once(), history=(an_attempt("A", None),), last_sequence=2, waited=True)

    assert closed(bench.ledger.written[0]).outcome is Outcome.DEFERRED
    assert bench.end.due_in is not None or bench.end.completes is not None
    assert not bench.adapters["B"].calls


async def test_evidence_is_asked_for_until_the_database_answers(bench: Bench) -> None:
    """A database that is away while evidence is read loses no answer and decides nothing without it."""
    bench.ledger.failures = [Unavailable(), Unavailable()]
    bench.ledger.late = {1: a_result("accepted")}
    task = asyncio.create_task(bench.run(history=(an_attempt("A", None),), last_sequence=2))
    for _ in range(5):
        await settle()
        bench.clock.advance(1)
    await task

    assert bench.end.completes is not None
    assert bench.end.completes.state is State.SENT


async def test_no_evidence_is_asked_for_without_a_lost_attempt(bench: Bench) -> None:
    """The way of every ordinary message costs no further statement."""
    asked: list[object] = []

    async def late_results(message_id: object) -> dict[int, object]:
        asked.append(message_id)
        return {}

    bench.ledger.late_results = late_results  # type: ignore[method-assign, assignment]
    bench.script("A", "deferred")
    await bench.run()

    assert asked == []


@pytest.mark.parametrize("last", ["deferred", "unknown", "invalid", "denied"])
def test_an_acceptance_that_became_known_late_ends_it(last: str) -> None:
    """A took it, B did not: the message is SENT via A, whatever B said, and C is not asked."""
    situation = Situation(
        message=a_message(),
        history=a_history(("A", "accepted"), ("B", last)),
        chain=a_chain(),
        marks={},
        now=NOON,
        fraction=0.5,
    )

    end = decide(situation)

    assert isinstance(end, Finish)
    assert end.attempt is not None
    assert (end.state, end.attempt.provider_name) == (State.SENT, "A")
