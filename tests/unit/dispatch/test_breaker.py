"""What an attempt does to the breaker of its provider."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch.breaker import (
    FAILURES,
    FIRST_WAIT,
    LONGEST_WAIT,
    SHARE_WINDOW,
    Breaker,
    Change,
    Closing,
    Engagement,
    Lesson,
    News,
    Signal,
    calls_allowed,
    closed,
    engage,
    engagement_of,
    expired,
    is_news,
    learn,
    probing,
    signal_in,
    signal_of,
    told_by,
)
from services.dispatch.chain import Hold, Provider
from services.dispatch.health import Block, blocking_mark, scopes_of
from tests.builders import (
    NOON,
    a_chain,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_email,
    marks_of,
    seconds,
    throttled,
)

ALL = frozenset({""})


def a_lesson(result: Result | str = "deferred", provider: Provider | None = None, **values: Any) -> Lesson:
    """What an attempt that began at noon taught about A."""
    made = a_result(result) if isinstance(result, str) else result
    given: dict[str, Any] = {
        "provider": provider or a_provider("A"),
        "project_id": "shop",
        "channel": a_message().channel,
        "result": made,
        "signal": signal_of(made),
        "scopes": ALL,
        "scope": made.scope,
        "started_at": NOON,
    }
    return Lesson(**{**given, **values})


def a_breaker(**values: Any) -> Breaker:
    """The closed breaker of A."""
    return replace(closed(a_lesson(), ""), **values)


def an_open_breaker(**values: Any) -> Breaker:
    """A, open since noon after five failures."""
    breaker = a_breaker()
    for _ in range(FAILURES):
        breaker, _ = learn(breaker, a_lesson(), NOON, 0)
    assert breaker.block is Block.BREAKER_OPEN
    return replace(breaker, **values)


def after(breaker: Breaker, *lessons: tuple[float, Lesson]) -> tuple[Breaker, list[News]]:
    """The breaker after lessons at so many seconds after noon, and all that was told."""
    told: list[News] = []
    for at, lesson in lessons:
        breaker, news = learn(breaker, lesson, NOON + seconds(at), 0)
        told += news
    return breaker, told


def failing(at: Sequence[float], **values: Any) -> tuple[Breaker, list[News]]:
    """A closed breaker after failures at these seconds."""
    return after(a_breaker(), *((each, a_lesson(**values)) for each in at))


@pytest.mark.parametrize(
    ("result", "signal"),
    [
        (a_result("accepted"), Signal.SUCCESS),
        (a_result("invalid"), Signal.NOTHING),
        (a_result("unfit"), Signal.NOTHING),
        (a_result("denied"), Signal.DENIED),
        (a_result("unknown"), Signal.FAILURE),
        (a_result("unknown", reason="UNEXPECTED"), Signal.FAILURE),
        (a_result("unknown", reason="LEASE_LOST"), Signal.NOTHING),
        (a_result("deferred"), Signal.FAILURE),
        (a_result("deferred", retry_after=600), Signal.FAILURE),
        (a_result("deferred", reason="LEASE_LOST"), Signal.NOTHING),
        (a_result("deferred", reason=Reason.RECIPIENT_UNAVAILABLE), Signal.NOTHING),
        (a_result("deferred", reason=Reason.RATE_LIMITED), Signal.NOTHING),
        (a_result("deferred", reason=Reason.RATE_LIMITED, retry_after=0.0), Signal.NOTHING),
        (throttled(600), Signal.THROTTLED),
    ],
    ids=lambda value: f"{value.outcome}-{value.reason}" if isinstance(value, Result) else str(value),
)
def test_what_a_result_says_about_its_provider(result: Result, signal: Signal) -> None:
    """R7, X16: deferred and unknown count; a 429 cools down; invalid, unfit and what is not its fault say nothing."""
    assert signal_of(result) is signal


def test_every_outcome_is_considered() -> None:
    """A new outcome would have to be decided here."""
    silent = {outcome for outcome in Outcome if signal_of(a_result(outcome)) is Signal.NOTHING}

    assert silent == {Outcome.INVALID, Outcome.UNFIT}


def test_x14_five_failures_within_a_minute_open_it() -> None:
    """X14: four do not, the fifth does; it is told once, however many follow."""
    four, quiet = failing(range(4))
    more, told = failing(range(9))

    assert (four.block, quiet) == (None, [])
    assert (more.block, more.opened_at, more.until) == (Block.BREAKER_OPEN, NOON + seconds(4), NOON + seconds(64))
    assert [(news.change, news.breaker.wait) for news in told] == [(Change.OPENED, FIRST_WAIT)]
    assert more.marks[0].reason == Reason.UNAVAILABLE


def test_failures_that_are_a_minute_old_count_no_more() -> None:
    """R7: five failures that never lie within one minute leave it closed, and little is kept of them."""
    spread, _ = failing([number * 15 for number in range(100)])
    dense, _ = failing([0, 0, 0, 0, 59])
    just_over, _ = failing([0, 0, 0, 0, 60])

    assert spread.block is None
    assert len(spread.failures) <= 4
    assert dense.block is Block.BREAKER_OPEN
    assert just_over.block is None


@pytest.mark.parametrize(("here", "elsewhere", "opens"), [(5, 0, True), (6, 0, False), (0, 6, False), (3, 2, True)])
def test_a_busy_provider_with_few_failures_stays_closed(here: int, elsewhere: int, opens: bool) -> None:
    """ADR 0016: five failures open it only if it accepted no more than five in those seconds, in all processes."""
    breaker = a_breaker()
    for _ in range(FAILURES):
        breaker, _ = learn(breaker, a_lesson(accepted=here), NOON, elsewhere)

    assert (breaker.block is not None) is opens


def test_a_busy_provider_that_goes_down_is_open_within_seconds() -> None:
    """ADR 0016: ten messages a second for hours, then none: half of the last ten seconds' answers are enough."""
    breaker, at = a_breaker(), 0
    while breaker.block is None:
        at += 1
        for _ in range(10):
            lesson = a_lesson(accepted=max(SHARE_WINDOW - at, 0) * 10)
            breaker, _ = learn(breaker, lesson, NOON + seconds(at), elsewhere=0)

    assert at == SHARE_WINDOW / 2


