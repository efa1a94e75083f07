"""Messages as GetMessage and ListMessages show them, read from the database. Dead letters are such a list: those that
are FAILED or UNKNOWN (ADR 0018).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.adapters.base import Channel
from services.dispatch.convert import CHANNEL_CODES
from services.dispatch.ledger import Connection
from services.dispatch.message import State, StateCode
from services.dispatch.records import Overview, overview_from_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages of a project: None and "" mean any."""

    project_id: str
    channel: Channel | None = None
    state: State | None = None
    reason: str = ""


async def one(connection: Connection, message_id: UUID, projects: Sequence[str] | None) -> Overview | None:
    """One message of these projects (None: of any)."""
    row = await connection.fetchrow(_ONE, message_id, projects)
    return overview_from_row(row) if row else None


async def page(connection: Connection, wanted: Wanted, *, before: UUID | None, limit: int) -> list[Overview]:
    """A project's messages, newest first, older than `before`."""
    code = CHANNEL_CODES[wanted.channel] if wanted.channel else None
    given = (wanted.project_id, code, before, wanted.reason or None, limit)
    match wanted.state:
        case None:
            rows = await connection.fetch(_PAGE, *given)
        case State.QUEUED | State.SENDING:
            rows = await connection.fetch(_PAGE_LIVE, *given, wanted.state.value)
        case _:
            rows = await connection.fetch(_PAGE_ENDED, *given, StateCode[wanted.state].value)
    return [overview_from_row(row) for row in rows]


_OVERVIEW = """
SELECT * FROM (
    SELECT m.id, m.project_id, m.channel, m.recipient, m.labels, coalesce(c.deadline, m.deadline) AS deadline,
           m.created_at, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate, c.duplicates, c.completed_at,
           c.generation, c.retrying,
           CASE WHEN c.state IS NULL THEN
               CASE WHEN started.chain_version IS NULL THEN 'QUEUED' ELSE 'SENDING' END
           END AS live_state,
           CASE WHEN q.worker IS NULL AND (c.state IS NULL OR c.retrying)
                THEN greatest(extract(epoch FROM q.due_at - now()), 0)::float8 END AS
           next_attempt_in, coalesce(started.chain_version, 0) AS chain_version
    FROM dispatch.messages m
    LEFT JOIN dispatch.completions c ON c.message_id = m.id
    LEFT JOIN dispatch.queue q ON q.id = m.id
    LEFT JOIN dispatch.attempts started ON started.message_id = m.id AND started.number = 1
) AS overview
"""
_ONE = _OVERVIEW + "WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY($2))"
_OF_PROJECT = (
    _OVERVIEW
    + """
WHERE project_id = $1 AND ($2::smallint IS NULL OR channel = $2) AND ($3::uuid IS NULL OR id < $3)
  AND ($4::text IS NULL OR reason = $4)
"""
)
_PAGE = _OF_PROJECT + "ORDER BY id DESC LIMIT $5"
_PAGE_LIVE = _OF_PROJECT + "AND live_state = $6 ORDER BY id DESC LIMIT $5"
# A state alone, so that the index over dead letters serves those who look for them.
_PAGE_ENDED = _OF_PROJECT + "AND state = $6::smallint ORDER BY id DESC LIMIT $5"
