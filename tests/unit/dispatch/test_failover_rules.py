"""Rules R1, R2, R4, R7 and R8 of failover.md beyond the table: order, preference, the deadline, health, the end."""

import pytest

from services.dispatch.failover import Finish, Situation, Skip, Start, Wait, decide
from services.dispatch.message import EndReason, State
from tests.builders import (
    NOON,
    a_chain,
    a_cooldown,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_attempt,
    an_sms,
    at_most_once,
    marks_of,
    seconds,
    throttled,
)
from tests.unit.dispatch.stage import play

ALL_DEFER = {name: ["deferred"] for name in "ABCD"}


def _name(skip: Skip) -> str:
    return skip.provider.name if skip.provider else ""


def test_r1_the_chain_decides_between_equal_priorities() -> None:
    """R1: the order of the chain is taken as it comes, whatever ids and names would sort like."""
    told = play(ALL_DEFER, chain=a_chain("C", "A", "B"))

    assert told.calls == "C:deferred A:deferred B:deferred"


def test_r1_disabled_providers_are_not_started() -> None:
    """R1: a disabled provider is passed over without a word."""
    told = play(ALL_DEFER, chain=a_chain("A", a_provider("B", enabled=False), "C"))

    assert (told.calls, told.skips) == ("A:deferred C:deferred", [])


@pytest.mark.parametrize(
    ("after_a", "calls"),
    [
        (a_chain("A", "D", "B"), "A:deferred D:deferred B:deferred"),
        (a_chain("D", "A", "B"), "A:deferred D:deferred B:deferred"),
        (a_chain("B", "A"), "A:deferred B:deferred"),
        (a_chain("A"), "A:deferred"),
        (a_chain("B"), "A:deferred B:deferred"),
        (a_chain(a_provider("A", version=2), "B"), "A:deferred B:deferred"),
        (a_chain(a_provider("A", enabled=False), a_provider("B", enabled=False)), "A:deferred"),
        (a_chain("A", providers=()), "A:deferred"),
    ],
    ids="added,added on top,reordered,one removed,tried one removed,re-versioned,all off,all gone".split(","),
)
def test_r1_the_chain_changes_under_a_message(after_a, calls: str) -> None:
    """R1: what is tried next follows the chain of the moment, nobody twice; losing every provider ends it visibly."""
    told = play(ALL_DEFER, chain=lambda made: a_chain("A", "B") if made == 0 else after_a)

    assert told.calls == calls
    assert (told.state, told.end.reason) == (State.FAILED, EndReason.ALL_PROVIDERS_FAILED)
    assert told.end.detail.count("UNAVAILABLE") == len(told.attempts)


def test_r1_a_provider_that_comes_back_is_not_tried_twice() -> None:
    """R1: a provider that was removed and restored has had its try of this round."""
    told = play(ALL_DEFER, chain=lambda made: a_chain("B") if made == 1 else a_chain("A", "B"))

    assert told.calls == "A:deferred B:deferred"


@pytest.mark.parametrize("denied", ["denied", "unfit", "unknown"])
def test_r1_a_new_version_is_not_asked_again_for_the_same_message(denied: str) -> None:
    """§1: denied, unfit and unknown are not asked again, also when the provider was changed meanwhile."""
    told = play(
        {"A": [denied], "B": ["deferred", "accepted"]},
        message=a_message(max_rounds=2),
        chain=lambda made: a_chain(a_provider("A", version=1 + made), "B"),
    )

    assert told.calls == f"A:{denied} B:deferred B:accepted"


def test_r2_all_providers_of_a_preferred_kind_go_first() -> None:
    """R2: a preferred kind brings every enabled provider of that kind to the front, in their order, none twice."""
    chain = a_chain(
        "A",
        a_provider("S1", kind="ses"),
        "B",
        a_provider("S2", kind="ses", enabled=False),
        a_provider("S3", kind="ses"),
    )
    told = play(
        {name: ["deferred"] for name in ("A", "B", "S1", "S2", "S3")},
        message=a_message(preferred_provider="ses"),
        chain=chain,
    )

    assert told.calls == "S1:deferred S3:deferred A:deferred B:deferred"
    assert told.skips == []


def test_r2_a_preferred_id_names_one_of_its_kind() -> None:
    """R2: a preferred id brings that provider alone to the front."""
    chain = a_chain(a_provider("S1", kind="ses"), a_provider("S2", kind="ses"))
    told = play({"S1": ["deferred"], "S2": ["deferred"]}, message=a_message(preferred_provider="s2"), chain=chain)

    assert told.calls == "S2:deferred S1:deferred"


