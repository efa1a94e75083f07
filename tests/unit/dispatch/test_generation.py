"""A message that was retried: what binds it and what does not."""

import pytest

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptStatus
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain
from services.dispatch.failover import Finish, Situation, Start
from services.dispatch.generation import FIRST, Generation, decide_in, may_retry
from services.dispatch.ledger import Completion
from services.dispatch.message import Message, State
from tests.builders import NOON, a_chain, a_history, a_message, an_attempt, at_most_once, seconds
from tests.unit.dispatch.bench import Bench

ALL_FAILED = a_history(("A", "deferred"), ("B", "denied"), ("C", "unfit"))


def step(generation: Generation, *history: Attempt, message: Message | None = None) -> object:
    """What is decided."""
    situation = Situation(
        message=message or a_message(), history=history, chain=a_chain(), marks={}, now=NOON, fraction=0.5
    )
    return decide_in(generation, situation)


def test_a_retry_begins_anew() -> None:
    """Every provider may be asked again, from the first one and from round 1, whatever it said before."""
    begun = step(Generation(number=2, after_attempt=3), *ALL_FAILED)

    assert isinstance(begun, Start)
    assert (begun.provider.name, begun.round) == ("A", 1)
    assert isinstance(step(FIRST, *ALL_FAILED), Finish)


def test_a_retry_under_at_most_once_asks_somebody() -> None:
    """Whoever retries an UNKNOWN message has accepted a second copy: the doubt of the time before binds nobody."""
    begun = step(Generation(number=2, after_attempt=1), *a_history(("A", "unknown")), message=at_most_once())

    assert isinstance(begun, Start)


@pytest.mark.parametrize(("last", "state"), [("accepted", State.SENT), ("invalid", State.UNKNOWN)])
def test_an_old_doubt_outlives_a_retry_that_fails(last: str, state: State) -> None:
    """Nobody took it this time, and somebody may have the time before: UNKNOWN, not FAILED."""
    end = step(Generation(number=2, after_attempt=1), *a_history(("A", "unknown"), ("B", last)))

    assert isinstance(end, Finish)
    assert end.state is state


def test_a_retry_that_fails_like_the_first_is_failed() -> None:
    """Without any doubt it is FAILED again, and its detail tells this generation's errors alone."""
    history = a_history(("A", "deferred"), ("A", "deferred"), ("B", "deferred"), ("C", "deferred"))
    end = step(Generation(number=2, after_attempt=1), *history)

    assert isinstance(end, Finish)
    assert (end.state, end.detail.count(";")) == (State.FAILED, 2)


def test_what_is_found_to_be_taken_is_given_to_nobody() -> None:
    """A receipt or late truth says that an attempt of the time before was taken after all: the retry ends with it."""
    delivered = an_attempt("A", "unknown", receipt=ReceiptStatus.DELIVERED)
    ends = [step(Generation(number=2, after_attempt=1), each) for each in (delivered, an_attempt("A", "accepted"))]

    assert [end.state for end in ends if isinstance(end, Finish)] == [State.DELIVERED, State.SENT]


def test_only_what_nobody_took_for_sure_is_retried() -> None:
    """FAILED and UNKNOWN, no other end."""
    assert [state for state in State if may_retry(state)] == [State.FAILED, State.UNKNOWN]


async def test_a_retry_goes_on_counting_and_tells_its_end(bench: Bench) -> None:
    """Attempt numbers and sequences go on; no failover is told from one generation to the next; the end is told even if
    it is the same one.
    """
    bench.script("A", "invalid")
    generation = Generation(number=2, after_attempt=3, deadline=NOON + seconds(60), retrying=True)
    ended = Completion(state=State.FAILED, reason="REJECTED")

    await bench.run(history=ALL_FAILED, last_sequence=9, waited=True, ended=ended, generation=generation)

    assert bench.first.calls[0].attempt == 4
    assert bench.kinds == ["attempt_started", "attempt_finished", "ended_again"]
    assert bench.ledger.written[0].events[0].sequence == 10
    assert bench.end.completes == ended


async def test_a_retry_that_ends_as_before_is_told(bench: Bench) -> None:
    """Nobody could be asked, now as before: whoever watches the retry is told all the same."""
    bench.chain = Chain(project_id="shop", channel=Channel.EMAIL)
    generation = Generation(number=2, after_attempt=0, retrying=True)

    await bench.run(ended=Completion(state=State.FAILED, reason="NO_PROVIDER"), generation=generation)

    assert bench.kinds == ["ended_again"]
