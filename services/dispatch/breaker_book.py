"""Breakers in the database: read, taught, probed by one message in the whole cluster, forgotten when clean. Not what a
lesson does to one: breaker.py.

Rows are locked by provider and scope, always in that order and after the rows of the queue; the events of a provider
take turns by an advisory lock that is taken last. So two batches wait for one another instead of deadlocking.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.dispatch.breaker import (
    SHARE_WINDOW,
    Breaker,
    Lesson,
    News,
    Signal,
    closed,
    engage,
    expired,
    learn,
    probe_due,
    probing,
)
from services.dispatch.convert import CHANNEL_CODES, CHANNELS
from services.dispatch.health import Block
from services.dispatch.ledger import Connection, Transition
from services.dispatch.provider_events import event_of

Key = tuple[str, str]
Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class BreakerBook:
    """What the database knows about the health of providers, for the board of one process."""

    def __init__(self, connection: Connect, transaction: Connect, *, worker: str) -> None:
        self._connection = connection
        self._transaction = transaction
        self._worker = worker

    async def breakers(self) -> list[Breaker]:
        """Every provider of which something is known, as it stands now."""
        async with self._connection() as connection:
            return [_breaker(row) for row in await connection.fetch(_ALL)]

    async def take_probe(
        self, provider_id: str, version: int, scopes: frozenset[str], prober: str, seconds: float
    ) -> tuple[bool, list[Breaker]]:
        """Whether `prober` alone may probe the provider for so many seconds, and how its breakers stand then."""
        async with self._transaction() as connection:
            rows = await connection.fetch(_OF_PROVIDER, provider_id, sorted(scopes), seconds)
            breakers = [_breaker(row) for row in rows]
            opened = [each for each in breakers if each.block is not None and each.config_version == version]
            if not opened or not all(probe_due(each, rows[0]["at"]) for each in opened):
                return False, breakers
            taken = [
                replace(probing(each, prober, rows[0]["probe_ends"]), revision=each.revision + 1) for each in opened
            ]
            await _write(connection, taken)
        return True, taken

    async def count(self, accepted: Mapping[str, int]) -> None:
        """How many messages this process saw each of these providers accept within SHARE_WINDOW."""
        async with self._connection() as connection:
            names = sorted(accepted)
            await connection.execute(_COUNT, names, self._worker, [accepted[name] for name in names])

    async def forget(self) -> None:
        """Drop what says nothing any more: clean providers, and open ones that no message wanted for a day."""
        async with self._transaction() as connection:
            gone = await connection.fetch(_FORGET)
            news = [expired(_breaker(row), row["at"]) for row in gone]
            await _tell(connection, [each for each in news if each is not None])
            await connection.execute(_FORGET_ANSWERS)


async def teach(connection: Connection, worker: str, steps: Sequence[Transition]) -> dict[str, tuple[Breaker, ...]]:
    """Write what these steps taught, in the caller's transaction; answers the breakers as they stand then, by
    provider.
    """
    breakers, elsewhere, at = await _locked(connection, worker, steps)
    known = dict(breakers)
    news: list[News] = []
    for step in steps:
        if step.lesson is not None:
            for key in _keys(step.lesson, breakers):
                provider = step.lesson.provider.id
                breakers[key], told = learn(breakers[key], step.lesson, at, elsewhere.get(provider, 0))
                news.extend(told)
        if step.engagement is not None and (key := (step.engagement.first.id, "")) in breakers:
            breakers[key], told = engage(breakers[key], step.engagement)
            news.extend(told)
    for key, breaker in breakers.items():
        if breaker != known[key]:
            breakers[key] = replace(breaker, revision=breaker.revision + 1)
    await _write(connection, [breaker for key, breaker in breakers.items() if breaker != known[key]])
    await _tell(connection, news)
    found: dict[str, tuple[Breaker, ...]] = {}
    for breaker in breakers.values():
        found[breaker.provider_id] = (*found.get(breaker.provider_id, ()), breaker)
    return found


async def teach_each(connection: Connection, worker: str, steps: Sequence[Transition]) -> list[tuple[Breaker, ...]]:
    """As `teach`; answers for each step the breakers that it was about."""
    taught = await teach(connection, worker, steps)
    return [_concerned(step, taught) for step in steps]


def _concerned(step: Transition, taught: Mapping[str, tuple[Breaker, ...]]) -> tuple[Breaker, ...]:
    ids = [step.lesson.provider.id] if step.lesson else []
    ids += [step.engagement.first.id] if step.engagement else []
    return tuple(breaker for provider_id in ids for breaker in taught.get(provider_id, ()))


def _keys(lesson: Lesson, present: Iterable[Key]) -> list[Key]:
    """The breakers that a lesson may concern, of those that are there."""
    wanted = {(lesson.provider.id, scope) for scope in (*lesson.scopes, lesson.scope)}
    return [key for key in present if key in wanted]


async def _locked(
    connection: Connection, worker: str, steps: Sequence[Transition]
) -> tuple[dict[Key, Breaker], Mapping[str, int], datetime]:
    """The breakers that these steps are about, ours until the transaction ends; how many messages other workers saw
    their providers accept lately; and the time.
    """
    fresh = _fresh(steps)
    wanted = sorted(_wanted(steps) | fresh.keys())
    made = [_beginning(fresh[key]) for key in sorted(fresh)]
    while True:
        rows = await connection.fetch(_TAKE, *_columns_of(wanted, 2), *_columns_of(made, 7), worker, SHARE_WINDOW)
        if fresh.keys() <= {(row["provider_id"], row["scope"]) for row in rows}:
            break  # else somebody made one between our look and our try to make it: by now it can be seen
    at: datetime = rows[0]["at"] if rows else await connection.fetchval("SELECT now()")
    elsewhere = {row["provider_id"]: row["elsewhere"] for row in rows}
    return {(row["provider_id"], row["scope"]): _breaker(row) for row in rows}, elsewhere, at


def _wanted(steps: Sequence[Transition]) -> set[Key]:
    wanted: set[Key] = set()
    for step in steps:
        if step.lesson is not None:
            wanted |= {(step.lesson.provider.id, scope) for scope in (*step.lesson.scopes, step.lesson.scope)}
        if step.engagement is not None:
            wanted.add((step.engagement.first.id, ""))
    return wanted


def _fresh(steps: Sequence[Transition]) -> dict[Key, Breaker]:
    """A closed breaker for whoever has something to count; written if it has no row yet."""
    fresh: dict[Key, Breaker] = {}
    for lesson in (step.lesson for step in steps):
        if lesson is not None and lesson.signal in (Signal.FAILURE, Signal.DENIED, Signal.THROTTLED):
            scope = "" if lesson.signal is Signal.FAILURE else lesson.scope
            fresh.setdefault((lesson.provider.id, scope), closed(lesson, scope))
    return fresh


def _beginning(breaker: Breaker) -> tuple[Any, ...]:
    """What tells a closed breaker that counted nothing yet from any other: the rest are the table's defaults."""
    return (*(getattr(breaker, name) for name in _NAMES), CHANNEL_CODES[breaker.channel])


