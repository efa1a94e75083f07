"""R7: what a message does about open breakers, probes and an operator's hold."""

from typing import Any

import pytest

from services.dispatch.chain import Hold
from services.dispatch.failover import Finish, Situation, Start, Wait, decide
from services.dispatch.health import Block, Mark
from services.dispatch.message import State
from tests.builders import (
    NOON,
    a_chain,
    a_cooldown,
    a_history,
    a_mark,
    a_message,
    a_provider,
    marks_of,
    seconds,
)
from tests.unit.dispatch.stage import Breakers, play


def an_opening(name: str = "A", *, in_: float = 30, **values: Any) -> Mark:
    """An open breaker that may be probed so many seconds after noon."""
    return a_mark(name, block=Block.BREAKER_OPEN, until=NOON + seconds(in_), **values)


def next_step(*marks: Mark, history: Any = (), chain: Any = "AB", **values: Any) -> Start | Wait | Finish:
    """What is decided at noon about a message with this history."""
    providers = a_chain(*chain)
    return decide(
        Situation(
            message=a_message(**values),
            history=history,
            chain=providers,
            marks=marks_of(*marks),
            now=NOON,
            fraction=0.5,
        )
    )


def test_x14_six_messages_in_a_row() -> None:
    """X14: A always defers: five times A and B, then B alone, with the reason."""
    shared: Breakers = {}
    six = [play({"A": ["deferred"]}, chain=a_chain("A", "B"), shared=shared) for _ in range(6)]

    assert [told.calls for told in six] == ["A:deferred B:accepted"] * 5 + ["B:accepted"]
    assert six[5].skips == [("A", "BREAKER_OPEN")]


def test_x15_a_probe_and_primary_again() -> None:
    """X15: X14, 61 s later, A accepts: the message that may probe does, and the next ones find A first."""
    shared: Breakers = {}
    for _ in range(5):
        play({"A": ["deferred"]}, shared=shared)

    later = [play(shared=shared, now=NOON + seconds(61)) for _ in range(3)]

    assert [told.calls for told in later] == ["A:accepted"] * 3
    assert [told.starts[0].probe for told in later] == [True, False, False]


def test_while_another_message_probes_it_is_passed_by() -> None:
    """R7: one probe in the whole cluster: its time has come, but somebody has it."""
    step = next_step(an_opening(in_=-1, probed_until=NOON + seconds(17)))

    assert isinstance(step, Start)
    assert (step.provider.name, step.probe) == ("B", False)
    assert [(skip.reason, skip.until) for skip in step.skips] == [("BREAKER_OPEN", NOON + seconds(17))]


def test_a_denied_provider_is_probed_too() -> None:
    """R7: a denial has its time as well."""
    step = next_step(a_mark("A", until=NOON))

    assert isinstance(step, Start)
    assert (step.provider.name, step.probe) == ("A", True)


def test_all_open_tries_the_closest_and_then_the_others() -> None:
    """R7: never an instant failure, never a loop: each open provider is asked once, those that recover soon first."""
    marks = marks_of(an_opening("A", in_=50), an_opening("B", in_=20), an_opening("C", in_=40))

    told = play({name: ["deferred"] for name in "ABC"}, marks=marks)

    assert told.calls == "B:deferred C:deferred A:deferred"
    assert told.state is State.FAILED
    assert told.waits == []


def test_an_open_provider_is_tried_when_no_other_can_take_the_message() -> None:
    """R7: B does not fit; A is open for minutes, and asked rather than failing with it untried."""
    told = play({"B": ["unfit"]}, chain=a_chain("A", "B"), marks=marks_of(an_opening("A", in_=500)))

    assert (told.calls, told.state) == ("B:unfit A:accepted", State.SENT)


def test_a_denied_provider_is_no_last_resort_after_others() -> None:
    """ADR 0004: nothing says that it will work; an open one and one that cools down come before it, and it is not
    asked.
    """
    told = play({"B": ["deferred"]}, chain=a_chain("A", "B"), marks=marks_of(a_mark("A", until=NOON + seconds(60))))

    assert (told.calls, told.state) == ("B:deferred", State.FAILED)


def test_an_open_provider_comes_before_one_that_cools_down() -> None:
    """R7: what can be asked now is, before anybody is waited for."""
    marks = marks_of(an_opening("A", in_=500), a_cooldown("B", ends_in=5))

    told = play({"A": ["deferred"], "C": ["deferred"]}, marks=marks)

    assert told.calls == "C:deferred A:deferred B:accepted"


@pytest.mark.parametrize(("rounds", "calls"), [(1, ["A", "B"]), (3, ["A"])])
def test_with_rounds_to_spare_one_last_resort_is_enough(rounds: int, calls: list[str]) -> None:
    """R7: in an outage of all, the provider closest to recovery is asked at once; the others too where the message
    would fail with them untried, else it waits until one may be probed instead of asking in every round.
    """
    shared: Breakers = {}
    for _ in range(5):
        play({name: ["deferred"] for name in "AB"}, chain=a_chain("A", "B"), shared=shared)

    told = play(
        {name: ["deferred"] for name in "AB"},
        chain=a_chain("A", "B"),
        shared=shared,
        message=a_message(max_rounds=rounds),
    )

    at_once = [
        step.provider.name
        for step, at in zip(told.decisions, told.times, strict=True)
        if isinstance(step, Start) and at < NOON + seconds(60)
    ]
    assert at_once == calls
    assert {attempt.provider_name for attempt in told.attempts} == {"A", "B"}
    assert all(wait.delay > 50 for wait in told.waits if wait.reason == "BREAKER_OPEN")


