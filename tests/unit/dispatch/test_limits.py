"""The arithmetic of limits: paces, windows, who is passed by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.chain import Chain
from services.dispatch.failover import Finish, Situation, Start, Wait, decide
from services.dispatch.health import Block, Marks, blocking_mark
from services.dispatch.limits import VALID, Allowance, allowance_of, pace_of, passed_by
from services.dispatch.message import Message
from tests.builders import (
    NOON,
    a_chain,
    a_history,
    a_mark,
    a_message,
    a_provider,
    marks_of,
    seconds,
)

ALL = frozenset({""})


def test_settings_are_limits() -> None:
    """What is not set does not limit."""
    assert allowance_of(a_provider()) == Allowance()
    settings = {"ratePerSecond": 14, "maxConcurrency": 3}
    assert allowance_of(a_provider(config=settings)) == Allowance(rate=14.0, most=3)


@given(
    st.one_of(st.floats(0.01, 1), st.integers(1, 2000).map(float)),
    st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1)), min_size=1, max_size=150),
)
def test_no_second_sees_more_calls_than_the_rate(rate: float, asks: list[tuple[int, float]]) -> None:
    """However grants are used, each call anywhere between its grant's beginning and end, no second, and below one
    call per second no 1/rate seconds, holds more than `rate` calls.
    """
    pace, at, calls = pace_of(rate), 0.0, []
    for size, late in asks:
        taken = min(size, pace.chunk)
        calls += [at + late * VALID * 0.999] * taken
        at += taken * pace.spacing
    length = max(1.0, 1 / rate)

    calls.sort()
    for start in calls:
        assert sum(start <= call < start + length - 1e-6 for call in calls) <= max(rate, 1)


@pytest.mark.parametrize("rate", [0.1, 0.7, 1, 2, 10, 14, 19, 40, 100, 999, 1000])
def test_a_late_grant_before_prompt_ones_exceeds_nothing(rate: float) -> None:
    """The worst case: one grant is used at its end, all that follow at their beginning, each of them full."""
    pace, length = pace_of(rate), max(1.0, 1 / rate)
    late = VALID * 0.999
    begins = [number * pace.chunk * pace.spacing for number in range(1, 3000)]
    followers = [at for at in begins if at < late + length - 1e-6]

    assert pace.chunk * (1 + len(followers)) <= max(rate, 1)


@pytest.mark.parametrize(("rate", "least"), [(0.1, 0.09), (1, 0.9), (14, 12.7), (100, 87), (1000, 860)])
def test_most_of_the_rate_comes_out(rate: float, least: float) -> None:
    """What the spacing costs is a seventh at most."""
    assert least <= pace_of(rate).rate <= rate


def test_who_is_far_away_is_passed_by() -> None:
    """A provider is marked only when its turn would come later than the cap."""
    chain = a_chain("A", "B")
    marks = passed_by({}, {"a": 31.0, "b": 29.0}, chain, NOON, 30.0)

    mark = blocking_mark(chain.providers[0], ALL, marks, NOON)
    assert mark is not None
    assert mark.block is Block.RATE_LIMITED
    assert "b" not in marks


def decided(
    waits: dict[str, float],
    *history: tuple[str, str],
    chain: Chain | None = None,
    marks: Marks | None = None,
    **values: object,
) -> Start | Wait | Finish:
    """What is next when these providers are at their limits."""
    message: Message = a_message(**values)
    chain = chain or a_chain("A", "B")
    situation = Situation(
        message=message,
        history=a_history(*history),
        chain=chain,
        marks=passed_by(marks or {}, waits, chain, NOON, 30.0),
        now=NOON,
        fraction=0.5,
        at_limit=waits,
    )
    return decide(situation)


def test_a_short_wait_is_waited_for() -> None:
    """A provider at its limit is waited for, although another one would be free."""
    step = decided({"a": 20.0})

    assert isinstance(step, Wait)
    assert (step.provider and step.provider.id, step.delay, step.reason) == ("a", 20.0, "RATE_LIMITED")


def test_nobody_waits_at_a_limit_to_probe_while_others_can_be_asked() -> None:
    """R7 at a limit: a provider whose probe is due but whose gate is not open is passed by like one whose probe is not
    due; only when nobody else is left it is waited for.
    """
    probe_due = marks_of(a_mark("A", until=NOON))

    step = decided({"a": 20.0}, marks=probe_due)
    assert isinstance(step, Start)
    assert (step.provider.id, step.probe) == ("b", False)
    last = decided({"a": 20.0}, chain=a_chain("A"), marks=probe_due)
    assert isinstance(last, Wait)
    assert (last.delay, last.reason) == (20.0, "RATE_LIMITED")
    open_one = marks_of(a_mark("A", block=Block.BREAKER_OPEN, until=NOON - seconds(60)))
    later = decided({"a": 20.0}, ("A", "deferred"), ("B", "unfit"), chain=a_chain("A"), marks=open_one, max_rounds=2)
    assert isinstance(later, Wait)
    assert later.delay > 0


def test_a_long_wait_is_passed_by() -> None:
    """Beyond the longest backoff the next provider is asked, and the history says why."""
    step = decided({"a": 31.0})

    assert isinstance(step, Start)
    assert step.provider.id == "b"
    assert [(skip.provider and skip.provider.id, skip.reason) for skip in step.skips] == [("a", "RATE_LIMITED")]


def test_when_all_are_at_their_limits_the_nearest_is_waited_for() -> None:
    """Nobody is called beyond its limit, as last resort neither."""
    step = decided({"a": 400.0, "b": 90.0})

    assert isinstance(step, Wait)
    assert (step.provider and step.provider.id, step.delay, step.reason) == ("b", 90.0, "RATE_LIMITED")


def test_the_last_one_left_is_waited_for_as_long_as_the_deadline_allows() -> None:
    """When the others have failed, a provider at its limit is waited for and the message does not fail."""
    step = decided({"b": 300.0}, ("A", "deferred"))

    assert isinstance(step, Wait)
    assert (step.delay, step.reason) == (300.0, "RATE_LIMITED")