def _columns_of(rows: Sequence[tuple[Any, ...]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) or [()] * width


async def _write(connection: Connection, breakers: Sequence[Breaker]) -> None:
    if breakers:
        ordered = sorted(breakers, key=lambda each: (each.provider_id, each.scope))
        await connection.executemany(_WRITE, [_columns(each) for each in ordered])


async def _tell(connection: Connection, news: Sequence[News]) -> None:
    """Each piece of news as an event of its provider, numbered per provider from 1 without gaps."""
    if not news:
        return
    ids = sorted({UUID(each.breaker.provider_id) for each in news})
    for provider_id in ids:
        await connection.execute(_TAKE_TURNS, str(provider_id))
    last = {row["message_id"]: row["last"] for row in await connection.fetch(_LAST, ids)}
    for each in news:
        provider_id = UUID(each.breaker.provider_id)
        last[provider_id] = last.get(provider_id, 0) + 1
        payload = event_of(each).SerializeToString()
        await connection.execute(_TELL, provider_id, last[provider_id], each.breaker.project_id, payload)


_NAMES = ("provider_id", "scope", "project_id", "kind", "provider_name", "config_version")
_SAME = tuple(field.name for field in fields(Breaker) if field.name not in ("channel", "block", "failures"))
_COLUMNS = (*_SAME, "channel", "block", "failure_seconds", "failure_counts")


def _columns(breaker: Breaker) -> tuple[Any, ...]:
    return (
        *(getattr(breaker, name) for name in _SAME),
        CHANNEL_CODES[breaker.channel],
        breaker.block or "",
        [second for second, _ in breaker.failures],
        [count for _, count in breaker.failures],
    )


def _breaker(row: Mapping[str, Any]) -> Breaker:
    values: dict[str, Any] = {name: row[name] for name in _SAME}
    return Breaker(
        **values,
        channel=CHANNELS[row["channel"]],
        block=Block(row["block"]) if row["block"] else None,
        failures=tuple(zip(row["failure_seconds"], row["failure_counts"], strict=True)),
    )


_PLACES = ", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 1))
_ALL = "SELECT * FROM dispatch.provider_health"
_INSERT = f"""
INSERT INTO dispatch.provider_health ({", ".join(_COLUMNS)}) VALUES ({_PLACES}) ON CONFLICT (provider_id, scope)
"""  # noqa: S608 - the names of our own fields
_WRITE = f"{_INSERT} DO UPDATE SET touched_at = now(), " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
# Made before any is locked, both in order: two batches then wait for one another instead of deadlocking. What another
# batch makes meanwhile is neither made nor seen here.
_TAKE = """
WITH made AS (
    INSERT INTO dispatch.provider_health
        (provider_id, scope, project_id, kind, provider_name, config_version, channel)
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::smallint[])
    ON CONFLICT (provider_id, scope) DO NOTHING RETURNING *
), locked AS MATERIALIZED (
    SELECT h.* FROM unnest($1::text[], $2::text[]) AS k (provider_id, scope)
    JOIN dispatch.provider_health h USING (provider_id, scope) WHERE (SELECT count(*) FROM made) >= 0
    ORDER BY h.provider_id, h.scope FOR UPDATE OF h
)
SELECT h.*, now() AS at, (
    SELECT coalesce(sum(a.accepted), 0)::int FROM dispatch.provider_answers a
    WHERE a.provider_id = h.provider_id AND a.worker <> $10 AND a.counted_at > now() - $11 * interval '1 second'
) AS elsewhere
FROM (SELECT * FROM locked UNION ALL SELECT * FROM made) AS h
"""
_OF_PROVIDER = """
SELECT *, now() AS at, now() + $3 * interval '1 second' AS probe_ends FROM dispatch.provider_health
WHERE provider_id = $1 AND scope = ANY($2::text[]) ORDER BY scope FOR UPDATE
"""
_COUNT = """
INSERT INTO dispatch.provider_answers (provider_id, worker, accepted)
SELECT id, $2, accepted FROM unnest($1::text[], $3::int[]) AS c (id, accepted)
ON CONFLICT (provider_id, worker) DO UPDATE SET accepted = excluded.accepted, counted_at = now()
"""
_FORGET = """
DELETE FROM dispatch.provider_health WHERE (provider_id, scope) IN (
    SELECT provider_id, scope FROM dispatch.provider_health
    WHERE (block = '' AND touched_at < now() - interval '10 minutes' AND coalesce(cools_until, now()) <= now())
       OR (block <> '' AND greatest(until, probed_until, touched_at) < now() - interval '1 day')
    ORDER BY provider_id, scope LIMIT 1000 FOR UPDATE SKIP LOCKED
) RETURNING *, now() AS at
"""
_FORGET_ANSWERS = "DELETE FROM dispatch.provider_answers WHERE counted_at < now() - interval '10 minutes'"
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('provider ' || $1, 0))"
_LAST = """
SELECT message_id, max(sequence) AS last FROM dispatch.events WHERE message_id = ANY($1::uuid[]) GROUP BY message_id
"""
_TELL = "INSERT INTO dispatch.events (message_id, sequence, project_id, payload) VALUES ($1, $2, $3, $4)"