@pytest.mark.parametrize(
    ("chain", "reason", "name"),
    [
        (a_chain("A", "B"), EndReason.PREFERRED_PROVIDER_NOT_FOUND, ""),
        (a_chain("A", a_provider("X", enabled=False)), EndReason.PREFERRED_PROVIDER_DISABLED, "X"),
        (a_chain("A", providers=()), EndReason.PREFERRED_PROVIDER_NOT_FOUND, ""),
    ],
    ids=["unknown", "disabled", "no chain"],
)
def test_r2_strict_fails_before_any_call(chain, reason: str, name: str) -> None:
    """R2: strict and not there: FAILED with the reason, nobody called."""
    told = play(message=a_message(preferred_provider="x", strict=True), chain=chain)

    assert (told.calls, told.state, told.end.reason) == ("", State.FAILED, reason)
    assert told.skips == [(name, reason)]


def test_r2_not_strict_takes_the_chain_and_says_why() -> None:
    """R2: without strict the chain is taken as it is, and the reason stands among the skips."""
    unknown = play(message=a_message(preferred_provider="x"))
    disabled = play(message=a_message(preferred_provider="x"), chain=a_chain("A", a_provider("X", enabled=False)))

    assert (unknown.calls, unknown.skips) == ("A:accepted", [("", "PREFERRED_PROVIDER_NOT_FOUND")])
    assert (disabled.calls, disabled.skips) == ("A:accepted", [("X", "PREFERRED_PROVIDER_DISABLED")])


def test_r2_strict_only_guards_the_start() -> None:
    """R2: a strictly preferred provider that was there and failed hands over to the rest of the chain."""
    told = play({"C": ["deferred"]}, message=a_message(preferred_provider="c", strict=True))

    assert told.calls == "C:deferred A:accepted"


def test_r2_a_preferred_provider_that_health_blocks_is_passed_by() -> None:
    """R2, R7: preferred means first in turn, not exempt from health."""
    told = play(message=a_message(preferred_provider="c"), marks=marks_of(a_mark("C")))

    assert (told.calls, told.skips) == ("A:accepted", [("C", "DENIED")])


@pytest.mark.parametrize(("left", "timeout"), [(3600.0, 10.0), (10.0, 10.0), (9.5, 9.5), (0.001, 0.001)])
def test_r4_a_call_gets_what_is_left(left: float, timeout: float) -> None:
    """R4: the timeout is the smaller of the provider's (10 s unless set) and the time to the deadline."""
    told = play(message=a_message(deadline=NOON + seconds(left)))

    assert (told.starts[0].timeout, told.starts[0].time_left) == (timeout, left)


def test_r4_the_provider_sets_its_timeout() -> None:
    """R4: `timeoutSeconds` of the provider's settings replaces the 10 s."""
    told = play(chain=a_chain(a_provider("A", timeout=2.5)))

    assert told.starts[0].timeout == 2.5


def test_r4_the_deadline_passes_between_tries() -> None:
    """R4: when the wait ends at or after the deadline, nobody is called any more and the errors are told."""
    situation = Situation(
        message=a_message(max_tries=2),
        history=a_history(("A", a_result("deferred", provider_text="busy"))),
        chain=a_chain(),
        marks={},
        now=NOON + seconds(3600),
        fraction=0.5,
        waited=True,
    )

    step = decide(situation)

    assert isinstance(step, Finish)
    assert (step.state, step.reason, step.detail) == (State.EXPIRED, EndReason.DEADLINE_PASSED, "A: busy")


def test_r4_an_answer_after_the_deadline_still_counts() -> None:
    """R4: the deadline forbids to start, not to accept or to reject what was started in time."""
    late = Situation(
        message=a_message(),
        history=a_history(("A", "accepted")),
        chain=a_chain(),
        marks={},
        now=NOON + seconds(7200),
        fraction=0.5,
    )

    step = decide(late)

    assert isinstance(step, Finish)
    assert step.state is State.SENT


@pytest.mark.parametrize("message", [a_message(), at_most_once()], ids=["AT_LEAST_ONCE", "AT_MOST_ONCE"])
def test_r4_a_deadline_after_an_unknown_attempt_is_unknown(message) -> None:
    """R4, R5: when somebody may have taken it, the deadline makes it UNKNOWN via that attempt, not EXPIRED."""
    chain = a_chain(a_provider("A", timeout=4000))

    told = play({"A": ["unknown"]}, message=message, chain=chain)

    assert (told.calls, told.state, told.end.attempt) == ("A:unknown", State.UNKNOWN, told.attempts[0])


