"""The delivery log's words and its arithmetic: documented statuses, pages by number, the moment in an id. Pure; the
statements are log_book.py's.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.adapters.base import Channel
from services.dispatch.message import EndReason, StateCode

DEFAULT_LIMIT, MOST_LIMIT = 50, 100
# Beyond this page nobody turns by hand, and the row's number would not fit the answer's 32 bits.
MOST_PAGE = 10_000_000
EXACT = 10_000
# How many messages a filter that no index serves looks through before it says how far it came.
SEARCHED = 50_000
# Of an id's time and its message's: the first is the dispatcher's clock, unless that is far off (intake.py), the second
# the database's at the commit.
CLOCKS_DIFFER = timedelta(minutes=1)
# Why a message ended FAILED without that any provider could have helped: the documented `rejected`.
REJECTED = (EndReason.REJECTED, EndReason.RECIPIENT_SUPPRESSED)
LOWEST, HIGHEST = UUID(int=0), UUID(int=(1 << 128) - 1)
_EPOCH = datetime.fromtimestamp(0, UTC)


class Status(StrEnum):
    """A message's state in the documented words."""

    PENDING = "pending"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    FAILED = "failed"


# 0 stands for a dispatch that has not ended.
STATES: dict[Status, tuple[int, ...]] = {
    Status.PENDING: (0,),
    Status.SENT: (StateCode.SENT, StateCode.UNKNOWN),
    Status.DELIVERED: (StateCode.DELIVERED,),
    Status.BOUNCED: (StateCode.UNDELIVERED,),
    Status.REJECTED: (StateCode.FAILED,),
    Status.FAILED: (StateCode.FAILED, StateCode.EXPIRED, StateCode.CANCELED),
}
_STATUSES = {state: status for status, states in STATES.items() for state in states}


def status_of(state: int, reason: str) -> Status:
    """The status of a message that ended so; state 0 is one that has not."""
    if state == StateCode.FAILED:
        return Status.REJECTED if reason in REJECTED else Status.FAILED
    return _STATUSES[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which messages of a project: None and "" mean any; `provider` is an id or a kind, the moments [after, before)."""

    project_id: str
    channel: Channel | None = None
    status: Status | None = None
    provider: str = ""
    recipient: str = ""
    after: datetime | None = None
    before: datetime | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it names nothing but project and channel: then the marks lead to any page."""
        return not (self.status or self.provider or self.recipient or self.after or self.before)

    @property
    def is_rare(self) -> bool:
        """Whether the index over the statuses that few messages have serves it."""
        return self.status in (Status.BOUNCED, Status.REJECTED, Status.FAILED)

    @property
    def span(self) -> tuple[UUID, UUID]:
        """The ids [from, to) between which all its messages lie."""
        low = first_id_at(self.after, -CLOCKS_DIFFER) if self.after else LOWEST
        return low, first_id_at(self.before, CLOCKS_DIFFER) if self.before else HIGHEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page, from 1, and how long."""

    number: int = 1
    limit: int = DEFAULT_LIMIT

    @property
    def offset(self) -> int:
        """How many entries stand before it."""
        return (self.number - 1) * self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The ids on a page, and one more when another page follows; how many there are in all, as far as that is known;
    `searched_back_to` when the search stopped before the end.
    """

    ids: tuple[UUID, ...]
    total: int
    is_estimate: bool = False
    searched_back_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page stands among all."""

    total: int
    pages: int
    has_next: bool
    has_previous: bool
    is_estimate: bool


def place_of(page: Page, found: Found) -> Place:
    """Where the page stands: an estimate never contradicts what is on the page."""
    seen = page.offset + len(found.ids) if found.ids else 0
    total = max(found.total, seen)
    pages = -(-total // page.limit)
    return Place(
        total=total,
        pages=pages,
        has_next=len(found.ids) > page.limit,
        has_previous=1 < page.number <= pages + 1,
        is_estimate=found.is_estimate,
    )


def first_id_at(moment: datetime, later: timedelta = timedelta(0)) -> UUID:
    """The lowest id that a message of this moment, or so much later, can have; moments before 1970 count as 1970."""
    # Added to the difference: a moment may be the first or the last that there is.
    milliseconds = max((moment - _EPOCH + later) // timedelta(milliseconds=1), 0)
    return UUID(int=min(milliseconds, (1 << 48) - 1) << 80)


def moment_of(message_id: UUID) -> datetime:
    """The moment that an id carries, to the millisecond."""
    return _EPOCH + timedelta(milliseconds=message_id.int >> 80)
