"""How many calls at a time a provider stands: what counts as too much, and how the limit comes and goes."""

import math

import pytest

from services.adapters.outcome import Reason, Result
from services.dispatch.window import Window, is_overload
from tests.builders import a_result, throttled

CEILING = 100
TIMED_OUT = a_result("unknown", reason=Reason.TIMEOUT)


def learnt(window: Window, *results: Result, began: float = 1.0, at_once: int = 20, ceiling: int = CEILING) -> Window:
    """The window after these answers, all at the second 10."""
    for result in results:
        window = window.learn(result, began=began, now=10.0, at_once=at_once, ceiling=ceiling)
    return window


def test_what_may_say_too_much() -> None:
    """A 429 and a time-out do, whatever else fails does not."""
    assert is_overload(throttled(1))
    assert is_overload(TIMED_OUT)
    assert not is_overload(a_result("deferred", reason=Reason.UNAVAILABLE))
    assert not is_overload(a_result("accepted"))


def test_too_much_leaves_seven_tenths_of_what_was_open() -> None:
    """Of the limit, where that is less, and never less than one."""
    assert learnt(Window(), throttled(1), TIMED_OUT).limit == 14
    assert learnt(Window(limit=10), TIMED_OUT, TIMED_OUT).limit == 7
    assert learnt(Window(limit=1), TIMED_OUT, TIMED_OUT).limit == 1


def test_one_is_no_news() -> None:
    """A single refusal, also the first of all answers."""
    assert learnt(Window(), throttled(1)).limit is None


@pytest.mark.parametrize(("others", "limited"), [(17, True), (18, True), (19, False), (38, False)])
def test_too_much_is_a_tenth_of_the_answers(others: int, limited: bool) -> None:
    """Two among twenty are; two among more are a provider's everyday life."""
    window = learnt(Window(), throttled(1), *[a_result("accepted")] * others, throttled(1))
    assert (window.limit is not None) is limited


def test_a_few_time_outs_never_strangle() -> None:
    """One in twenty for ever, whatever the load: there is no limit at the end, nor in between."""
    window = Window()
    for _ in range(200):
        window = learnt(window, TIMED_OUT, *[a_result("accepted")] * 19, at_once=2)
        assert window.limit is None


def test_what_began_before_the_change_teaches_nothing() -> None:
    """Hundreds that were open when it became too much step back once, not once each."""
    window = learnt(Window(), *[throttled(1)] * 300, at_once=300)
    assert window.limit == 210
    assert learnt(window, throttled(1), throttled(1), began=10.0, at_once=210).limit == 147


def test_successes_bring_it_back() -> None:
    """As many as the limit add one; from the ceiling on nothing limits any more."""
    window = learnt(Window(limit=14), *[a_result("accepted")] * 14)
    assert (window.limit, window.credit) == (15, 0)
    assert learnt(Window(limit=9), *[a_result("accepted")] * 9, ceiling=10).limit is None
    assert learnt(Window(limit=9), *[a_result("deferred")] * 9).limit == 9


@pytest.mark.parametrize("stands", [1, 5, 50])
def test_it_settles_where_the_provider_does(stands: int) -> None:
    """A provider that refuses whatever is over its own number is asked about that often at a time."""
    window, seen = Window(), []
    for second in range(400):
        now, at_once = float(second), min(window.limit or CEILING, CEILING)
        for place in range(at_once):
            result = a_result("accepted") if place < stands else throttled(1)
            window = window.learn(result, began=now, now=now + 0.5, at_once=at_once, ceiling=CEILING)
        seen.append(at_once)
    settled = seen[200:]

    assert stands * 0.6 <= sum(settled) / len(settled) <= stands * 1.25 + 1
    assert max(settled) <= math.ceil(stands * 1.2) + 1
