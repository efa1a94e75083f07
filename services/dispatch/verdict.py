"""What receipts make of attempts and of a message: pure (failover.md R6). Not how receipts come (receipts.py) or are
kept (receipt_book.py).

What is known of an attempt only moves forward, and the state of a message is read from its attempts; so repeats,
disorder and lateness need no rules of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from services.adapters.outcome import Outcome
from services.adapters.receipts import Receipt, ReceiptStatus
from services.dispatch.attempt import REFUSALS, Attempt
from services.dispatch.message import State

_TAKEN = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
# How far a word says the message came. Words that are not here (opened, complained, …) say something else.
_WAY = {ReceiptStatus.ACCEPTED: 1, ReceiptStatus.SENT: 2, ReceiptStatus.DEFERRED: 3, ReceiptStatus.DELIVERED: 5}
_WAY |= dict.fromkeys(REFUSALS, 4)
_VERDICT = 4


class Next(StrEnum):
    """What happens to the queue row of a message that a receipt was about."""

    LEAVE = "LEAVE"
    WAKE = "WAKE"
    END = "END"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the effect of a receipt depends on.

    `ended` is how the dispatch ended, None while it goes on; `told` are the words told before about the attempt, each
    with whom it was about; `copies` are the addresses in cc and bcc.
    """

    history: tuple[Attempt, ...]
    number: int
    ended: State | None
    failover_on_receipt: bool = False
    copies: frozenset[str] = frozenset()
    told: frozenset[tuple[ReceiptStatus, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a receipt changes: nothing at all when `tell` is false.

    `attempt` is the attempt as it is now known, None when nothing is new about it; `state` the message's new one, with
    the attempt it is owed to, None when it stays.
    """

    tell: bool
    attempt: Attempt | None = None
    state: State | None = None
    owed_to: Attempt | None = None
    duplicates: int = 0
    next: Next = Next.LEAVE


def effect(case: Case, receipt: Receipt) -> Effect:
    """What one receipt changes. DELIVERED absorbs; no other state changes but SENT and UNKNOWN, and only forward."""
    attempt = case.history[case.number - 1]
    about_copy = receipt.recipient.lower() in case.copies
    before, way = _way(attempt.receipt), _way(receipt.status)
    if (receipt.status, receipt.recipient) in case.told or 0 < way < min(before, _VERDICT):
        return Effect(tell=False, duplicates=_duplicates(case.history))
    if about_copy or way <= before or attempt.outcome not in _TAKEN:
        return Effect(tell=True, duplicates=_duplicates(case.history))
    known = replace(attempt, receipt=receipt.status, route_at_fault=receipt.route_at_fault)
    history = tuple(known if each.number == case.number else each for each in case.history)
    return replace(_on_message(case, history, known), attempt=known, duplicates=_duplicates(history))


def standing(history: Sequence[Attempt]) -> tuple[State, Attempt] | None:
    """Where a message is by all that is known of its attempts, and which one it owes that to; None when none of them
    may have been taken.
    """
    taken = [attempt for attempt in history if attempt.outcome in _TAKEN]
    open_ = [attempt for attempt in taken if not attempt.refused]
    for attempt in taken:
        if attempt.delivered:
            return State.DELIVERED, attempt
    for attempt in reversed(open_):
        if attempt.outcome is Outcome.ACCEPTED:
            return State.SENT, attempt
    if open_:
        return State.UNKNOWN, open_[0]
    return (State.UNDELIVERED, taken[-1]) if taken else None


def _on_message(case: Case, history: tuple[Attempt, ...], known: Attempt) -> Effect:
    stands = standing(history)
    if case.ended is None:
        # The dispatch reads its attempts before each step; only "delivered" is worth waking it for.
        return Effect(tell=True, next=Next.WAKE if known.delivered else Next.LEAVE)
    if stands is None or case.ended is State.DELIVERED:
        return Effect(tell=True)
    if known.delivered:
        return Effect(tell=True, state=State.DELIVERED, owed_to=known, next=Next.END)
    last_taken = max(attempt.number for attempt in history if attempt.outcome in _TAKEN)
    if known.refused and known.route_at_fault and case.failover_on_receipt and known.number == last_taken:
        return Effect(tell=True, next=Next.WAKE)
    state, owed_to = stands
    if state is State.UNDELIVERED and case.ended in (State.SENT, State.UNKNOWN):
        return Effect(tell=True, state=state, owed_to=owed_to)
    return Effect(tell=True)


def _way(status: ReceiptStatus | None) -> int:
    return 0 if status is None else _WAY.get(status, 0)


def _duplicates(history: Sequence[Attempt]) -> int:
    return max(sum(attempt.delivered for attempt in history) - 1, 0)
