"""The dispatch database: who may write when, and every read. The statements of a message's life are in ledger.py.

Hot writes go through group commit: one writer per kind of statement, many callers per commit (design decision 3).
Times that are compared are the database's.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from services.adapters.base import Channel
from services.chassis.admission import Waits
from services.chassis.batcher import MicroBatcher
from services.chassis.clock import SystemClock
from services.chassis.database import Dsn, create_pool
from services.dispatch import ledger
from services.dispatch.attempt import Attempt
from services.dispatch.convert import CHANNEL_CODES
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.health import Block, Mark
from services.dispatch.ledger import Acceptance, Settled, Transition
from services.dispatch.message import State, StateCode
from services.dispatch.records import (
    Claim,
    Overview,
    StoredEvent,
    attempt_from_row,
    completion_from_row,
    event_from_row,
    overview_from_row,
)

T = TypeVar("T")
R = TypeVar("R")

BATCH = 200
# A commit takes some milliseconds: when one has been waited for so long, whoever comes now is refused and not kept.
OLDEST_ACCEPTANCE = 5.0
# What asyncpg raises when the database is away, restarting, full or in a conflict: the same statement may work later.
DATABASE_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of a transaction, when it is handed back
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


class Store:
    """Durable memory of the dispatch. Opened with `Store.open`, closed with `close`; one per process."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", *, worker: str, lease_seconds: float, max_bytes: int | None = None
    ) -> None:
        self._pool = pool
        self._waits = Waits(SystemClock())
        self.worker = worker
        self.lease_seconds = lease_seconds
        self._acceptances: MicroBatcher[Acceptance, datetime | Exception] = MicroBatcher(
            self._accept,
            name="accept",
            max_rows=BATCH,
            weigh=lambda item: len(item.spec),
            max_held=max_bytes,
            max_age=OLDEST_ACCEPTANCE,
        )
        self._transitions: MicroBatcher[Transition, Settled | Exception] = MicroBatcher(
            self._apply, name="settle", max_rows=BATCH, max_waiting=100_000
        )

    @classmethod
    async def open(
        cls, dsn: Dsn, *, worker: str, lease_seconds: float, connections: int, max_bytes: int | None = None
    ) -> "Store":
        """Connect; raises the driver's errors when it can not. `max_bytes` bounds what waits to be accepted."""
        settings = {
            "application_name": f"messagepipe dispatch {worker}",
            # A generic plan made while a table was small scans it when it is large.
            "plan_cache_mode": "force_custom_plan",
            "idle_in_transaction_session_timeout": "10000",
            # No statement_timeout: it could cut a COMMIT that waits for a standby, which then looks like success.
            "lock_timeout": "5000",
        }
        pool = await create_pool(dsn, size=connections, settings=settings)
        return cls(pool, worker=worker, lease_seconds=lease_seconds, max_bytes=max_bytes)

    async def close(self) -> None:
        """Write what waits, then let go of every connection."""
        await self._acceptances.close()
        await self._transitions.close()
        await self._pool.close()

    async def accept(self, acceptance: Acceptance) -> datetime:
        """The moment the message became durable. Any exception means: not acknowledged, though it may be written."""
        return _or_raise(await self._acceptances.submit(acceptance))

    async def apply(self, transition: Transition) -> Settled:
        """Write one step of a message's life, or learn that somebody else holds it. DatabaseUnavailable: nobody
        knows.
        """
        return _or_raise(await self._transitions.submit(transition))

    async def _accept(self, batch: list[Acceptance]) -> list[datetime | Exception]:
        async def write(connection: ledger.Connection, items: list[Acceptance]) -> list[datetime]:
            at = await ledger.accept(connection, items, self.lease_seconds)
            return [at] * len(items)

        return await self._write(write, batch)

    async def _apply(self, batch: list[Transition]) -> list[Settled | Exception]:
        async def write(connection: ledger.Connection, items: list[Transition]) -> list[Settled]:
            return await ledger.apply(connection, items, self.lease_seconds)

        return await self._write(write, batch)

    async def _write(
        self, write: Callable[[ledger.Connection, list[T]], Awaitable[list[R]]], batch: list[T]
    ) -> list[R | Exception]:
        """Write a batch in one commit; if the database refuses something in it, each item alone, so that one bad item
        does not take the others with it.
        """
        async with self._connection() as connection:
            try:
                return list(await write(connection, batch))
            except DATABASE_AWAY:
                raise
            except asyncpg.PostgresError:
                if len(batch) == 1:
                    raise
                return [await self._alone(write, connection, item) for item in batch]

    async def _alone(
        self, write: Callable[[ledger.Connection, list[T]], Awaitable[list[R]]], connection: ledger.Connection, item: T
    ) -> Any:
        """What the item's own commit gave, or what the database refused it with."""
        try:
            written = await write(connection, [item])
        except DATABASE_AWAY:
            raise
        except asyncpg.PostgresError as error:
            return error
        return written[0]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[ledger.Connection]:
        """A connection in a transaction of its own, for statements that stand elsewhere."""
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[ledger.Connection]:
        """A connection of the pool; whatever says that the database is away becomes DatabaseUnavailable."""
        try:
            with self._waits.one() as served:
                async with self._pool.acquire() as connection:
                    served()
                    yield connection
        except DATABASE_AWAY as error:
            raise DatabaseUnavailable from error

    @property
    def longest_wait(self) -> float:
        """Seconds that somebody has been waiting for a connection by now."""
        return self._waits.longest

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows

    async def _fetchval(self, statement: str, *arguments: object) -> Any:
        async with self._connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what was learned too late to settle."""
        async with self._connection() as connection:
            await ledger.keep_evidence(connection, transition)

    async def now(self) -> datetime:
        """The database's clock."""
        at: datetime = await self._fetchval("SELECT clock_timestamp()")
        return at

    async def claim(self, limit: int, max_bytes: int) -> list[Claim]:
        """Take messages that are due, expired leases among them, each under a fresh epoch: up to `limit`, and no more
        once they hold `max_bytes` together.
        """
        rows = await self._fetch(_CLAIM, limit, self.worker, self.lease_seconds, max_bytes)
        if not rows:
            return []
        ids = [row["id"] for row in rows]
        # Read after the rows are ours: until then a receipt may still have written to them.
        attempts = await self._attempts(ids)
        standing = {row["message_id"]: row for row in await self._fetch(_STANDING, ids)}
        return [
            Claim(
                id=row["id"],
                epoch=row["epoch"],
                claims=row["claims"],
                project_id=row["project_id"],
                spec=row["spec"],
                deadline=row["deadline"],
                created_at=row["created_at"],
                attempts=tuple(attempts.get(row["id"], ())),
                last_sequence=standing[row["id"]]["last_sequence"],
                at=row["at"],
                ended=completion_from_row(standing[row["id"]]),
            )
            for row in rows
        ]

    async def renew(self, leases: Mapping[UUID, int]) -> frozenset[UUID]:
        """Extend these leases (message id → epoch) in one statement; answers which are still ours."""
        rows = await self._fetch(_RENEW, list(leases), list(leases.values()), self.lease_seconds)
        return frozenset(row["id"] for row in rows)

    async def release(self, leases: Mapping[UUID, int]) -> None:
        """Give back leases whose message has no open attempt, due at once; the others run out and become unknown."""
        await self._fetch(_RELEASE, list(leases), list(leases.values()))

    async def cancel(self, message_id: UUID, completion: ledger.Completion, payload: bytes) -> int | None:
        """End a message that has no open attempt; answers the sequence of its last event, None when it can not
        be ended.
        """
        async with self._connection() as connection, connection.transaction():
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
        return sequence

    async def overview(self, message_id: UUID, projects: Sequence[str] | None) -> Overview | None:
        """One message of these projects (None: of any)."""
        rows = await self._fetch(_OVERVIEW + _ONE, message_id, projects)
        return overview_from_row(rows[0]) if rows else None

    async def attempts(self, message_id: UUID) -> tuple[Attempt, ...]:
        """Every attempt of a message, in order. The caller has checked whose it is."""
        return tuple((await self._attempts([message_id])).get(message_id, ()))

    async def list_messages(
        self, project_id: str, *, channel: Channel | None, state: State | None, before: UUID | None, limit: int
    ) -> list[Overview]:
        """A project's messages, newest first, older than `before`."""
        code = CHANNEL_CODES[channel] if channel else None
        word, number = (state.value, StateCode[state].value) if state else (None, None)
        rows = await self._fetch(_OVERVIEW + _LIST, project_id, code, before, word, number, limit)
        return [overview_from_row(row) for row in rows]

    async def events_after(self, message_id: UUID, sequence: int, limit: int = 500) -> list[StoredEvent]:
        """The events of a message after `sequence`, in order. The caller has checked whose it is."""
        rows = await self._fetch(_EVENTS, message_id, sequence, limit)
        return [event_from_row(row) for row in rows]

    async def is_completed(self, message_id: UUID) -> bool:
        """Whether the dispatch of a message has ended. The caller has checked whose it is."""
        ended: bool = await self._fetchval(_IS_COMPLETED, message_id)
        return ended

    async def project_events_after(
        self, project_id: str, position: tuple[int, UUID, int], limit: int = 500
    ) -> list[StoredEvent]:
        """The events of a project after a position, in commit order, only such that nothing can still appear before
        them.
        """
        rows = await self._fetch(_PROJECT_EVENTS, project_id, *position, limit)
        return [event_from_row(row) for row in rows]

    async def project_position(self) -> tuple[int, UUID, int]:
        """The position after which every event that is not yet committed will stand."""
        transaction: int = await self._fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
        return (transaction, UUID(int=(1 << 128) - 1), 0)

    async def marks(self) -> dict[str, list[Mark]]:
        """What is known about providers, by provider id; marks whose time is over are left out."""
        found: dict[str, list[Mark]] = {}
        for row in await self._fetch(_MARKS):
            fields: dict[str, Any] = dict(row)
            mark = Mark(**{**fields, "block": Block(fields["block"])})
            found.setdefault(mark.provider_id, []).append(mark)
        return found

    async def _attempts(self, ids: list[UUID]) -> dict[UUID, list[Attempt]]:
        found: dict[UUID, list[Attempt]] = {}
        for row in await self._fetch(_ATTEMPTS, ids):
            found.setdefault(row["message_id"], []).append(attempt_from_row(row))
        return found


