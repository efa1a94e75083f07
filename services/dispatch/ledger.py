"""What is written about a message, as values, and the one statement list that writes it. Reads are in store.py.

Every change of a message's life is one `Transition`: close the open attempt, open the next, end the dispatch or put
it off, and the events that say so, in one transaction, only while its epoch is held. So failing over costs one
commit, and a reader sees either all of a step or none of it.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.base import Channel
from services.chassis.failpoints import failpoint
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker, Engagement, Lesson
from services.dispatch.convert import CHANNEL_CODES, OUTCOME_CODES, state_to_proto
from services.dispatch.idempotency import Key
from services.dispatch.message import Message, State
from services.dispatch.suppression import Suppression

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
    (breaker_book.py). `recipients` goes with `opens`: all of them, as the list of suppressions has them; if one stands
    there, nothing of the step is written. `suppresses` puts somebody on that list.
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
    recipients: tuple[tuple[Channel, str], ...] = ()
    suppresses: Suppression | None = None

    @property
    def fails_over(self) -> bool:
        """Whether the next attempt waits for the end of this one to be written."""
        return self.closes is not None and self.opens is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a transition: whether the epoch was still held, and when it was written, by the database's
    clock; and how the breakers stand that it taught something. `suppressed` are the recipients, each with the reason,
    because of whom its attempt may not begin: then it is not held, and nothing was written.
    """

    held: bool
    at: datetime
    breakers: tuple[Breaker, ...] = ()
    suppressed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """A message about to become durable. With `worker` it is born leased by it; without, ready to be claimed as soon as
    it may be sent. With `key` only if the key is new.
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
    SELECT id, coalesce(send_at, now() + CASE WHEN worker IS NULL THEN interval '0' ELSE $8 * interval '1 second' END),
           worker, CASE WHEN worker IS NULL THEN 0 ELSE 1 END, CASE WHEN worker IS NULL THEN 0 ELSE 1 END, project_id
    FROM unnest($1::uuid[], $7::text[], $2::text[], $12::timestamptz[]) AS q (id, worker, project_id, send_at)
), told AS (
    INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
    SELECT * FROM unnest($1::uuid[], $9::bigint[], $2::text[], $10::bytea[])
)
SELECT now()
"""

