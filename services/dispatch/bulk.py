"""One request for many recipients: each gets a message and an answer of its own (R12). Not how a message is accepted or
sent.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar
from uuid import UUID

from google.protobuf.struct_pb2 import Struct
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.chassis.auth import Principal
from services.chassis.clock import Clock
from services.chassis.errors import FieldViolation, InvalidArgument, ServiceError
from services.chassis.idempotency import key_problem
from services.dispatch import answers
from services.dispatch.acceptor import Checked
from services.dispatch.ending_book import endings
from services.dispatch.errors import StillSending
from services.dispatch.forms import Form
from services.dispatch.idempotency import key_for_recipient
from services.dispatch.intake import Intake
from services.dispatch.store import Store
from services.dispatch.watch import EventHub

MAX_RECIPIENTS = 10_000
# One request must not become gigabytes of copies, in memory and in the database.
MAX_BULK_BYTES = 256 * 1024 * 1024
SHOWN = 20  # of a kind of mistake that may have been made ten thousand times
# Checked and accepted at a time: nobody else's call waits for more than these.
CHUNK = 100
# Of what a template made: in memory at a time, three times over.
CHUNK_BYTES = 8 * 1024 * 1024
_MADE_TOO_MUCH = FieldViolation(
    "message.templateId", f"has made {MAX_BULK_BYTES} bytes of the recipients before this one: send the rest apart"
)
# Else the call would be cut off, and its caller would not even learn what was accepted.
_TOO_LATE = FieldViolation("message.to", "The call's time was over before this recipient's message was accepted")
# Asked about at a time whether they have ended, and how often: the longer it takes already, the less often.
ASKED = 1000
SHORTEST_PAUSE, LONGEST_PAUSE, LONGER = 0.02, 0.5, 1.5

Result = pb.SendBulkMessagesResponse.Result
T = TypeVar("T")


@dataclass(slots=True)
class _Progress:
    """What is known by recipient: what became of it, or the message that is on its way, and whether that is a repeat.
    `made` are the bytes of the messages that a template made. No content is kept: there may be gigabytes of it.
    """

    results: dict[str, Result] = field(default_factory=dict)
    under_way: dict[UUID, tuple[str, bool]] = field(default_factory=dict)
    together: str = ""
    made: int = 0
    until: float | None = None  # the end of the caller's time, in seconds since boot


@dataclass(frozen=True, slots=True)
class Bulk:
    """Sends to many, and answers for each of them."""

    store: Store
    intake: Intake
    hub: EventHub
    clock: Clock

    async def send(
        self, request: pb.SendBulkMessagesRequest, principal: Principal, seconds: float | None
    ) -> list[Result]:
        """What became of each recipient's message within so many seconds, in the order of the request. Raises
        InvalidArgument for what is wrong with all of them, before anything is accepted; IdempotencyKeyReused.
        """
        check_recipients(request)
        until = None if seconds is None else self.clock.boottime() + max(seconds - answers.MARGIN, 0.0)
        progress = _Progress(until=until)
        form = await self.intake.form_of(request.message, principal)
        for recipients in _chunks(dict.fromkeys(request.recipients), CHUNK):
            await self._accept(request, recipients, principal, form, progress)
            await asyncio.sleep(0)  # whoever else waits for the event loop, leases to be renewed among them
        async for ended in self._endings(progress.under_way, until):
            for message_id, events in ended.items():
                recipient, replayed = progress.under_way.pop(message_id)
                progress.results[recipient] = answers.bulk_result(recipient, message_id, events, replayed=replayed)
        for message_id, (recipient, replayed) in progress.under_way.items():
            progress.results[recipient] = answers.unsent(recipient, StillSending(message_id), replayed=replayed)
        return [progress.results[recipient] for recipient in request.recipients]

    async def _accept(
        self,
        request: pb.SendBulkMessagesRequest,
        recipients: Sequence[str],
        principal: Principal,
        form: Form | None,
        progress: _Progress,
    ) -> None:
        good: dict[str, Checked] = {}
        size = 0
        for recipient in recipients:
            if progress.until is not None and self.clock.boottime() >= progress.until:
                progress.results[recipient] = answers.refused(recipient, [_TOO_LATE])
                continue
            own = _own_variables(request, recipient)
            if form is not None:
                await asyncio.sleep(0)  # a template may take its time, and nobody's lease waits for a hundred of them
                if progress.made > MAX_BULK_BYTES:
                    progress.results[recipient] = answers.refused(recipient, [_MADE_TOO_MUCH])
                    continue
            found = await self.intake.check(_spec_for(recipient, request.message), principal, form=form, own=own)
            if isinstance(found, Checked):
                good[recipient] = found
                size += found.spec.ByteSize() if form is not None else 0
                if size > CHUNK_BYTES:
                    await self._take(request, good, progress)
                    progress.made += size
                    good, size = {}, 0
            else:
                # Without values of each recipient's own, what is wrong with the content is wrong for all of them.
                if not request.recipient_variables and not progress.together:
                    _raise_unless_about("message.to", found)
                progress.results[recipient] = answers.refused(recipient, found)
        if good:
            await self._take(request, good, progress)
            progress.made += size

    async def _take(
        self, request: pb.SendBulkMessagesRequest, good: Mapping[str, Checked], progress: _Progress
    ) -> None:
        if not progress.together:
            first = next(iter(good.values())).message
            await self.intake.bind(request, first.project_id)
            progress.together = str(first.id)
        # What differs from recipient to recipient goes to nobody as one call.
        together = "" if len(request.recipients) == 1 or request.recipient_variables else progress.together
        answered = await self.intake.accept_each(list(good.values()), together)
        for recipient, answer in zip(good, answered, strict=True):
            if isinstance(answer, ServiceError):
                progress.results[recipient] = answers.unsent(recipient, answer)
            elif answer.message.send_at is not None:
                progress.results[recipient] = answers.put_off(recipient, answer.message, replayed=answer.replayed)
            else:
                progress.under_way[answer.message.id] = (recipient, answer.replayed)

    async def _endings(
        self, under_way: Mapping[UUID, object], until: float | None
    ) -> AsyncIterator[Mapping[UUID, Sequence[DeliveryEvent]]]:
        """How dispatches ended, as they end; up to `until`, or to the end of this process's work."""
        pause = SHORTEST_PAUSE
        while under_way:
            closed = self.hub.closed
            for asked in _chunks(list(under_way), ASKED):
                async with self.store.connection() as connection:
                    ended = await endings(connection, asked)
                yield ended
            left = pause if until is None else until - self.clock.boottime()
            if closed or left <= 0:
                return
            if under_way:
                await self.clock.sleep(min(pause, left))
                pause = min(pause * LONGER, LONGEST_PAUSE)


