"""The list of suppressed recipients in the database: learned, edited, read. What teaches it is suppression.py's; the
look-up before an attempt is part of the statement that begins it (ledger.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.adapters.base import Channel
from services.dispatch.convert import CHANNEL_CODES, CHANNELS
from services.dispatch.ledger import Connection
from services.dispatch.suppression import Cause, Suppression


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One entry of the list as it is kept."""

    id: UUID
    suppression: Suppression
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries of a project: None and "" mean any; `recipient` as the list has it."""

    project_id: str
    channel: Channel | None = None
    reason: Cause | None = None
    recipient: str = ""


async def add(connection: Connection, entry: Suppression) -> Listed:
    """The recipient is on the list when this returns: this entry, or the one that stood there before."""
    code = CHANNEL_CODES[entry.channel]
    row = None
    while row is None:  # somebody may add or remove the same one at this moment
        row = await connection.fetchrow(
            _ADD, entry.project_id, code, entry.recipient, entry.reason.value, entry.message_id
        ) or await connection.fetchrow(_STANDING, entry.project_id, code, entry.recipient)
    return _listed(row)


async def add_each(connection: Connection, entries: Sequence[Suppression]) -> frozenset[tuple[Channel, str]]:
    """All of them are on the list when this commits; answers which were not before."""
    rows = await connection.fetch(
        _ADD_EACH,
        [entry.project_id for entry in entries],
        [CHANNEL_CODES[entry.channel] for entry in entries],
        [entry.recipient for entry in entries],
        [entry.reason.value for entry in entries],
    )
    return frozenset((CHANNELS[row["channel"]], row["recipient"]) for row in rows)


async def remove(connection: Connection, entry_id: UUID, projects: Sequence[str] | None) -> bool:
    """Whether there was such an entry of these projects (None: of any); it is gone."""
    return await connection.fetchval(_REMOVE, entry_id, projects) is not None


async def page(
    connection: Connection, wanted: Wanted, *, before: tuple[datetime, UUID] | None, limit: int
) -> list[Listed]:
    """A project's entries, newest first, those before a place in that order."""
    rows = await connection.fetch(
        _PAGE,
        wanted.project_id,
        CHANNEL_CODES[wanted.channel] if wanted.channel else None,
        wanted.reason.value if wanted.reason else None,
        wanted.recipient or None,
        *(before or (None, None)),
        limit,
    )
    return [_listed(row) for row in rows]


def _listed(row: Any) -> Listed:
    entry = Suppression(
        project_id=row["project_id"],
        channel=CHANNELS[row["channel"]],
        recipient=row["recipient"],
        reason=Cause(row["reason"]),
        message_id=row["message_id"],
    )
    return Listed(id=row["id"], suppression=entry, created_at=row["created_at"])


_ADD = """
INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason, message_id) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING *
"""
_STANDING = "SELECT * FROM dispatch.suppressions WHERE project_id = $1 AND channel = $2 AND recipient = $3"
# In one order, always: two imports of the same file would deadlock otherwise.
_ADD_EACH = """
INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[]) AS t (project_id, channel, recipient, reason)
ORDER BY 1, 2, 3
ON CONFLICT (project_id, channel, recipient) DO NOTHING RETURNING channel, recipient
"""
_REMOVE = """
DELETE FROM dispatch.suppressions WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY ($2)) RETURNING id
"""
_PAGE = """
SELECT * FROM dispatch.suppressions
WHERE project_id = $1 AND ($2::smallint IS NULL OR channel = $2) AND ($3::text IS NULL OR reason = $3)
  AND ($4::text IS NULL OR recipient = $4) AND ($5::timestamptz IS NULL OR (created_at, id) < ($5, $6::uuid))
ORDER BY created_at DESC, id DESC LIMIT $7
"""