def test_r7_every_blocked_provider_is_told_with_its_reason() -> None:
    """R7: those passed by on the way to a healthy one are told in order with reason and end."""
    told = play(marks=marks_of(a_mark("A", detail="401 Unauthorized"), a_cooldown("B", ends_in=60)))

    assert told.calls == "C:accepted"
    assert [(_name(skip), skip.reason, skip.detail, skip.until) for skip in told.starts[0].skips] == [
        ("A", "DENIED", "401 Unauthorized", None),
        ("B", "COOLDOWN", "RATE_LIMITED", NOON + seconds(60)),
    ]


@pytest.mark.parametrize(
    ("marks", "first"),
    [
        ((a_mark("A"), a_cooldown("B", ends_in=50), a_cooldown("C", ends_in=40)), "C"),
        ((a_cooldown("A", ends_in=5), a_mark("B"), a_mark("C")), "A"),
        ((a_mark("A"), a_mark("B"), a_mark("C")), "A"),
    ],
    ids=["soonest cool-down", "cool-down before denial", "all denied: the chain's order"],
)
def test_r7_all_blocked_tries_the_one_closest_to_recovery(marks, first: str) -> None:
    """R7: when every provider is passed by, exactly one is tried, the one closest to recovery, and it is no skip."""
    told = play({name: ["deferred"] for name in "ABC"}, marks=marks_of(*marks))

    assert told.calls == f"{first}:deferred"
    assert {_name(skip) for skip in told.starts[0].skips} == set("ABC") - {first}
    assert told.state is State.FAILED


def test_r7_a_scoped_denial_only_skips_its_combination() -> None:
    """§1: denied for one country passes A by for that country only."""
    marks = marks_of(a_mark("A", scope="country:NG"))
    nigeria, kenya = a_message(content=an_sms()), a_message(content=an_sms(to="+254712345678"))

    assert play(message=nigeria, marks=marks).calls == "B:accepted"
    assert play(message=kenya, marks=marks).calls == "A:accepted"


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_r8_exhausted_tells_every_attempt(rounds: int) -> None:
    """R8: when nobody is left, it is FAILED and the detail has one entry per attempt, in order."""
    told = play(ALL_DEFER, message=a_message(max_rounds=rounds))

    assert told.calls == " ".join(["A:deferred B:deferred C:deferred"] * rounds)
    assert [entry[0] for entry in told.end.detail.split("; ")] == list("ABC") * rounds


@pytest.mark.parametrize("chain", [a_chain("A", providers=()), a_chain(a_provider("A", enabled=False))])
def test_r8_no_provider(chain) -> None:
    """R8: without an enabled provider it is FAILED at once with NO_PROVIDER and no attempt."""
    told = play(chain=chain)

    assert (told.calls, told.state, told.end.reason) == ("", State.FAILED, EndReason.NO_PROVIDER)
    assert len(told.decisions) == 1


def test_a_channel_that_is_switched_off_calls_nobody() -> None:
    """A new message on a channel that is switched off fails with CHANNEL_DISABLED; one under way goes on."""
    fresh = play(chain=a_chain(enabled=False))
    under_way = play({"A": ["deferred"]}, chain=lambda made: a_chain(enabled=made == 0))

    assert (fresh.calls, fresh.state, fresh.end.reason) == ("", State.FAILED, EndReason.CHANNEL_DISABLED)
    assert under_way.calls == "A:deferred B:accepted"


def test_r8_an_exhausted_chain_with_an_unknown_attempt_is_unknown() -> None:
    """R5, R8: nobody took it for sure and somebody may have: UNKNOWN via that one, with every error."""
    told = play({"A": ["deferred"], "B": ["unknown"], "C": ["unfit"]})

    assert (told.state, told.end.reason) == (State.UNKNOWN, EndReason.ALL_PROVIDERS_FAILED)
    assert told.end.attempt == told.attempts[1]
    assert told.end.detail == "A: UNAVAILABLE; B: TIMEOUT; C: TOO_LARGE"


def test_an_open_attempt_is_never_mistaken_for_a_failed_one() -> None:
    """`decide` never raises: with an open attempt at the end it does not ask the same provider again."""
    situation = Situation(
        message=a_message(max_tries=5),
        history=(an_attempt("A", None),),
        chain=a_chain("A"),
        marks={},
        now=NOON,
        fraction=0.5,
    )

    assert not isinstance(decide(situation), Start | Wait)


def test_r7_a_throttled_only_provider_is_still_not_called_twice() -> None:
    """R3, R8: one provider, one try: a 429 with a short Retry-After ends it rather than asking again."""
    told = play({"A": [throttled(1)]}, chain=a_chain("A"))

    assert told.calls == "A:deferred"
    assert told.state is State.FAILED
