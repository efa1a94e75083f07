"""Grants and slots in the database: what all dispatchers together take of a provider. How much is limits.py's.

Who takes locks the provider's row in `provider_limits`, in order of the ids, so that what two dispatchers take never
adds up to more than there is. Slots are counted by a statement that begins after the lock was got: it sees what the
last holder wrote. What a dead dispatcher had runs out by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.dispatch.ledger import Connection

AHEAD = 0.2
LOOK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AskGrant:
    """`calls` are to begin through a provider, `spacing` seconds for each; no grant takes more than `longest`."""

    provider_id: str
    calls: int
    spacing: float
    longest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """So many calls may begin from `begins_in` seconds after the answer's moment on; the next grant may come `again_in`
    seconds after it.
    """

    calls: int
    begins_in: float
    again_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSlots:
    """A dispatcher wants `slots` of a provider's `most` in all; `in_use` are open calls."""

    provider_id: str
    most: int
    slots: int
    in_use: int


async def enrol(connection: Connection, provider_id: str, project_id: str) -> None:
    """The provider has a row from here on."""
    await connection.execute(_ENROL, provider_id, project_id)


async def grants(connection: Connection, asks: Sequence[AskGrant]) -> Mapping[str, Grant]:
    """What may begin, by provider; nothing yet for one whose turn is further than `AHEAD` away. One that is missing has
    no row.
    """
    rows = await connection.fetch(
        _GRANT,
        [ask.provider_id for ask in asks],
        [ask.calls for ask in asks],
        [ask.spacing for ask in asks],
        [ask.longest for ask in asks],
        AHEAD,
    )
    return {
        row["provider_id"]: Grant(calls=row["calls"], begins_in=row["begins_in"], again_in=row["again_in"])
        for row in rows
    }


async def slots(
    connection: Connection, worker: str, asks: Sequence[AskSlots], keep_seconds: float
) -> Mapping[str, int]:
    """How many slots of each provider the worker has for the next `keep_seconds`; one that is missing has no row."""
    async with connection.transaction():
        found = await connection.fetch(_LOCK, sorted(ask.provider_id for ask in asks))
        known = {row["provider_id"] for row in found}
        asked = sorted((ask for ask in asks if ask.provider_id in known), key=lambda ask: ask.provider_id)
        rows = await connection.fetch(
            _SLOTS,
            worker,
            keep_seconds,
            [ask.provider_id for ask in asked],
            [ask.most for ask in asked],
            [ask.slots for ask in asked],
            [ask.in_use for ask in asked],
        )
    return {row["provider_id"]: row["slots"] for row in rows}


async def give_back(connection: Connection, worker: str) -> None:
    """The worker holds no slots any more."""
    await connection.execute("DELETE FROM dispatch.provider_slots WHERE worker = $1", worker)


async def lines(connection: Connection) -> Mapping[str, int]:
    """How many messages wait in the queue, by the provider they wait for; `LOOK` means that many or more."""
    return {row["provider_id"]: row["waiting"] for row in await connection.fetch(_LINES, LOOK)}


async def call_up(connection: Connection, turns: Mapping[str, int]) -> int:
    """The oldest of the messages that wait for these providers, so many each, are due now; answers how many."""
    return len(await connection.fetch(_CALL_UP, list(turns), list(turns.values())))


async def sweep(connection: Connection) -> None:
    """Throw away what nobody has used for a day."""
    await connection.execute("DELETE FROM dispatch.provider_slots WHERE expires_at < now() - interval '1 day'")
    await connection.execute("DELETE FROM dispatch.provider_limits WHERE seen_at < now() - interval '1 day'")


_ENROL = """
INSERT INTO dispatch.provider_limits (provider_id, project_id, free_at) VALUES ($1, $2, now())
ON CONFLICT (provider_id) DO UPDATE SET seen_at = now()
"""
# What was given out at this pace can not reach further than one grant beyond AHEAD; what does is of a slower one, which
# is over since the settings changed.
_GRANT = """
WITH turn AS (
    SELECT l.provider_id, t.calls, t.calls * t.spacing * interval '1 second' AS length,
           greatest(clock_timestamp(),
                    least(l.free_at, clock_timestamp() + ($5 + t.longest) * interval '1 second')) AS begins
    FROM unnest($1::text[], $2::int[], $3::float8[], $4::float8[]) AS t (provider_id, calls, spacing, longest)
    JOIN dispatch.provider_limits l ON l.provider_id = t.provider_id
    ORDER BY l.provider_id FOR UPDATE OF l
), given AS (
    SELECT *, begins <= clock_timestamp() + $5 * interval '1 second' AS now FROM turn
), taken AS (
    UPDATE dispatch.provider_limits l
    SET free_at = CASE WHEN g.now THEN g.begins + g.length ELSE g.begins END, seen_at = now()
    FROM given g WHERE l.provider_id = g.provider_id
)
SELECT provider_id, CASE WHEN now THEN calls ELSE 0 END AS calls,
       extract(epoch FROM begins - clock_timestamp())::float8 AS begins_in,
       extract(epoch FROM begins - clock_timestamp() + CASE WHEN now THEN length ELSE interval '0' END)::float8 - $5
           AS again_in
FROM given
"""
_LOCK = "SELECT provider_id FROM dispatch.provider_limits WHERE provider_id = ANY($1) ORDER BY provider_id FOR UPDATE"
_SLOTS = """
INSERT INTO dispatch.provider_slots AS s (provider_id, worker, slots, expires_at)
SELECT t.provider_id, $1, greatest(least(t.slots, t.most - coalesce((
           SELECT sum(o.slots) FROM dispatch.provider_slots o
           WHERE o.provider_id = t.provider_id AND o.worker <> $1 AND o.expires_at > clock_timestamp()
       ), 0)), t.in_use, 0),
       now() + $2 * interval '1 second'
FROM unnest($3::text[], $4::int[], $5::int[], $6::int[]) AS t (provider_id, most, slots, in_use)
ON CONFLICT (provider_id, worker) DO UPDATE SET slots = excluded.slots, expires_at = excluded.expires_at
RETURNING provider_id, slots
"""
_LINES = """
WITH RECURSIVE walk AS (
    (SELECT waits_for FROM dispatch.queue WHERE waits_for <> '' AND worker IS NULL ORDER BY waits_for LIMIT 1)
    UNION ALL
    SELECT n.waits_for FROM walk w CROSS JOIN LATERAL (
        SELECT q.waits_for FROM dispatch.queue q
        WHERE q.waits_for > w.waits_for AND q.waits_for <> '' AND q.worker IS NULL ORDER BY q.waits_for LIMIT 1
    ) AS n
)
SELECT w.waits_for AS provider_id, (
    SELECT count(*) FROM (
        SELECT 1 FROM dispatch.queue q
        WHERE q.waits_for = w.waits_for AND q.waits_for <> '' AND q.worker IS NULL LIMIT $1
    ) AS few)::int AS waiting
FROM walk w
"""
# Ids are in order of their making: first come, first served. Nobody is waited for; what is claimed meanwhile is left.
_CALL_UP = """
UPDATE dispatch.queue SET due_at = now()
WHERE id = ANY (ARRAY(
    SELECT d.id FROM unnest($1::text[], $2::int[]) AS t (provider_id, turns) CROSS JOIN LATERAL (
        SELECT q.id FROM dispatch.queue q
        WHERE q.waits_for = t.provider_id AND q.waits_for <> '' AND q.worker IS NULL AND q.due_at > now()
        ORDER BY q.waits_for, q.id LIMIT t.turns FOR UPDATE SKIP LOCKED
    ) AS d
))
RETURNING id
"""
