"""The dispatch database as a few dictionaries: what store.py and ledger.py promise, without SQL. Not the policy: the
real one decides in both.

test_state_machine.py does everything to this and to PostgreSQL and compares.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.adapters.outcome import Outcome, Result
from services.adapters.receipts import Receipt
from services.dispatch.attempt import Attempt
from services.dispatch.generation import FIRST, Generation
from services.dispatch.late_truth import is_lost
from services.dispatch.ledger import Acceptance, Completion, Transition
from services.dispatch.message import EndReason, State
from services.dispatch.peers import Share
from services.dispatch.verdict import Case, Effect, Next

# Taken together, until its dispatcher died so often; then alone, until it did once more; then by nobody.
SUSPECT, STRUCK = 2, 3
# What nobody took for so long is everybody's; times differ by what PostgreSQL rounds away.
OVERDUE, ROUNDING = timedelta(seconds=1), timedelta(milliseconds=1)


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
    time: timedelta
    row: Row | None
    attempts: list[Attempt] = field(default_factory=list)
    completion: Completion | None = None
    last_epoch: int = 0
    duplicates: int = 0
    sequences: list[int] = field(default_factory=list)
    evidence: list[tuple[int, Result]] = field(default_factory=list)
    generation: Generation = FIRST
    once_unknown: set[int] = field(default_factory=set)
    once_refused: set[int] = field(default_factory=set)  # by a receipt, whatever the next one said

    @property
    def has_open(self) -> bool:
        """Whether an attempt has no end."""
        return any(attempt.result is None for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Bound:
    """What a key stands for, and until when."""

    fingerprint: bytes
    message_id: UUID
    expires_at: datetime


class Model:
    """Messages by id, at a time that only the test moves."""

    def __init__(self, now: datetime, lease_seconds: float, key_hours: float) -> None:
        self.now = now
        self.keys: dict[tuple[str, str], Bound] = {}
        self._key_time = timedelta(hours=key_hours)
        self.messages: dict[UUID, Kept] = {}
        self._lease = timedelta(seconds=lease_seconds)

    def accept(self, item: Acceptance) -> UUID | None:
        """The message that is there now, held by its worker if it has one: the one that its key stands for, if that was
        used before; None when the key stands for another content.
        """
        if item.key is not None:
            place = (item.message.project_id, item.key.text)
            bound = self.keys.get(place)
            if bound is not None and bound.expires_at > self.now:
                return bound.message_id if bound.fingerprint == item.key.fingerprint else None
            self.keys[place] = Bound(item.key.fingerprint, item.message.id, self.now + self._key_time)
        epoch = 0 if item.worker is None else 1
        due_at = self.now if item.worker is None else self.now + self._lease
        row = Row(due_at=due_at, worker=item.worker, epoch=epoch, claims=epoch)
        message, told = item.message, [event.sequence for event in item.events]
        time = message.deadline - self.now
        self.messages[message.id] = Kept(project_id=message.project_id, time=time, row=row, sequences=told)
        return message.id

    def claim(self, worker: str, share: Share, apart: Collection[UUID] = ()) -> dict[UUID, int]:
        """Everything in this share that is due and all that is overdue, each under its next epoch; no suspects, and not
        what is set `apart`.
        """
        due = {
            key: row
            for key, row in self._due().items()
            if row.claims < SUSPECT and self._is_for(share, key, row) and key not in apart
        }
        for row in due.values():
            self._take(row, worker)
        return {key: row.epoch for key, row in due.items()}

    def claim_suspect(self, worker: str, taken: UUID | None, apart: Collection[UUID] = ()) -> int | None:
        """The epoch of the suspect that is due for longest, which has to be the one that was `taken`."""
        suspects = {key: row for key, row in self._due().items() if row.claims == SUSPECT and key not in apart}
        row = _oldest(suspects, taken)
        if row is None:
            return None
        self._take(row, worker)
        return row.epoch

    def take_out(self, step: Transition | None) -> None:
        """Whom nobody survived ends by this step, under an epoch of its own; None: there is nobody like that."""
        struck = {key: row for key, row in self._due().items() if row.claims >= STRUCK}
        row = _oldest(struck, step.message_id if step else None)
        if row is not None and step is not None:
            row.epoch += 1
            assert step.epoch == row.epoch
            assert self.apply(step)

    def _due(self) -> dict[UUID, Row]:
        return {key: kept.row for key, kept in self.messages.items() if kept.row and kept.row.due_at <= self.now}

    def _is_for(self, share: Share, key: UUID, row: Row) -> bool:
        return (key.int & 1023) * share.count // 1024 == share.rank or row.due_at <= self.now - OVERDUE

    def _take(self, row: Row, worker: str) -> None:
        row.worker, row.due_at = worker, self.now + self._lease
        row.epoch, row.claims = row.epoch + 1, row.claims + 1

    def renew(self, leases: Mapping[UUID, int]) -> frozenset[UUID]:
        """Those of the leases that still hold, for another while."""
        ours = {key: row for key, epoch in leases.items() if (row := self._held(key, epoch)) and row.worker}
        for row in ours.values():
            row.due_at = self.now + self._lease
        return frozenset(ours)

    def release(self, leases: Mapping[UUID, int]) -> None:
        """Leases of messages without an open attempt end now, and nobody died of them."""
        for key, epoch in leases.items():
            row = self._held(key, epoch)
            if row and row.worker and not self.messages[key].has_open:
                row.due_at, row.worker, row.claims = self.now, None, max(row.claims - 1, 0)

    def apply(self, step: Transition) -> bool:
        """Whether the step was written: its epoch is held, and its lease is alive if it opens an attempt."""
        row = self._held(step.message_id, step.epoch)
        if row is None or (step.opens is not None and row.due_at <= self.now):
            return False
        kept = self.messages[step.message_id]
        for closed in (step.closes, *step.amends):
            if closed is not None:
                _close(kept, closed)
        if step.opens is not None:
            if step.opens.number > len(kept.attempts):
                kept.attempts.append(step.opens)
            row.due_at = self.now + self._lease
            if step.closes is not None and step.closes.epoch == step.epoch:
                row.claims = 1
        if step.due_in is not None:
            row.due_at, row.worker, row.claims = self.now + timedelta(seconds=step.due_in), None, 0
        if step.completes is not None:
            kept.completion, kept.last_epoch = step.completes, step.epoch
            kept.generation = replace(kept.generation, retrying=False)
            if step.due_in is None:
                kept.row = None
            self._recall(kept)
        kept.sequences += [event.sequence for event in step.events if event.sequence not in kept.sequences]
        return True

    def keep_evidence(self, step: Transition) -> None:
        """What came too late is kept; who waits for news, or ended UNKNOWN for want of it, is looked at again."""
        kept, attempt = self.messages[step.message_id], step.closes
        assert attempt is not None
        assert attempt.result is not None
        kept.evidence.append((attempt.number, attempt.result))
        if attempt.outcome is Outcome.UNKNOWN:
            return
        if kept.row and kept.row.worker is None and kept.row.due_at > self.now:
            kept.row.due_at = self.now
        self._recall(kept)

    def late_results(self, message_id: UUID) -> dict[int, Result]:
        """What the evidence says of attempts, where it says something."""
        return {
            number: result
            for number, result in self.messages[message_id].evidence
            if result.outcome is not Outcome.UNKNOWN
        }

    def _recall(self, kept: Kept) -> None:
        ended = kept.completion
        if kept.row or ended is None or ended.state is not State.UNKNOWN or kept.generation.retrying:
            return
        news = {result.outcome for number, result in kept.evidence if is_lost(kept.attempts[number - 1])}
        news -= {Outcome.UNKNOWN}
        if Outcome.ACCEPTED in news or (news and ended.reason != EndReason.QUARANTINED):
            kept.row = Row(due_at=self.now, worker=None, epoch=kept.last_epoch, claims=0)

    def retry(self, message_id: UUID, *, accept_duplicate: bool) -> str:
        """Whether a message is dispatched anew, in a word."""
        kept = self.messages[message_id]
        if kept.completion is None:
            return "wrong state"
        if kept.row or kept.generation.retrying:
            return "nothing"
        if kept.completion.state not in (State.FAILED, State.UNKNOWN):
            return "wrong state"
        if kept.completion.state is State.UNKNOWN and not accept_duplicate:
            return "duplicate possible"
        kept.generation = Generation(
            number=kept.generation.number + 1,
            after_attempt=len(kept.attempts),
            deadline=self.now + kept.time,
            retrying=True,
        )
        kept.row = Row(due_at=self.now, worker=None, epoch=kept.last_epoch, claims=0)
        kept.sequences.append(len(kept.sequences) + 1)
        return "retried"

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
            if effect.attempt.refused:
                kept.once_refused.add(case.number)
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


def _close(kept: Kept, closed: Attempt) -> None:
    place = closed.number - 1
    before = kept.attempts[place]
    if before.result is None or is_lost(before):
        # What receipts said of it stays.
        kept.attempts[place] = replace(before, result=closed.result)
    if closed.outcome is Outcome.UNKNOWN:
        kept.once_unknown.add(closed.number)


def _oldest(due: dict[UUID, Row], taken: UUID | None) -> Row | None:
    if taken is None:
        assert not due, f"nobody took {set(due)}"
        return None
    assert due[taken].due_at <= min(row.due_at for row in due.values()) + ROUNDING, f"{taken} was not the oldest"
    return due[taken]