def test_failures_of_half_a_minute_ago_say_little_of_now() -> None:
    """ADR 0016: the fifth failure of a minute leaves it closed when it accepts most messages by now."""
    breaker, told = failing([0, 0, 0, 0, 40], accepted=3)

    assert (breaker.block, told) == (None, [])


def test_one_percent_of_failures_never_opens() -> None:
    """ADR 0016: 100 failures in a minute among 9,900 acceptances leave it closed."""
    breaker, _ = failing([number * 0.5 for number in range(100)], accepted=9900)

    assert breaker.block is None


def test_a_denial_opens_at_once_in_its_scope_only() -> None:
    """§1: denied opens the breaker of its scope and keeps reason and words; others are not touched."""
    denial = a_lesson(a_result("denied", provider_text="suspended", scope="country:NG"), scopes=ALL | {"country:NG"})

    nigeria, told = after(a_breaker(scope="country:NG"), (0, denial))
    everybody, quiet = after(a_breaker(), (0, denial))

    assert (nigeria.block, nigeria.reason, nigeria.detail) == (Block.DENIED, Reason.CREDENTIALS, "suspended")
    assert [news.change for news in told] == [Change.OPENED]
    assert (everybody, quiet) == (a_breaker(), [])


def test_a_failed_probe_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    """R7: 60, 120, 240, 480, 900, 900 seconds; nothing is told meanwhile."""
    breaker, waits, now = an_open_breaker(), [], NOON
    for _ in range(6):
        waits.append(breaker.wait)
        now += seconds(breaker.wait)
        breaker, news = learn(probing(breaker, "me", now + seconds(9)), a_lesson(probe="me"), now, 0)
        assert news == ()
        assert (breaker.until, breaker.prober, breaker.probed_until) == (now + seconds(breaker.wait), "", None)

    assert waits == [60, 120, 240, 480, LONGEST_WAIT, LONGEST_WAIT]


def test_a_successful_probe_closes_it() -> None:
    """R7: closed, told once with how long it was open, and nothing of the failures is left."""
    breaker = probing(an_open_breaker(engaged=True), "me", NOON + seconds(70))

    shut, told = after(breaker, (61, a_lesson("accepted", probe="me")))

    assert (shut.block, shut.marks, shut.failures, shut.engaged) == (None, (), (), False)
    assert shut.returned_at == NOON + seconds(61)
    assert [(news.change, news.closing, news.after) for news in told] == [(Change.CLOSED, Closing.SUCCESS, 61)]


