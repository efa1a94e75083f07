"""failover.md §3 as far as it is a pure decision: what each row calls, and how it ends."""

from dataclasses import replace

import pytest

from services.adapters.outcome import Outcome
from services.dispatch.failover import Finish, Situation, Start, decide, possible_duplicate, summary
from services.dispatch.message import EndReason, State
from tests.builders import (
    NOON,
    a_chain,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_attempt,
    at_most_once,
    marks_of,
    seconds,
    throttled,
)
from tests.unit.dispatch.stage import Breakers, play


def test_x01_the_first_provider_accepts() -> None:
    """X01: when A accepts, the message is SENT via A and nobody else is called."""
    told = play()

    assert told.calls == "A:accepted"
    assert told.state is State.SENT
    assert told.end.attempt == told.attempts[0]
    assert told.skips == []


def test_x02_the_first_provider_defers() -> None:
    """X02: when A defers, B is called at once and the message is SENT via B."""
    told = play({"A": ["deferred"]})

    assert told.calls == "A:deferred B:accepted"
    assert (told.state, told.end.attempt) == (State.SENT, told.attempts[1])
    assert told.waits == []
    assert not possible_duplicate(told.attempts)


def test_x03_the_same_provider_again_after_the_backoff() -> None:
    """X03: with maxTries 2, A is asked again after half of the first ceiling when the jitter is one half."""
    told = play({"A": ["deferred", "accepted"]}, message=a_message(max_tries=2), fraction=0.5)

    assert told.calls == "A:deferred A:accepted"
    assert [(wait.delay, wait.reason) for wait in told.waits] == [(0.5, "BACKOFF")]
    assert told.waits[0].provider == a_provider("A")


def test_x04_every_provider_defers() -> None:
    """X04: when all defer, the message is FAILED and its detail tells three errors in order."""
    answers = {name: [a_result("deferred", provider_text=f"{name} is busy", provider_code="503")] for name in "ABC"}

    told = play(answers)

    assert told.calls == "A:deferred B:deferred C:deferred"
    assert (told.state, told.end.reason) == (State.FAILED, EndReason.ALL_PROVIDERS_FAILED)
    assert told.end.detail == "A: A is busy [503]; B: B is busy [503]; C: C is busy [503]"
    assert told.end.attempt is None


def test_x05_an_invalid_recipient_ends_it() -> None:
    """X05: when A says invalid, nobody else is called, A learns no mark, and the log's word is REJECTED."""
    told = play({"A": [a_result("invalid", provider_text="no such user", provider_code="550")]})

    assert told.calls == "A:invalid"
    assert (told.state, told.end.reason) == (State.FAILED, EndReason.REJECTED)
    assert told.end.detail == "A: no such user [550]"
    assert told.learned == []


def test_x06_a_denied_provider_is_skipped_until_its_config_changes() -> None:
    """X06: after A's 401 the next message skips A at once and says why; A's next version is first again."""
    shared: Breakers = {}
    first = play({"A": ["denied"]}, shared=shared)
    second = play(shared=shared)
    changed = play(chain=a_chain(a_provider("A", version=2), "B", "C"), shared=shared)

    assert first.calls == "A:denied B:accepted"
    assert (second.calls, second.skips) == ("B:accepted", [("A", "DENIED")])
    assert (changed.calls, changed.skips) == ("A:accepted", [])


def test_x07_a_message_that_does_not_fit() -> None:
    """X07: when A says 413, B is called and A learns no mark, so that the next message starts with A."""
    shared: Breakers = {}
    first = play({"A": ["unfit"]}, shared=shared)
    second = play(shared=shared)

    assert (first.calls, second.calls) == ("A:unfit B:accepted", "A:accepted")
    assert shared == {}


def test_x08_a_throttled_provider_cools_down() -> None:
    """X08: for the 600 s that A's 429 asks, others skip A with COOLDOWN; at the end of them A is first again."""
    shared: Breakers = {}
    first = play({"A": [throttled(600)]}, shared=shared)
    learned_at = NOON + seconds(0.1)
    during = play(shared=shared, now=learned_at + seconds(599.9), message=late_message())
    after = play(shared=shared, now=learned_at + seconds(600), message=late_message())

    assert first.calls == "A:deferred B:accepted"
    assert (during.calls, during.skips) == ("B:accepted", [("A", "COOLDOWN")])
    assert during.decisions[0].skips[0].until == learned_at + seconds(600)
    assert (after.calls, after.skips) == ("A:accepted", [])


def late_message():
    """A message whose deadline is far away."""
    return a_message(deadline=NOON + seconds(7200))


def test_x09_an_unknown_outcome_goes_on_and_says_so() -> None:
    """X09: when A's read times out, B is called and the message is a possible duplicate."""
    told = play({"A": ["unknown"]})

    assert told.calls == "A:unknown B:accepted"
    assert told.state is State.SENT
    assert possible_duplicate(told.attempts)


def test_x10_at_most_once_stops_after_an_unknown_outcome() -> None:
    """X10: under AT_MOST_ONCE an unknown attempt ends it as UNKNOWN via A; nothing is a duplicate."""
    told = play({"A": ["unknown"]}, message=at_most_once())

    assert told.calls == "A:unknown"
    assert (told.state, told.end.reason) == (State.UNKNOWN, EndReason.OUTCOME_UNKNOWN)
    assert told.end.attempt == told.attempts[0]
    assert not possible_duplicate(told.attempts)


def test_x11_an_exception_nobody_knows_is_an_unknown_outcome() -> None:
    """X11: UNEXPECTED is decided like every unknown outcome: the next provider, flagged."""
    told = play({"A": [a_result("unknown", reason="UNEXPECTED")]})

    assert told.calls == "A:unknown B:accepted"
    assert possible_duplicate(told.attempts)


