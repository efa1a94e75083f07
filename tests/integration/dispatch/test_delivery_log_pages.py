"""Pages far back in a long log: right, and as cheap as the first, counted in pages of the database read."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.adapters.base import Channel
from services.dispatch import log_book, mark_book
from services.dispatch.access import SETTINGS
from services.dispatch.delivery_log import Filter, Found, Page, Status
from services.dispatch.housekeeping import mark_log
from services.dispatch.store import Store
from tests.integration.dispatch.log_rows import Counting, fill
from tests.integration.rig import PROJECT, rig

MANY = 140_000
OURS = MANY * 3 // 4
DAYS_AGO = timedelta(days=3)
ALL = Filter(project_id=PROJECT)
SMS = Filter(project_id=PROJECT, channel=Channel.SMS)


@dataclass(frozen=True)
class Log:
    """A long log; `ids` are the project's, newest first."""

    store: Store
    ids: list[UUID]
    sms: list[UUID]
    connection: Any

    async def page(self, wanted: Filter, page: Page) -> tuple[Found, int]:
        """What is on a page, and how many pages of the database were read to find that out. What is shown of the
        entries costs the same on every page.
        """
        counting: Any = Counting(self.connection)
        found = await log_book.find(counting, wanted, page)
        return found, counting.buffers


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """A project with many messages, marked; a few came after the count."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        model = (await pipe.send()).message_id
    await fill(database_url, model, MANY, since=datetime.now(UTC) - DAYS_AGO, project=PROJECT)
    store = await Store.open(database_url, worker="w", lease_seconds=30, connections=6)
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    try:
        await mark_log(store)
        listed = "SELECT id FROM dispatch.messages WHERE project_id = $1 AND channel = ANY($2) ORDER BY id DESC"
        ids, sms = [[row["id"] for row in await connection.fetch(listed, PROJECT, codes)] for codes in ([1, 2], [2])]
        yield Log(store=store, ids=ids, sms=sms, connection=connection)
    finally:
        await connection.close()
        await store.close()


async def test_a_page_far_back_is_right_and_costs_what_the_first_does(log: Log) -> None:
    """Page 1,000 has the messages that stand there, and at most twice the pages of the database are read for it."""
    for wanted, ids, limit, number in (
        (ALL, log.ids, 50, 1000),
        (ALL, log.ids, 100, 1000),
        (SMS, log.sms, 50, 200),
        (SMS, log.sms, 100, 100),
    ):
        first, near = await log.page(wanted, Page(limit=limit))
        deep, far = await log.page(wanted, Page(number=number, limit=limit))

        start = (number - 1) * limit
        assert list(first.ids) == ids[: limit + 1]
        assert list(deep.ids) == ids[start : start + limit + 1]
        assert far <= 2 * near + mark_book.STEP // 20, (wanted, limit, near, far)


async def test_totals_are_exact_up_to_ten_thousand_and_then_said_to_be_estimates(log: Log) -> None:
    """About a hundred thousand is an estimate that is near; a filter with fewer than ten thousand is counted."""
    everything, _ = await log.page(ALL, Page())
    moment = "SELECT created_at FROM dispatch.messages WHERE id = $1"
    after = await log.connection.fetchval(moment, log.ids[6_999])
    counted, _ = await log.page(Filter(project_id=PROJECT, after=after), Page())
    nothing, _ = await log.page(Filter(project_id="nobody"), Page())

    assert everything.is_estimate
    assert abs(everything.total - len(log.ids)) <= mark_book.STEP
    assert (counted.total, counted.is_estimate, counted.searched_back_to) == (7_000, False, None)
    assert (nothing.total, nothing.is_estimate) == (0, False)


async def test_a_rare_status_reads_little(log: Log) -> None:
    """What bounced among a hundred thousand is found without reading them, and so is that nothing is pending."""
    bounced = log.ids[70_000]
    await log.connection.execute("UPDATE dispatch.completions SET state = 5 WHERE message_id = $1", bounced)

    found, read = await log.page(Filter(project_id=PROJECT, status=Status.BOUNCED), Page())
    pending, also_read = await log.page(Filter(project_id=PROJECT, status=Status.PENDING), Page())
    nobody, little = await log.page(Filter(project_id=PROJECT, recipient="nobody@example.com"), Page())

    assert (found.ids, found.total, found.is_estimate) == ((bounced,), 1, False)
    assert (pending.ids, pending.total) == ((), 0)
    assert (nobody.ids, nobody.total) == ((), 0)
    assert max(read, also_read, little) < 50


async def test_a_search_says_how_far_it_came(log: Log) -> None:
    """A filter that no index serves stops after 50,000 messages, says so, and goes on from there when asked."""
    (old,) = log.ids[80_000:80_001]
    await log.connection.execute("UPDATE dispatch.completions SET kind = 'rare' WHERE message_id = $1", old)

    first, _ = await log.page(Filter(project_id=PROJECT, provider="rare"), Page())
    assert (first.ids, first.is_estimate) == ((), True)
    assert first.searched_back_to is not None
    second, _ = await log.page(Filter(project_id=PROJECT, provider="rare", before=first.searched_back_to), Page())
    assert second.ids == (old,)


async def test_going_on_finds_everything_in_a_burst(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More messages of one minute than a search looks through, many accepted in one commit: whoever goes on from where
    each search stopped sees all that fits.
    """
    monkeypatch.setattr(log_book, "SEARCHED", 50)
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        model = (await pipe.send()).message_id
    await fill(database_url, model, 400, since=datetime.now(UTC) - DAYS_AGO, project=PROJECT)
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    seen: list[UUID] = []
    before: datetime | None = datetime.now(UTC) - timedelta(days=1)
    try:
        await connection.execute("UPDATE dispatch.messages SET created_at = date_trunc('second', created_at)")
        rows = await connection.fetch(_EVERY_SEVENTH, PROJECT)
        for _ in range(20):
            found = await log_book.find(connection, Filter(project_id=PROJECT, provider="rare", before=before), Page())
            seen += found.ids
            if (before := found.searched_back_to) is None:
                break
    finally:
        await connection.close()

    assert before is None
    assert {row["message_id"] for row in rows} == set(seen)


_EVERY_SEVENTH = """
WITH listed AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM dispatch.messages WHERE project_id = $1)
UPDATE dispatch.completions SET kind = 'rare' FROM listed WHERE message_id = id AND place % 7 = 0 AND place < 300
RETURNING message_id
"""


async def test_marks_are_counted_once(log: Log) -> None:
    """Counting again changes nothing; what is accepted later is counted on from there, by one dispatcher at a time."""
    before = await log.connection.fetch("SELECT * FROM dispatch.log_marks ORDER BY 1, 2, 3")
    async with log.store.transaction() as connection:
        assert await mark_book.is_ours(connection)
        await mark_log(log.store)  # somebody else is at it
    await mark_log(log.store)
    after = await log.connection.fetch("SELECT * FROM dispatch.log_marks ORDER BY 1, 2, 3")
    head = await log.connection.fetchval(
        "SELECT ordinal FROM dispatch.log_heads WHERE project_id = $1 AND channel = 0", PROJECT
    )

    assert before == after
    # The one that was sent just now is too young to be counted.
    assert head == OURS == len(log.ids) - 1
