"""What holds for every chain, every run of outcomes and every set of marks, found by search rather than by example."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters.outcome import Outcome, Result
from services.dispatch.chain import Chain, Hold, Provider
from services.dispatch.failover import Situation, order_for
from services.dispatch.health import Block, Mark
from services.dispatch.message import Message, State, UnknownPolicy
from tests.builders import NOON, a_chain, a_cooldown, a_mark, a_message, a_provider, a_result, marks_of, throttled
from tests.unit.dispatch.stage import Play, play

NAMES = "ABCDE"
ONE_TRY = {Outcome.DENIED, Outcome.UNFIT, Outcome.UNKNOWN}

results = st.one_of(
    st.sampled_from(
        ["unfit", "denied", "unknown", "unknown", "deferred", "deferred", "unfit", "invalid", "accepted"]
    ).map(a_result),
    st.floats(0, 5000).map(throttled),
    st.floats(0, 100).map(lambda after: a_result("unknown", retry_after=after)),
)


@st.composite
def providers(draw: st.DrawFn, name: str) -> Provider:
    """A provider of any kind, switched on or off, quick or slow, with or without a key."""
    return a_provider(
        name,
        kind=draw(st.sampled_from(["ses", "smtp"])),
        enabled=draw(st.booleans() | st.just(True)),
        version=draw(st.integers(1, 2)),
        timeout=draw(st.sampled_from([0.5, 10, 100])),
        idempotent=draw(st.booleans()),
        hold=draw(st.sampled_from([Hold.AUTOMATIC, Hold.AUTOMATIC, Hold.AUTOMATIC, Hold.OUT, Hold.IN])),
    )


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """Up to five providers in any order."""
    names = draw(st.permutations(NAMES))[: draw(st.sampled_from([0, 1, 2, 2, 3, 3, 4, 5]))]
    return a_chain("A", providers=tuple(draw(providers(name)) for name in names))


@st.composite
def marks(draw: st.DrawFn) -> list[Mark]:
    """Some providers are blocked: for good, for a while, until a probe, or for a version that is not theirs."""
    found = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)):
        version = draw(st.integers(1, 2))
        ends_in = draw(st.floats(-10, 4000))
        opened = a_mark(name, block=Block.BREAKER_OPEN, until=NOON + timedelta(seconds=ends_in))
        made = draw(st.sampled_from([a_mark(name), a_cooldown(name, ends_in=ends_in), opened]))
        found.append(replace(made, config_version=version))
    return found


messages = st.builds(
    a_message,
    preferred_provider=st.sampled_from(["", "", "ses", "c", "nobody"]),
    strict=st.sampled_from([False, False, False, True]),
    max_tries=st.integers(1, 4),
    max_rounds=st.integers(1, 4),
    on_unknown=st.sampled_from(UnknownPolicy),
    deadline=(st.sampled_from([3600.0, 3600.0, 60.0]) | st.floats(-1, 4000)).map(
        lambda left: NOON + timedelta(seconds=left)
    ),
)
scripts = st.fixed_dictionaries({name: st.lists(results, min_size=1, max_size=6) for name in NAMES})
fractions = st.floats(0, 1, exclude_max=True)


@dataclass(frozen=True)
class Case:
    """One message, the world it meets, and the chain that replaces the first one after so many attempts."""

    message: Message
    chain: Chain
    marks: list[Mark]
    script: dict[str, list[Result]]
    fraction: float

    def played(self) -> Play:
        """What becomes of it; fails when there is no end."""
        return play(
            self.script, message=self.message, chain=self.chain, marks=marks_of(*self.marks), fraction=self.fraction
        )


cases = st.builds(Case, message=messages, chain=chains(), marks=marks(), script=scripts, fraction=fractions)
searched = settings(max_examples=80, derandomize=True)


@searched
@given(cases, chains(), st.integers(0, 6))
def test_it_always_ends(case: Case, later: Chain, changes_after: int) -> None:
    """Whatever the answers and however the chain changes on the way, a message comes to one final state."""
    told = play(
        case.script,
        message=case.message,
        chain=lambda made: later if made >= changes_after else case.chain,
        marks=marks_of(*case.marks),
        fraction=case.fraction,
    )

    assert told.state in {State.SENT, State.FAILED, State.EXPIRED, State.UNKNOWN}


@searched
@given(cases, chains(), st.integers(0, 6))
def test_nobody_is_called_too_often(case: Case, later: Chain, changes_after: int) -> None:
    """R3: at most maxTries per provider and round, so maxTries times maxRounds in all; no round comes back."""
    told = play(
        case.script,
        message=case.message,
        chain=lambda made: later if made >= changes_after else case.chain,
        fraction=case.fraction,
    )
    policy = case.message.policy
    per_round = Counter((attempt.provider_id, attempt.round) for attempt in told.attempts)
    rounds = [attempt.round for attempt in told.attempts]

    assert max(per_round.values(), default=0) <= policy.max_tries
    assert all(1 <= number <= policy.max_rounds for number in rounds)
    assert rounds == sorted(rounds)


@searched
@given(cases)
def test_nobody_is_asked_again_after_a_last_word(case: Case) -> None:
    """§1: no call to a provider after it denied, found unfit or became unknown; unknown is excused by a key."""
    told = case.played()
    keyed = {provider.id for provider in case.chain.providers if provider.idempotent}
    done: set[str] = set()
    for attempt in told.attempts:
        assert attempt.provider_id not in done
        excused = attempt.outcome is Outcome.UNKNOWN and attempt.provider_id in keyed
        if attempt.outcome in ONE_TRY and not excused:
            done.add(attempt.provider_id)


@searched
@given(cases)
def test_accepted_and_invalid_are_the_last_call(case: Case) -> None:
    """§1: nothing is called after accepted or invalid."""
    outcomes = [attempt.outcome for attempt in case.played().attempts[:-1]]

    assert not {Outcome.ACCEPTED, Outcome.INVALID} & set(outcomes)


@searched
@given(cases, chains(), st.integers(0, 6))
def test_at_most_once_calls_nobody_else_after_unknown(case: Case, later: Chain, changes_after: int) -> None:
    """R5: under AT_MOST_ONCE, after the first unknown attempt only the same provider is called, and only with a key."""
    message = replace(case.message, policy=replace(case.message.policy, on_unknown=UnknownPolicy.AT_MOST_ONCE))
    told = play(
        case.script,
        message=message,
        chain=lambda made: later if made >= changes_after else case.chain,
        marks=marks_of(*case.marks),
        fraction=case.fraction,
    )
    first = next((n for n, attempt in enumerate(told.attempts) if attempt.outcome is Outcome.UNKNOWN), None)
    if first is not None:
        assert {attempt.provider_id for attempt in told.attempts[first:]} == {told.attempts[first].provider_id}
        assert all(start.provider.idempotent for start in told.starts[first + 1 :])


@searched
@given(cases)
def test_the_order_of_the_chain_is_kept(case: Case) -> None:
    """R1, R2: within a round providers are started in this message's order; passed-by ones excepted, none comes back.

    The one exception is R7's: when all are blocked, the one closest to recovery is the only one of its round.
    """
    told = case.played()
    order, _ = order_for(
        Situation(message=case.message, history=(), chain=case.chain, marks={}, now=NOON, fraction=0.0)
    )
    places = {provider.id: place for place, provider in enumerate(order)}
    for number in range(1, case.message.policy.max_rounds + 1):
        tried = list(dict.fromkeys(a.provider_id for a in told.attempts if a.round == number))
        if not case.marks and not told.learned:
            assert [places[provider_id] for provider_id in tried] == sorted(places[each] for each in tried)
        runs = [a.provider_id for a in told.attempts if a.round == number]
        changes = sum(left != right for left, right in pairwise(runs))
        assert changes == max(len(tried) - 1, 0)  # nobody is left and taken up again within a round


@searched
@given(cases)
def test_only_enabled_providers_of_the_chain_are_started(case: Case) -> None:
    """R1, R7: nobody is called who is not in the chain, is disabled, or is held out by an operator."""
    enabled = {provider.id for provider in case.chain.providers if provider.enabled and provider.hold is not Hold.OUT}

    assert {start.provider.id for start in case.played().starts} <= enabled


@searched
@given(cases)
def test_no_call_starts_after_the_deadline_or_outlasts_it(case: Case) -> None:
    """R4: every start is before the deadline, its timeout positive and at most the time left and the provider's own."""
    told = case.played()
    for step, at in zip(told.decisions, told.times, strict=True):
        if step in told.starts:
            left = (case.message.deadline - at).total_seconds()
            assert left > 0
            assert 0 < step.timeout <= min(left, step.provider.timeout)
            assert step.time_left == left


