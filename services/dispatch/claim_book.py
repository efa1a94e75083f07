"""The claim: which due messages a worker takes, projects taking turns. How many it may take is turns.py's.

A project's backlog must not stand before another project's message, so what is taken comes from every project that has
something due, in equal parts, those first that have least in work here. Which projects those are: the oldest due
messages tell all of them unless there is a backlog; then the index is walked from project to project, a bounded number
of steps, the next claim going on where this one stopped.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from services.dispatch.ledger import Connection
from services.dispatch.peers import ALL, Share
from services.dispatch.turns import Turns

STEPS = 500

# In index scans that read what they take, however long the queue is (tests/integration/dispatch/test_turns.py). Hence
# the comparison of pairs, which only the index by project can answer in order; the one by time would be read through to
# the end for a project that has little due. Nobody is waited for (SKIP LOCKED), so these locks can not deadlock.
CLAIM = """
WITH RECURSIVE oldest AS (
    SELECT project_id FROM dispatch.queue
    WHERE due_at <= now() AND claims < 2
      AND (((get_byte(uuid_send(id), 14) & 3) * 256 + get_byte(uuid_send(id), 15)) * $10::int / 1024 = $9
           OR due_at <= now() - interval '1 second')
    ORDER BY due_at LIMIT $1
), walk (project_id, due_at, step) AS (
    (SELECT project_id, due_at, 1 FROM dispatch.queue
     WHERE project_id > $4 AND (SELECT count(*) FROM oldest) = $1
     ORDER BY project_id, due_at LIMIT 1)
    UNION ALL
    SELECT n.project_id, n.due_at, w.step + 1
    FROM walk w CROSS JOIN LATERAL (
        SELECT q.project_id, q.due_at FROM dispatch.queue q WHERE q.project_id > w.project_id
        ORDER BY q.project_id, q.due_at LIMIT 1
    ) AS n WHERE w.step < $5
), waiting AS (
    SELECT p.project_id, coalesce(h.held, 0) AS held, coalesce(h.room, $1) AS room, count(*) OVER () AS projects
    FROM (SELECT project_id FROM oldest UNION SELECT project_id FROM walk WHERE due_at <= now()) AS p
    LEFT JOIN unnest($6::text[], $7::int[], $8::int[]) AS h (project_id, held, room) ON h.project_id = p.project_id
    WHERE coalesce(h.room, $1) > 0
), due AS MATERIALIZED (
    SELECT d.id, d.due_at, w.held + row_number() OVER (PARTITION BY w.project_id ORDER BY d.due_at) AS turn
    FROM waiting w CROSS JOIN LATERAL (
        SELECT q.id, q.due_at FROM dispatch.queue q
        WHERE (q.project_id, q.due_at) >= (w.project_id, '-infinity')
          AND (q.project_id, q.due_at) <= (w.project_id, now()) AND claims < 2 AND q.id <> ALL ($12::uuid[])
          AND (((get_byte(uuid_send(id), 14) & 3) * 256 + get_byte(uuid_send(id), 15)) * $10::int / 1024 = $9
               OR due_at <= now() - interval '1 second')
        ORDER BY q.project_id, q.due_at LIMIT least(w.room, ($1 + w.projects - 1) / w.projects) FOR UPDATE SKIP LOCKED
    ) AS d
), sized AS (
    SELECT d.id, sum(m.size) OVER (ORDER BY d.turn, d.due_at, d.id) - m.size AS before
    FROM (SELECT id, turn, due_at FROM due ORDER BY turn, due_at LIMIT $1) AS d
    CROSS JOIN LATERAL (SELECT octet_length(spec) AS size FROM dispatch.messages WHERE id = d.id OFFSET 0) AS m
), taken AS (
    UPDATE dispatch.queue q
    SET worker = $2, epoch = q.epoch + 1, claims = q.claims + 1, due_at = now() + $3 * interval '1 second'
    WHERE q.id = ANY (ARRAY(SELECT id FROM sized WHERE before < $11::bigint))
    RETURNING q.id, q.epoch, q.claims, q.waits_for
)
SELECT t.id, t.epoch, t.claims, t.waits_for, m.project_id, m.spec, m.deadline, m.created_at, now() AS at,
       NULL AS walked_to
FROM taken t CROSS JOIN LATERAL (SELECT * FROM dispatch.messages WHERE id = t.id OFFSET 0) AS m
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), project_id FROM walk WHERE step = $5
"""


class ClaimBook:
    """Claims, one after the other; remembers only where the last walk stopped."""

    def __init__(self, *, worker: str, lease_seconds: float) -> None:
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._after = ""

    async def take(
        self, connection: Connection, turns: Turns, share: Share = ALL, apart: Sequence[UUID] = ()
    ) -> list[asyncpg.Record]:
        """Up to `turns.limit` messages that are due, those of expired leases among them but for those set `apart`, each
        under a fresh epoch.
        """
        rows = await connection.fetch(
            CLAIM,
            turns.limit,
            self._worker,
            self._lease_seconds,
            self._after,
            STEPS,
            list(turns.held),
            list(turns.held.values()),
            [turns.rooms[project_id] for project_id in turns.held],
            share.rank,
            share.count,
            turns.max_bytes,
            apart,
        )
        self._after = next((row["walked_to"] for row in rows if row["id"] is None), "")
        return [row for row in rows if row["id"] is not None]