# A whole batch of steps in one statement, so that failing over costs one round trip and one commit. One row of `held`
# is one step whose epoch is still current, with all that it says: what it does not do is null.
#
# FOR UPDATE in id order: two batches that share rows then wait for each other instead of deadlocking. The lease must be
# alive only where an attempt is opened: a result that is known is kept as long as nobody else has taken the message
# over. Who had to wait for a row sees it as it is by then, in every part (manual, 13.2.1).
# Whom the project does not send to is looked up here and nowhere else: by the statement that begins an attempt, so that
# whatever was on the list before is seen, however long the message waited, and it costs no round trip (ADR 0027).
# All parts see the tables as they were before, but a unique index is looked into as it is: an attempt has to be closed
# before the next one is opened (attempts_one_open), so `opened` asks `closed` first.
_SETTLE = """
WITH barred AS MATERIALIZED (
    SELECT r.step, s.recipient, s.reason
    FROM unnest($32::bigint[], $33::text[], $34::smallint[], $35::text[]) AS r (step, project_id, channel, recipient)
    JOIN dispatch.suppressions s
      ON s.project_id = r.project_id AND s.channel = r.channel AND s.recipient = r.recipient
), held AS MATERIALIZED (
    SELECT t.*
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::float8[], $5::text[], $6::bool[], $7::bool[],
                $8::int[], $9::smallint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::float8[],
                $15::float8[], $16::int[], $17::int[], $18::text[], $19::text[], $20::text[], $21::bigint[],
                $22::smallint[], $23::text[], $24::text[], $25::text[], $26::bool[], $27::bigint[], $28::int[],
                $29::int[]) WITH ORDINALITY
         AS t (id, epoch, project_id, due_in, waits_for, leaves, survived,
               closes, outcome, reason, code, words, reference, latency,
               retry_after, opens, round, provider_id, kind, provider_name, chain_version,
               state, end_reason, end_provider, end_kind, possible_duplicate, sequence, event,
               events, step)
    JOIN dispatch.queue q ON q.id = t.id AND q.epoch = t.epoch
    WHERE t.opens IS NULL OR (q.due_at > clock_timestamp() AND t.step <> ALL (ARRAY(SELECT step FROM barred)))
    ORDER BY q.id FOR UPDATE OF q
), closed AS (
    UPDATE dispatch.attempts a
    SET finished_at = now(), outcome = held.outcome, reason = held.reason, provider_code = held.code,
        provider_text = held.words, provider_message_id = held.reference, latency = held.latency,
        retry_after = held.retry_after
    FROM held WHERE a.message_id = held.id AND a.number = held.closes
      AND (a.finished_at IS NULL OR (a.outcome = 6 AND a.reason = 'LEASE_LOST'))
    RETURNING a.number
), opened AS (
    INSERT INTO dispatch.attempts (message_id, number, round, epoch, provider_id, kind, provider_name, chain_version)
    SELECT id, opens, round, epoch, provider_id, kind, provider_name, chain_version FROM held
    WHERE opens IS NOT NULL AND (SELECT count(*) FROM closed) >= 0
    ON CONFLICT (message_id, number) DO NOTHING
), kept AS (
    -- An attempt that its own dispatcher lived to close shows that the message kills nobody: its strikes are forgotten.
    UPDATE dispatch.queue q
    SET due_at = now() + coalesce(held.due_in, $30) * interval '1 second',
        worker = CASE WHEN held.due_in IS NULL THEN q.worker END,
        claims = CASE WHEN held.due_in IS NOT NULL THEN 0 WHEN held.survived THEN 1 ELSE q.claims END,
        waits_for = CASE WHEN held.due_in IS NULL THEN q.waits_for ELSE held.waits_for END
    FROM held WHERE q.id = held.id AND (held.due_in IS NOT NULL OR held.opens IS NOT NULL)
), completed AS (
    INSERT INTO dispatch.completions (message_id, state, reason, provider_id, kind, possible_duplicate, epoch,
                                      project_id)
    SELECT id, state, end_reason, end_provider, end_kind, possible_duplicate, epoch, project_id
    FROM held WHERE state IS NOT NULL
    ON CONFLICT (message_id) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, provider_id = excluded.provider_id, kind = excluded.kind,
        possible_duplicate = excluded.possible_duplicate, epoch = excluded.epoch, retrying = false
), gone AS (
    DELETE FROM dispatch.queue q USING held WHERE q.id = held.id AND held.leaves
), told AS (
    INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
    SELECT held.id, held.sequence + place, held.project_id, ($31::bytea[])[held.event + place]
    FROM held CROSS JOIN LATERAL generate_series(0, held.events - 1) AS place
    ON CONFLICT (message_id, sequence) DO NOTHING
)
SELECT now() AS at, ARRAY(SELECT step FROM held) AS held,
       ARRAY(SELECT ARRAY[step::text, recipient, reason] FROM barred) AS barred
"""
# What attempts taught about recipients. In one order, always: two batches would deadlock otherwise.
_SUPPRESS = """
INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason, message_id)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[], $5::uuid[]) AS t (a, b, c, d, e)
ORDER BY 1, 2, 3, 5
ON CONFLICT (project_id, channel, recipient) DO NOTHING
"""
# Lost attempts of which more is known by now.
_AMEND = """
UPDATE dispatch.attempts a
SET finished_at = now(), outcome = c.outcome, reason = c.reason, provider_code = c.code, provider_text = c.words,
    provider_message_id = c.reference, latency = c.latency, retry_after = c.retry_after
FROM unnest($1::uuid[], $2::int[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::float8[], $9::float8[])
     AS c (id, number, outcome, reason, code, words, reference, latency, retry_after)
WHERE a.message_id = c.id AND a.number = c.number AND a.outcome = 6 AND a.reason = 'LEASE_LOST'
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
        [item.message.send_at for item in batch],
    )
    return at


async def apply(connection: Connection, batch: Sequence[Transition], lease_seconds: float) -> list[Settled]:
    """Write every transition whose epoch is still held, in one transaction; the others change nothing and say so."""
    rare = any(t.amends or t.suppresses or _in_doubt(t) for t in batch)
    failpoint("settle.before_commit")
    async with connection.transaction() if rare else nullcontext():
        row = await connection.fetchrow(_SETTLE, *_steps(batch), lease_seconds, _payloads(batch), *_recipients(batch))
        held = frozenset(row["held"])
        if rare:
            await _look_back(connection, [t for step, t in enumerate(batch, start=1) if step in held])
    failpoint("settle.committed")
    settled = [Settled(held=step in held, at=row["at"]) for step in range(1, len(batch) + 1)]
    for step, recipient, reason in row["barred"]:
        one = settled[int(step) - 1]
        settled[int(step) - 1] = replace(one, suppressed=(*one.suppressed, (recipient, reason)))
    return settled


async def recall(connection: Connection, ended: Sequence[UUID]) -> None:
    """Those of these messages that ended UNKNOWN for want of what is known by now are in the queue again."""
    await connection.execute(_RECALL, ended)


async def suppress(connection: Connection, learned: Sequence[Suppression]) -> None:
    """These recipients are on their projects' lists when this commits; who stands there already stays as he is."""
    if learned:
        rows = [(s.project_id, CHANNEL_CODES[s.channel], s.recipient, s.reason.value, s.message_id) for s in learned]
        await connection.execute(_SUPPRESS, *zip(*rows, strict=True))


