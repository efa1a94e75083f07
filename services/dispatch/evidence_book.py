"""What dispatchers learned too late to settle it, in the database. What it changes is late_truth.py's to say.

Evidence and the end of a message take turns by the lock on its queue row: either the end is decided knowing it, or the
message is brought back because of it (ledger.recall).
"""

from uuid import UUID

from services.adapters.outcome import Outcome, Result
from services.dispatch import ledger
from services.dispatch.convert import OUTCOME_CODES, OUTCOMES


async def keep(connection: ledger.Connection, transition: ledger.Transition) -> None:
    """Keep what an attempt taught after its lease was lost. Whoever waits for news of it is woken; one that ended
    UNKNOWN for want of it comes back; nothing else changes.
    """
    attempt = transition.closes
    if attempt is None or attempt.result is None:
        return
    result, message_id = attempt.result, transition.message_id
    async with connection.transaction():
        await connection.execute(_LOCK, message_id)
        await connection.execute(
            _KEEP,
            message_id,
            attempt.number,
            transition.epoch,
            OUTCOME_CODES[result.outcome],
            result.reason,
            result.provider_code,
            result.provider_text,
            result.provider_message_id,
        )
        if result.outcome is not Outcome.UNKNOWN:
            await connection.execute(_WAKE, message_id)
            await ledger.recall(connection, [message_id])


async def of(connection: ledger.Connection, message_id: UUID) -> dict[int, Result]:
    """What is known of a message's attempts by evidence, by number."""
    return {
        row["number"]: Result(
            outcome=OUTCOMES[row["outcome"]],
            reason=row["reason"],
            provider_code=row["provider_code"],
            provider_text=row["provider_text"],
            provider_message_id=row["provider_message_id"],
        )
        for row in await connection.fetch(_OF, message_id, OUTCOME_CODES[Outcome.UNKNOWN])
    }


_LOCK = "SELECT FROM dispatch.queue WHERE id = $1 FOR UPDATE"
_KEEP = """
INSERT INTO dispatch.evidence (message_id, number, epoch, outcome, reason, provider_code, provider_text,
                               provider_message_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_WAKE = "UPDATE dispatch.queue SET due_at = now() WHERE id = $1 AND worker IS NULL AND due_at > now()"
_OF = "SELECT * FROM dispatch.evidence WHERE message_id = $1 AND outcome <> $2 ORDER BY learned_at"
