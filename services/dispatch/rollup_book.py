"""Analytics in the database: events are read once per project after a cursor, counted, and the cursor is moved in the
same transaction; so a kill neither loses nor doubles a count. What sums are: rollup.py.

As every reader of a project's events it stays below the oldest open transaction: nothing can appear behind the cursor.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.attempt_pb2 import ReceiptStatus
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.dispatch.convert import CHANNEL_CODES
from services.dispatch.ledger import Connection
from services.dispatch.rollup import BUCKETS, Count, Fact, Interval, Place, Tally, tally

# Of one project in one transaction.
AT_ONCE = 2_000
PROJECTS_AT_ONCE = 200
KEPT = timedelta(days=400)
# Of one answer: a month of hours through six providers.
MOST_ROWS = 5_000
# Any number, as long as it is this task's alone.
LOCK = 0x726F6C6C757073
_SENT = (message_pb2.Message.STATE_SENT, message_pb2.Message.STATE_DELIVERED, message_pb2.Message.STATE_UNDELIVERED)
_FAILED = (message_pb2.Message.STATE_FAILED, message_pb2.Message.STATE_EXPIRED)


async def is_ours(connection: Connection) -> bool:
    """Whether this transaction is the one that counts now: one dispatcher at a time does."""
    ours: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK)
    return ours


async def projects_with_news(connection: Connection, after: str) -> tuple[list[str], str]:
    """Of the next projects in their order those that have events to be counted; and where to go on, "" at the end."""
    rows = await connection.fetch(_PROJECTS, after, PROJECTS_AT_ONCE)
    return [row["project_id"] for row in rows if row["news"]], rows[-1]["project_id"] if rows else ""


async def count(connection: Connection, project_id: str) -> bool:
    """Some of a project's events are counted; answers whether there may be more. The caller commits."""
    cursor = await connection.fetchrow(_CURSOR, project_id)
    rows = await connection.fetch(_EVENTS, project_id, *cursor, AT_ONCE)
    if not rows:
        return False
    sums = tally(fact for row in rows if row["channel"] is not None for fact in _facts(row))
    if sums:
        await connection.execute(_ADD, project_id, *_columns(sums))
    last = rows[-1]
    await connection.execute(_MOVE, project_id, last["transaction_id"], last["message_id"], last["sequence"])
    return bool(last["place"] == AT_ONCE)


async def forget(connection: Connection) -> None:
    """Throw away what is older than it is kept."""
    await connection.execute("DELETE FROM dispatch.rollups WHERE start < now() - $1::interval", KEPT)


async def read(
    connection: Connection,
    project_id: str,
    interval: Interval,
    span: tuple[datetime, datetime],
    *,
    channel: Channel | None,
    provider: str,
) -> list[asyncpg.Record]:
    """The sums of a project in [from, to), by time; one more than `MOST_ROWS` says that there are too many."""
    code = CHANNEL_CODES[channel] if channel else None
    rows: list[asyncpg.Record] = await connection.fetch(
        _READ, project_id, interval.value, *span, code, provider or None, MOST_ROWS + 1
    )
    return rows


async def counted_to(connection: Connection, project_id: str) -> datetime | None:
    """When the project's events were counted last; None when there never were any."""
    at: datetime | None = await connection.fetchval(
        "SELECT counted_at FROM dispatch.rollup_cursors WHERE project_id = $1", project_id
    )
    return at


def _facts(row: Mapping[str, Any]) -> Iterator[Fact]:
    """What one event counts for."""
    event = DeliveryEvent.FromString(row["payload"])
    where: dict[str, Any] = {"at": row["occurred_at"], "channel": row["channel"]}
    match event.WhichOneof("event"):
        case "attempt_finished":
            attempt = event.attempt_finished.attempt
            took = attempt.latency.ToTimedelta().total_seconds() if attempt.HasField("latency") else None
            yield Fact(provider_id=attempt.provider_id, kind=attempt.kind, latency=took, **where)
        case "failover":
            told = event.failover
            yield Fact(provider_id=told.from_provider_id, kind=told.from_provider, counts=(Count.FAILED_OVER,), **where)
        case "completed" | "ended_again" as word:
            end: DeliveryEvent.Completed = getattr(event, word)
            counts = _of_an_end(end, row["first_provider"])
            yield Fact(provider_id=end.provider_id, kind=end.kind, counts=counts, **where)
        case "receipt":
            receipt = event.receipt
            yield Fact(provider_id=receipt.provider_id, kind=receipt.kind, counts=_of_a_receipt(receipt), **where)


def _of_an_end(end: DeliveryEvent.Completed, first_provider: object) -> tuple[Count, ...]:
    if end.state in _SENT:
        rescued = first_provider is not None and first_provider != end.provider_id
        return (Count.SENT, Count.RESCUED) if rescued else (Count.SENT,)
    return (Count.FAILED,) if end.state in _FAILED else ()


def _of_a_receipt(receipt: DeliveryEvent.Receipt) -> tuple[Count, ...]:
    if receipt.status == ReceiptStatus.RECEIPT_STATUS_DELIVERED:
        return (Count.DELIVERED,)
    return (Count.BOUNCED,) if receipt.status == ReceiptStatus.RECEIPT_STATUS_BOUNCED_HARD else ()


