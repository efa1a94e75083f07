"""The dispatch database: who may write when, and every read. The statements of a message's life are in ledger.py.

Hot writes go through group commit: one writer per kind of statement, many callers per commit (design decision 3).
Times that are compared are the database's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import asyncpg

from services.adapters.outcome import Result
from services.chassis.batcher import MicroBatcher
from services.chassis.database import Dsn
from services.chassis.failpoints import failpoint
from services.chassis.idempotency import DEFAULT_HOURS
from services.dispatch import breaker_book, evidence_book, key_book, ledger, overviews
from services.dispatch.access import Access, Pool, open_pools
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker
from services.dispatch.claim_book import ClaimBook
from services.dispatch.event_book import PROJECT_EVENTS
from services.dispatch.idempotency import Standing
from services.dispatch.ledger import Acceptance, Settled, Transition
from services.dispatch.peers import ALL, Share
from services.dispatch.quarantine_book import CLAIM_SUSPECT
from services.dispatch.records import (
    Claim,
    Overview,
    StoredEvent,
    attempt_from_row,
    claim_from_rows,
    event_from_row,
)
from services.dispatch.turns import Turns

T = TypeVar("T")
R = TypeVar("R")

BATCH = 200
# A commit takes some milliseconds: when one has been waited for so long, whoever comes now is refused and not kept.
OLDEST_ACCEPTANCE = 5.0


class Store(Access):
    """Durable memory of the dispatch. Opened with `Store.open`, closed with `close`; one per process."""

    def __init__(
        self,
        pool: Pool,
        batches: Pool,
        *,
        worker: str,
        lease_seconds: float,
        idempotency_hours: float = DEFAULT_HOURS,
        max_bytes: int | None = None,
        pace: float = 0.0,
    ) -> None:
        super().__init__(pool, batches)
        self.worker = worker
        self.lease_seconds = lease_seconds
        self.idempotency_hours = idempotency_hours
        self._claim_book = ClaimBook(worker=worker, lease_seconds=lease_seconds)
        self._acceptances = _acceptances(self._accept, "accept", max_bytes, pace)
        # Apart from the others: it may have to wait for another process's commit of the same key, and they need not.
        self._keyed = _acceptances(self._accept_keyed, "accept_keyed", max_bytes, pace)
        self._transitions: MicroBatcher[Transition, Settled | Exception] = MicroBatcher(
            self._apply,
            name="settle",
            concurrency=2,
            max_rows=BATCH,
            max_delay=0.0,
            pace=pace,
            hurries=lambda step: step.fails_over,
            max_waiting=100_000,
            lane=_project,
        )
        self._lessons: MicroBatcher[Transition, tuple[Breaker, ...] | Exception] = MicroBatcher(
            self._teach_each, name="teach", max_rows=BATCH, max_delay=0.0, lane=_project
        )
        self.batchers = (self._acceptances, self._keyed, self._transitions, self._lessons)

    @classmethod
    async def open(
        cls,
        dsn: Dsn,
        *,
        worker: str,
        lease_seconds: float,
        connections: int,
        idempotency_hours: float = DEFAULT_HOURS,
        max_bytes: int | None = None,
        pace: float = 0.0,
    ) -> "Store":
        """Connect so many times, 3 or more; raises the driver's errors when it can not. `max_bytes` bounds what waits
        to be accepted, `pace` is the least time between the batches of a kind, in seconds.
        """
        pool, batches = await open_pools(dsn, connections, f"messagepipe dispatch {worker}")
        return cls(
            pool,
            batches,
            worker=worker,
            lease_seconds=lease_seconds,
            idempotency_hours=idempotency_hours,
            max_bytes=max_bytes,
            pace=pace,
        )

    async def close(self) -> None:
        """Write what waits, then let go of every connection."""
        for batcher in self.batchers:
            await batcher.close()
        await self._batches.close()
        await self._pool.close()

    @property
    def settling(self) -> int:
        """How many steps wait to be written."""
        return self._transitions.waiting

    async def accept(self, acceptance: Acceptance) -> Standing:
        """What is durable now: this message, or the one that an earlier request with its key made. Any exception but
        IdempotencyKeyReused means: not acknowledged, though it may be written.
        """
        batcher = self._acceptances if acceptance.key is None else self._keyed
        return _or_raise(await batcher.submit(acceptance))

    async def accept_each(self, acceptances: Sequence[Acceptance]) -> list[Standing | Exception]:
        """As `accept` for each of them, all at once: what is durable, or what `accept` would have raised, in order."""
        plain, keyed = await asyncio.gather(
            self._acceptances.submit_each(item for item in acceptances if item.key is None),
            self._keyed.submit_each(item for item in acceptances if item.key is not None),
        )
        answers = {False: iter(plain), True: iter(keyed)}
        return [next(answers[item.key is not None]) for item in acceptances]

    async def apply(self, transition: Transition) -> Settled:
        """Write one step of a message's life, or learn that somebody else holds it. DatabaseUnavailable: nobody
        knows.
        """
        return _or_raise(await self._transitions.submit(transition))

    async def _accept(self, batch: list[Acceptance]) -> list[Standing | Exception]:
        async def write(connection: ledger.Connection, items: list[Acceptance]) -> list[Standing]:
            failpoint("accept.before_commit")
            at = await ledger.accept(connection, items, self.lease_seconds)
            failpoint("accept.committed")
            return [
                Standing(message_id=item.message.id, created_at=at, deadline=item.message.deadline) for item in items
            ]

        return await self.write_batch(write, batch)

    async def _accept_keyed(self, batch: list[Acceptance]) -> list[Standing | Exception]:
        async def write(connection: ledger.Connection, items: list[Acceptance]) -> list[Standing | Exception]:
            return await key_book.accept(connection, items, self.lease_seconds, self.idempotency_hours)

        return await self.write_batch(write, batch)

    async def _apply(self, batch: list[Transition]) -> list[Settled | Exception]:
        async def write(connection: ledger.Connection, items: list[Transition]) -> list[Settled]:
            if not any(item.lesson or item.engagement for item in items):
                return await ledger.apply(connection, items, self.lease_seconds)
            # In the same transaction: what opens a breaker, the opening, and the event that tells it.
            async with connection.transaction():
                settled = await ledger.apply(connection, items, self.lease_seconds)
                return await self._teach(connection, items, settled)

        return await self.write_batch(write, batch)

    async def _teach(
        self, connection: ledger.Connection, items: list[Transition], settled: list[Settled]
    ) -> list[Settled]:
        steps = [item for item, one in zip(items, settled, strict=True) if one.held]
        breakers = iter(await breaker_book.teach_each(connection, self.worker, steps))
        return [replace(one, breakers=next(breakers)) if one.held else one for one in settled]

    async def teach(self, step: Transition) -> tuple[Breaker, ...]:
        """Write what a step taught that is settled already; answers how the breakers stand that it was about."""
        return _or_raise(await self._lessons.submit(step))

    async def _teach_each(self, batch: list[Transition]) -> list[tuple[Breaker, ...] | Exception]:
        async def write(connection: ledger.Connection, items: list[Transition]) -> list[tuple[Breaker, ...]]:
            failpoint("teach.before_commit")
            async with connection.transaction():
                taught = await breaker_book.teach_each(connection, self.worker, items)
            failpoint("teach.committed")
            return taught

        return await self.write_batch(write, batch)

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what was learned too late to settle."""
        failpoint("evidence.before_write")
        async with self.connection() as connection:
            await evidence_book.keep(connection, transition)

    async def late_results(self, message_id: UUID) -> Mapping[int, Result]:
        """What was learned too late of a message's attempts, by number."""
        async with self.connection() as connection:
            return await evidence_book.of(connection, message_id)

    async def now(self) -> datetime:
        """The database's clock."""
        at: datetime = await self.fetchval("SELECT clock_timestamp()")
        return at

    async def claim(self, turns: Turns, share: Share = ALL, apart: Sequence[UUID] = ()) -> list[Claim]:
        """Take messages that are due, expired leases among them, each under a fresh epoch, projects taking turns; those
        of other dispatchers' shares only when nobody took them for a second. Suspects are left alone, and those set
        `apart`.
        """
        async with self.connection() as connection:
            rows = await self._claim_book.take(connection, turns, share, apart)
        return await self._claims(rows)

    async def claim_suspect(self, apart: Sequence[UUID] = ()) -> Claim | None:
        """Take one message that is due and whose dispatchers died twice in a row, whosever share it is."""
        claims = await self._claims(await self.fetch(CLAIM_SUSPECT, self.worker, self.lease_seconds, apart))
        return claims[0] if claims else None

    async def _claims(self, rows: list[asyncpg.Record]) -> list[Claim]:
        """What was taken, with all that was written about it."""
        if not rows:
            return []
        failpoint("claim.committed")
        ids = [row["id"] for row in rows]
        # Read after the rows are ours: until then a receipt may still have written to them.
        attempts = await self._attempts(ids)
        standing = {row["message_id"]: row for row in await self.fetch(_STANDING, ids)}
        return [claim_from_rows(row, standing[row["id"]], attempts.get(row["id"], ())) for row in rows]

    async def renew(self, leases: Mapping[UUID, int]) -> frozenset[UUID]:
        """Extend these leases (message id → epoch) in one statement; answers which are still ours."""
        rows = await self.fetch(_RENEW, list(leases), list(leases.values()), self.lease_seconds)
        failpoint("renew.committed")
        return frozenset(row["id"] for row in rows)

    async def release(self, leases: Mapping[UUID, int]) -> None:
        """Give back leases whose message has no open attempt, due at once and without a strike; the others run out and
        become unknown.
        """
        await self.fetch(_RELEASE, list(leases), list(leases.values()))

    async def cancel(self, message_id: UUID, completion: ledger.Completion, payload: bytes) -> int | None:
        """End a message that has no open attempt; answers the sequence of its last event, None when it can not
        be ended.
        """
        async with self.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_CANCELABLE, message_id)
            if row is None or await connection.fetchval(_HAS_OPEN, message_id):
                return None
            sequence: int = await connection.fetchval(_LAST_SEQUENCE, message_id) + 1
            event = ledger.Event(sequence=sequence, payload=payload)
            transition = Transition(
                message_id=message_id,
                project_id=row["project_id"],
                epoch=row["epoch"],
                completes=completion,
                events=(event,),
            )
            await ledger.apply(connection, [transition], self.lease_seconds)
            failpoint("cancel.before_commit")
        failpoint("cancel.committed")
        return sequence

    async def overview(self, message_id: UUID, projects: Sequence[str] | None) -> Overview | None:
        """One message of these projects (None: of any)."""
        async with self.connection() as connection:
            return await overviews.one(connection, message_id, projects)

    async def attempts(self, message_id: UUID) -> tuple[Attempt, ...]:
        """Every attempt of a message, in order. The caller has checked whose it is."""
        return tuple((await self._attempts([message_id])).get(message_id, ()))

    async def list_messages(self, wanted: overviews.Wanted, *, before: UUID | None, limit: int) -> list[Overview]:
        """A project's messages, newest first, older than `before`."""
        async with self.connection() as connection:
            return await overviews.page(connection, wanted, before=before, limit=limit)

    async def events_after(self, message_id: UUID, sequence: int, limit: int = 500) -> list[StoredEvent]:
        """The events of a message after `sequence`, in order. The caller has checked whose it is."""
        rows = await self.fetch(_EVENTS, message_id, sequence, limit)
        return [event_from_row(row) for row in rows]

    async def is_completed(self, message_id: UUID) -> bool:
        """Whether the dispatch of a message has ended. The caller has checked whose it is."""
        ended: bool = await self.fetchval(_IS_COMPLETED, message_id)
        return ended

    async def project_events_after(
        self, project_id: str, position: tuple[int, UUID, int], limit: int = 500
    ) -> list[StoredEvent]:
        """The events of a project after a position, in commit order, only such that nothing can still appear before
        them.
        """
        rows = await self.fetch(PROJECT_EVENTS, project_id, *position, limit)
        return [event_from_row(row) for row in rows]

    async def project_position(self) -> tuple[int, UUID, int]:
        """The position after which every event that is not yet committed will stand."""
        transaction: int = await self.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
        return (transaction, UUID(int=(1 << 128) - 1), 0)

    async def _attempts(self, ids: list[UUID]) -> dict[UUID, list[Attempt]]:
        found: dict[UUID, list[Attempt]] = {}
        for row in await self.fetch(_ATTEMPTS, ids):
            found.setdefault(row["message_id"], []).append(attempt_from_row(row))
        return found


