"""Webhooks in the database: the endpoints, what each was told, and what it still has to be told. Not what follows a
post (webhook.py), nor the posting (webhooks.py).

An event goes from the list of events to an endpoint's posts in the transaction that moves the endpoint's place in that
list; a post goes when it was taken. Who posts has a lease: the row's `due_at`, and `tries` as its epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.dispatch.convert import CHANNELS
from services.dispatch.event_book import PROJECT_EVENTS
from services.dispatch.ledger import Connection
from services.dispatch.records import StoredEvent, event_from_row
from services.dispatch.webhook import BOTH_SIGN, MAX_PER_PROJECT, Answer, Next, Sealed, Webhook
from services.dispatch.webhook_payload import Subject, type_of

# Of one endpoint: how many events are taken over at a time, and how many may be on their way before it gets no more.
PAGE, MOST_WAITING = 200, 1000
# How many endpoints with news, or with posts that are due, are taken at a time.
ENDPOINTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An event that is ours to post to one endpoint until the lease ends; `event` is None when it is no longer kept."""

    webhook: Webhook
    message_id: UUID
    sequence: int
    tries: int
    created_at: datetime
    now: datetime
    event: StoredEvent | None
    subject: Subject | None


async def add(connection: Connection, webhook: Webhook) -> Webhook | None:
    """The endpoint, told what is committed from now on; None when its project has as many as it may."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('webhooks ' || $1, 0))", webhook.project_id)
    if await connection.fetchval(_COUNT, webhook.project_id) >= MAX_PER_PROJECT:
        return None
    secret = webhook.secret
    row = await connection.fetchrow(
        _ADD,
        webhook.id,
        webhook.project_id,
        webhook.url,
        webhook.description,
        sorted(webhook.types),
        webhook.enabled,
        secret.key_id,
        secret.data,
        secret.version,
    )
    return _webhook(row)


async def find(connection: Connection, webhook_id: UUID, projects: Sequence[str] | None) -> Webhook | None:
    """One endpoint of these projects (None: of any)."""
    row = await connection.fetchrow(_FIND, webhook_id, projects)
    return None if row is None else _webhook(row)


async def of_project(connection: Connection, project_id: str) -> list[Webhook]:
    """A project's endpoints, oldest first."""
    return [_webhook(row) for row in await connection.fetch(_OF_PROJECT, project_id)]


async def hold(connection: Connection, webhook_id: UUID, projects: Sequence[str] | None) -> Webhook | None:
    """As `find`, and it stays as it is until the transaction ends."""
    row = await connection.fetchrow(_FIND + " FOR NO KEY UPDATE", webhook_id, projects)
    return None if row is None else _webhook(row)


async def change(connection: Connection, wanted: Webhook, *, wakes: bool) -> Webhook:
    """The endpoint as it is wanted; with `wakes` it goes on from now: what it missed is dropped. In the transaction
    that holds it.
    """
    if wakes:
        await connection.execute("DELETE FROM dispatch.webhook_posts WHERE webhook_id = $1", wanted.id)
    row = await connection.fetchrow(
        _CHANGE,
        wanted.id,
        wanted.project_id,
        wanted.url,
        wanted.description,
        sorted(wanted.types),
        wanted.enabled,
        wakes,
    )
    return _webhook(row)


async def rotate(connection: Connection, webhook: Webhook, secret: Sealed) -> Webhook | None:
    """The endpoint with a new secret, the one before signing for a while too; None when somebody was quicker."""
    row = await connection.fetchrow(
        _ROTATE,
        webhook.id,
        webhook.project_id,
        webhook.secret.version,
        secret.key_id,
        secret.data,
        secret.version,
        BOTH_SIGN,
    )
    return None if row is None else _webhook(row)


async def reseal(connection: Connection, webhook_id: UUID, secret: Sealed) -> None:
    """The same secret under a newer key of the vault."""
    await connection.execute(_RESEAL, webhook_id, secret.version, secret.key_id, secret.data)


async def sealed_otherwise(connection: Connection, key_id: str) -> list[Webhook]:
    """Endpoints with a secret that another key sealed."""
    return [_webhook(row) for row in await connection.fetch(_SEALED_OTHERWISE, key_id)]


