"""PostgreSQL and the model as one store: whatever a worker does is done to both, and the answers must be the same.

Time is the database's own `now()`, replaced by a function that answers what the test says (statements are not changed:
the function stands before PostgreSQL's in the search path).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.outcome import Result
from services.chassis.failpoints import FailpointSettings, arm
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker
from services.dispatch.errors import DatabaseUnavailable, IdempotencyKeyReused
from services.dispatch.idempotency import Standing
from services.dispatch.ledger import Acceptance, Completion, Connection, Settled, Transition
from services.dispatch.peers import Share
from services.dispatch.records import Claim, attempt_from_row, completion_from_row, generation_from_row
from services.dispatch.store import Store
from services.dispatch.turns import Turns
from tests.chaos.model import Model

TABLES = (
    "messages queue attempts completions events evidence receipts receipt_calls idempotency_keys suppressions"
).split()
# A failed statement → whether what it belonged to was written all the same.
FAILURES = {
    "accept.before_commit": False,
    "accept.committed": True,
    "accept_keyed.before_commit": False,
    "accept_keyed.committed": True,
    "settle.before_commit": False,
    "settle.committed": True,
}
_CLOCK = """
CREATE SCHEMA test_clock;
CREATE TABLE test_clock.time (at timestamptz NOT NULL);
INSERT INTO test_clock.time VALUES (pg_catalog.now());
CREATE FUNCTION test_clock.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM test_clock.time';
CREATE FUNCTION test_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM test_clock.time';
ALTER TABLE dispatch.messages ALTER created_at SET DEFAULT test_clock.now();
"""


class Died(Exception):
    """The process that asked is gone."""


class Pair:
    """The store of one process, beside the model that all processes share. One thing at a time.

    `paused` processes stand still before they ask anything; `killed` ones never ask again.
    """

    def __init__(self, store: Store, model: Model, turn: asyncio.Lock) -> None:
        self.store, self.model = store, model
        self.worker, self.lease_seconds = store.worker, store.lease_seconds
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.killed = False
        self.stands_after_record = False
        self.standing = 0
        self._turn = turn

    @property
    def settling(self) -> int:
        """As Store.settling."""
        return self.store.settling

    async def pass_gate(self) -> None:
        """Stand still while the process is paused."""
        self.standing += 1
        try:
            await self.goes_on.wait()
        finally:
            self.standing -= 1
        if self.killed:
            raise asyncio.CancelledError

    async def accept(self, item: Acceptance) -> Standing:
        """As Store.accept."""
        await self.pass_gate()
        async with self._turn:
            try:
                standing = await self.store.accept(item)
            except IdempotencyKeyReused:
                assert self.model.accept(item) is None, "the key stands for this content"
                raise
            except DatabaseUnavailable:
                if _failed_after_commit("accept_keyed" if item.key else "accept"):
                    self.model.accept(item)
                raise
            assert standing.message_id == self.model.accept(item)
            assert standing.replayed is (standing.message_id != item.message.id)
        return standing

    async def apply(self, step: Transition) -> Settled:
        """As Store.apply, but for what it means for the health of providers and for other messages to the same
        recipient, which is kept quiet here.
        """
        step = replace(step, lesson=None, engagement=None, recipients=(), suppresses=None)
        await self.pass_gate()
        async with self._turn:
            try:
                settled = await self.store.apply(step)
            except DatabaseUnavailable:
                if _failed_after_commit("settle"):
                    self.model.apply(step)
                raise
            assert settled.held is self.model.apply(step), f"held by PostgreSQL: {settled.held}, {step}"
        if step.opens is not None and settled.held and self.stands_after_record:
            self.stands_after_record = False
            self.goes_on.clear()
        await self.pass_gate()  # it may stand still between the record and what follows it, too
        return settled

    async def teach(self, step: Transition) -> tuple[Breaker, ...]:
        """Nothing: the health of providers is kept quiet here."""
        return ()

    async def keep_evidence(self, step: Transition) -> None:
        """As Store.keep_evidence."""
        await self.pass_gate()
        async with self._turn:
            await self.store.keep_evidence(step)
            self.model.keep_evidence(step)

    async def late_results(self, message_id: UUID) -> Mapping[int, Result]:
        """As Store.late_results."""
        await self.pass_gate()
        async with self._turn:
            results = await self.store.late_results(message_id)
            assert results == self.model.late_results(message_id)
        return results

    async def claim(self, turns: Turns, share: Share, apart: Sequence[UUID] = ()) -> list[Claim]:
        """As Store.claim."""
        async with self._turn:
            claims = await self.store.claim(turns, share, apart)
            expected = self.model.claim(self.worker, share, apart)
            assert {claim.id: claim.epoch for claim in claims} == expected
        return claims

    async def claim_suspect(self, apart: Sequence[UUID] = ()) -> Claim | None:
        """As Store.claim_suspect."""
        async with self._turn:
            claim = await self.store.claim_suspect(apart)
            expected = self.model.claim_suspect(self.worker, claim.id if claim else None, apart)
            assert (claim.epoch if claim else None) == expected
        return claim

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """As Store.transaction; whoever asks tells the model."""
        async with self._turn, self.store.transaction() as connection:
            yield connection

    async def renew(self, leases: Mapping[UUID, int]) -> frozenset[UUID]:
        """As Store.renew."""
        async with self._turn:
            ours = await self.store.renew(leases)
            assert ours == self.model.renew(leases)
        return ours

    async def release(self, leases: Mapping[UUID, int]) -> None:
        """As Store.release."""
        async with self._turn:
            await self.store.release(leases)
            self.model.release(leases)

    async def cancel(self, message_id: UUID, completion: Completion, payload: bytes) -> bool:
        """As Store.cancel; whether it was ended."""
        async with self._turn:
            ended = await self.store.cancel(message_id, completion, payload) is not None
            assert ended is self.model.cancel(message_id, completion)
        return ended


_failure: list[str] = []


def fail_next(name: str) -> None:
    """The next statement at this failpoint loses its connection."""
    _failure[:] = [name]
    arm(FailpointSettings(failpoints=(f"{name}:1:raise",), failpoints_allowed=True))


def fail_no_more() -> None:
    """Statements work again."""
    _failure.clear()
    arm(FailpointSettings())


def _failed_after_commit(what: str) -> bool:
    name = _failure[0] if _failure else ""
    assert name.startswith(f"{what}."), "the database was away although nothing was to fail"
    fail_no_more()
    return FAILURES[name]


class Clocked:
    """A database whose time stands still until it is moved, and everything that it holds."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", start: datetime) -> None:
        self.pool = pool
        self.now = start

    async def advance(self, seconds: float) -> None:
        """Later by so much."""
        self.now += timedelta(seconds=seconds)
        await self.pool.execute("UPDATE test_clock.time SET at = $1", self.now)

    async def clear(self) -> None:
        """Nothing was ever accepted."""
        # Not TRUNCATE: that makes new files, which cost more than the few rows.
        await self.pool.execute(";".join(f"DELETE FROM dispatch.{name}" for name in TABLES))

    async def dump(self) -> dict[UUID, dict[str, Any]]:
        """Everything by message, in words that the model can be put into as well."""
        found: dict[UUID, dict[str, Any]] = {}
        for row in await self.pool.fetch(_MESSAGES):
            queued = row["epoch"] is not None and (row["due_at"], row["worker"], row["epoch"], row["claims"])
            ended = completion_from_row(row)
            found[row["id"]] = {
                "project": row["project_id"],
                "queue": queued or None,
                "completion": ended,
                "duplicates": row["duplicates"] or 0,
                "attempts": [],
                "events": [],
                "evidence": row["evidence"],
                "generation": generation_from_row(row),
            }
        for row in await self.pool.fetch("SELECT * FROM dispatch.attempts ORDER BY message_id, number"):
            found[row["message_id"]]["attempts"].append(essence(attempt_from_row(row)))
        for row in await self.pool.fetch("SELECT * FROM dispatch.events ORDER BY message_id, sequence"):
            assert row["project_id"] == found[row["message_id"]]["project"]
            found[row["message_id"]]["events"].append((row["sequence"], row["payload"]))
        return found

    async def keys(self) -> dict[tuple[str, str], tuple[bytes, UUID]]:
        """What every key stands for."""
        rows = await self.pool.fetch("SELECT project_id, key, fingerprint, message_id FROM dispatch.idempotency_keys")
        return {(row["project_id"], row["key"]): (row["fingerprint"], row["message_id"]) for row in rows}