async def _look_back(connection: Connection, held: Sequence[Transition]) -> None:
    """What steps say, now and then, about attempts that were lost earlier."""
    await suppress(connection, [t.suppresses for t in held if t.suppresses])
    amended = [(t.message_id, *_closing(attempt)) for t in held for attempt in t.amends]
    if amended:
        await connection.execute(_AMEND, *zip(*amended, strict=True))
    ended = [t.message_id for t in held if _in_doubt(t)]
    if ended:
        await recall(connection, ended)


def _in_doubt(t: Transition) -> bool:
    return t.completes is not None and t.completes.state is State.UNKNOWN


def _payloads(batch: Sequence[Transition]) -> list[bytes]:
    return [event.payload for t in batch for event in t.events]


def _recipients(batch: Sequence[Transition]) -> Iterable[Sequence[Any]]:
    """The columns of _SETTLE's recipients: those of the steps that begin an attempt."""
    rows = [
        (step, t.project_id, CHANNEL_CODES[channel], recipient)
        for step, t in enumerate(batch, start=1)
        if t.opens is not None
        for channel, recipient in t.recipients
    ]
    return zip(*rows, strict=True) if rows else ((), (), (), ())


def _steps(batch: Sequence[Transition]) -> Iterable[tuple[Any, ...]]:
    """The columns of _SETTLE's steps."""
    first, rows = 1, []
    for t in batch:
        survived = t.closes is not None and t.closes.epoch == t.epoch
        leaves = t.completes is not None and t.due_in is None
        sequence = t.events[0].sequence if t.events else None
        rows.append(
            (t.message_id, t.epoch, t.project_id, t.due_in, t.waits_for, leaves, survived)
            + (_NOT_CLOSING if t.closes is None else _closing(t.closes))
            + (_NOT_OPENING if t.opens is None else (*_opening(t.opens), t.chain_version))
            + (_NOT_ENDING if t.completes is None else _ending(t.completes))
            + (sequence, first, len(t.events))
        )
        first += len(t.events)
    return zip(*rows, strict=True)


def _closing(attempt: Attempt) -> tuple[Any, ...]:
    result = attempt.result
    if result is None:
        raise ValueError("an attempt is closed with a result")
    return (
        attempt.number,
        OUTCOME_CODES[result.outcome],
        result.reason,
        result.provider_code,
        result.provider_text,
        result.provider_message_id,
        attempt.latency,
        result.retry_after,
    )


def _opening(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.number, attempt.round, attempt.provider_id, attempt.kind, attempt.provider_name


def _ending(end: Completion) -> tuple[Any, ...]:
    return state_to_proto(end.state), end.reason, end.provider_id, end.kind, end.possible_duplicate


_NOT_CLOSING, _NOT_OPENING, _NOT_ENDING = (None,) * 8, (None,) * 6, (None,) * 5