async def remove(connection: Connection, webhook_id: UUID, projects: Sequence[str] | None) -> bool:
    """Whether there was such an endpoint of these projects (None: of any); it is gone with all that waited for it."""
    return await connection.fetchval(_REMOVE, webhook_id, projects) is not None


async def with_news(connection: Connection, after: UUID) -> list[UUID]:
    """Some enabled endpoints behind `after` that have not been told everything."""
    return [row["id"] for row in await connection.fetch(_WITH_NEWS, after, ENDPOINTS)]


async def take_over(connection: Connection, webhook_id: UUID) -> int:
    """Move one endpoint's place in the list of events forward; what it wants of them waits to be posted. Answers how
    many events that were; none when enough wait already. In a transaction.
    """
    row = await connection.fetchrow(_LOCK, webhook_id)
    if row is None or await connection.fetchval(_WAITING, webhook_id) >= MOST_WAITING:
        return 0
    webhook = _webhook(row)
    place = (row["at_transaction"], row["at_message"], row["at_sequence"])
    events = [event_from_row(each) for each in await connection.fetch(PROJECT_EVENTS, webhook.project_id, *place, PAGE)]
    if not events:
        return 0
    wanted = [event for event in events if (kind := type_of(event.payload)) and webhook.wants(kind)]
    await connection.execute(
        _WAIT, webhook_id, [e.message_id for e in wanted], [e.sequence for e in wanted], webhook.project_id
    )
    last = events[-1]
    await connection.execute(_MOVE, webhook_id, last.transaction_id, last.message_id, last.sequence)
    return len(events)


async def claim(
    connection: Connection,
    *,
    limit: int,
    each: int,
    lease: float,
    full: Sequence[UUID],
    failing: Sequence[UUID],
    most: int,
    under_way: Mapping[str, int],
) -> list[Post]:
    """Posts that are due, the first of each message, ours for `lease` seconds: of one endpoint at most `each`, one
    of one that fails, none of those that are `full`, or that fail and have one open (`failing`). Of one project at most
    `most` with those that are `under_way`; projects take turns, those with the fewest first.
    """
    projects, counts = list(under_way), list(under_way.values())
    rows = await connection.fetch(_CLAIM, limit, each, lease, full, failing, projects, counts, most)
    if not rows:
        return []
    found = await connection.fetch(
        _FOUND, *zip(*((r["webhook_id"], r["message_id"], r["sequence"]) for r in rows), strict=True)
    )
    told = {(row["id"], row["message_id"], row["sequence"]): row for row in found}
    return [
        _post(row, told[key])
        for row in rows
        if (key := (row["webhook_id"], row["message_id"], row["sequence"])) in told
    ]


async def taken(connection: Connection, post: Post) -> None:
    """The receiver has it. In a transaction."""
    await connection.execute(_HOLD, post.webhook.id)
    if await connection.fetchval(_DONE, post.webhook.id, post.message_id, post.sequence, post.tries) is not None:
        await connection.execute(_WELL, post.webhook.id)


async def dropped(connection: Connection, post: Post) -> None:
    """There is nothing to post any more; of the endpoint that says nothing."""
    await connection.execute(_DONE, post.webhook.id, post.message_id, post.sequence, post.tries)


async def failed(connection: Connection, post: Post, answer: Answer, then: Next) -> bool:
    """The receiver has not got it: posted again later, or given up; answers whether its endpoint was switched off by
    this. In a transaction.
    """
    await connection.execute(_HOLD, post.webhook.id)
    key = (post.webhook.id, post.message_id, post.sequence, post.tries)
    if then.delay is None:
        ours = await connection.fetchval(_DONE, *key)
    else:
        ours = await connection.fetchval(_LATER, *key, then.delay)
    if ours is None:
        return False
    disables = then.disables.value if then.disables else ""
    off = await connection.fetchval(_BADLY, post.webhook.id, answer.error[:200], disables) is not None
    if disables:
        await connection.execute("DELETE FROM dispatch.webhook_posts WHERE webhook_id = $1", post.webhook.id)
    return off and bool(disables)


def _webhook(row: Any) -> Webhook:
    older = None
    if row["older_secret"] is not None:
        older = Sealed(key_id=row["older_key_id"], data=row["older_secret"], version=row["older_version"])
    names = ("id", "project_id", "url", "description", "enabled", "older_until", "created_at", "failing_since")
    return Webhook(
        **{name: row[name] for name in names},
        types=frozenset(row["types"]),
        secret=Sealed(key_id=row["key_id"], data=row["secret"], version=row["version"]),
        older=older,
        last_error=row["last_error"],
        disabled_reason=row["disabled_reason"],
    )


