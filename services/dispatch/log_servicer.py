"""LogService as gRPC sees it: each method reads its request, asks the log, answers in the documented words."""

# ruff: noqa: N802 - the contract names the methods

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import log_service_pb2 as pb
from messagepipe.dispatch.v1 import log_service_pb2_grpc, message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.chassis.auth import Principal, current_principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.dispatch import history as tell
from services.dispatch import log_book
from services.dispatch.convert import CHANNELS, attempt_to_proto, timestamp
from services.dispatch.delivery_log import (
    DEFAULT_LIMIT,
    MOST_LIMIT,
    MOST_PAGE,
    Filter,
    Found,
    Page,
    Status,
    place_of,
    status_of,
)
from services.dispatch.errors import MessageNotFound
from services.dispatch.intake import project_of
from services.dispatch.store import Store

TYPES = {Channel.EMAIL: "email", Channel.SMS: "sms"}
# Documented words for channels that no message has yet.
LATER_TYPES = ("app", "push")
# Of the events of one message, read at once.
EVENTS_AT_ONCE = 500
MOST_TEXT = 320
Context = grpc.aio.ServicerContext[Any, Any]


class LogServicer(log_service_pb2_grpc.LogServiceServicer):
    """The delivery log, of the caller's projects and no other."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListLogEntries(self, request: pb.ListLogEntriesRequest, context: Context) -> pb.ListLogEntriesResponse:
        """One page of a project's messages."""
        wanted, page = asked(request, current_principal())
        if request.message_type in LATER_TYPES:
            return answer(page, Found(ids=(), total=0), ())
        async with self._store.transaction() as connection:
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

    async def _events(self, message_id: UUID) -> list[DeliveryEvent]:
        told: list[DeliveryEvent] = []
        while True:
            last = told[-1].sequence if told else 0
            events = await self._store.events_after(message_id, last, EVENTS_AT_ONCE)
            told.extend(map(tell.shown, events))
            if len(events) < EVENTS_AT_ONCE:
                return told


def asked(request: pb.ListLogEntriesRequest, caller: Principal) -> tuple[Filter, Page]:
    """What a request asks for; InvalidArgument with everything that is wrong, ProjectNotFound for somebody else's."""
    project = project_of(request.project_id, caller, "projectId")
    violations = [project] if isinstance(project, FieldViolation) else []
    channels = {word: channel for channel, word in TYPES.items()}
    if request.message_type and request.message_type not in (*channels, *LATER_TYPES):
        violations.append(FieldViolation("messageType", f"must be one of {', '.join((*channels, *LATER_TYPES))}"))
    if request.status and request.status not in list(Status):
        violations.append(FieldViolation("status", f"must be one of {', '.join(Status)}"))
    page = _page(request, violations)
    for path, said in (("provider", request.provider), ("recipient", request.recipient)):
        if len(said) > MOST_TEXT or not said.isprintable():
            violations.append(FieldViolation(path, f"must be at most {MOST_TEXT} printable characters"))
    after = _moment(request, "created_after", "createdAfter", violations)
    before = _moment(request, "created_before", "createdBefore", violations)
    if violations or isinstance(project, FieldViolation):
        raise InvalidArgument(violations=violations)
    wanted = Filter(
        project_id=project,
        channel=channels.get(request.message_type),
        status=Status(request.status) if request.status else None,
        provider=request.provider,
        recipient=request.recipient,
        after=after,
        before=before,
    )
    return wanted, page


def _page(request: pb.ListLogEntriesRequest, violations: list[FieldViolation]) -> Page:
    number = request.page if request.HasField("page") else 1
    limit = request.limit if request.HasField("limit") else DEFAULT_LIMIT
    if not 1 <= number <= MOST_PAGE:
        violations.append(FieldViolation("page", f"must be 1 to {MOST_PAGE}"))
    if not 1 <= limit <= MOST_LIMIT:
        violations.append(FieldViolation("limit", f"must be 1 to {MOST_LIMIT}"))
    return Page(number=number, limit=limit)


def _moment(
    request: pb.ListLogEntriesRequest, name: str, path: str, violations: list[FieldViolation]
) -> datetime | None:
    if not request.HasField(name):  # type: ignore[arg-type]  # the stubs know each name apart
        return None
    value: Timestamp = getattr(request, name)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        violations.append(FieldViolation(path, "is out of range"))
        return None


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
