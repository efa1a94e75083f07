"""Messages whose dispatchers died, in the database: the suspects one by one, and those that are taken out of work. Who
they are is said by `dispatch.queue.claims`; what becomes of them by quarantine.py.
"""

from dataclasses import dataclass
from uuid import UUID

from services.dispatch import evidence_book, ledger
from services.dispatch.attempt import Attempt, interrupted
from services.dispatch.late_truth import as_known_by_now
from services.dispatch.ledger import Completion
from services.dispatch.quarantine import STRIKES
from services.dispatch.records import attempt_from_row, completion_from_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A message that nobody survived, locked until the transaction ends; `history` as it is known by now, `closes` its
    last attempt where that was still open. Its payload is not read: that may be what kills.
    """

    id: UUID
    project_id: str
    epoch: int
    history: tuple[Attempt, ...]
    closes: Attempt | None
    amends: tuple[Attempt, ...]
    last_sequence: int
    ended: Completion | None


async def take_out(connection: ledger.Connection) -> Struck | None:
    """One message with three strikes whose last lease is over, under an epoch of its own; None when there is none."""
    row = await connection.fetchrow(_TAKE_OUT, STRIKES)
    if row is None:
        return None
    message_id = row["id"]
    now = await connection.fetchrow(_NOW, message_id)
    stored = [attempt_from_row(each) for each in await connection.fetch(_ATTEMPTS, message_id)]
    closed = [interrupted(attempt) if attempt.result is None else attempt for attempt in stored]
    history = as_known_by_now(closed, await evidence_book.of(connection, message_id))
    changed = [new for old, new in zip(stored, history, strict=True) if new is not old]
    opened = {attempt.number for attempt in stored if attempt.result is None}
    return Struck(
        id=message_id,
        project_id=now["project_id"],
        epoch=row["epoch"],
        history=history,
        closes=next((attempt for attempt in changed if attempt.number in opened), None),
        amends=tuple(attempt for attempt in changed if attempt.number not in opened),
        last_sequence=now["last_sequence"],
        ended=completion_from_row(now),
    )


CLAIM_SUSPECT = """
WITH due AS (
    SELECT id FROM dispatch.queue WHERE due_at <= now() AND claims = 2 AND id <> ALL ($3::uuid[])
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE dispatch.queue q
    SET worker = $1, epoch = q.epoch + 1, claims = q.claims + 1, due_at = now() + $2 * interval '1 second'
    FROM due WHERE q.id = due.id
    RETURNING q.id, q.epoch, q.claims, q.waits_for
)
SELECT t.id, t.epoch, t.claims, t.waits_for, m.project_id, m.spec, m.deadline, m.created_at, now() AS at
FROM taken t JOIN dispatch.messages m ON m.id = t.id
"""
"""As a claim (claim_book.py), for one message that has two strikes, whosever share it is."""

# The epoch grows, so that whoever was only paused settles nothing any more.
_TAKE_OUT = """
WITH due AS (
    SELECT id FROM dispatch.queue WHERE due_at <= now() AND claims >= $1 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE dispatch.queue q SET epoch = q.epoch + 1 FROM due WHERE q.id = due.id RETURNING q.id, q.epoch
"""
_ATTEMPTS = "SELECT * FROM dispatch.attempts WHERE message_id = $1 ORDER BY number"
_NOW = """
SELECT m.project_id, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate,
       (SELECT max(e.sequence) FROM dispatch.events e WHERE e.message_id = m.id) AS last_sequence
FROM dispatch.messages m LEFT JOIN dispatch.completions c ON c.message_id = m.id WHERE m.id = $1
"""
