"""Which partitions there should be: made ahead, dropped behind, about eight at any time, no gap between them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from services.dispatch.delivery_log import first_id_at, moment_of
from services.dispatch.partitions import Partition, expired, missing, width_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MONTH = timedelta(days=30)
FIRST = Partition(name="first", lower=UUID(int=0), upper=first_id_at(NOON + timedelta(days=1)))


def test_a_year_of_housekeeping() -> None:
    """Looked after daily for a year: what comes within a width has a place, without gap or overlap; nothing younger
    than the retention is dropped, and eight or so are there.
    """
    there, counts = [FIRST], []
    for day in range(365):
        now = NOON + timedelta(days=day)
        there += missing(there, now, MONTH, late=False)
        gone = expired(there, now, MONTH)
        assert all(moment_of(each.upper) <= now - MONTH for each in gone)
        there = [each for each in there if each not in gone]
        assert all(one.upper == next_.lower for one, next_ in pairwise(there))
        assert there[0].lower <= first_id_at(now - MONTH + timedelta(seconds=1))
        assert moment_of(there[-1].upper) >= now + width_of(MONTH)
        counts.append(len(there))
    assert set(counts[60:]) <= {7, 8, 9}
    assert len({each.name for each in there}) == len(there)


def test_a_partition_is_filled_for_a_day_at_least() -> None:
    """A short retention does not make many small ones."""
    assert width_of(timedelta(days=2)) == timedelta(days=1)
    assert width_of(MONTH) == timedelta(days=5)


def test_after_a_long_sleep_few_are_made() -> None:
    """What nothing was accepted for needs no partition."""
    made = missing([FIRST], NOON + timedelta(days=300), MONTH, late=False)

    assert len(made) == 2
    assert made[0].lower <= first_id_at(NOON + timedelta(days=300))


def test_where_rows_lie_in_the_way_the_next_one_begins_later() -> None:
    """Rows that were written without a partition stay where they are: the next begins after them."""
    late = NOON + timedelta(days=3)

    (first, *_) = missing([FIRST], late, MONTH, late=True)

    assert moment_of(first.lower) == late + timedelta(hours=1)


def test_the_last_partition_stays() -> None:
    """Also when the next can not be made for a year: it is where the next begins."""
    assert expired([FIRST], NOON + timedelta(days=365), MONTH) == []
