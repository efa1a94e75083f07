"""The idempotency keys in the database: one row per project and key, claimed in the commit that accepts the message.
What they mean is idempotency.py's.

Keys are claimed in order, so that two batches that share some wait for each other instead of deadlocking. Whoever comes
second waits for the first one's commit, locks the row it finds and reads it in a new snapshot: so its answer tells of
what is committed, and its own commit waits for the standbys as the first one's does.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from services.chassis.failpoints import failpoint
from services.dispatch import ledger
from services.dispatch.errors import IdempotencyKeyReused
from services.dispatch.idempotency import Binding, Key, Standing, standing_for
from services.dispatch.ledger import Acceptance, Connection

SWEEP_ROWS = 500

Place = tuple[str, str]

# A key whose time is over is taken over as if it were not there. The condition also locks a row that lives: see above.
_CLAIM = """
INSERT INTO dispatch.idempotency_keys AS k (project_id, key, fingerprint, message_id, expires_at)
SELECT t.project_id, t.key, t.fingerprint, t.message_id, now() + $5 * interval '1 hour'
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[]) AS t (project_id, key, fingerprint, message_id)
ORDER BY t.project_id COLLATE "C", t.key COLLATE "C"
ON CONFLICT (project_id, key) DO UPDATE
SET fingerprint = excluded.fingerprint, message_id = excluded.message_id, expires_at = excluded.expires_at
WHERE k.expires_at <= now()
RETURNING k.project_id, k.key
"""
_READ = """
SELECT k.project_id, k.key, k.fingerprint, k.message_id, m.created_at, m.deadline
FROM unnest($1::text[], $2::text[]) AS t (project_id, key)
JOIN dispatch.idempotency_keys k ON k.project_id = t.project_id AND k.key = t.key
LEFT JOIN dispatch.messages m ON m.id = k.message_id
"""
_MADE_WITH = """
SELECT m.id, m.spec, m.deadline, m.created_at
FROM dispatch.idempotency_keys k JOIN dispatch.messages m ON m.id = k.message_id AND m.project_id = k.project_id
WHERE k.project_id = $1 AND k.key = $2 AND k.fingerprint = $3 AND k.expires_at > now()
"""
_SWEEP = """
WITH gone AS (
    SELECT project_id, key FROM dispatch.idempotency_keys WHERE expires_at <= now()
    ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM dispatch.idempotency_keys k USING gone WHERE k.project_id = gone.project_id AND k.key = gone.key
RETURNING 1
"""


async def accept(
    connection: Connection, batch: Sequence[Acceptance], lease_seconds: float, keep_hours: float
) -> list[Standing | Exception]:
    """Make the messages of the keys that are new durable, in one commit with their keys; the others' answers are what
    stands already, or IdempotencyKeyReused.
    """
    keyed = [(item, item.key) for item in batch if item.key is not None]
    if len(keyed) != len(batch):
        raise ValueError("an acceptance without a key does not belong here")
    first: dict[Place, tuple[Acceptance, Key]] = {}
    for item, key in keyed:
        first.setdefault((item.message.project_id, key.text), (item, key))
    async with connection.transaction():
        won = await _claim(
            connection, [(place, key, item.message.id) for place, (item, key) in first.items()], keep_hours
        )
        bound = await _read(connection, [place for place in first if place not in won])
        new = {place: first[place] for place in first if place in won}
        if new:
            at = await ledger.accept(connection, [item for item, _ in new.values()], lease_seconds)
            bound |= {place: _made(item, key, at) for place, (item, key) in new.items()}
        failpoint("accept_keyed.before_commit")
    failpoint("accept_keyed.committed")
    return [_answer(item, key, bound[item.message.project_id, key.text]) for item, key in keyed]


async def bind(connection: Connection, project_id: str, key: Key, keep_hours: float) -> None:
    """The key stands for this content from here on, without a message of its own, or did already; raises
    IdempotencyKeyReused when it stands for another. The caller commits.
    """
    place = (project_id, key.text)
    if not await _claim(connection, [(place, key, None)], keep_hours):
        bound = await _read(connection, [place])
        if bound[place].fingerprint != key.fingerprint:
            raise IdempotencyKeyReused


async def made_with(connection: Connection, project_id: str, key: Key) -> asyncpg.Record | None:
    """The message that an earlier request with this key and content made: its id, spec, deadline and created_at."""
    return await connection.fetchrow(_MADE_WITH, project_id, key.text, key.fingerprint)


async def sweep(connection: Connection, limit: int = SWEEP_ROWS) -> int:
    """Throw away some of the keys whose time is over; answers how many. One that somebody takes over now is left."""
    return len(await connection.fetch(_SWEEP, limit))


async def _claim(
    connection: Connection, claims: Sequence[tuple[Place, Key, UUID | None]], keep_hours: float
) -> set[Place]:
    """The places that are ours from here on."""
    rows = await connection.fetch(
        _CLAIM,
        [project_id for (project_id, _), _, _ in claims],
        [text for (_, text), _, _ in claims],
        [key.fingerprint for _, key, _ in claims],
        [message_id for _, _, message_id in claims],
        keep_hours,
    )
    return {(row["project_id"], row["key"]) for row in rows}


async def _read(connection: Connection, places: Sequence[Place]) -> dict[Place, Binding]:
    if not places:
        return {}
    rows = await connection.fetch(_READ, [project_id for project_id, _ in places], [text for _, text in places])
    return {(row["project_id"], row["key"]): _binding(row) for row in rows}


def _binding(row: asyncpg.Record) -> Binding:
    standing = None
    if row["created_at"] is not None:
        standing = Standing(message_id=row["message_id"], created_at=row["created_at"], deadline=row["deadline"])
    return Binding(fingerprint=row["fingerprint"], standing=standing)


def _made(item: Acceptance, key: Key, at: datetime) -> Binding:
    standing = Standing(message_id=item.message.id, created_at=at, deadline=item.message.deadline)
    return Binding(fingerprint=key.fingerprint, standing=standing)


def _answer(item: Acceptance, key: Key, binding: Binding) -> Standing | Exception:
    return standing_for(item.message.id, key, binding) or IdempotencyKeyReused()
