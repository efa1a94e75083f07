"""Sums of what happened, by hour and by day, and what a histogram of latencies tells. Pure; rollup_book.py has the
statements.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

# The upper bounds of the buckets, in seconds: from a millisecond to twenty minutes, each a quarter wider than the last,
# so that a percentile is off by a quarter at most. What is slower is in one more.
FIRST, RATIO, BOUNDED = 0.001, 1.25, 64
BOUNDS = tuple(FIRST * RATIO**place for place in range(BOUNDED))
BUCKETS = BOUNDED + 1


class Interval(StrEnum):
    """How long a time is counted together."""

    HOUR = "hour"
    DAY = "day"


LENGTH = {Interval.HOUR: timedelta(hours=1), Interval.DAY: timedelta(days=1)}


class Count(StrEnum):
    """What is counted, by the name of its column."""

    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    FAILED_OVER = "failed_over"
    RESCUED = "rescued"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is counted; `provider_id` and `kind` are empty where no provider had a part in it."""

    start: datetime
    interval: Interval
    channel: int
    provider_id: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is counted: `counts`, or the latency of an attempt in seconds."""

    at: datetime
    channel: int
    provider_id: str = ""
    kind: str = ""
    counts: tuple[Count, ...] = ()
    latency: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The sum of facts in one place."""

    counts: Counter[Count] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)

    def histogram(self) -> list[int]:
        """How many attempts fell into each bucket."""
        return [self.latencies[bucket] for bucket in range(BUCKETS)]


def tally(facts: Iterable[Fact]) -> dict[Place, Tally]:
    """The sums of facts, by hour and by day."""
    sums: dict[Place, Tally] = {}
    for fact in facts:
        for interval in Interval:
            place = Place(
                start=start_of(fact.at, interval),
                interval=interval,
                channel=fact.channel,
                provider_id=fact.provider_id,
                kind=fact.kind,
            )
            its = sums.setdefault(place, Tally())
            its.counts.update(fact.counts)
            if fact.latency is not None:
                its.latencies[bucket_of(fact.latency)] += 1
    return sums


def start_of(moment: datetime, interval: Interval) -> datetime:
    """The hour or day (UTC) that a moment belongs to; the moment is one of UTC."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if interval is Interval.HOUR else hour.replace(hour=0)


def bucket_of(latency: float) -> int:
    """The bucket of a latency in seconds: the first whose bound is not below it."""
    return next((place for place, bound in enumerate(BOUNDS) if latency <= bound), BOUNDED)


def percentile(histogram: Sequence[int], share: float) -> float | None:
    """The latency in seconds below which that share of the attempts were, as if each bucket were filled evenly; None
    without attempts. What is slower than the last bound counts as that.
    """
    wanted, seen = share * sum(histogram), 0
    for place, count in enumerate(histogram):
        if count and seen + count >= wanted:
            low = BOUNDS[place - 1] if place else 0.0
            high = BOUNDS[min(place, BOUNDED - 1)]
            return low + (high - low) * max(wanted - seen, 0) / count if place < BOUNDED else high
        seen += count
    return None
