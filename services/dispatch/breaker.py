"""The breaker of one provider as a value, and what an attempt does to it: pure (failover.md R7, ADR 0016). Not where it
is kept (breaker_book.py), not whom it passes by (health.py).

Closed, it counts failures. Five within a minute open it, if the provider accepted no more than it failed in the last
ten seconds; a denial opens it at once. Open, one message at a time may probe it when `until` has come: success closes
it, failure doubles the wait. A breaker with a scope only ever opens by a denial in that scope.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.adapters.base import Channel
from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch.attempt import LEASE_LOST, Attempt
from services.dispatch.chain import Chain, Provider
from services.dispatch.health import SENDER, Block, Mark, Marks

FAILURES = 5
WINDOW = 60
# The share of failures is that of the last moments: what a busy provider accepted before it went down would hide for
# half a minute that it is down.
SHARE_WINDOW = 10
FIRST_WAIT, LONGEST_WAIT = 60.0, 900.0
RETURN_SUCCESSES = 5
RETURN_SECONDS = 60.0
# Failures of which nobody knows that they are the provider's: it works and asks for a pause, this one mailbox is busy,
# our own dispatcher went away.
_NOT_ITS_OWN = frozenset({Reason.RATE_LIMITED, Reason.RECIPIENT_UNAVAILABLE, LEASE_LOST})


class Signal(StrEnum):
    """What an attempt says about its provider."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DENIED = "DENIED"
    THROTTLED = "THROTTLED"
    NOTHING = "NOTHING"


class Change(StrEnum):
    """What is told about a breaker, once each time."""

    OPENED = "OPENED"
    CLOSED = "CLOSED"
    ENGAGED = "ENGAGED"