def _columns(sums: Mapping[Place, Tally]) -> tuple[object, ...]:
    # In the order of the key: whoever adds to the same rows locks them in the same order.
    places = sorted(sums, key=lambda place: (place.interval, place.start, place.channel, place.provider_id, place.kind))
    return (
        [place.interval.value for place in places],
        [place.start.astimezone(UTC) for place in places],
        [place.channel for place in places],
        [place.provider_id for place in places],
        [place.kind for place in places],
        *([sums[place].counts[each] for place in places] for each in Count),
        [number for place in places for number in sums[place].histogram()],
        BUCKETS,
    )


_PROJECTS = """
WITH RECURSIVE walk (project_id, step) AS (
    (SELECT project_id, 1 FROM dispatch.events WHERE project_id > $1 ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT n.project_id, w.step + 1 FROM walk w CROSS JOIN LATERAL (
        SELECT e.project_id FROM dispatch.events e WHERE e.project_id > w.project_id ORDER BY e.project_id LIMIT 1
    ) AS n WHERE w.step < $2
)
SELECT w.project_id, EXISTS (
    SELECT FROM dispatch.events e WHERE e.project_id = w.project_id
    AND (e.transaction_id, e.message_id, e.sequence) > (c.transaction_id, c.message_id, c.sequence)
) OR c.project_id IS NULL AS news
FROM walk w LEFT JOIN dispatch.rollup_cursors c ON c.project_id = w.project_id ORDER BY w.project_id
"""
_CURSOR = """
INSERT INTO dispatch.rollup_cursors AS c (project_id, transaction_id, message_id, sequence)
VALUES ($1, 0, '00000000-0000-0000-0000-000000000000', 0)
ON CONFLICT (project_id) DO UPDATE SET project_id = c.project_id
RETURNING c.transaction_id, c.message_id, c.sequence
"""
# Only some events count; the first byte of a payload says which it is (the tag of its one member). The last one is
# answered too, whatever it is: the cursor moves there.
_EVENTS = """
WITH read AS (
    SELECT e.*, row_number() OVER () AS place FROM (
        SELECT transaction_id, message_id, sequence, occurred_at, payload FROM dispatch.events
        WHERE project_id = $1 AND (transaction_id, message_id, sequence) > ($2, $3, $4)
          AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        ORDER BY transaction_id, message_id, sequence LIMIT $5
    ) AS e
)
SELECT r.transaction_id, r.message_id, r.sequence, r.occurred_at, r.payload, r.place, m.channel, a.first_provider
FROM read r LEFT JOIN LATERAL (
    SELECT channel FROM dispatch.messages
    WHERE id = r.message_id AND substr(r.payload, 1, 1) IN ('\\x32', '\\x42', '\\x4a', '\\x52', '\\x62') OFFSET 0
) AS m ON true
LEFT JOIN LATERAL (
    SELECT provider_id AS first_provider FROM dispatch.attempts
    WHERE message_id = r.message_id AND number = 1 AND substr(r.payload, 1, 1) IN ('\\x52', '\\x62') OFFSET 0
) AS a ON true
WHERE m.channel IS NOT NULL OR r.place = (SELECT count(*) FROM read)
ORDER BY r.place
"""
_ADD = """
INSERT INTO dispatch.rollups AS r (project_id, span, start, channel, provider_id, kind, sent, delivered, failed,
                                   bounced, failed_over, rescued, latencies)
SELECT $1, t.span, t.start, t.channel, t.provider_id, t.kind, t.sent, t.delivered, t.failed, t.bounced, t.failed_over,
       t.rescued, ($13::bigint[])[(t.place - 1) * $14::int + 1 : t.place * $14::int]
FROM unnest($2::text[], $3::timestamptz[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]) WITH ORDINALITY
     AS t (span, start, channel, provider_id, kind, sent, delivered, failed, bounced, failed_over, rescued, place)
ON CONFLICT (project_id, span, start, channel, provider_id, kind) DO UPDATE
SET sent = r.sent + excluded.sent, delivered = r.delivered + excluded.delivered, failed = r.failed + excluded.failed,
    bounced = r.bounced + excluded.bounced, failed_over = r.failed_over + excluded.failed_over,
    rescued = r.rescued + excluded.rescued,
    latencies = ARRAY(SELECT one + other FROM unnest(r.latencies, excluded.latencies) WITH ORDINALITY
                      AS added (one, other, bucket) ORDER BY bucket)
"""
_MOVE = """
UPDATE dispatch.rollup_cursors SET transaction_id = $2, message_id = $3, sequence = $4, counted_at = now()
WHERE project_id = $1
"""
_READ = """
SELECT start, channel, provider_id, kind, sent, delivered, failed, bounced, failed_over, rescued, latencies
FROM dispatch.rollups
WHERE project_id = $1 AND span = $2 AND start >= $3 AND start < $4 AND ($5::smallint IS NULL OR channel = $5)
  AND ($6::text IS NULL OR $6 IN (provider_id, kind))
ORDER BY start, channel, kind, provider_id LIMIT $7
"""
