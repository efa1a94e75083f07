"""The delivery log over gRPC: a message is in it at once, in the documented words; filters, pages, other projects."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import log_service_pb2 as log

from services.chassis.status import from_rpc_error
from services.dispatch import log_book
from services.dispatch.delivery_log import Filter, Found, Page
from tests.integration.rig import PROJECT, Pipe, eventually, metadata, rig


@pytest.fixture
async def pipe(database_url: str) -> AsyncIterator[Pipe]:
    """A messagepipe with two providers."""
    async with rig(database_url) as running:
        await running.chain("A", "B")
        yield running


async def listed(pipe: Pipe, *projects: str, **wanted: Any) -> log.ListLogEntriesResponse:
    """A page of the log."""
    return await pipe.log.ListLogEntries(log.ListLogEntriesRequest(**wanted), metadata=metadata(*projects))


async def ids(pipe: Pipe, **wanted: Any) -> list[str]:
    """The messages on a page of the log."""
    return [entry.id for entry in (await listed(pipe, **wanted)).data]


async def one_of_each(pipe: Pipe) -> dict[str, str]:
    """A message of each status, by status."""
    made = {}
    made["sent"] = (await pipe.send()).message_id
    for status, told in (("delivered", "DELIVERED"), ("bounced", "BOUNCED_HARD")):
        story = await pipe.send(to=f"{status}@example.com")  # who bounced gets nothing more
        reference = story.events[-2].attempt_finished.attempt.provider_message_id
        await pipe.receipt("A", {"status": told, "provider_message_id": reference})
        made[status] = story.message_id
        await pipe.becomes(story.message_id, "DELIVERED" if status == "delivered" else "UNDELIVERED")
    pipe.script("A", "invalid")
    made["rejected"] = (await pipe.send()).message_id
    pipe.script("A", "deferred")
    pipe.script("B", "deferred")
    made["failed"] = (await pipe.send()).message_id
    pipe.script("A", "hang")
    made["pending"] = (await pipe.create()).id
    return made


async def test_a_message_is_in_the_log_when_it_is_accepted(pipe: Pipe) -> None:
    """The log shows a message as soon as its id is known, pending and without a provider."""
    pipe.script("A", "hang")
    made = await pipe.create(to="Ada <ada@example.com>")

    page = await listed(pipe)

    (entry,) = page.data
    assert (entry.id, entry.recipient, entry.status) == (made.id, "ada@example.com", "pending")
    assert (entry.message_type, entry.project_id) == ("email", PROJECT)
    assert not entry.HasField("template_id")
    assert entry.created_at == made.created_at
    assert page.meta == log.LogPage(total=1, page=1, limit=50, total_pages=1)


async def test_each_status_is_shown_and_found(pipe: Pipe) -> None:
    """Every documented status: shown in the list, found by the filter alone, newest first without it."""
    made = await one_of_each(pipe)
    await eventually(lambda: len(pipe.adapters["A"].calls) == 6)

    everything = await listed(pipe)
    by_status = {status: await ids(pipe, status=status) for status in made}

    assert {entry.status: entry.id for entry in everything.data} == made
    assert [entry.id for entry in everything.data] == list(reversed(made.values()))
    assert by_status == {status: [message_id] for status, message_id in made.items()}
    assert {entry.status: entry.kind for entry in everything.data} == {
        "sent": "a", "delivered": "a", "bounced": "a", "rejected": "a", "failed": "b", "pending": "a",
    }  # fmt: skip


async def test_filters_go_together(pipe: Pipe) -> None:
    """By provider (id or kind), recipient, moments and type, alone and together."""
    first = (await pipe.send(to="first@example.com")).message_id
    pipe.script("A", "deferred")
    second = (await pipe.send(to="second@example.com")).message_id
    at = (await pipe.get(second)).created_at
    tick = at.ToDatetime() + timedelta(microseconds=1)

    assert await ids(pipe, provider="a") == await ids(pipe, provider=pipe.ids["A"]) == [first]
    assert await ids(pipe, provider="b") == await ids(pipe, provider=pipe.ids["B"]) == [second]
    assert await ids(pipe, recipient="first@example.com") == [first]
    assert await ids(pipe, recipient="first@example.com", provider="b") == []
    assert await ids(pipe, recipient="First@example.com") == []
    assert await ids(pipe, created_after=at) == [second]
    assert await ids(pipe, created_before=at) == [first]
    assert await ids(pipe, created_after=tick) == []
    assert await ids(pipe, message_type="email", status="sent", created_before=tick) == [second, first]
    assert await ids(pipe, message_type="sms") == await ids(pipe, message_type="push") == []


async def test_pages_by_number(pipe: Pipe) -> None:
    """Pages follow one another without gap or overlap, with and without a filter; behind the end there is nothing."""
    made = [(await pipe.create()).id for _ in range(7)]
    for wanted in ({}, {"message_type": "email"}, {"recipient": "ada@example.com"}):
        pages = [await listed(pipe, page=number, limit=3, **wanted) for number in (1, 2, 3, 4)]

        assert [entry.id for page in pages for entry in page.data] == made[::-1]
        assert {(page.meta.total, page.meta.total_pages, page.meta.limit) for page in pages} == {(7, 3, 3)}
        assert [page.meta.has_next_page for page in pages] == [True, True, False, False]
        assert [page.meta.has_previous_page for page in pages] == [False, True, True, True]


async def test_everything_that_is_wrong_is_said_at_once(pipe: Pipe) -> None:
    """Each wrong value is named by its field."""
    request = log.ListLogEntriesRequest(
        project_id="a b", message_type="fax", status="lost", page=0, limit=101, recipient="\n", provider="\0"
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pipe.log.ListLogEntries(request, metadata=metadata())

    said = {violation.field for violation in from_rpc_error(raised.value).violations}
    assert said == {"projectId", "messageType", "status", "page", "limit", "recipient", "provider"}


async def test_searches_hold_nobody_up(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many search the log, however long: messages are sent, plain pages shown, and too many are turned away."""
    go_on, find = asyncio.Event(), log_book.find

    async def slow(connection: Any, wanted: Filter, page: Page) -> Found:
        if wanted.recipient:
            await go_on.wait()
        return await find(connection, wanted, page)

    monkeypatch.setattr(log_book, "find", slow)
    async with asyncio.timeout(20):
        asked = [asyncio.ensure_future(listed(pipe, recipient="a@example.com")) for _ in range(15)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
        assert (await pipe.send()).state == "SENT"
        assert len((await listed(pipe)).data) == 1
        go_on.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)

    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert refused
    assert len(errors) == 5
    assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_all_of_time_may_be_asked_for(pipe: Pipe) -> None:
    """From the first moment that there is to the last is everything; the same moments for analytics."""
    made = (await pipe.send()).message_id
    first, last = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=253_402_300_799)

    assert await ids(pipe, created_after=first, created_before=last) == [made]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pipe.log.GetAnalytics(log.GetAnalyticsRequest(until=first), metadata=metadata())
    assert [violation.field for violation in from_rpc_error(raised.value).violations] == ["since"]


async def test_nothing_of_another_project_is_listed(pipe: Pipe) -> None:
    """The log of a project has its own messages, whatever is asked for."""
    made = await one_of_each(pipe)

    for wanted in ({}, {"message_type": "email"}, {"provider": "a"}, {"recipient": "ada@example.com"}):
        assert not (await listed(pipe, "other", **wanted)).data
    for status in made:
        assert not (await listed(pipe, "other", status=status)).data


async def test_one_entry_tells_everything(pipe: Pipe) -> None:
    """An entry by its id has every attempt and every event, as they were streamed."""
    pipe.script("A", "deferred")
    story = await pipe.send()

    entry = await pipe.log.GetLogEntry(log.GetLogEntryRequest(id=story.message_id), metadata=metadata())

    assert (entry.status, entry.kind, entry.recipient) == ("sent", "b", "ada@example.com")
    assert [attempt.kind for attempt in entry.attempts] == ["a", "b"]
    assert list(entry.events) == story.events
    assert entry.completed_at == story.events[-1].time
