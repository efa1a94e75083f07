"""What is written about a message, as values, and the one statement list that writes it. Reads are in store.py.

Every change of a message's life is one `Transition`: close the open attempt, open the next, end the dispatch or put
it off, and the events that say so, in one transaction, only while its epoch is held. So failing over costs one
commit, and a reader sees either all of a step or none of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

from services.chassis.failpoints import failpoint
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker, Engagement, Lesson
from services.dispatch.convert import CHANNEL_CODES, OUTCOME_CODES, state_to_proto
from services.dispatch.idempotency import Key
from services.dispatch.message import Message, State

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a message's history: its place, and a DeliveryEvent without id, sequence and time, serialised."""

    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a dispatch ended."""

    state: State
    reason: str = ""
    provider_id: str = ""
    kind: str = ""
    possible_duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of one message's life. At most one of `opens`, `completes` and `due_in` (seconds) is given; `due_in`
    beside `completes` keeps the message in the queue, to be looked at again when no receipt has come by then.
    `waits_for` beside `due_in` is the provider at whose limit it waits. `amends` are attempts that were closed as lost
    and of which more is known by now; `lesson` and `engagement` what it means for the health of providers
    (breaker_book.py).
    """

    message_id: UUID
    project_id: str
    epoch: int
    closes: Attempt | None = None
    amends: tuple[Attempt, ...] = ()
    opens: Attempt | None = None
    chain_version: int = 0
    completes: Completion | None = None
    due_in: float | None = None
    waits_for: str = ""
    events: tuple[Event, ...] = ()
    lesson: Lesson | None = None
    engagement: Engagement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a transition: whether the epoch was still held, and when it was written, by the database's
    clock; and how the breakers stand that it taught something.
    """

    held: bool
    at: datetime
    breakers: tuple[Breaker, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A message about to become durable. With `worker` it is born leased by it; without, ready to be claimed. With
    `key` only if the key is new.
    """

    message: Message
    spec: bytes
    labels: bytes
    events: tuple[Event, ...]
    worker: str | None
    key: Key | None = None


_ACCEPT = """
WITH accepted AS (
    INSERT INTO dispatch.messages (id, project_id, channel, recipient, spec, deadline, labels)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::text[], $5::bytea[], $6::timestamptz[],
                         $11::bytea[])
), queued AS (
    INSERT INTO dispatch.queue (id, due_at, worker, epoch, claims, project_id)
    SELECT id, now() + CASE WHEN worker IS NULL THEN interval '0' ELSE $8 * interval '1 second' END, worker,
           CASE WHEN worker IS NULL THEN 0 ELSE 1 END, CASE WHEN worker IS NULL THEN 0 ELSE 1 END, project_id
    FROM unnest($1::uuid[], $7::text[], $2::text[]) AS q (id, worker, project_id)
), told AS (
    INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
    SELECT * FROM unnest($1::uuid[], $9::bigint[], $2::text[], $10::bytea[])
)
SELECT now()
"""

# FOR UPDATE in id order: two batches that share rows then wait for each other instead of deadlocking. The lease must be
# alive only where an attempt is opened: a result that is known is kept as long as nobody else has taken the message
# over.
_HOLD = """
SELECT q.id, q.epoch, now() AS at
FROM unnest($1::uuid[], $2::int[], $3::bool[]) AS t (id, epoch, opens)
JOIN dispatch.queue q ON q.id = t.id AND q.epoch = t.epoch
WHERE NOT t.opens OR q.due_at > clock_timestamp()
ORDER BY q.id FOR UPDATE OF q
"""
_CLOSE = """
UPDATE dispatch.attempts a
SET finished_at = now(), outcome = c.outcome, reason = c.reason, provider_code = c.code, provider_text = c.words,
    provider_message_id = c.reference, latency = c.latency, retry_after = c.retry_after
FROM unnest($1::uuid[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::float8[], $9::float8[])
     AS c (id, number, outcome, reason, code, words, reference, latency, retry_after)
WHERE a.message_id = c.id AND a.number = c.number
  AND (a.finished_at IS NULL OR (a.outcome = 6 AND a.reason = 'LEASE_LOST'))
"""
_OPEN = """
INSERT INTO dispatch.attempts (message_id, number, round, epoch, provider_id, kind, provider_name, chain_version)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[])
ON CONFLICT (message_id, number) DO NOTHING
"""
# An attempt that its own dispatcher lived to close shows that the message kills nobody: its strikes are forgotten.
_RENEW_OPENED = """
UPDATE dispatch.queue q
SET due_at = now() + $2 * interval '1 second', claims = CASE WHEN t.survived THEN 1 ELSE q.claims END
FROM unnest($1::uuid[], $3::bool[]) AS t (id, survived) WHERE q.id = t.id
"""
_PUT_OFF = """
UPDATE dispatch.queue q
SET due_at = now() + t.delay * interval '1 second', worker = NULL, claims = 0, waits_for = t.waits_for
FROM unnest($1::uuid[], $2::float8[], $3::text[]) AS t (id, delay, waits_for) WHERE q.id = t.id
"""
_COMPLETE = """
INSERT INTO dispatch.completions (message_id, state, reason, provider_id, kind, possible_duplicate, epoch)
SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::int[])
ON CONFLICT (message_id) DO UPDATE
SET state = excluded.state, reason = excluded.reason, provider_id = excluded.provider_id, kind = excluded.kind,
    possible_duplicate = excluded.possible_duplicate, epoch = excluded.epoch, retrying = false
"""
_LEAVE = "DELETE FROM dispatch.queue WHERE id = ANY($1::uuid[])"
_TELL = """
INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[])
ON CONFLICT (message_id, sequence) DO NOTHING
"""
# Messages that ended UNKNOWN although by now it is known what became of a lost attempt. What nobody survived comes back
# only to be called sent.
_RECALL = """
INSERT INTO dispatch.queue (id, due_at, epoch, project_id)
SELECT c.message_id, now(), c.epoch, m.project_id
FROM dispatch.completions c JOIN dispatch.messages m ON m.id = c.message_id
WHERE c.message_id = ANY($1::uuid[]) AND c.state = 9 AND NOT c.retrying AND EXISTS (
    SELECT FROM dispatch.evidence e JOIN dispatch.attempts a USING (message_id, number)
    WHERE e.message_id = c.message_id AND a.outcome = 6 AND a.reason = 'LEASE_LOST'
      AND e.outcome <> 6 AND (e.outcome = 1 OR c.reason <> 'QUARANTINED'))
ON CONFLICT (id) DO NOTHING
"""


