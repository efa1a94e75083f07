"""Many messages of the past, after the rows that the service wrote for one, and what reading them costs. No test."""

import json
from datetime import datetime
from typing import Any

import asyncpg

# UUIDv7, a tenth of a second apart from the first. Every tenth is an SMS, every fourth of another project.
_COPY = """
WITH fresh AS (
    SELECT place, CASE WHEN place % 4 = 0 THEN $4 ELSE $5 END::text AS project_id,
           (lpad(to_hex($3::bigint + place * 100), 12, '0') || '7' || substr(hash, 1, 3) || '8'
            || substr(hash, 4, 15))::uuid AS id
    FROM generate_series(1, $2::int) AS place, LATERAL (SELECT md5(place::text) AS hash) AS random
), accepted AS (
    INSERT INTO dispatch.messages (id, project_id, channel, recipient, spec, labels, deadline, created_at)
    SELECT f.id, f.project_id, CASE WHEN f.place % 10 = 1 THEN 2 ELSE 1 END, m.recipient, m.spec, m.labels, m.deadline,
           to_timestamp(($3 + f.place * 100) / 1000.0)
    FROM dispatch.messages m, fresh f WHERE m.id = $1
)
INSERT INTO dispatch.completions (message_id, state, reason, provider_id, kind, possible_duplicate, epoch, project_id)
SELECT f.id, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate, c.epoch, f.project_id
FROM dispatch.completions c, fresh f WHERE c.message_id = $1
"""


async def fill(dsn: str, model: str, count: int, *, since: datetime, project: str, other: str = "others") -> None:
    """`count` messages like the model, three of four in `project`, a tenth of a second apart from `since` on."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(_COPY, model, count, int(since.timestamp() * 1000), other, project)
        await connection.execute("VACUUM ANALYZE dispatch.messages, dispatch.completions")
    finally:
        await connection.close()


class Counting:
    """A connection that also adds up how many pages of tables and indexes its statements touched."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.buffers = 0

    async def fetch(self, statement: str, *given: Any) -> Any:
        """As asyncpg's."""
        await self._explain(statement, given)
        return await self._connection.fetch(statement, *given)

    async def fetchrow(self, statement: str, *given: Any) -> Any:
        """As asyncpg's."""
        await self._explain(statement, given)
        return await self._connection.fetchrow(statement, *given)

    async def fetchval(self, statement: str, *given: Any) -> Any:
        """As asyncpg's."""
        await self._explain(statement, given)
        return await self._connection.fetchval(statement, *given)

    async def _explain(self, statement: str, given: Any) -> None:
        text = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
        (told,) = json.loads(await self._connection.fetchval(text, *given))
        self.buffers += told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
