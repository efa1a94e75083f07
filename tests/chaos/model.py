"""The dispatch database as a few dictionaries: what store.py and ledger.py promise, without SQL. Not the policy: the
real one decides in both.

test_state_machine.py does everything to this and to PostgreSQL and compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from services.adapters.receipts import Receipt
from services.dispatch.attempt import Attempt
from services.dispatch.ledger import Acceptance, Completion, Transition
from services.dispatch.message import State
from services.dispatch.verdict import Case, Effect, Next


@dataclass(slots=True)
class Row:
    """A message in the queue."""

    due_at: datetime
    worker: str | None
    epoch: int
    claims: int


@dataclass(slots=True)
class Kept:
    """Everything known of one message."""

    project_id: str
    row: Row | None
    attempts: list[Attempt] = field(default_factory=list)
    completion: Completion | None = None
    last_epoch: int = 0
    duplicates: int = 0
    sequences: list[int] = field(default_factory=list)
    evidence: int = 0

    @property
    def has_open(self) -> bool:
        """Whether an attempt has no end."""
        return any(attempt.result is None for attempt in self.attempts)


class Model:
    """Messages by id, at a time that only the test moves."""

    def __init__(self, now: datetime, lease_seconds: float) -> None:
        self.now = now
        self.messages: dict[UUID, Kept] = {}
        self._lease = timedelta(seconds=lease_seconds)

    def accept(self, item: Acceptance) -> None:
        """The message is there, held by its worker if it has one."""
        epoch = 0 if item.worker is None else 1
        due_at = self.now if item.worker is None else self.now + self._lease
        row = Row(due_at=due_at, worker=item.worker, epoch=epoch, claims=epoch)
        kept = Kept(project_id=item.message.project_id, row=row, sequences=[event.sequence for event in item.events])
        self.messages[item.message.id] = kept

    def claim(self, worker: str) -> dict[UUID, int]:
        """Everything that is due, each under its next epoch."""
        due = {key: kept.row for key, kept in self.messages.items() if kept.row and kept.row.due_at <= self.now}
        for row in due.values():
            row.worker, row.due_at = worker, self.now + self._lease
            row.epoch, row.claims = row.epoch + 1, row.claims + 1
        return {key: row.epoch for key, row in due.items()}

    def renew(self, leases: Mapping[UUID, int]) -> frozenset[UUID]:
        """Those of the leases that still hold, for another while."""
        ours = {key: row for key, epoch in leases.items() if (row := self._held(key, epoch)) and row.worker}
        for row in ours.values():
            row.due_at = self.now + self._lease
        return frozenset(ours)

    def release(self, leases: Mapping[UUID, int]) -> None:
        """Leases of messages without an open attempt end now."""
        for key, epoch in leases.items():
            row = self._held(key, epoch)
            if row and row.worker and not self.messages[key].has_open:
                row.due_at, row.worker = self.now, None

    def apply(self, step: Transition) -> bool:
        """Whether the step was written: its epoch is held, and its lease is alive if it opens an attempt."""
        row = self._held(step.message_id, step.epoch)
        if row is None or (step.opens is not None and row.due_at <= self.now):
            return False
        kept = self.messages[step.message_id]
        if step.closes is not None:
            self._close(kept, step.closes)
        if step.opens is not None:
            if step.opens.number > len(kept.attempts):
                kept.attempts.append(step.opens)
            row.due_at = self.now + self._lease
        if step.due_in is not None:
            row.due_at, row.worker, row.claims = self.now + timedelta(seconds=step.due_in), None, 0
        if step.completes is not None:
            kept.completion, kept.last_epoch = step.completes, step.epoch
            if step.due_in is None:
                kept.row = None
        kept.sequences += [event.sequence for event in step.events if event.sequence not in kept.sequences]
        return True

    def cancel(self, message_id: UUID, completion: Completion) -> bool:
        """Whether the message could be ended."""
        kept = self.messages[message_id]
        if kept.row is None or kept.completion is not None or kept.has_open:
            return False
        kept.completion, kept.last_epoch, kept.row = completion, kept.row.epoch, None
        kept.sequences.append(len(kept.sequences) + 1)
        return True

    def receipt(self, message_id: UUID, case: Case, effect: Effect, receipt: Receipt) -> None:
        """What a receipt changes, once nobody has the message in work."""
        kept = self.messages[message_id]
        if effect.attempt is not None:
            kept.attempts[case.number - 1] = effect.attempt
        if effect.tell:
            kept.sequences.append(len(kept.sequences) + 1)
        kept.duplicates = effect.duplicates
        if effect.state is not None and effect.owed_to is not None and kept.completion is not None:
            kept.completion = Completion(
                state=effect.state,
                reason="" if effect.state is State.DELIVERED else receipt.status.value,
                provider_id=effect.owed_to.provider_id,
                kind=effect.owed_to.kind,
                possible_duplicate=kept.completion.possible_duplicate,
            )
        if effect.next is Next.WAKE:
            kept.row = kept.row or Row(due_at=self.now, worker=None, epoch=kept.last_epoch, claims=0)
            kept.row.due_at = self.now
        elif effect.next is Next.END:
            kept.row = None

    def leased(self, message_id: UUID, number: int) -> bool:
        """Whether the lease that an attempt began under is alive."""
        epoch = self.messages[message_id].attempts[number - 1].epoch
        row = self._held(message_id, epoch)
        return row is not None and row.due_at > self.now

    def _held(self, message_id: UUID, epoch: int) -> Row | None:
        kept = self.messages.get(message_id)
        return kept.row if kept and kept.row and kept.row.epoch == epoch else None

    def _close(self, kept: Kept, closed: Attempt) -> None:
        place = closed.number - 1
        if place < len(kept.attempts) and kept.attempts[place].result is None:
            kept.attempts[place] = closed
