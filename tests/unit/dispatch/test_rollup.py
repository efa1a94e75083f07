"""Sums by hour and by day, and percentiles from buckets."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from services.dispatch.rollup import BOUNDS, BUCKETS, Count, Fact, Interval, bucket_of, percentile, tally

LATE = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)


def test_facts_are_summed_by_hour_and_by_day() -> None:
    """Two of one hour, one of the next day: three sums by the hour and by the day two."""
    told = [
        Fact(at=LATE, channel=1, provider_id="p", kind="ses", counts=(Count.SENT, Count.RESCUED), latency=0.1),
        Fact(at=LATE - timedelta(hours=1), channel=1, provider_id="p", kind="ses", counts=(Count.SENT,)),
        Fact(at=LATE + timedelta(seconds=1), channel=1, provider_id="p", kind="ses", latency=0.1),
    ]

    sums = {(place.interval, place.start.isoformat()[:13]): its for place, its in tally(told).items()}

    assert {where: (its.counts[Count.SENT], sum(its.histogram())) for where, its in sums.items()} == {
        (Interval.HOUR, "2026-01-01T22"): (1, 0),
        (Interval.HOUR, "2026-01-01T23"): (1, 1),
        (Interval.HOUR, "2026-01-02T00"): (0, 1),
        (Interval.DAY, "2026-01-01T00"): (2, 1),
        (Interval.DAY, "2026-01-02T00"): (0, 1),
    }
    assert sums[Interval.DAY, "2026-01-01T00"].counts[Count.RESCUED] == 1


def test_channels_and_providers_are_apart() -> None:
    """Each channel and each provider has sums of its own."""
    told = [Fact(at=LATE, channel=channel, provider_id=name) for channel in (1, 2) for name in ("a", "b")]

    assert len({(place.channel, place.provider_id) for place in tally(told)}) == 4


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_percentile_is_within_a_bucket(share: float) -> None:
    """What the buckets say is within a quarter of what the latencies themselves say."""
    drawn = sorted(Random(7).lognormvariate(-2, 1) for _ in range(10_000))
    histogram = [0] * BUCKETS
    for latency in drawn:
        histogram[bucket_of(latency)] += 1

    exact = drawn[int(share * len(drawn))]

    assert percentile(histogram, share) == pytest.approx(exact, rel=0.25)


def test_the_ends_of_a_histogram() -> None:
    """Nothing has no percentile; what is slower than the last bound counts as that; each bound is in its own bucket."""
    slow = [0] * BUCKETS
    slow[bucket_of(1e9)] = 3

    assert percentile([0] * BUCKETS, 0.5) is None
    assert percentile(slow, 0.5) == BOUNDS[-1]
    assert [bucket_of(bound) for bound in BOUNDS] == list(range(len(BOUNDS)))
