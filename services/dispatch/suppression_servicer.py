"""SuppressionService as gRPC sees it: each method reads its request, asks the list, answers. No decision is here."""

# ruff: noqa: N802 - the contract names the methods

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import grpc
from google.protobuf import empty_pb2
from messagepipe.dispatch.v1 import suppression_service_pb2 as pb
from messagepipe.dispatch.v1 import suppression_service_pb2_grpc

from services.adapters.base import Channel
from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.pagination import parse_page
from services.dispatch import suppression_book as book
from services.dispatch.access import Access
from services.dispatch.content import Findings
from services.dispatch.convert import CHANNEL_CODES, CHANNELS, timestamp
from services.dispatch.errors import SuppressionNotFound
from services.dispatch.intake import project_of
from services.dispatch.suppression import Cause, Suppression, entry_of
from services.dispatch.suppression_csv import MAX_BYTES, Line, Unreadable, lines_of

Context = grpc.aio.ServicerContext[Any, Any]
Told = pb.ImportSuppressionsResponse

_CAUSES = {pb.Suppression.Reason.Value(f"REASON_{cause}"): cause for cause in Cause}
_CODES = {cause: code for code, cause in _CAUSES.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SuppressionServicer(suppression_service_pb2_grpc.SuppressionServiceServicer):
    """The list of suppressed recipients, for its project's own callers."""

    def __init__(self, store: Access) -> None:
        self._store = store

    async def ListSuppressions(
        self, request: pb.ListSuppressionsRequest, context: Context
    ) -> pb.ListSuppressionsResponse:
        """A project's list, newest first."""
        project, findings = _project(request.project_id), Findings()
        _check_words(request.channel, request.reason, "", findings)
        if len(request.recipient) > 320 or "\x00" in request.recipient:
            findings.add("recipient", "must be at most 320 characters without NUL")
        _refuse(findings)
        # Of a channel that is not said it can be either; a number has no letters that could be small.
        recipient = request.recipient.strip().lower()
        key = (str(request.channel), str(request.reason), recipient)
        page = parse_page(
            request.page_size, request.page_token, "ListSuppressions", project, *key, key_types=(int, str)
        )
        wanted = book.Wanted(
            project_id=project,
            channel=CHANNELS.get(request.channel),
            reason=_CAUSES.get(request.reason),
            recipient=recipient,
        )
        async with self._store.connection() as connection:
            found = await book.page(connection, wanted, before=_place(page.cursor), limit=page.size + 1)
        shown = found[: page.size]
        more = len(found) > page.size
        token = page.next_token((shown[-1].created_at - _EPOCH) // _MICROSECOND, str(shown[-1].id)) if more else ""
        return pb.ListSuppressionsResponse(suppressions=[_shown(each) for each in shown], next_page_token=token)

    async def CreateSuppression(self, request: pb.CreateSuppressionRequest, context: Context) -> pb.Suppression:
        """One recipient, on the list when answered."""
        asked, findings = request.suppression, Findings()
        if not request.HasField("suppression"):
            raise InvalidArgument(violations=[FieldViolation("suppression", "is required")])
        if request.project_id and asked.project_id and request.project_id != asked.project_id:
            findings.add("suppression.projectId", "must be the same as projectId where both are given")
            _refuse(findings)
        project = _project(request.project_id or asked.project_id)
        channel = _check_words(asked.channel, asked.reason, "suppression.", findings)
        if channel is None and not findings.violations:
            findings.add("suppression.channel", "is required: EMAIL or SMS")
        recipient = entry_of(channel, asked.recipient, "suppression.recipient", findings) if channel else None
        if channel is None or recipient is None:
            raise InvalidArgument(violations=findings.violations)
        _refuse(findings)
        entry = Suppression(
            project_id=project,
            channel=channel,
            recipient=recipient,
            reason=_CAUSES.get(asked.reason, Cause.MANUAL),
        )
        async with self._store.connection() as connection:
            return _shown(await book.add(connection, entry))

    async def DeleteSuppression(self, request: pb.DeleteSuppressionRequest, context: Context) -> empty_pb2.Empty:
        """One recipient, off the list when answered."""
        try:
            entry_id = UUID(request.id)
        except ValueError:
            raise SuppressionNotFound(request.id[:100]) from None
        async with self._store.connection() as connection:
            if not await book.remove(connection, entry_id, current_principal().project_filter()):
                raise SuppressionNotFound(str(entry_id))
        return empty_pb2.Empty()

    async def ImportSuppressions(self, request: pb.ImportSuppressionsRequest, context: Context) -> Told:
        """The good lines of a file, on the list when answered."""
        project, findings = _project(request.project_id), Findings()
        channel = _check_words(request.channel, 0, "", findings)
        if not request.csv.strip():
            findings.add("csv", "is required")
        if len(request.csv.encode()) > MAX_BYTES:
            findings.add("csv", f"must be at most {MAX_BYTES} bytes")
        _refuse(findings)
        try:
            # Up to a second or two for addresses that are not ASCII: beside the event loop, where messages are sent.
            lines = await asyncio.to_thread(lines_of, request.csv, project_id=project, channel=channel)
        except Unreadable as error:
            raise InvalidArgument(violations=[FieldViolation("csv", str(error))]) from None
        wanted = {(line.entry.channel, line.entry.recipient): line.entry for line in reversed(lines) if line.entry}
        async with self._store.connection() as connection:
            added = await book.add_each(connection, list(wanted.values()))
        return _imported(lines, set(added))


def _imported(lines: tuple[Line, ...], added: set[tuple[Any, str]]) -> Told:
    told = Told()
    for line in lines:
        if line.entry is None:
            told.results.add(line=line.number, status=Told.STATUS_WRONG, error=line.problem)
            told.wrong += 1
            continue
        key = (line.entry.channel, line.entry.recipient)
        new = key in added
        added.discard(key)  # a second line with it finds it there
        told.results.add(line=line.number, status=Told.STATUS_ADDED if new else Told.STATUS_ALREADY_THERE)
        told.added += new
        told.already_there += not new
    return told


def _shown(listed: book.Listed) -> pb.Suppression:
    entry = listed.suppression
    return pb.Suppression(
        id=str(listed.id),
        project_id=entry.project_id,
        channel=CHANNEL_CODES[entry.channel],
        recipient=entry.recipient,
        reason=_CODES[entry.reason],
        source_message_id=str(entry.message_id) if entry.message_id else "",
        created_at=timestamp(listed.created_at),
    )


def _check_words(channel: Any, reason: int, prefix: str, findings: Findings) -> Channel | None:
    """The channel that is meant, None for none; what is no word of the contract is reported."""
    if channel and channel not in CHANNELS:
        findings.add(f"{prefix}channel", "must be EMAIL or SMS")
    if reason and reason not in _CAUSES:
        findings.add(f"{prefix}reason", f"must be one of {' '.join(Cause)}")
    return CHANNELS.get(channel)


def _place(cursor: tuple[str | int, ...] | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(cursor[0])), UUID(str(cursor[1]))
    except (ValueError, OverflowError):
        raise InvalidArgument(violations=[FieldViolation("pageToken", "is not a token of this list")]) from None


def _project(asked: str) -> str:
    project = project_of(asked, current_principal(), "projectId")
    if isinstance(project, FieldViolation):
        raise InvalidArgument(violations=[project])
    return project


def _refuse(findings: Findings) -> None:
    if findings.violations:
        raise InvalidArgument(violations=findings.violations)
