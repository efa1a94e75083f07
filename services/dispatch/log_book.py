"""The delivery log in the database: which messages stand on a page, and what they are. What pages mean is
delivery_log.py's.

Read from the messages themselves, so that one is there the moment it is accepted. A page far back starts at the nearest
mark (mark_book.py) and steps over fewer than a thousand index entries, however far back it is.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from services.dispatch.convert import CHANNEL_CODES
from services.dispatch.delivery_log import (
    EXACT,
    HIGHEST,
    LOWEST,
    REJECTED,
    SEARCHED,
    STATES,
    Filter,
    Found,
    Page,
    Status,
)
from services.dispatch.ledger import Connection
from services.dispatch.log_walks import IN_QUEUE, OF_CHANNEL, OF_PROJECT, OF_RECIPIENT, RARE, Walk
from services.dispatch.mark_book import STEP

# As many are stepped over rather than looked for by marks.
NEAR = 2 * STEP
# Above this many by the marks, nobody counts: the answer says that it is an estimate.
SURELY_MORE = 2 * EXACT
# What was accepted since the last count; if it is more, housekeeping is away and offsets are walked.
MOST_UNCOUNTED = 200_000
# As many that are in the queue are looked at one by one.
FEW_QUEUED = 5_000


async def find(connection: Connection, wanted: Filter, page: Page) -> Found:
    """The ids on a page, newest first, and how many there are in all."""
    if wanted.is_plain:
        return await _turn_to(connection, wanted, page)
    return await _search(connection, wanted, page)


async def entries(connection: Connection, project_id: str, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """These messages of the project as the log shows them, newest first."""
    rows: list[asyncpg.Record] = await connection.fetch(_ENTRIES, project_id, ids)
    return rows


async def project_of(connection: Connection, message_id: UUID, projects: Sequence[str] | None) -> str | None:
    """Whose message it is, if it is one of these projects' (None: of any)."""
    found: str | None = await connection.fetchval(_PROJECT_OF, message_id, projects)
    return found


async def _turn_to(connection: Connection, wanted: Filter, page: Page) -> Found:
    code = CHANNEL_CODES[wanted.channel] if wanted.channel else 0
    scope = _scope(wanted)
    counted = await connection.fetchrow(_COUNTED, wanted.project_id, code)
    newer = await connection.fetchval(
        scope.count, *_key(wanted), counted["message_id"] or LOWEST, HIGHEST, MOST_UNCOUNTED
    )
    top = counted["ordinal"] + newer
    start, skip = HIGHEST, page.offset
    if page.offset > NEAR and newer < MOST_UNCOUNTED:
        mark = await connection.fetchrow(_MARK, wanted.project_id, code, top - page.offset)
        if mark is not None:
            start, skip = mark["message_id"], mark["ordinal"] - (top - page.offset)
    # A mark's own message is the first that is stepped over; without a mark there is none.
    ids = await connection.fetchval(scope.page, *_key(wanted), LOWEST, start, skip, page.limit + 1)
    return await _with_total(connection, wanted, tuple(ids), top - counted["before"])


async def _with_total(connection: Connection, wanted: Filter, ids: tuple[UUID, ...], about: int) -> Found:
    if about > SURELY_MORE:
        return Found(ids=ids, total=about, is_estimate=True)
    scope = _scope(wanted)
    count = await connection.fetchval(scope.count, *_key(wanted), LOWEST, HIGHEST, EXACT + 1)
    return Found(ids=ids, total=max(count, about) if count > EXACT else count, is_estimate=count > EXACT)


async def _search(connection: Connection, wanted: Filter, page: Page) -> Found:
    """Pages of what fits the whole filter, in the order of what serves it best."""
    most = max(EXACT + 1, page.offset + page.limit + 1)
    driver, given = await _driver(connection, wanted)
    row = await connection.fetchrow(driver.search, *given, *_conditions(wanted), most, page.offset, page.limit + 1)
    ids, total = tuple(row["ids"]), row["total"]
    stopped = None if total == most else await connection.fetchval(driver.end, *given, wanted.before)
    return Found(ids=ids, total=total, is_estimate=total == most or stopped is not None, searched_back_to=stopped)


async def _driver(connection: Connection, wanted: Filter) -> tuple[Walk, tuple[object, ...]]:
    """What leads to all that fits and to little else, and its first five parameters."""
    rest = (*wanted.span, SEARCHED)
    if wanted.recipient:
        return OF_RECIPIENT, (wanted.project_id, wanted.recipient, *rest)
    if wanted.is_rare and wanted.status:
        return RARE, (wanted.project_id, list(STATES[wanted.status]), *rest)
    if wanted.status is Status.PENDING:
        queued = [row["id"] for row in await connection.fetch(_QUEUED, wanted.project_id, FEW_QUEUED + 1)]
        if len(queued) <= FEW_QUEUED:
            return IN_QUEUE, (wanted.project_id, queued, *rest)
    return _scope(wanted), (*_key(wanted), *rest)


def _conditions(wanted: Filter) -> tuple[object, ...]:
    states = None if wanted.status is None else list(STATES[wanted.status])
    # Only FAILED is two statuses.
    rejected = {Status.REJECTED: True, Status.FAILED: False}.get(wanted.status) if wanted.status else None
    code = _code(wanted) or None
    return (code, states, rejected, list(REJECTED), wanted.provider or None, wanted.after, wanted.before)


def _code(wanted: Filter) -> int:
    return CHANNEL_CODES[wanted.channel] if wanted.channel else 0


def _scope(wanted: Filter) -> Walk:
    return OF_CHANNEL if wanted.channel else OF_PROJECT


def _key(wanted: Filter) -> tuple[object, ...]:
    return (wanted.project_id, _code(wanted))


_QUEUED = "SELECT id FROM dispatch.queue WHERE project_id = $1 LIMIT $2"
# Before the first mark that is left everything is gone; without any, everything up to the last that there was.
_COUNTED = """
SELECT coalesce(h.ordinal, 0) AS ordinal, h.message_id,
       coalesce((SELECT min(k.ordinal) - 1000 FROM dispatch.log_marks k
                 WHERE k.project_id = $1 AND k.channel = $2), h.ordinal - h.ordinal % 1000, 0) AS before
FROM (SELECT) AS one LEFT JOIN dispatch.log_heads h ON h.project_id = $1 AND h.channel = $2
"""
_MARK = """
SELECT ordinal, message_id FROM dispatch.log_marks WHERE project_id = $1 AND channel = $2 AND ordinal >= $3
ORDER BY ordinal LIMIT 1
"""
_PROJECT_OF = """
SELECT project_id FROM dispatch.messages WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY ($2))
"""
_ENTRIES = """
SELECT m.id, m.project_id, m.channel, m.recipient, m.labels, m.created_at, coalesce(c.state, 0) AS state,
       coalesce(c.reason, '') AS reason, coalesce(nullif(c.kind, ''), last.kind) AS kind, c.completed_at
FROM dispatch.messages m LEFT JOIN dispatch.completions c ON c.message_id = m.id
LEFT JOIN LATERAL (
    SELECT a.kind FROM dispatch.attempts a WHERE a.message_id = m.id ORDER BY a.number DESC LIMIT 1
) AS last ON true
WHERE m.project_id = $1 AND m.id = ANY ($2::uuid[]) ORDER BY m.id DESC
"""
