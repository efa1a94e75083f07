"""The marks of the delivery log in the database: every thousandth message of a project, and of each of its channels,
with its number counted from the oldest. A page far back starts at one (log_book.py).

Only what is older than a minute is counted, and older than every transaction that is still open: what is accepted after
a count has a higher id then. If a clock were further behind than that, pages that lie deep would be off by those
messages; none would be missing from the walk.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from services.dispatch.convert import CHANNELS
from services.dispatch.delivery_log import LOWEST, first_id_at
from services.dispatch.ledger import Connection

STEP = 1000
SETTLED = timedelta(minutes=1)
# Of one project in one transaction.
AT_ONCE = 20_000
PROJECTS_AT_ONCE = 200
# Any number, as long as it is this task's alone.
LOCK = 0x6C6F676D61726B73


async def is_ours(connection: Connection) -> bool:
    """Whether this transaction is the one that counts now: one dispatcher at a time does."""
    ours: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK)
    return ours


async def horizon(connection: Connection) -> UUID:
    """Every message with a lower id that will ever be there is there."""
    settled: datetime = await connection.fetchval(_OLDEST)
    return first_id_at(settled - SETTLED)


async def projects_after(connection: Connection, project_id: str) -> list[str]:
    """The next projects that have messages, in their order; "" is before all."""
    rows = await connection.fetch(_PROJECTS, project_id, PROJECTS_AT_ONCE)
    return [row["project_id"] for row in rows]


async def advance(connection: Connection, projects: Sequence[str], until: UUID) -> bool:
    """Count what came since the last time in these projects, below `until`; answers whether there is more."""
    more = await connection.fetchval(_ADVANCE_PROJECTS, projects, [0], LOWEST, until, AT_ONCE, STEP)
    per_channel = await connection.fetchval(_ADVANCE_CHANNELS, projects, list(CHANNELS), LOWEST, until, AT_ONCE, STEP)
    return bool(more or per_channel)


async def name_projects(connection: Connection) -> None:
    """Fill in the project of what dispatchers of an older version ended, some rows at a time."""
    await connection.execute(_NAME)


_OLDEST = """
SELECT least(now(), min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
"""
# From project to project by the index, not through it.
_PROJECTS = """
WITH RECURSIVE walk (project_id, step) AS (
    (SELECT project_id, 1 FROM dispatch.messages WHERE project_id > $1 ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT n.project_id, w.step + 1 FROM walk w CROSS JOIN LATERAL (
        SELECT m.project_id FROM dispatch.messages m WHERE m.project_id > w.project_id ORDER BY m.project_id LIMIT 1
    ) AS n WHERE w.step < $2
)
SELECT project_id FROM walk ORDER BY project_id
"""
_ADVANCE = """
WITH fresh AS MATERIALIZED (
    SELECT p.project_id, ch.channel, n.id, n.place, n.place + coalesce(h.ordinal, 0) AS ordinal
    FROM unnest($1::text[]) AS p (project_id) CROSS JOIN unnest($2::smallint[]) AS ch (channel)
    LEFT JOIN dispatch.log_heads h ON h.project_id = p.project_id AND h.channel = ch.channel
    CROSS JOIN LATERAL (
        SELECT w.id, row_number() OVER (ORDER BY w.id) AS place FROM (
            SELECT m.id FROM dispatch.messages m
            WHERE ({names}, m.id) > ({values}, coalesce(h.message_id, $3::uuid)) AND ({names}, m.id) < ({values}, $4)
              AND m.id > coalesce(h.message_id, $3::uuid) AND m.id < $4
            ORDER BY {names}, m.id LIMIT $5
        ) AS w
    ) AS n
), marked AS (
    INSERT INTO dispatch.log_marks (project_id, channel, ordinal, message_id)
    SELECT project_id, channel, ordinal, id FROM fresh WHERE ordinal % $6 = 0
), moved AS (
    INSERT INTO dispatch.log_heads (project_id, channel, ordinal, message_id)
    SELECT DISTINCT ON (project_id, channel) project_id, channel, ordinal, id FROM fresh
    ORDER BY project_id, channel, ordinal DESC
    ON CONFLICT (project_id, channel) DO UPDATE SET ordinal = excluded.ordinal, message_id = excluded.message_id
)
SELECT EXISTS (SELECT FROM fresh WHERE place = $5)
"""
_ADVANCE_PROJECTS = _ADVANCE.replace("{names}", "m.project_id").replace("{values}", "p.project_id")
_ADVANCE_CHANNELS = _ADVANCE.replace("{names}", "m.project_id, m.channel").replace(
    "{values}", "p.project_id, ch.channel"
)
_NAME = """
UPDATE dispatch.completions c SET project_id = m.project_id
FROM (SELECT message_id FROM dispatch.completions WHERE project_id = '' AND state NOT IN (3, 4) LIMIT 1000) AS unnamed
JOIN dispatch.messages m ON m.id = unnamed.message_id
WHERE c.message_id = unnamed.message_id
"""
