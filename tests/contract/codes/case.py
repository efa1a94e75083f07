"""What one documented answer is, and how a kind's tables are walked by them. Not the answers: one file per kind.

To add a code: write its row into the adapter's table and its `Case` into the kind's file here.
"""

from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, Self

import pytest

from services.adapters.outcome import Outcome, Reason, Result, Verdict
from services.adapters.receipt_tools import Meaning
from services.adapters.receipts import ReceiptStatus

# The classes of providers.md §0.1.
A, B, F, C, D = Outcome.INVALID, Outcome.DENIED, Outcome.UNFIT, Outcome.DEFERRED, Outcome.UNKNOWN
ACCEPTED = Outcome.ACCEPTED

OWN = ""
"""In place of a section: the answer is not in providers.md, and `why` says where it is from."""

BY_CLASS = ""
"""In place of a row: no row of any table decides it, but the class of its status or the phase alone."""

Row = str | tuple[str, Hashable]
"""The table that decides, by name; with its key where the row is known by the provider's own word."""


class Case(NamedTuple):
    """One answer: where it is documented, what it says, and what it means to us.

    `sheet` is the class that providers.md gives it, where ours is another; `why` says why, or names the source of what
    providers.md does not have. `code` is the provider's own; the phase for SMTP, the field for SendGrid.
    """

    section: str
    status: int
    code: str
    words: str
    outcome: Outcome
    reason: Reason
    scope: str = ""
    row: Row = BY_CLASS
    sheet: Outcome | None = None
    why: str = ""


class Event(NamedTuple):
    """One later word about a message: what providers.md calls it (§0.5), what is posted, and what it means to us.

    `status` None means that it says nothing about a message of ours. `rows` are the tables that decide.
    """

    section: str
    sheet: str
    said: Any
    status: ReceiptStatus | None
    route_at_fault: bool = False
    rows: tuple[Row, ...] = ()
    why: str = ""


# What providers.md calls it, and what may be meant. Any other reading needs a `why`.
STATES: Mapping[str, tuple[ReceiptStatus | None, ...]] = {
    "accepted": (ReceiptStatus.ACCEPTED,),
    "sent": (ReceiptStatus.SENT,),
    "delivered": (ReceiptStatus.DELIVERED,),
    "deferred": (ReceiptStatus.DEFERRED,),
    "hard failure": (ReceiptStatus.BOUNCED_HARD,),
    "soft failure": (ReceiptStatus.BOUNCED_SOFT,),
    "failed": (ReceiptStatus.FAILED,),
    "suppressed": (ReceiptStatus.SUPPRESSED,),
    "complained": (ReceiptStatus.COMPLAINED,),
    "opened": (ReceiptStatus.OPENED,),
    "clicked": (ReceiptStatus.CLICKED,),
    "unsubscribed": (ReceiptStatus.UNSUBSCRIBED,),
    "ignored": (None,),
}


class Table(NamedTuple):
    """One table of an adapter: a tuple of rows, or a mapping or set by the provider's own words."""

    module: ModuleType
    name: str

    @property
    def rows(self) -> Any:
        """The table itself, as it is now."""
        return vars(self.module)[self.name]

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """What names each row: its place in a tuple, else its key."""
        return tuple(range(len(self.rows))) if isinstance(self.rows, tuple) else tuple(self.rows)

    def without(self, key: Hashable) -> Any:
        """The table with this row deleted."""
        if isinstance(self.rows, tuple):
            return tuple(row for place, row in enumerate(self.rows) if place != key)
        if isinstance(self.rows, frozenset):
            return self.rows - {key}
        return {name: value for name, value in self.rows.items() if name != key}

    def marked(self) -> Any:
        """The table with every row saying who it is instead of what it means; the same where rows say nothing."""
        if isinstance(self.rows, dict):
            return {key: _marked(value, Mark((self.name, key))) for key, value in self.rows.items()}
        if isinstance(self.rows, tuple) and isinstance(self.rows[0], tuple):
            return tuple(_marked(row, Mark((self.name, place))) for place, row in enumerate(self.rows))
        return self.rows  # plain words: which of them spoke shows only when one is taken out


