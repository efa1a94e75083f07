"""Which partitions there should be: made ahead of time, dropped behind it. Pure; partition_book.py has the
statements.

Ids carry the time, so a partition of ids is one of time. About eight are there at any time: six of the retention, the
one that is being filled, the next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.dispatch.delivery_log import first_id_at, moment_of

LEAST = timedelta(days=1)
# Where rows lie in the way already (housekeeping was late), the next partition begins so much after now.
AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The part of every table that has the ids [lower, upper)."""

    name: str
    lower: UUID
    upper: UUID


def width_of(retention: timedelta) -> timedelta:
    """How long a partition is filled."""
    return max(LEAST, retention / 6)


def missing(there: Sequence[Partition], now: datetime, retention: timedelta, *, late: bool) -> list[Partition]:
    """Those to be made, so that what comes within the next width has a place; `late`: rows without one were written."""
    width = width_of(retention)
    start = moment_of(max(each.upper for each in there))
    start = max(start, now + AHEAD) if late else max(start, now - width)
    wanted = []
    while start < now + width:
        end = start + width
        wanted.append(Partition(name=f"{start:%Y%m%d%H%M}", lower=first_id_at(start), upper=first_id_at(end)))
        start = end
    return wanted


def expired(there: Iterable[Partition], now: datetime, retention: timedelta) -> list[Partition]:
    """Those whose youngest message is older than the retention, oldest first; never the last one, after which the next
    is made.
    """
    cutoff = first_id_at(now - retention)
    return [each for each in sorted(there, key=lambda each: each.upper)[:-1] if each.upper <= cutoff]
