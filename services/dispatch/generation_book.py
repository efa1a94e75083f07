"""A message that is dispatched anew because somebody asked for it, in the database. What follows is delivery.py's.

Receipts and retries of one message take turns by the lock on its row in `messages`; the queue row is locked next.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
from messagepipe.dispatch.v1 import message_pb2

from services.chassis.errors import FieldViolation, InvalidArgument
from services.dispatch import history as tell
from services.dispatch import ledger
from services.dispatch.convert import state_from_code
from services.dispatch.errors import DuplicatePossible, WrongState
from services.dispatch.generation import may_retry
from services.dispatch.message import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller asks for. `generation` is the one that is not good enough, 0 for whichever there is."""

    accept_duplicate: bool = False
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """A retry that was written, and when, by the database's clock."""

    step: ledger.Transition
    at: datetime


async def retry(connection: ledger.Connection, message_id: UUID, wish: Wish) -> Retried | None:
    """Put a message that ended FAILED or UNKNOWN back into the queue as a new generation, above the last epoch, with
    the time that it had at first. None when that was done already. Raises WrongState and DuplicatePossible.
    """
    project_id = await connection.fetchval(_LOCK_MESSAGE, message_id)
    in_queue = await connection.fetchval(_LOCK_PLACE, message_id) is not None
    now = await connection.fetchrow(_NOW, message_id)
    if now is None:
        raise WrongState(message_id, State.SENDING, "Its dispatch has not ended: nothing is to be retried.")
    if wish.generation > now["generation"]:
        raise InvalidArgument(violations=[FieldViolation("generation", f"is {now['generation']} by now, not greater")])
    # In the queue: it was retried, or somebody learned more about it and it is taken up again in a moment.
    if in_queue or now["retrying"] or 0 < wish.generation < now["generation"]:
        return None
    state = state_from_code(now["state"])
    if not may_retry(state):
        raise WrongState(message_id, state, "Only a message that is FAILED or UNKNOWN can be retried.")
    if state is State.UNKNOWN and not wish.accept_duplicate:
        raise DuplicatePossible(message_id)
    deadline = now["at"] + _time_of(now)
    await connection.execute(_RETRY, message_id, now["attempts"], deadline)
    await connection.execute(_QUEUE, message_id, now["epoch"], project_id)
    (event,) = tell.numbered(now["last_sequence"], [tell.retried(now["generation"] + 1, deadline)])
    await connection.execute(_TELL, message_id, event.sequence, project_id, event.payload)
    step = ledger.Transition(message_id=message_id, project_id=project_id, epoch=now["epoch"], events=(event,))
    return Retried(step=step, at=now["at"])


def _time_of(row: asyncpg.Record) -> timedelta:
    """The time that a message had at first; what `send_at` put off counted from then on."""
    labels = message_pb2.MessageSpec.FromString(row["labels"])
    since: datetime = row["created_at"]
    if labels.HasField("send_at"):
        since = max(since, labels.send_at.ToDatetime(tzinfo=UTC))
    deadline: datetime = row["deadline"]
    return max(deadline - since, timedelta(0))


_LOCK_MESSAGE = "SELECT project_id FROM dispatch.messages WHERE id = $1 FOR NO KEY UPDATE"
_LOCK_PLACE = "SELECT id FROM dispatch.queue WHERE id = $1 FOR UPDATE"
_NOW = """
SELECT c.state, c.generation, c.retrying, c.epoch, now() AS at,
       m.labels, m.created_at, m.deadline,
       (SELECT count(*) FROM dispatch.attempts WHERE message_id = $1) AS attempts,
       (SELECT max(sequence) FROM dispatch.events WHERE message_id = $1) AS last_sequence
FROM dispatch.completions c JOIN dispatch.messages m ON m.id = c.message_id WHERE c.message_id = $1
"""
_RETRY = """
UPDATE dispatch.completions SET generation = generation + 1, after_attempt = $2, deadline = $3, retrying = true
WHERE message_id = $1
"""
_QUEUE = "INSERT INTO dispatch.queue (id, due_at, epoch, project_id) VALUES ($1, now(), $2, $3)"
_TELL = "INSERT INTO dispatch.events (message_id, sequence, project_id, payload) VALUES ($1, $2, $3, $4)"