async def accept(connection: Connection, batch: Sequence[Acceptance], lease_seconds: float) -> datetime:
    """Make every message of the batch durable in one statement, one commit; answers when, by the database's clock."""
    events = [event for item in batch for event in item.events]
    if len(events) != len(batch):
        raise ValueError("a message is accepted with exactly one event")
    at: datetime = await connection.fetchval(
        _ACCEPT,
        [item.message.id for item in batch],
        [item.message.project_id for item in batch],
        [CHANNEL_CODES[item.message.channel] for item in batch],
        [item.message.recipient for item in batch],
        [item.spec for item in batch],
        [item.message.deadline for item in batch],
        [item.worker for item in batch],
        lease_seconds,
        [event.sequence for event in events],
        [event.payload for event in events],
        [item.labels for item in batch],
    )
    return at


async def apply(connection: Connection, batch: Sequence[Transition], lease_seconds: float) -> list[Settled]:
    """Write every transition whose epoch is still held, in one transaction; the others change nothing and say so."""
    async with connection.transaction():
        rows = await connection.fetch(
            _HOLD, [t.message_id for t in batch], [t.epoch for t in batch], [t.opens is not None for t in batch]
        )
        # By epoch too: a batch may hold a step of an old lease of this process beside one of its new lease.
        ours = {(row["id"], row["epoch"]) for row in rows}
        failpoint("settle.held")
        held = [transition for transition in batch if (transition.message_id, transition.epoch) in ours]
        await _write_attempts(connection, held, lease_seconds)
        await _write_queue(connection, held)
        await _write_events(connection, held)
        at = rows[0]["at"] if rows else await connection.fetchval("SELECT now()")
        failpoint("settle.before_commit")
    failpoint("settle.committed")
    return [Settled(held=(transition.message_id, transition.epoch) in ours, at=at) for transition in batch]


async def recall(connection: Connection, ended: Sequence[UUID]) -> None:
    """Those of these messages that ended UNKNOWN for want of what is known by now are in the queue again."""
    await connection.execute(_RECALL, ended)


async def _write_attempts(connection: Connection, held: list[Transition], lease_seconds: float) -> None:
    closed = [
        (t.message_id, attempt, attempt.result)
        for t in held
        for attempt in (t.closes, *t.amends)
        if attempt is not None and attempt.result is not None
    ]
    if closed:
        await connection.execute(
            _CLOSE,
            [message_id for message_id, _, _ in closed],
            [attempt.number for _, attempt, _ in closed],
            [OUTCOME_CODES[result.outcome] for _, _, result in closed],
            [result.reason for _, _, result in closed],
            [result.provider_code for _, _, result in closed],
            [result.provider_text for _, _, result in closed],
            [result.provider_message_id for _, _, result in closed],
            [attempt.latency for _, attempt, _ in closed],
            [result.retry_after for _, _, result in closed],
        )
        failpoint("settle.closed")
    opened = [(t, t.opens) for t in held if t.opens is not None]
    if opened:
        await connection.execute(
            _OPEN,
            [t.message_id for t, _ in opened],
            [attempt.number for _, attempt in opened],
            [attempt.round for _, attempt in opened],
            [attempt.epoch for _, attempt in opened],
            [attempt.provider_id for _, attempt in opened],
            [attempt.kind for _, attempt in opened],
            [attempt.provider_name for _, attempt in opened],
            [t.chain_version for t, _ in opened],
        )
        survived = [t.closes is not None and t.closes.epoch == t.epoch for t, _ in opened]
        await connection.execute(_RENEW_OPENED, [t.message_id for t, _ in opened], lease_seconds, survived)


async def _write_queue(connection: Connection, held: list[Transition]) -> None:
    put_off = [(t.message_id, t.due_in, t.waits_for) for t in held if t.due_in is not None]
    if put_off:
        await connection.execute(_PUT_OFF, *map(list, zip(*put_off, strict=True)))
    ended = [(t, t.completes) for t in held if t.completes is not None]
    if ended:
        await connection.execute(
            _COMPLETE,
            [t.message_id for t, _ in ended],
            [state_to_proto(completion.state) for _, completion in ended],
            [completion.reason for _, completion in ended],
            [completion.provider_id for _, completion in ended],
            [completion.kind for _, completion in ended],
            [completion.possible_duplicate for _, completion in ended],
            [t.epoch for t, _ in ended],
        )
        await connection.execute(_LEAVE, [t.message_id for t, _ in ended if t.due_in is None])
        in_doubt = [t.message_id for t, completion in ended if completion.state is State.UNKNOWN]
        if in_doubt:
            await recall(connection, in_doubt)


async def _write_events(connection: Connection, held: list[Transition]) -> None:
    events = [(transition, event) for transition in held for event in transition.events]
    if events:
        await connection.execute(
            _TELL,
            [transition.message_id for transition, _ in events],
            [event.sequence for _, event in events],
            [transition.project_id for transition, _ in events],
            [event.payload for _, event in events],
        )