class Mark(str):
    """Stands where a row's meaning would; knows the row."""

    __slots__ = ("row",)

    row: tuple[str, Hashable]

    def __new__(cls, row: tuple[str, Hashable]) -> Self:
        """A mark of this row."""
        mark = super().__new__(cls, f"{row[0]}[{row[1]!r}]")
        mark.row = row
        return mark


def _marked(row: Any, mark: Any) -> Any:
    match row:
        case Verdict():
            return row._replace(reason=mark)
        case Meaning():
            return row._replace(status=mark)
        case tuple():  # a rule, with its meaning in it
            return type(row)(*(_marked(part, mark) if isinstance(part, Verdict | Meaning) else part for part in row))
        case _:
            return mark


@contextmanager
def put(tables: Mapping[Table, Any]) -> Iterator[None]:
    """Have the adapters read these contents in place of their own tables, for a while. To see what the tests see."""
    with pytest.MonkeyPatch.context() as patch:
        for table, contents in tables.items():
            patch.setattr(table.module, table.name, contents)
        yield


Seen = tuple[Any, ...]
"""What an answer was read as: outcome, reason and scope; or status and whether the route is at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """All answers of one kind, its tables, and how one answer is read; `wanted` is what reading it must give.

    `rows` gives the rows that a case names. `others` are tables that take part and are walked elsewhere.
    """

    kind: str
    cases: tuple[Any, ...]
    tables: tuple[Table, ...]
    others: tuple[Table, ...] = ()
    read: Callable[[Any], Seen]
    wanted: Callable[[Any], Seen]
    rows: Callable[[Any], tuple[Row, ...]]

    def mistakes(self) -> list[str]:
        """Every case that is not read as it must be, or by another row than it says."""
        found = []
        for case, marks in zip(self.cases, self.spoken(), strict=True):
            if (seen := self._seen(case)) != self.wanted(case):
                found.append(f"{case}: read as {seen}")
            if not _agree(self.rows(case), marks):
                found.append(f"{case}: decided by {sorted(map(str, marks)) or 'no row'}")
        return found

    def spoken(self) -> list[frozenset[tuple[str, Hashable]]]:
        """For each case the rows that decide it."""
        with put({table: table.marked() for table in (*self.tables, *self.others)}):
            seen = [self._seen(case) for case in self.cases]
        return [frozenset(part.row for part in read if isinstance(part, Mark)) for read in seen]

    def _seen(self, case: Any) -> Seen:
        try:
            return self.read(case)
        except Exception as error:  # noqa: BLE001 - a table without one of its rows may break its reader: a mistake too
            return (repr(error),)


def _agree(said: tuple[Row, ...], spoken: frozenset[tuple[str, Hashable]]) -> bool:
    """Whether the rows that spoke are the ones the case names, as far as it names them."""
    tables = sorted(row if isinstance(row, str) else row[0] for row in said)
    named = {row for row in said if not isinstance(row, str)}
    return tables == sorted(name for name, _ in spoken) and named <= spoken


def answers(
    kind: str,
    cases: tuple[Case, ...],
    tables: tuple[Table, ...],
    read: Callable[[Case], Result | Verdict],
    others: tuple[Table, ...] = (),
) -> Walk:
    """The walk over a kind's answers to what we send."""

    def seen(case: Case) -> Seen:
        result = read(case)
        return result.outcome, result.reason, result.scope

    return Walk(
        kind=kind,
        cases=cases,
        tables=tables,
        others=others,
        read=seen,
        wanted=lambda case: (case.outcome, case.reason, case.scope),
        rows=lambda case: (case.row,) if case.row else (),
    )


def receipts(
    kind: str, events: tuple[Event, ...], tables: tuple[Table, ...], read: Callable[[Any], Coroutine[Any, Any, Any]]
) -> Walk:
    """The walk over what a kind says later. `read` gives the receipts of one signed call that says this."""

    def seen(event: Event) -> Seen:
        found = _at_once(read(event.said))
        return tuple(part for receipt in found for part in (receipt.status, receipt.route_at_fault))

    return Walk(
        kind=f"{kind}-receipts",
        cases=events,
        tables=tables,
        read=seen,
        wanted=lambda event: () if event.status is None else (event.status, event.route_at_fault),
        rows=lambda event: event.rows,
    )


def _at_once(reading: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that has nothing to wait for: no reader asks a network here."""
    try:
        reading.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a reader of receipts waited for something")