def check_recipients(request: pb.SendBulkMessagesRequest) -> None:
    """Raises InvalidArgument with all that is wrong with the request apart from its content."""
    count, size = len(request.recipients), request.message.ByteSize()
    violations = []
    if not 1 <= count <= MAX_RECIPIENTS:
        violations.append(FieldViolation("recipients", f"must have 1 to {MAX_RECIPIENTS:,} entries"))
    elif count * size > MAX_BULK_BYTES:
        most = f"must have at most {MAX_BULK_BYTES // size} entries for a content of this size"
        violations.append(FieldViolation("recipients", f"{most}: each gets a message of its own"))
    key = request.message.idempotency_key
    if key and (problem := key_problem(key)):
        violations.append(FieldViolation("message.idempotencyKey", problem))
    if request.recipient_variables and not request.message.template_id:
        violations.append(FieldViolation("recipientVariables", "are a template's: name one in templateId"))
    strangers = sorted(set(request.recipient_variables) - set(request.recipients))
    violations += [
        FieldViolation(f"recipientVariables.{name[:100]}", "is none of the recipients") for name in strangers[:SHOWN]
    ]
    if request.message.to:
        violations.append(FieldViolation("message.to", "must be empty: the recipients are in recipients"))
    if violations:
        raise InvalidArgument(violations=violations)


def _own_variables(request: pb.SendBulkMessagesRequest, recipient: str) -> Struct | None:
    # Not by [ ]: looking one up that is not there would make it.
    return request.recipient_variables.get(recipient)


def _spec_for(recipient: str, content: message_pb2.MessageSpec) -> message_pb2.MessageSpec:
    spec = message_pb2.MessageSpec()
    spec.CopyFrom(content)
    spec.to = recipient
    if content.idempotency_key:
        spec.idempotency_key = key_for_recipient(content.idempotency_key, recipient)
    return spec


def _raise_unless_about(path: str, violations: Sequence[FieldViolation]) -> None:
    """The whole request is wrong, except for this one field."""
    common = [violation for violation in violations if violation.field != path]
    if common:
        raise InvalidArgument(violations=common)


def _chunks(items: Sequence[T] | Mapping[T, object], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk
