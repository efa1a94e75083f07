"""Rules R3 and R5 of failover.md: the same provider again, rounds, Retry-After, and what an unknown outcome forbids."""

from dataclasses import replace
from typing import Any

import pytest

from services.dispatch.attempt import NOT_SENT
from services.dispatch.chain import Chain
from services.dispatch.failover import Finish, Situation, Start, Wait, decide, possible_duplicate
from services.dispatch.message import EndReason, State
from services.dispatch.retry import Backoff
from tests.builders import (
    NOON,
    a_chain,
    a_cooldown,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    at_most_once,
    marks_of,
    seconds,
    throttled,
)
from tests.unit.dispatch.stage import play

KEYED = a_provider("D", idempotent=True)


@pytest.mark.parametrize(
    ("tries", "rounds", "calls"),
    [
        (1, 1, "A B"),
        (2, 1, "A A B B"),
        (1, 2, "A B A B"),
        (2, 2, "A A B B A A B B"),
        (3, 2, "A A A B B B A A A B B B"),
    ],
)
def test_r3_tries_per_provider_and_rounds_of_the_chain(tries: int, rounds: int, calls: str) -> None:
    """R3: maxTries in a row at one provider, then the next; then the whole chain again, maxRounds times."""
    told = play(
        {"A": ["deferred"], "B": ["deferred"]},
        message=a_message(max_tries=tries, max_rounds=rounds),
        chain=a_chain("A", "B"),
    )

    assert " ".join(attempt.provider_name for attempt in told.attempts) == calls
    assert told.state is State.FAILED


def test_r3_an_attempt_that_never_left_is_no_try() -> None:
    """R3, R11: a dispatcher that was paused past its lease just before the first byte costs the provider no try, so the
    only provider there is gets the message all the same.
    """
    told = play({"A": [NOT_SENT, "accepted"]}, chain=a_chain("A"))

    assert (told.calls, told.state) == ("A:deferred A:accepted", State.SENT)
    assert len(told.waits) == 1


def test_r3_the_backoff_grows_with_each_try() -> None:
    """R3: with the jitter near one the waits double from 1 s up to the cap of 30 s."""
    told = play({"A": ["deferred"]}, message=a_message(max_tries=8), chain=a_chain("A"), fraction=1.0)

    assert [wait.delay for wait in told.waits] == [1, 2, 4, 8, 16, 30, 30]


def test_r3_a_pause_stands_between_rounds() -> None:
    """R3: the second round begins after a backoff of its own, then goes on without waiting."""
    told = play({"A": ["deferred"], "B": ["deferred"]}, message=a_message(max_rounds=3), chain=a_chain("A", "B"))

    assert [(wait.delay, wait.provider and wait.provider.name) for wait in told.waits] == [(0.5, "A"), (1.0, "A")]


def test_r3_a_pause_between_rounds_ends_at_the_deadline() -> None:
    """R3, R4: a pause longer than the time left is cut to it; then the message is EXPIRED without another call."""
    message = a_message(max_rounds=2, deadline=NOON + seconds(0.5))

    told = play({"A": ["deferred"]}, message=message, chain=a_chain("A"), fraction=0.9)

    assert [wait.delay for wait in told.waits] == [0.4]
    assert (told.calls, told.state) == ("A:deferred", State.EXPIRED)


def test_r3_only_deferred_is_asked_again() -> None:
    """§1: with tries and rounds to spare, denied, unfit and unknown providers are each called once."""
    told = play(
        {"A": ["denied"], "B": ["unfit"], "C": ["unknown"], "D": ["deferred"]},
        message=a_message(max_tries=2, max_rounds=2),
        chain=a_chain("A", "B", "C", "D"),
    )

    assert told.calls == "A:denied B:unfit C:unknown D:deferred D:deferred D:deferred D:deferred"


def test_r3_a_denial_after_a_deferral_ends_the_tries() -> None:
    """§1: the last answer counts: deferred, then denied, goes on to the next although a try is left."""
    told = play({"A": ["deferred", "denied"]}, message=a_message(max_tries=3))

    assert told.calls == "A:deferred A:denied B:accepted"


@pytest.mark.parametrize(
    ("after", "calls", "waits"),
    [
        (0.0, "A:deferred A:accepted", [0.0]),
        (20.0, "A:deferred A:accepted", [20.0]),
        (30.0, "A:deferred A:accepted", [30.0]),
        (30.1, "A:deferred B:accepted", []),
        (600.0, "A:deferred B:accepted", []),
    ],
)
def test_r3_retry_after_is_obeyed_when_it_fits(after: float, calls: str, waits: list[float]) -> None:
    """§1: a Retry-After up to the backoff's cap is waited for as it stands; beyond it the next provider is better."""
    told = play({"A": [throttled(after), "accepted"]}, message=a_message(max_tries=2))

    assert told.calls == calls
    assert [(wait.delay, wait.reason) for wait in told.waits] == [(delay, "RETRY_AFTER") for delay in waits]


@pytest.mark.parametrize(
    ("after", "calls", "state"),
    [
        (600.0, "A:deferred A:accepted", State.SENT),
        (3599.0, "A:deferred A:accepted", State.SENT),
        (3601.0, "A:deferred", State.FAILED),
    ],
)
def test_r3_the_last_provider_is_waited_for_as_long_as_it_takes(after: float, calls: str, state: State) -> None:
    """§1: with nobody else left, a Retry-After within the deadline is waited for; one beyond it ends the message."""
    told = play({"A": [throttled(after), "accepted"]}, message=a_message(max_tries=2), chain=a_chain("A"))

    assert (told.calls, told.state) == (calls, state)


def test_r3_retry_after_that_the_deadline_does_not_leave_time_for() -> None:
    """§1, R4: with 5 s to live a Retry-After of 10 s means the next provider."""
    message = a_message(max_tries=2, deadline=NOON + seconds(5))

    told = play({"A": [throttled(10), "accepted"]}, message=message)

    assert told.calls == "A:deferred B:accepted"


def test_r3_no_try_is_left_for_a_retry_after() -> None:
    """R3: Retry-After gives no try beyond maxTries."""
    told = play({"A": [throttled(1), "accepted"]})

    assert (told.calls, told.waits) == ("A:deferred B:accepted", [])


def test_r3_a_backoff_longer_than_the_deadline_is_not_waited_for() -> None:
    """R3, R4: when the backoff outlasts the deadline and nobody else is left, it fails now, with the error."""
    message = a_message(max_tries=2, deadline=NOON + seconds(0.6))

    told = play({"A": ["deferred"]}, message=message, chain=a_chain("A"), fraction=0.9)

    assert (told.calls, told.state, told.waits) == ("A:deferred", State.FAILED, [])


def test_r3_the_backoff_is_the_one_handed_in() -> None:
    """R3: base, factor and cap come with the situation."""
    situation = Situation(
        message=a_message(max_tries=3),
        history=a_history(("A", "deferred"), ("A", "deferred")),
        chain=a_chain("A"),
        marks={},
        now=NOON,
        fraction=0.5,
        backoff=Backoff(base=10, factor=3, cap=12),
    )

    step = decide(situation)

    assert isinstance(step, Wait)
    assert step.delay == 6


def test_r5_the_next_provider_after_unknown_and_none_twice() -> None:
    """R5: AT_LEAST_ONCE walks on; a provider that may have taken it is not called again in a later round."""
    told = play(
        {"A": ["unknown"], "B": ["deferred"]},
        message=a_message(max_tries=3, max_rounds=2),
        chain=a_chain("A", "B"),
    )

    assert told.calls == "A:unknown" + " B:deferred" * 6
    assert told.state is State.UNKNOWN
    assert possible_duplicate(told.attempts)


@pytest.mark.parametrize("message", [a_message(max_tries=2), at_most_once(max_tries=2)])
def test_r5_an_idempotent_provider_is_asked_again(message) -> None:
    """R5: with an idempotency key the same provider is asked again after unknown, whatever the policy."""
    told = play({"D": ["unknown", "accepted"]}, message=message, chain=a_chain(KEYED, "A"))

    assert told.calls == "D:unknown D:accepted"
    assert told.state is State.SENT


def test_r5_an_idempotent_provider_has_no_more_tries_than_others() -> None:
    """R3, R5: the key gives no try beyond maxTries: then the policy decides."""
    at_least = play({"D": ["unknown"]}, message=a_message(max_tries=2), chain=a_chain(KEYED, "A"))
    at_most = play({"D": ["unknown"]}, message=at_most_once(max_tries=2), chain=a_chain(KEYED, "A"))

    assert at_least.calls == "D:unknown D:unknown A:accepted"
    assert (at_most.calls, at_most.state) == ("D:unknown D:unknown", State.UNKNOWN)


def test_r5_at_most_once_fails_over_before_anything_is_unknown() -> None:
    """R5: AT_MOST_ONCE forbids a call after unknown, not failover."""
    told = play({"A": ["deferred"], "B": ["unknown"]}, message=at_most_once())

    assert told.calls == "A:deferred B:unknown"
    assert told.end.attempt == told.attempts[1]