def _or_raise(answer: R | Exception) -> R:
    if isinstance(answer, Exception):
        raise answer
    return answer


_CLAIM = """
WITH due AS (
    SELECT id, due_at FROM dispatch.queue WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT id, sum(octet_length(m.spec)) OVER (ORDER BY d.due_at, id) - octet_length(m.spec) AS before
    FROM due d JOIN dispatch.messages m USING (id)
), taken AS (
    UPDATE dispatch.queue q
    SET worker = $2, epoch = q.epoch + 1, claims = q.claims + 1, due_at = now() + $3 * interval '1 second'
    FROM sized WHERE q.id = sized.id AND sized.before < $4
    RETURNING q.id, q.epoch, q.claims
)
SELECT t.id, t.epoch, t.claims, m.project_id, m.spec, m.deadline, m.created_at, now() AS at
FROM taken t JOIN dispatch.messages m ON m.id = t.id
"""
_STANDING = """
SELECT t.id AS message_id, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate,
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
UPDATE dispatch.queue q SET due_at = now(), worker = NULL FROM ours WHERE q.id = ours.id
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
_OVERVIEW = """
SELECT * FROM (
    SELECT m.id, m.project_id, m.channel, m.recipient, m.labels, m.deadline, m.created_at, c.state, c.reason,
    c.provider_id, c.kind, c.possible_duplicate, c.duplicates, c.completed_at, CASE WHEN c.state IS NULL THEN
               CASE WHEN started.chain_version IS NULL THEN 'QUEUED' ELSE 'SENDING' END
           END AS live_state,
           CASE WHEN q.worker IS NULL AND c.state IS NULL
                THEN greatest(extract(epoch FROM q.due_at - now()), 0)::float8 END AS
           next_attempt_in, coalesce(started.chain_version, 0) AS chain_version
    FROM dispatch.messages m
    LEFT JOIN dispatch.completions c ON c.message_id = m.id
    LEFT JOIN dispatch.queue q ON q.id = m.id
    LEFT JOIN dispatch.attempts started ON started.message_id = m.id AND started.number = 1
) AS overview
"""
_ONE = "WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY($2))"
_LIST = """
WHERE project_id = $1 AND ($2::smallint IS NULL OR channel = $2) AND ($3::uuid IS NULL OR id < $3)
  AND ($4::text IS NULL OR live_state = $4 OR state = $5::smallint)
ORDER BY id DESC LIMIT $6
"""
_EVENTS = """
SELECT message_id, sequence, occurred_at, payload, transaction_id FROM dispatch.events
WHERE message_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3
"""
_IS_COMPLETED = "SELECT EXISTS (SELECT FROM dispatch.completions WHERE message_id = $1)"
_PROJECT_EVENTS = """
SELECT message_id, sequence, occurred_at, payload, transaction_id FROM dispatch.events
WHERE project_id = $1 AND (transaction_id, message_id, sequence) > ($2, $3, $4)
  AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY transaction_id, message_id, sequence LIMIT $5
"""
_MARKS = """
SELECT provider_id, scope, config_version, block, reason, detail, until FROM dispatch.provider_health
WHERE until IS NULL OR until > now()
"""