class Closing(StrEnum):
    """Why a breaker closed; the words of `ProviderRecovered.reason`."""

    SUCCESS = "SUCCESS"
    CONFIG_CHANGED = "CONFIG_CHANGED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """All that is known about the health of one provider, in one scope. Closed while `block` is None.

    `opened_at` is when it opened, `until` when it may be probed next, `wait` the seconds before that. While somebody
    probes, `prober` says who and `probed_until` for how long at most. `failures` are those of a closed breaker: the
    second (since 1970) and how many. `revision` grows with every change.
    """

    provider_id: str
    scope: str = ""
    project_id: str
    channel: Channel
    kind: str
    provider_name: str
    config_version: int
    block: Block | None = None
    reason: str = ""
    detail: str = ""
    opened_at: datetime | None = None
    until: datetime | None = None
    wait: float = 0.0
    prober: str = ""
    probed_until: datetime | None = None
    engaged: bool = False
    returned_at: datetime | None = None
    failures: tuple[tuple[int, int], ...] = ()
    cools_until: datetime | None = None
    cool_reason: str = ""
    cool_detail: str = ""
    revision: int = 0

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Why the provider is passed by."""
        found = []
        if self.block is not None:
            found.append(self._mark(self.block, self.reason, self.detail, self.until))
        if self.cools_until is not None:
            found.append(self._mark(Block.COOLDOWN, self.cool_reason, self.cool_detail, self.cools_until))
        return tuple(found)

    def _mark(self, block: Block, reason: str, detail: str, until: datetime | None) -> Mark:
        opened = block is not Block.COOLDOWN
        return Mark(
            provider_id=self.provider_id,
            scope=self.scope,
            config_version=self.config_version,
            block=block,
            reason=reason,
            detail=detail,
            until=until,
            probed_until=self.probed_until if opened else None,
            engaged=self.engaged and opened,
        )

    def failed_lately(self, now: datetime, seconds: int = WINDOW) -> int:
        """How many failures are not older than so many seconds."""
        return sum(count for _, count in _recent(self.failures, now, seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What one attempt taught about its provider.

    `scopes` are those of the message, `scope` the one that a denial is about. `probe` names the probe that the attempt
    was, if it was one. `accepted` is how many messages this process saw the provider accept within SHARE_WINDOW.
    """

    provider: Provider
    project_id: str
    channel: Channel
    result: Result
    signal: Signal
    scopes: frozenset[str]
    scope: str = ""
    started_at: datetime
    probe: str = ""
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engagement:
    """An attempt through `taken` begins because `first`, the first of its chain, is open."""

    first: Provider
    taken: Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What the project's stream tells about a breaker: `breaker` as it is open, or was until now."""

    change: Change
    breaker: Breaker
    closing: Closing | None = None
    after: float = 0.0
    taken: Provider | None = None


def signal_of(result: Result) -> Signal:
    """What a result says about the provider: invalid and unfit say nothing."""
    match result.outcome:
        case Outcome.ACCEPTED:
            return Signal.SUCCESS
        case Outcome.DENIED:
            return Signal.DENIED
        case Outcome.DEFERRED if result.reason == Reason.RATE_LIMITED and result.retry_after:
            return Signal.THROTTLED
        case Outcome.DEFERRED | Outcome.UNKNOWN if result.reason not in _NOT_ITS_OWN:
            return Signal.FAILURE
    return Signal.NOTHING


def signal_in(history: Sequence[Attempt], provider: Provider, result: Result, *, probe: bool) -> Signal:
    """The same within a dispatch: only a message's first failure at a provider counts, or one message that nobody can
    send would open the breakers of a whole chain by its retries.
    """
    signal = signal_of(result)
    if signal is not Signal.FAILURE or probe:
        return signal
    before = [attempt.result for attempt in history if attempt.provider_id == provider.id and attempt.result]
    return Signal.NOTHING if any(signal_of(each) is Signal.FAILURE for each in before) else signal


def is_news(provider: Provider, signal: Signal, scopes: frozenset[str], marks: Marks, probe: str) -> bool:
    """Whether anything has to be written: on the happy path nothing has. A success is news to an open breaker, also to
    one of an older configuration; a failure is none to one that is open.
    """
    if probe or signal in (Signal.DENIED, Signal.THROTTLED):
        return True
    opened = [mark for mark in marks.get(provider.id, ()) if mark.is_open and mark.scope in scopes]
    if signal is Signal.FAILURE:
        return not any(mark.config_version == provider.version and not mark.scope for mark in opened)
    return signal is Signal.SUCCESS and bool(opened)


def told_by(scope: str, scopes: frozenset[str]) -> str:
    """A denied sender in the words of `scopes_of`: the adapter names the one it used, in the spelling of its wire."""
    if not scope.startswith(SENDER):
        return scope
    return next((known for known in scopes if known.startswith(SENDER)), scope)


def closed(lesson: Lesson, scope: str) -> Breaker:
    """The breaker of a provider of which nothing is known."""
    return Breaker(
        provider_id=lesson.provider.id,
        scope=scope,
        project_id=lesson.project_id,
        channel=lesson.channel,
        kind=lesson.provider.kind,
        provider_name=lesson.provider.name,
        config_version=lesson.provider.version,
    )


def learn(breaker: Breaker, lesson: Lesson, now: datetime, elsewhere: int) -> tuple[Breaker, tuple[News, ...]]:
    """The breaker after a lesson, and what is told about that. `elsewhere` is how many messages other processes saw the
    provider accept within SHARE_WINDOW. A lesson of an older configuration changes nothing.
    """
    if lesson.provider.version < breaker.config_version:
        return breaker, ()
    news: tuple[News, ...] = ()
    if lesson.provider.version > breaker.config_version:
        news = (_closing(breaker, Closing.CONFIG_CHANGED, now),) if breaker.block is not None else ()
        breaker = replace(closed(lesson, breaker.scope), revision=breaker.revision)
    after = _after(breaker, lesson, now, elsewhere)
    if breaker.block is None and after.block is not None:
        news = (*news, News(change=Change.OPENED, breaker=after))
    elif breaker.block is not None and after.block is None:
        news = (*news, _closing(breaker, Closing.SUCCESS, now))
    return after, news


def engage(breaker: Breaker, engagement: Engagement) -> tuple[Breaker, tuple[News, ...]]:
    """The breaker once it is told that another provider carries the messages: once per opening."""
    if breaker.block is None or breaker.engaged or breaker.config_version != engagement.first.version:
        return breaker, ()
    after = replace(breaker, engaged=True)
    return after, (News(change=Change.ENGAGED, breaker=after, taken=engagement.taken),)


def engagement_of(chain: Chain, taken: Provider, passed_by: frozenset[str], marks: Marks) -> Engagement | None:
    """What begins when a message is given to `taken` and the first provider of the chain is among those passed by: an
    engagement, if it is open for everybody and nobody is known to have told it.
    """
    first = next((provider for provider in chain.providers if provider.startable), None)
    if first is None or first.id == taken.id or first.id not in passed_by:
        return None
    untold = [mark for mark in marks.get(first.id, ()) if mark.is_open and not mark.scope and not mark.engaged]
    return Engagement(first=first, taken=taken) if untold else None


def expired(breaker: Breaker, now: datetime) -> News | None:
    """What is told of a breaker that is forgotten because no message wanted its provider."""
    return _closing(breaker, Closing.EXPIRED, now) if breaker.block is not None else None


def probing(breaker: Breaker, prober: str, until: datetime) -> Breaker:
    """The breaker while one message probes it."""
    return replace(breaker, prober=prober, probed_until=until)


def probe_due(breaker: Breaker, now: datetime) -> bool:
    """Whether it is open and a message may probe it."""
    return any(mark.probe_due(now) for mark in breaker.marks)


def calls_allowed(successes: int) -> int | None:
    """How many calls at a time one process may have at a provider that works again; None when as many as ever."""
    return None if successes >= RETURN_SUCCESSES else 2**successes


def _after(breaker: Breaker, lesson: Lesson, now: datetime, elsewhere: int) -> Breaker:
    mine = bool(lesson.probe) and lesson.probe == breaker.prober
    match lesson.signal:
        case Signal.DENIED if breaker.scope == lesson.scope:
            return _after_denial(breaker, lesson, now, mine=mine)
        case Signal.FAILURE if not breaker.scope:
            return _after_failure(breaker, lesson, now, elsewhere, mine=mine)
        case Signal.SUCCESS if breaker.block is not None and (mine or _began_after_opening(breaker, lesson)):
            return replace(_released(breaker), block=None, until=None, wait=0.0, engaged=False, returned_at=now)
        case Signal.THROTTLED if breaker.scope == lesson.scope:
            breaker = _cooled(breaker, lesson.result, now)
    # A probe that learned nothing about the provider leaves the next message to probe.
    return _released(breaker) if mine else breaker


def _after_denial(breaker: Breaker, lesson: Lesson, now: datetime, *, mine: bool) -> Breaker:
    if breaker.block is None:
        return _opened(breaker, Block.DENIED, lesson.result, now)
    if mine:
        return _put_off(replace(breaker, block=Block.DENIED), lesson.result, now)
    if breaker.block is Block.DENIED:
        return breaker
    return replace(breaker, block=Block.DENIED, reason=lesson.result.reason, detail=lesson.result.provider_text)


def _after_failure(breaker: Breaker, lesson: Lesson, now: datetime, elsewhere: int, *, mine: bool) -> Breaker:
    if breaker.block is not None:
        return _put_off(breaker, lesson.result, now) if mine else breaker
    counted = replace(breaker, failures=_counted(breaker.failures, now))
    accepted = lesson.accepted + elsewhere
    if counted.failed_lately(now) < FAILURES or counted.failed_lately(now, SHARE_WINDOW) < accepted:
        return counted
    return _opened(counted, Block.BREAKER_OPEN, lesson.result, now)


def _began_after_opening(breaker: Breaker, lesson: Lesson) -> bool:
    """Whether an attempt that was no probe, but a last resort, is evidence of better times."""
    return breaker.opened_at is not None and lesson.started_at > breaker.opened_at


def _opened(breaker: Breaker, block: Block, result: Result, now: datetime) -> Breaker:
    return replace(
        _released(breaker),
        block=block,
        reason=result.reason,
        detail=result.provider_text,
        opened_at=now,
        until=now + timedelta(seconds=FIRST_WAIT),
        wait=FIRST_WAIT,
        engaged=False,
        returned_at=None,
        failures=(),
    )


def _put_off(breaker: Breaker, result: Result, now: datetime) -> Breaker:
    wait = min(breaker.wait * 2, LONGEST_WAIT)
    until = now + timedelta(seconds=wait)
    return replace(_released(breaker), reason=result.reason, detail=result.provider_text, wait=wait, until=until)


def _released(breaker: Breaker) -> Breaker:
    return replace(breaker, prober="", probed_until=None)


def _cooled(breaker: Breaker, result: Result, now: datetime) -> Breaker:
    until = now + timedelta(seconds=result.retry_after or 0.0)
    if breaker.cools_until is not None and breaker.cools_until >= until:
        return breaker
    return replace(breaker, cools_until=until, cool_reason=result.reason, cool_detail=result.provider_text)


def _closing(breaker: Breaker, closing: Closing, now: datetime) -> News:
    after = (now - breaker.opened_at).total_seconds() if breaker.opened_at else 0.0
    return News(change=Change.CLOSED, breaker=breaker, closing=closing, after=after)


def _counted(failures: tuple[tuple[int, int], ...], now: datetime) -> tuple[tuple[int, int], ...]:
    counts = dict(_recent(failures, now))
    second = int(now.timestamp())
    counts[second] = counts.get(second, 0) + 1
    return tuple(sorted(counts.items()))


def _recent(failures: tuple[tuple[int, int], ...], now: datetime, seconds: int = WINDOW) -> tuple[tuple[int, int], ...]:
    since = int(now.timestamp()) - seconds
    return tuple((second, count) for second, count in failures if second > since)