@searched
@given(cases)
def test_waits_are_short_enough_and_never_two_in_a_row(case: Case) -> None:
    """R3, R4: no wait goes past the deadline, none is negative, and after a wait something happens."""
    told = case.played()
    for step, at in zip(told.decisions, told.times, strict=True):
        if step in told.waits:
            assert 0 <= step.delay <= (case.message.deadline - at).total_seconds()
    assert not any(left in told.waits and right in told.waits for left, right in pairwise(told.decisions))


@searched
@given(cases)
def test_the_final_state_is_what_the_outcomes_imply(case: Case) -> None:
    """SENT by accepted, FAILED by invalid; else UNKNOWN if anybody may have it, EXPIRED or FAILED if surely nobody."""
    told = case.played()
    outcomes = [attempt.outcome for attempt in told.attempts]
    last = outcomes[-1] if outcomes else None
    if last is Outcome.ACCEPTED:
        expected = {State.SENT}
    elif last is Outcome.INVALID:
        expected = {State.FAILED}
    elif Outcome.UNKNOWN in outcomes:
        expected = {State.UNKNOWN}
    else:
        expected = {State.EXPIRED if told.times[-1] >= case.message.deadline else State.FAILED}

    assert told.state in expected
    assert (told.end.attempt is None) == (told.state in {State.FAILED, State.EXPIRED})
    assert bool(told.end.reason) == (told.state is not State.SENT)


@searched
@given(cases)
def test_a_healthy_chain_is_never_given_up_untried(case: Case) -> None:
    """R7: whatever the marks, when an enabled provider exists and the deadline is ahead, somebody is tried."""
    told = case.played()
    refused = told.end.reason.startswith("PREFERRED_PROVIDER") or told.end.reason == "NO_PROVIDER"

    assert told.attempts or refused or case.message.deadline <= NOON


@searched
@given(cases)
def test_skips_name_only_those_that_were_not_started_instead(case: Case) -> None:
    """R7: a provider that a decision starts in the first round is not among those it passes by."""
    for start in (start for start in case.played().starts if start.round == 1):
        assert start.provider.id not in {skip.provider.id for skip in start.skips if skip.provider}