@pytest.mark.parametrize("silent", ["invalid", "unfit", throttled(30)])
def test_a_probe_that_learned_nothing_leaves_the_next_message_to_probe(silent: Result | str) -> None:
    """R7: invalid and unfit never touch health: it stays open, the wait as it was, and the probe is free again."""
    breaker = probing(an_open_breaker(), "me", NOON + seconds(99))

    free, told = after(breaker, (61, a_lesson(silent, probe="me")))

    assert (free.block, free.wait, free.prober, told) == (Block.BREAKER_OPEN, FIRST_WAIT, "", [])
    assert free.marks[0].probe_due(NOON + seconds(61))


def test_somebody_elses_failure_does_not_touch_an_open_breaker() -> None:
    """Only the probe's own failure doubles the wait: messages that were under way, or last resorts, do not."""
    breaker = probing(an_open_breaker(), "me", NOON + seconds(70))

    assert after(breaker, (61, a_lesson()), (62, a_lesson(probe="an older one"))) == (breaker, [])


def test_a_success_that_began_before_the_opening_closes_nothing() -> None:
    """A call that was under way when it opened says nothing new; a last resort that began after it does."""
    under_way, _ = after(an_open_breaker(), (5, a_lesson("accepted", started_at=NOON - seconds(1))))
    last_resort, told = after(an_open_breaker(), (5, a_lesson("accepted", started_at=NOON + seconds(1))))

    assert under_way == an_open_breaker()
    assert last_resort.block is None
    assert [news.closing for news in told] == [Closing.SUCCESS]


def test_a_429_cools_down_and_never_opens() -> None:
    """X08: for as long as it asks, the longest of them; its breaker never opens."""
    cooled, told = after(a_breaker(), *((at, a_lesson(throttled(600 - at * 10))) for at in range(9)))

    assert (cooled.block, told) == (None, [])
    assert [(mark.block, mark.until) for mark in cooled.marks] == [(Block.COOLDOWN, NOON + seconds(600))]


def test_a_changed_configuration_closes_it_and_begins_anew() -> None:
    """§1: whatever the new version brings, the old opening is over, and is told so; old lessons change nothing."""
    new = a_provider("A", version=2)

    good, told = after(an_open_breaker(), (9, a_lesson("accepted", new)))
    bad, both = after(an_open_breaker(block=Block.DENIED), (9, a_lesson("denied", new)))
    late, nothing = after(good, (10, a_lesson("denied")))

    assert (good.block, good.config_version, good.returned_at) == (None, 2, None)
    assert [(news.change, news.closing) for news in told] == [(Change.CLOSED, Closing.CONFIG_CHANGED)]
    assert (bad.block, [news.change for news in both]) == (Block.DENIED, [Change.CLOSED, Change.OPENED])
    assert (late, nothing) == (good, [])


def test_a_denial_of_an_open_breaker_only_changes_the_word() -> None:
    """What kept failing and now refuses to work is DENIED; the time of its probe stays, nothing is told."""
    denied, told = after(an_open_breaker(), (9, a_lesson("denied")), (10, a_lesson("denied")))

    assert (denied.block, denied.reason, denied.until) == (Block.DENIED, Reason.CREDENTIALS, NOON + seconds(60))
    assert told == []


def test_the_happy_path_writes_nothing() -> None:
    """A success is news only to an open breaker in one of the message's scopes, of any version."""
    provider = a_provider("A", version=3)

    assert not is_news(provider, Signal.SUCCESS, ALL, {}, "")
    assert not is_news(provider, Signal.SUCCESS, ALL, marks_of(a_mark("A", scope="country:NG")), "")
    assert not is_news(provider, Signal.NOTHING, ALL, marks_of(a_mark("A")), "")
    assert is_news(provider, Signal.SUCCESS, ALL, marks_of(a_mark("A")), "")
    assert is_news(provider, Signal.NOTHING, ALL, {}, "a probe")
    assert not is_news(provider, Signal.FAILURE, ALL, marks_of(a_mark("A", config_version=3)), "")
    assert is_news(provider, Signal.FAILURE, ALL, marks_of(a_mark("A", config_version=2)), "")
    assert is_news(provider, Signal.FAILURE, ALL, marks_of(a_mark("A", config_version=3, scope="x:")), "")
    assert all(is_news(provider, signal, ALL, {}, "") for signal in (Signal.FAILURE, Signal.DENIED, Signal.THROTTLED))


