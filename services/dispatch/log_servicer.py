"""LogService as gRPC sees it: each method reads its request, asks the log, answers in the documented words."""

# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import grpc
from messagepipe.dispatch.v1 import log_service_pb2 as pb
from messagepipe.dispatch.v1 import log_service_pb2_grpc, message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.chassis.admission import overloaded
from services.chassis.auth import current_principal
from services.chassis.errors import InvalidArgument
from services.dispatch import analytics, log_book, rollup_book
from services.dispatch import history as tell
from services.dispatch.convert import CHANNELS, attempt_to_proto, timestamp
from services.dispatch.delivery_log import (
    Found,
    Page,
    place_of,
    status_of,
)
from services.dispatch.errors import MessageNotFound
from services.dispatch.log_requests import LATER_TYPES, TYPES, asked
from services.dispatch.store import Store

# Searches look at many rows: one at a time has a connection, so many more wait for it, and nobody else for them.
MOST_SEARCHES = 10
# Of the events of one message, read at once.
EVENTS_AT_ONCE = 500
Context = grpc.aio.ServicerContext[Any, Any]


class LogServicer(log_service_pb2_grpc.LogServiceServicer):
    """The delivery log, of the caller's projects and no other."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now  # the database's clock
        self._searches = 0
        self._search = asyncio.Semaphore(1)

    async def ListLogEntries(self, request: pb.ListLogEntriesRequest, context: Context) -> pb.ListLogEntriesResponse:
        """One page of a project's messages."""
        wanted, page = asked(request, current_principal())
        if request.message_type in LATER_TYPES:
            return answer(page, Found(ids=(), total=0), ())
        async with self._turn(waits=not wanted.is_plain), self._store.transaction() as connection:
            found = await log_book.find(connection, wanted, page)
            rows = await log_book.entries(connection, wanted.project_id, found.ids[: page.limit])
        return answer(page, found, rows)

    async def GetLogEntry(self, request: pb.GetLogEntryRequest, context: Context) -> pb.LogEntryDetails:
        """One message with its attempts and events."""
        message_id = _id_of(request.id)
        async with self._store.connection() as connection:
            project = await log_book.project_of(connection, message_id, current_principal().project_filter())
            rows = [] if project is None else await log_book.entries(connection, project, [message_id])
        if not rows:
            raise MessageNotFound(str(message_id))
        attempts = await self._store.attempts(message_id)
        return pb.LogEntryDetails(
            **_members(rows[0]),
            reason=rows[0]["reason"],
            completed_at=timestamp(rows[0]["completed_at"]),
            attempts=[attempt_to_proto(attempt) for attempt in attempts],
            events=await self._events(message_id),
        )

    async def GetAnalytics(self, request: pb.GetAnalyticsRequest, context: Context) -> pb.Analytics:
        """The sums of a project over some time."""
        wanted = analytics.wanted(request, current_principal(), self._now())
        if wanted.nothing:
            return analytics.answer(wanted, (), None)
        async with self._turn(waits=True):
            async with self._store.connection() as connection:
                rows = await rollup_book.read(
                    connection,
                    wanted.project_id,
                    wanted.interval,
                    (wanted.since, wanted.until),
                    channel=wanted.channel,
                    provider=wanted.provider,
                )
                counted_at = await rollup_book.counted_to(connection, wanted.project_id)
            if len(rows) > rollup_book.MOST_ROWS:
                raise InvalidArgument(violations=[analytics.TOO_MUCH])
            # Thousands of rows take a while, and nobody's lease waits for them. In its turn: one thread at a time, of
            # those in which names of hosts are looked up.
            return await asyncio.to_thread(analytics.answer, wanted, rows, counted_at)

    @asynccontextmanager
    async def _turn(self, *, waits: bool) -> AsyncIterator[None]:
        if not waits:
            yield
            return
        if self._searches >= MOST_SEARCHES:
            raise overloaded("Too many searches are under way; nothing was done.")
        self._searches += 1
        try:
            async with self._search:
                yield
        finally:
            self._searches -= 1

    async def _events(self, message_id: UUID) -> list[DeliveryEvent]:
        told: list[DeliveryEvent] = []
        while True:
            last = told[-1].sequence if told else 0
            events = await self._store.events_after(message_id, last, EVENTS_AT_ONCE)
            told.extend(map(tell.shown, events))
            if len(events) < EVENTS_AT_ONCE:
                return told


def answer(page: Page, found: Found, rows: Any) -> pb.ListLogEntriesResponse:
    """The page as it is documented."""
    place = place_of(page, found)
    meta = pb.LogPage(
        total=place.total,
        page=page.number,
        limit=page.limit,
        total_pages=place.pages,
        has_next_page=place.has_next,
        has_previous_page=place.has_previous,
        total_is_estimate=True if place.is_estimate else None,
        searched_back_to=timestamp(found.searched_back_to),
    )
    return pb.ListLogEntriesResponse(data=[pb.LogEntry(**_members(row)) for row in rows], meta=meta)


def _members(row: Mapping[str, Any]) -> dict[str, Any]:
    labels = message_pb2.MessageSpec.FromString(row["labels"])
    return {
        "id": str(row["id"]),
        "message_type": TYPES[CHANNELS[row["channel"]]],
        "recipient": row["recipient"],
        "status": status_of(row["state"], row["reason"]),
        "kind": row["kind"],
        "template_id": labels.template_id or None,
        "project_id": row["project_id"],
        "created_at": timestamp(row["created_at"]),
    }


def _id_of(said: str) -> UUID:
    try:
        return UUID(said)
    except ValueError:
        raise MessageNotFound(said[:100]) from None