def _acceptances(
    write: Callable[[list[Acceptance]], Awaitable[list[Standing | Exception]]],
    name: str,
    max_bytes: int | None,
    pace: float,
) -> MicroBatcher[Acceptance, Standing | Exception]:
    return MicroBatcher(
        write,
        name=name,
        max_rows=BATCH,
        max_delay=0.0,
        pace=pace,
        weigh=lambda item: len(item.spec),
        lane=_project,
        max_held=max_bytes,
        max_age=OLDEST_ACCEPTANCE,
    )


def _project(item: Acceptance | Transition) -> str:
    return item.message.project_id if isinstance(item, Acceptance) else item.project_id


def _or_raise(answer: R | Exception) -> R:
    if isinstance(answer, Exception):
        raise answer
    return answer


_STANDING = """
SELECT t.id AS message_id, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate,
       c.generation, c.after_attempt, c.deadline, c.retrying,
       (SELECT max(e.sequence) FROM dispatch.events e WHERE e.message_id = t.id) AS last_sequence
FROM unnest($1::uuid[]) AS t (id) LEFT JOIN dispatch.completions c ON c.message_id = t.id
"""
# Rows are locked in id order, as a batch of transitions locks them (ledger.py): otherwise the two could deadlock. A
# message without a worker was put off or given back meanwhile: its time is not ours any more, though its epoch is.
_OURS = """
WITH ours AS (
    SELECT q.id FROM unnest($1::uuid[], $2::int[]) AS t (id, epoch)
    JOIN dispatch.queue q ON q.id = t.id AND q.epoch = t.epoch AND q.worker IS NOT NULL
    ORDER BY q.id FOR UPDATE OF q
)
"""
_RENEW = (
    _OURS
    + """
UPDATE dispatch.queue q SET due_at = now() + $3 * interval '1 second' FROM ours WHERE q.id = ours.id
RETURNING q.id
"""
)
_RELEASE = (
    _OURS
    + """
UPDATE dispatch.queue q SET due_at = now(), worker = NULL, claims = greatest(q.claims - 1, 0)
FROM ours WHERE q.id = ours.id
AND NOT EXISTS (SELECT FROM dispatch.attempts a WHERE a.message_id = q.id AND a.finished_at IS NULL)
"""
)
_CANCELABLE = """
SELECT q.epoch, m.project_id FROM dispatch.queue q JOIN dispatch.messages m USING (id)
WHERE q.id = $1 AND NOT EXISTS (SELECT FROM dispatch.completions c WHERE c.message_id = q.id) FOR UPDATE OF q
"""
_HAS_OPEN = "SELECT EXISTS (SELECT FROM dispatch.attempts WHERE message_id = $1 AND finished_at IS NULL)"
_LAST_SEQUENCE = "SELECT max(sequence) FROM dispatch.events WHERE message_id = $1"
_ATTEMPTS = "SELECT * FROM dispatch.attempts WHERE message_id = ANY($1::uuid[]) ORDER BY message_id, number"
_EVENTS = """
SELECT message_id, sequence, occurred_at, payload, transaction_id FROM dispatch.events
WHERE message_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""
_IS_COMPLETED = "SELECT EXISTS (SELECT FROM dispatch.completions WHERE message_id = $1 AND NOT retrying)"