def test_an_engagement_is_told_once_per_opening() -> None:
    """The first attempt through another provider tells it; later ones, and those that know no opening, do not."""
    engagement = Engagement(first=a_provider("A"), taken=a_provider("B"))

    engaged, told = engage(an_open_breaker(), engagement)

    assert [(news.change, news.taken) for news in told] == [(Change.ENGAGED, a_provider("B"))]
    assert engaged.marks[0].engaged
    assert engage(engaged, engagement) == (engaged, ())
    assert engage(a_breaker(), engagement) == (a_breaker(), ())


def test_who_engages() -> None:
    """Only what takes the place of the chain's first startable provider, passed by because it is open for all."""
    a, b, c = a_provider("A"), a_provider("B"), a_provider("C")
    chain, opened = a_chain(a, b, c), marks_of(a_mark("A"))
    passed_by = frozenset({"a"})

    assert engagement_of(chain, b, passed_by, opened) == Engagement(first=a, taken=b)
    assert engagement_of(chain, b, passed_by, marks_of(a_mark("A", engaged=True))) is None
    assert engagement_of(chain, b, passed_by, marks_of(a_mark("A", scope="country:NG"))) is None
    assert engagement_of(chain, b, passed_by, marks_of(a_mark("A", block=Block.COOLDOWN))) is None
    assert engagement_of(chain, c, frozenset(), opened) is None
    assert engagement_of(chain, a, passed_by, opened) is None
    assert engagement_of(a_chain(replace(a, hold=Hold.OUT), b), b, passed_by, opened) is None


def test_a_provider_that_nobody_wants_is_forgotten() -> None:
    """What was open and is forgotten is told; what was closed is not."""
    gone = expired(an_open_breaker(), NOON + seconds(86_400))

    assert gone is not None
    assert (gone.change, gone.closing) == (Change.CLOSED, Closing.EXPIRED)
    assert expired(a_breaker(), NOON) is None


def test_a_gradual_return() -> None:
    """1, 2, 4, 8, 16 calls at a time, and after five successes as many as ever."""
    allowed = [calls_allowed(successes) for successes in range(7)]

    assert allowed == [1, 2, 4, 8, 16, None, None]
    assert all(left < right for left, right in pairwise(each for each in allowed if each))


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the provider's"])
def test_a_denied_sender_passes_by_the_messages_that_use_it(own: bool) -> None:
    """Denied for one sender, however the adapter spells it, skips the messages of that sender, those without one being
    sent as the provider's own; a message from somebody else is not in that scope.
    """
    content = an_email() if own else an_email(sender=None)
    scopes = scopes_of(a_message(content=content), a_chain())
    denied = a_result("denied", scope="sender:Noreply@xn--bcher-kva.example")

    scope = told_by(denied.scope, scopes)
    opened, _ = learn(a_breaker(scope=scope), a_lesson(denied, scope=scope, scopes=scopes), NOON, 0)

    marks = marks_of(*opened.marks)
    assert blocking_mark(a_provider("A"), scopes, marks, NOON) == opened.marks[0]
    assert blocking_mark(a_provider("A"), frozenset({"", "sender:other@example.com"}), marks, NOON) is None


def test_the_retries_of_one_message_count_once() -> None:
    """A message's later failures at a provider say nothing, unless it probes; its first at another one does."""
    history, failed = a_history(("A", "deferred"), ("B", "unfit")), a_result("unknown")

    assert signal_in(history, a_provider("A"), failed, probe=False) is Signal.NOTHING
    assert signal_in(history, a_provider("A"), failed, probe=True) is Signal.FAILURE
    assert signal_in(history, a_provider("B"), failed, probe=False) is Signal.FAILURE
    assert signal_in(history, a_provider("A"), a_result("denied"), probe=False) is Signal.DENIED