def _post(claimed: Any, told: Any) -> Post:
    subject = None
    if told["channel"] is not None:
        subject = Subject(channel=CHANNELS[told["channel"]], recipient=told["recipient"], labels=told["labels"])
    event = None
    if told["payload"] is not None:
        event = StoredEvent(
            message_id=told["message_id"], sequence=told["sequence"], at=told["occurred_at"], payload=told["payload"]
        )
    return Post(
        webhook=_webhook(told),
        message_id=told["message_id"],
        sequence=told["sequence"],
        tries=claimed["tries"],
        created_at=claimed["created_at"],
        now=claimed["now"],
        event=event,
        subject=subject,
    )


_COUNT = "SELECT count(*) FROM dispatch.webhooks WHERE project_id = $1"
# Events that are committed from now on stand at or behind the oldest open transaction, as WatchProject begins.
_NOW = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid, 0"
_ADD = f"""
INSERT INTO dispatch.webhooks (id, project_id, url, description, types, enabled, key_id, secret, version,
                               at_transaction, at_message, at_sequence)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {_NOW}) RETURNING *
"""  # noqa: S608 - made of constants
_FIND = "SELECT * FROM dispatch.webhooks WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY ($2))"
_OF_PROJECT = "SELECT * FROM dispatch.webhooks WHERE project_id = $1 ORDER BY created_at, id"
_CHANGE = f"""
UPDATE dispatch.webhooks
SET url = $3, description = $4, types = $5, enabled = $6,
    failing_since = CASE WHEN $7 THEN NULL ELSE failing_since END,
    last_error = CASE WHEN $7 THEN '' ELSE last_error END,
    disabled_reason = CASE WHEN $7 THEN '' ELSE disabled_reason END,
    (at_transaction, at_message, at_sequence) = (
        SELECT CASE WHEN $7 THEN t ELSE at_transaction END, CASE WHEN $7 THEN m ELSE at_message END,
               CASE WHEN $7 THEN s ELSE at_sequence END
        FROM (SELECT {_NOW}) AS now (t, m, s))
WHERE id = $1 AND project_id = $2 RETURNING *
"""  # noqa: S608 - made of constants
_ROTATE = """
UPDATE dispatch.webhooks
SET older_key_id = key_id, older_secret = secret, older_version = version, older_until = now() + $7::interval,
    key_id = $4, secret = $5, version = $6
WHERE id = $1 AND project_id = $2 AND version = $3 RETURNING *
"""
_RESEAL = """
UPDATE dispatch.webhooks
SET key_id = CASE WHEN version = $2 THEN $3 ELSE key_id END, secret = CASE WHEN version = $2 THEN $4 ELSE secret END,
    older_key_id = CASE WHEN older_version = $2 THEN $3 ELSE older_key_id END,
    older_secret = CASE WHEN older_version = $2 THEN $4 ELSE older_secret END
WHERE id = $1
"""
_SEALED_OTHERWISE = """
SELECT * FROM dispatch.webhooks WHERE key_id <> $1 OR (older_key_id <> $1 AND older_until > now()) ORDER BY id LIMIT 100
"""
_REMOVE = "DELETE FROM dispatch.webhooks WHERE id = $1 AND ($2::text[] IS NULL OR project_id = ANY ($2)) RETURNING id"
_BEHIND = """
e.project_id = w.project_id
AND (e.transaction_id, e.message_id, e.sequence) > (w.at_transaction, w.at_message, w.at_sequence)
AND e.transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
"""
_WITH_NEWS = f"""
SELECT w.id FROM dispatch.webhooks w
WHERE w.enabled AND w.id > $1 AND EXISTS (SELECT FROM dispatch.events e WHERE {_BEHIND}) ORDER BY w.id LIMIT $2
"""  # noqa: S608 - made of constants
# The endpoint's row first, then its posts', everywhere: else two writers could wait for each other.
_HOLD = "SELECT id FROM dispatch.webhooks WHERE id = $1 FOR NO KEY UPDATE"
_LOCK = "SELECT * FROM dispatch.webhooks WHERE id = $1 AND enabled FOR NO KEY UPDATE"
_WAITING = "SELECT count(*) FROM dispatch.webhook_posts WHERE webhook_id = $1"
_WAIT = """
INSERT INTO dispatch.webhook_posts (webhook_id, message_id, sequence, project_id)
SELECT $1, message_id, sequence, $4 FROM unnest($2::uuid[], $3::bigint[]) AS t (message_id, sequence)
ON CONFLICT DO NOTHING
"""
_MOVE = "UPDATE dispatch.webhooks SET at_transaction = $2, at_message = $3, at_sequence = $4 WHERE id = $1"
_NEXT = """
FROM dispatch.webhook_posts p
WHERE p.webhook_id = w.id AND p.due_at <= now()
  AND NOT EXISTS (SELECT FROM dispatch.webhook_posts b WHERE b.webhook_id = p.webhook_id
                  AND b.message_id = p.message_id AND b.sequence < p.sequence)
"""
# A look at one post of each endpoint says whose turn it is; only those are looked at more closely.
_CLAIM = f"""
WITH turn AS MATERIALIZED (
    SELECT w.id, w.project_id, w.failing_since, coalesce(o.posts, 0) AS posts
    FROM dispatch.webhooks w LEFT JOIN unnest($6::text[], $7::int[]) AS o (project_id, posts) USING (project_id)
    WHERE w.enabled AND w.id <> ALL ($4::uuid[]) AND (w.failing_since IS NULL OR w.id <> ALL ($5::uuid[]))
      AND coalesce(o.posts, 0) < $8 AND EXISTS (SELECT {_NEXT})
    ORDER BY posts, random() LIMIT {ENDPOINTS}
), due AS MATERIALIZED (
    SELECT d.webhook_id, d.message_id, d.sequence,
           w.posts + row_number() OVER (PARTITION BY w.project_id ORDER BY d.due_at) AS place
    FROM turn w CROSS JOIN LATERAL (
        SELECT p.webhook_id, p.message_id, p.sequence, p.due_at {_NEXT}
        ORDER BY p.due_at LIMIT CASE WHEN w.failing_since IS NULL THEN $2 ELSE 1 END
    ) AS d
), ours AS MATERIALIZED (
    SELECT p.webhook_id, p.message_id, p.sequence
    FROM (SELECT * FROM due WHERE place <= $8 ORDER BY place, webhook_id LIMIT $1) AS one
    JOIN dispatch.webhook_posts p
      ON p.webhook_id = one.webhook_id AND p.message_id = one.message_id AND p.sequence = one.sequence
    WHERE p.due_at <= now() FOR UPDATE OF p SKIP LOCKED
)
UPDATE dispatch.webhook_posts p SET due_at = now() + $3 * interval '1 second', tries = p.tries + 1
FROM ours WHERE p.webhook_id = ours.webhook_id AND p.message_id = ours.message_id AND p.sequence = ours.sequence
RETURNING p.webhook_id, p.message_id, p.sequence, p.tries, p.created_at, now() AS now
"""  # noqa: S608 - made of constants
_FOUND = """
SELECT w.*, t.message_id, t.sequence, e.payload, e.occurred_at, m.channel, m.recipient, m.labels
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS t (webhook_id, message_id, sequence)
JOIN dispatch.webhooks w ON w.id = t.webhook_id
LEFT JOIN dispatch.events e
       ON e.message_id = t.message_id AND e.sequence = t.sequence AND e.project_id = w.project_id
LEFT JOIN dispatch.messages m ON m.id = t.message_id AND m.project_id = w.project_id
"""
_DONE = """
DELETE FROM dispatch.webhook_posts WHERE webhook_id = $1 AND message_id = $2 AND sequence = $3 AND tries = $4
RETURNING tries
"""
_LATER = """
UPDATE dispatch.webhook_posts SET due_at = now() + $5 * interval '1 second'
WHERE webhook_id = $1 AND message_id = $2 AND sequence = $3 AND tries = $4 RETURNING tries
"""
_WELL = "UPDATE dispatch.webhooks SET failing_since = NULL, last_error = '' WHERE id = $1 AND failing_since IS NOT NULL"
_BADLY = """
UPDATE dispatch.webhooks
SET failing_since = coalesce(failing_since, now()), last_error = $2, enabled = $3 = '', disabled_reason = $3
WHERE id = $1 AND enabled RETURNING id
"""
