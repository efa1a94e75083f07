"""How full the queue is, asked so that it costs the same however full it is. Who takes what: claim_book.py."""

from dataclasses import dataclass

from services.dispatch.ledger import Connection

MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """The queue at one moment: `messages` in it all in all, as PostgreSQL's statistics have it; `due` are those that
    anybody may take now, counted up to MOST_COUNTED; `oldest_due` for how many seconds the first of them has been.
    """

    messages: float
    due: float
    oldest_due: float


async def look(connection: Connection) -> QueueState:
    """The queue now; reads at most MOST_COUNTED entries of one index."""
    row = await connection.fetchrow(_LOOK, MOST_COUNTED)
    return QueueState(messages=row["messages"], due=row["due"], oldest_due=row["oldest_due"])


_LOOK = """
SELECT (SELECT count(*)
        FROM (SELECT FROM dispatch.queue WHERE due_at <= now() ORDER BY due_at LIMIT $1) AS counted)::float8 AS due,
       coalesce((SELECT extract(epoch FROM now() - due_at) FROM dispatch.queue WHERE due_at <= now()
                 ORDER BY due_at LIMIT 1), 0)::float8 AS oldest_due,
       greatest(pg_stat_get_live_tuples('dispatch.queue'::regclass), 0)::float8 AS messages
"""