def test_no_message_fails_with_an_open_provider_untried() -> None:
    """R7: in its last round a message goes to the open provider that it has never asked, and not again to others."""
    history = a_history(("A", "deferred"), ("A", "deferred"), rounds=(1, 2))
    both = a_history(("B", "deferred"), ("A", "deferred"), rounds=(1, 2))

    untried = next_step(an_opening("A"), an_opening("B", in_=500), history=history, max_rounds=2)
    earlier = next_step(an_opening("A"), an_opening("B", in_=500), history=history, max_rounds=3)
    tried = next_step(an_opening("A"), an_opening("B", in_=500), history=both, max_rounds=2)

    assert isinstance(tried, Finish)
    assert isinstance(untried, Wait | Start)
    assert untried.provider == a_provider("B")
    assert isinstance(earlier, Wait)
    assert earlier.provider == a_provider("A")


def test_an_outage_of_all_is_no_storm_of_retries() -> None:
    """Issue 4: both providers down: a message with rounds to spare that both failed asks nobody again for a minute."""
    shared: Breakers = {}
    chain = a_chain("A", "B")
    for _ in range(5):
        play({name: ["deferred"] for name in "AB"}, chain=chain, shared=shared)

    told = play({name: ["deferred"] for name in "AB"}, chain=chain, shared=shared, message=a_message(max_rounds=10))

    first_two_minutes = [at for step, at in zip(told.decisions, told.times, strict=True) if isinstance(step, Start)]
    assert sum(at < NOON + seconds(60) for at in first_two_minutes) == 1
    assert sum(at < NOON + seconds(120) for at in first_two_minutes) == 3
    assert max(wait.delay for wait in told.waits) > 600


def test_the_only_provider_is_waited_for_when_it_opened() -> None:
    """R3: with tries left and nobody else, the next one waits for the probe; with somebody else it is not waited
    for.
    """
    history = a_history(("A", "deferred"))

    alone = next_step(an_opening("A"), history=history, chain="A", max_tries=3)
    others = next_step(an_opening("A"), history=history, chain="AB", max_tries=3)

    assert isinstance(alone, Wait)
    assert (alone.reason, 30 <= alone.delay <= 36) == ("BREAKER_OPEN", True)
    assert isinstance(others, Start)
    assert others.provider.name == "B"


def test_nobody_waits_past_the_deadline() -> None:
    """R4: when the probe comes after the deadline, tries and rounds go on after their backoff."""
    given = {"chain": "A", "history": a_history(("A", "deferred")), "deadline": NOON + seconds(100)}

    again = next_step(an_opening("A", in_=500), max_tries=3, **given)
    round_two = next_step(an_opening("A", in_=500), max_rounds=3, **given)

    assert isinstance(again, Wait)
    assert (again.reason, again.delay) == ("BACKOFF", 0.5)
    assert isinstance(round_two, Wait)
    assert round_two.reason == "BACKOFF"


def test_a_provider_that_returns_is_waited_for_a_moment() -> None:
    """R7: it has as many calls as it may have: others carry the message, else it waits, so that no flood comes."""
    returning = a_mark("A", block=Block.RETURNING, until=NOON + seconds(60))

    others = next_step(returning)
    alone = next_step(returning, an_opening("B", in_=20))

    assert isinstance(others, Start)
    assert (others.provider.name, [skip.reason for skip in others.skips]) == ("B", ["RETURNING"])
    assert isinstance(alone, Wait)
    assert (alone.provider, alone.reason) == (a_provider("A"), "RETURNING")
    assert 0.25 <= alone.delay <= 0.75


def test_a_provider_held_out_is_never_started() -> None:
    """R7: not as a last resort, not again, not as the preferred one; all of them are like none enabled."""
    out, b = a_provider("A", hold=Hold.OUT), a_provider("B")

    passed_by = play({"B": ["deferred"]}, chain=a_chain(out, b))
    nobody = play(chain=a_chain(out))
    rounds = play({"B": ["denied"]}, chain=a_chain(out, b), message=a_message(max_rounds=3))
    again = next_step(history=a_history(("A", "deferred")), chain=[out, b], max_tries=5)
    preferred = play(chain=a_chain(out, b), message=a_message(preferred_provider="a"))
    strict = play(chain=a_chain(out, b), message=a_message(preferred_provider="a", strict=True))

    assert (passed_by.calls, passed_by.skips) == ("B:deferred", [("A", "HELD")])
    assert (nobody.calls, nobody.end.reason, nobody.skips) == ("", "NO_PROVIDER", [("A", "HELD")])
    assert (rounds.calls, rounds.state) == ("B:denied", State.FAILED)
    assert isinstance(again, Start)
    assert again.provider == b
    assert (preferred.calls, preferred.skips[0]) == ("B:accepted", ("A", "PREFERRED_PROVIDER_DISABLED"))
    assert (strict.calls, strict.end.reason) == ("", "PREFERRED_PROVIDER_DISABLED")


def test_a_provider_held_in_is_tried_whatever_is_known() -> None:
    """R7: no mark passes it by."""
    told = play(chain=a_chain(a_provider("A", hold=Hold.IN), "B"), marks=marks_of(a_mark("A"), a_cooldown("A")))

    assert told.calls == "A:accepted"