@pytest.mark.parametrize(
    "second",
    ["denied", "unfit", throttled(600), throttled(4000)],
    ids=["denied", "unfit", "Retry-After beyond the cap", "Retry-After beyond the deadline"],
)
def test_r5_at_most_once_calls_nobody_else_whatever_the_repeat_says(second) -> None:
    """R5: under AT_MOST_ONCE a repeat with the key that fails otherwise lets nobody else be called."""
    told = play({"D": ["unknown", second, "deferred"]}, message=at_most_once(max_tries=3), chain=a_chain(KEYED, "A"))

    assert "A" not in {attempt.provider_name for attempt in told.attempts}
    assert told.state is State.UNKNOWN


def test_r5_at_most_once_calls_nobody_else_when_the_backoff_outlasts_the_deadline() -> None:
    """R4, R5: no time for the repeat is no licence for another provider: UNKNOWN via the one that may have it."""
    message = at_most_once(max_tries=2, deadline=NOON + seconds(10.5))

    told = play({"D": ["unknown"]}, message=message, chain=a_chain(KEYED, "A"), fraction=0.9)

    assert told.calls == "D:unknown"
    assert (told.state, told.end.reason) == (State.UNKNOWN, EndReason.OUTCOME_UNKNOWN)
    assert told.end.attempt == told.attempts[0]


@pytest.mark.parametrize("later", [a_chain(replace(KEYED, enabled=False), "A"), a_chain("A")], ids=["disabled", "gone"])
def test_r5_at_most_once_when_the_idempotent_provider_goes_away(later: Chain) -> None:
    """R1, R5: disabled or removed, the only one that might be asked again is not, and nobody else is."""
    told = play(
        {"D": ["unknown"]}, message=at_most_once(max_tries=3), chain=lambda made: later if made else a_chain(KEYED, "A")
    )

    assert (told.calls, told.state) == ("D:unknown", State.UNKNOWN)


def test_r5_an_earlier_unknown_provider_binds_at_most_once_for_good() -> None:
    """R5: whatever stands last in the history, an unknown attempt at another provider ends it."""
    situation = Situation(
        message=at_most_once(max_tries=3, max_rounds=3),
        history=a_history(("A", "unknown"), (KEYED, "deferred")),
        chain=a_chain("A", KEYED, "B"),
        marks={},
        now=NOON,
        fraction=0.5,
    )

    step = decide(situation)

    assert isinstance(step, Finish)
    assert step.state is State.UNKNOWN


def test_a_wait_names_who_is_asked_next_and_then_asks_it() -> None:
    """The decision after a wait is the attempt that the wait announced."""
    told = play({"A": [a_result("deferred"), "accepted"]}, message=a_message(max_tries=2))
    wait, start = told.decisions[1], told.decisions[2]

    assert isinstance(wait, Wait)
    assert isinstance(start, Start)
    assert wait.provider == start.provider


def after_a_wait(ago: float, **values: Any) -> Situation:
    """A message that was deferred by A with Retry-After 20 some seconds ago, waited since, and may try A again."""
    attempt = replace(a_history(("A", throttled(20)))[0], finished_at=NOON - seconds(ago))
    given: dict[str, Any] = {"marks": {}, "chain": a_chain("A"), "message": a_message(max_tries=2), **values}
    return Situation(history=(attempt,), now=NOON, fraction=0.5, waited=True, **given)


def test_r3_a_retry_after_is_waited_for_to_its_end() -> None:
    """R3: a message that comes back early, from another kind of wait, waits for the rest of the Retry-After."""
    early, late = decide(after_a_wait(5)), decide(after_a_wait(20))

    assert isinstance(early, Wait)
    assert (early.delay, early.reason) == (15, "RETRY_AFTER")
    assert isinstance(late, Start)


def test_r3_a_provider_that_was_denied_meanwhile_is_not_asked_again() -> None:
    """R3: what another message learned while this one waited counts: A was denied, so B is asked."""
    step = decide(after_a_wait(20, chain=a_chain("A", "B"), marks=marks_of(a_mark("A"))))

    assert isinstance(step, Start)
    assert step.provider.name == "B"


def test_r7_a_provider_that_soon_cools_down_is_waited_for() -> None:
    """R7: A does not take the message and B cools down for 5 s: B is waited for rather than failing with it untried."""
    marks = marks_of(a_cooldown("B", ends_in=5))
    situation = Situation(
        message=a_message(),
        history=a_history(("A", "unfit")),
        chain=a_chain("A", "B"),
        marks=marks,
        now=NOON,
        fraction=0.5,
    )

    waits = decide(situation)
    ends = decide(replace(situation, marks=marks_of(a_cooldown("B", ends_in=600))))
    asks = decide(replace(situation, now=NOON + seconds(5), waited=True))

    assert isinstance(waits, Wait)
    assert (waits.delay, waits.reason) == (5, "COOLDOWN")
    assert isinstance(ends, Finish)
    assert isinstance(asks, Start)
    assert asks.provider.name == "B"