_MESSAGES = """
SELECT m.id, m.project_id, q.due_at, q.worker, q.epoch, q.claims, c.state, c.reason, c.provider_id, c.kind,
       c.possible_duplicate, c.duplicates, c.generation, c.after_attempt, c.deadline, c.retrying,
       (SELECT count(*) FROM dispatch.evidence e WHERE e.message_id = m.id) AS evidence
FROM dispatch.messages m LEFT JOIN dispatch.queue q ON q.id = m.id
LEFT JOIN dispatch.completions c ON c.message_id = m.id
"""


def essence(attempt: Attempt) -> tuple[object, ...]:
    """What both sides know of an attempt."""
    result = attempt.result
    told = None if result is None else (result.outcome, result.reason, result.provider_message_id)
    fault = attempt.receipt is not None and attempt.route_at_fault
    return (attempt.number, attempt.round, attempt.epoch, attempt.provider_id, told, attempt.receipt, fault)


def dump_of(model: Model) -> dict[UUID, dict[str, Any]]:
    """The model in the same words, events as their sequences."""
    return {
        key: {
            "project": kept.project_id,
            "queue": (kept.row.due_at, kept.row.worker, kept.row.epoch, kept.row.claims) if kept.row else None,
            "completion": kept.completion,
            "duplicates": kept.duplicates if kept.completion else 0,
            "attempts": [essence(attempt) for attempt in kept.attempts],
            "events": sorted(kept.sequences),
            "evidence": len(kept.evidence),
            "generation": kept.generation,
        }
        for key, kept in model.messages.items()
    }


@asynccontextmanager
async def clocked(dsn: str) -> AsyncIterator[Clocked]:
    """The database of this address under a clock of the test's."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(_CLOCK)
    name = await connection.fetchval("SELECT current_database()")
    # Named before pg_catalog, which otherwise always comes first.
    await connection.execute(f'ALTER DATABASE "{name}" SET search_path = test_clock, pg_catalog')
    await connection.close()
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    try:
        database = Clocked(pool, datetime.now(UTC))
        await database.advance(0)
        yield database
    finally:
        await pool.close()