def test_x12_calls_are_cut_by_their_timeout_and_the_deadline() -> None:
    """X12: with 10 s to live and timeouts of 4 s, A gets 4 s, B 4 s and C the 2 s that are left."""
    chain = a_chain(*(a_provider(name, timeout=4) for name in "ABC"))
    message = a_message(deadline=NOON + seconds(10))

    told = play({"A": ["unknown"], "B": ["unknown"]}, message=message, chain=chain)

    assert told.calls == "A:unknown B:unknown C:accepted"
    assert [(start.timeout, start.time_left) for start in told.starts] == [(4, 10), (4, 6), (2, 2)]
    assert told.state is State.SENT


@pytest.mark.parametrize("late", [0.0, 0.001, 3600.0])
def test_x13_a_deadline_that_is_past(late: float) -> None:
    """X13: at the deadline and after it nothing is called; the message is EXPIRED."""
    told = play(message=a_message(deadline=NOON - seconds(late)))

    assert (told.calls, told.state) == ("", State.EXPIRED)
    assert told.end.reason == EndReason.DEADLINE_PASSED


def test_x16_bad_recipients_teach_nothing_about_a_provider() -> None:
    """X16: a hundred invalid recipients leave A first for the good one after them."""
    shared: Breakers = {}
    bad = [play({"A": ["invalid"]}, shared=shared).calls for _ in range(100)]

    assert set(bad) == {"A:invalid"}
    assert play(shared=shared).calls == "A:accepted"


def test_x18_the_preferred_provider_goes_first_and_only_once() -> None:
    """X18: a preferred C is called first, then A; C is not tried again when its turn in the chain comes."""
    told = play({"C": ["deferred"]}, message=a_message(preferred_provider="c"))
    all_fail = play({name: ["deferred"] for name in "ABC"}, message=a_message(preferred_provider="c"))

    assert told.calls == "C:deferred A:accepted"
    assert all_fail.calls == "C:deferred A:deferred B:deferred"
    assert all_fail.skips == []


def test_x19_a_provider_disabled_while_the_message_waits() -> None:
    """X19: when A is disabled between tries, A gets no further call and B is next."""
    without_a = a_chain(a_provider("A", enabled=False, version=2), "B", "C")
    waiting = Situation(
        message=a_message(max_tries=3),
        history=a_history(("A", "deferred")),
        chain=without_a,
        marks={},
        now=NOON,
        fraction=0.5,
        waited=True,
    )

    step = decide(waiting)

    assert isinstance(step, Start)
    assert step.provider.name == "B"


def test_x20_the_order_of_the_moment_decides() -> None:
    """X20: every decision is made with the chain as it is then, so a raised B is first for the next message."""
    assert play(chain=a_chain("A", "B")).calls == "A:accepted"
    assert play(chain=a_chain("B", "A")).calls == "B:accepted"


@pytest.mark.parametrize(
    ("message", "calls"),
    [(a_message(), "A:unknown B:accepted"), (at_most_once(), "A:unknown")],
    ids=["AT_LEAST_ONCE", "AT_MOST_ONCE"],
)
def test_x21_an_interrupted_attempt_is_decided_by_the_policy(message, calls: str) -> None:
    """X21: an attempt that nobody closed is unknown: one more call under AT_LEAST_ONCE, none under AT_MOST_ONCE."""
    told = play({"A": [a_result("unknown", reason="LEASE_LOST")]}, message=message)

    assert told.calls == calls


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("policy", [a_message(), at_most_once()], ids=["AT_LEAST_ONCE", "AT_MOST_ONCE"])
def test_every_outcome_has_one_next_step(outcome: Outcome, policy) -> None:
    """§1: what follows the first provider's outcome is the next provider, or the end in the state the table names."""
    situation = Situation(
        message=policy,
        history=a_history(("A", a_result(outcome))),
        chain=a_chain(),
        marks={},
        now=NOON,
        fraction=0.5,
    )
    ends = {Outcome.ACCEPTED: State.SENT, Outcome.INVALID: State.FAILED}
    if policy == at_most_once():
        ends[Outcome.UNKNOWN] = State.UNKNOWN

    step = decide(situation)

    if outcome in ends:
        assert isinstance(step, Finish)
        assert step.state is ends[outcome]
    else:
        assert isinstance(step, Start)
        assert step.provider.name == "B"


def test_the_summary_tells_every_error_in_order() -> None:
    """R8: each attempt by its provider's name with the provider's words, else the reason, and the code if any."""
    history = a_history(
        ("A", a_result("deferred")), ("B", a_result("unfit", provider_text="too big", provider_code="413"))
    )

    assert summary(history) == "A: UNAVAILABLE; B: too big [413]"
    assert summary((an_attempt("A", None),)) == "A: open"
    assert summary(()) == ""


def test_a_lone_unknown_attempt_is_no_duplicate() -> None:
    """Only an attempt that follows an unknown one makes a second copy possible."""
    assert not possible_duplicate(a_history(("A", "deferred"), ("B", "unknown")))
    assert possible_duplicate(a_history(("A", "unknown"), ("B", "deferred")))
    assert not possible_duplicate(())


def test_the_marks_of_a_version_are_the_marks_of_that_version() -> None:
    """A mark learned under version 1 says nothing about version 2, nor one of version 2 about version 1 (X06)."""
    old, new = a_provider("A"), a_provider("A", version=2)
    mark = a_mark(old)

    assert play(chain=a_chain(new, "B"), marks=marks_of(mark)).calls == "A:accepted"
    assert play(chain=a_chain(old, "B"), marks=marks_of(replace(mark, config_version=2))).calls == "A:accepted"
    assert play(chain=a_chain(old, "B"), marks=marks_of(mark)).calls == "B:accepted"
