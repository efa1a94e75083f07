"""What DispatchService answers: responses made of messages, events and routes. The documented sentences stand here."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from messagepipe.dispatch.v1 import attempt_pb2, message_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from services.chassis.errors import FieldViolation, ServiceError
from services.chassis.status import to_status
from services.dispatch.acceptor import Accepted
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain
from services.dispatch.convert import CHANNEL_CODES, attempt_to_proto, duration, state_to_proto, timestamp
from services.dispatch.errors import AllProvidersFailed, MessageEnded, MessageRejected, NoProvider
from services.dispatch.explain import Route
from services.dispatch.message import EndReason, Message
from services.dispatch.records import Overview

# How long before the caller's deadline SendMessage answers that the message is still being sent.
MARGIN = 0.2
# Of what is wrong with one recipient of ten thousand: all of it together has to fit into one answer.
MAX_TOLD, MAX_TOLD_CHARS = 20, 1000
_NOT_TRIED = frozenset(
    {
        EndReason.NO_PROVIDER,
        EndReason.CHANNEL_DISABLED,
        EndReason.PREFERRED_PROVIDER_NOT_FOUND,
        EndReason.PREFERRED_PROVIDER_DISABLED,
    }
)
_NOUN = {Channel.EMAIL: "Email", Channel.SMS: "SMS"}
# A receipt can be quicker than the answer to the caller.
_TAKEN = (message_pb2.Message.STATE_SENT, message_pb2.Message.STATE_DELIVERED)


def accepted(message: Message, spec: message_pb2.MessageSpec, *, replayed: bool = False) -> message_pb2.Message:
    """A message as it was when it was accepted, a moment ago or, `replayed`, by an earlier request."""
    return message_pb2.Message(
        id=str(message.id),
        project_id=message.project_id,
        channel=CHANNEL_CODES[message.channel],
        recipient=message.recipient,
        state=message_pb2.Message.STATE_QUEUED,
        generation=1,
        tags=spec.tags,
        metadata=spec.metadata,
        created_at=timestamp(message.created_at),
        deadline=timestamp(message.deadline),
        replayed=replayed,
        template_id=spec.template_id,
        template_version=spec.template_version,
        send_at=timestamp(message.send_at),
    )


def message(overview: Overview, attempts: Sequence[Attempt]) -> message_pb2.Message:
    """A stored message with its attempts."""
    labels = message_pb2.MessageSpec.FromString(overview.labels)
    send_at = labels.send_at if labels.HasField("send_at") else None
    return message_pb2.Message(
        id=str(overview.id),
        project_id=overview.project_id,
        channel=CHANNEL_CODES[overview.channel],
        recipient=overview.recipient,
        state=state_to_proto(overview.state),
        reason=overview.reason,
        kind=overview.kind,
        provider_id=overview.provider_id,
        possible_duplicate=overview.possible_duplicate,
        attempts=[attempt_to_proto(attempt) for attempt in attempts],
        tags=labels.tags,
        metadata=labels.metadata,
        created_at=timestamp(overview.created_at),
        deadline=timestamp(overview.deadline),
        completed_at=timestamp(overview.completed_at),
        chain_version=overview.chain_version,
        next_attempt_in=duration(overview.next_attempt_in),
        duplicates=overview.duplicates,
        generation=overview.generation,
        retrying=overview.retrying,
        template_id=labels.template_id,
        template_version=labels.template_version,
        send_at=send_at,
    )


def sent(message: Message, events: Sequence[DeliveryEvent], *, replayed: bool = False) -> pb.SendMessageResponse:
    """The answer of SendMessage; raises the error that the end of the dispatch stands for."""
    end = _end_of(events)
    attempts = attempts_of(events)
    if end.state in _TAKEN:
        sentence = f"{_NOUN[message.channel]} sent successfully"
    elif end.state == message_pb2.Message.STATE_UNKNOWN:
        sentence = f"{_NOUN[message.channel]} may have been sent: {end.detail}"
    else:
        raise failure(message, end, attempts)
    return pb.SendMessageResponse(
        message=sentence,
        message_id=str(message.id),
        state=end.state,
        kind=end.kind,
        provider_id=end.provider_id,
        possible_duplicate=end.possible_duplicate,
        attempts=attempts,
        replayed=replayed,
    )


def _end_of(events: Sequence[DeliveryEvent]) -> DeliveryEvent.Completed:
    """The last end of a dispatch; a receipt may have been told after it already."""
    ends = (event for event in reversed(events) if event.WhichOneof("event") in ("completed", "ended_again"))
    end = next(ends)
    return end.completed if end.HasField("completed") else end.ended_again


def failure(message: Message, end: DeliveryEvent.Completed, attempts: Sequence[attempt_pb2.Attempt]) -> ServiceError:
    """Why a message was not sent, as an error."""
    if end.reason in _NOT_TRIED:
        return NoProvider(message.id, end.detail)
    if end.reason in (EndReason.REJECTED, EndReason.RECIPIENT_SUPPRESSED):
        own = end.reason if end.reason == EndReason.RECIPIENT_SUPPRESSED else ""
        return MessageRejected(message.id, own or (attempts[-1].reason if attempts else ""), end.detail)
    if end.state == message_pb2.Message.STATE_FAILED and end.reason != EndReason.QUARANTINED:
        return AllProvidersFailed(message.id, len(attempts), _errors_in_order(attempts))
    return MessageEnded(message.id, message_pb2.Message.State.Name(end.state).removeprefix("STATE_"))


def _errors_in_order(attempts: Sequence[attempt_pb2.Attempt]) -> str:
    """The providers' own words, as the documented answer has them, one after the other (R8)."""
    return "; ".join(attempt.provider_text or attempt.reason for attempt in attempts) or "no provider could be tried"


def attempts_of(events: Iterable[DeliveryEvent]) -> list[attempt_pb2.Attempt]:
    """Every attempt that a history tells of, in order, finished ones with their outcome."""
    found: dict[int, attempt_pb2.Attempt] = {}
    for event in events:
        if event.HasField("attempt_started"):
            found[event.attempt_started.attempt.number] = event.attempt_started.attempt
        elif event.HasField("attempt_finished"):
            found[event.attempt_finished.attempt.number] = event.attempt_finished.attempt
    return list(found.values())


def batch(results: Sequence[Accepted | ServiceError]) -> pb.BatchCreateMessagesResponse:
    """The answer of BatchCreateMessages: the items' own, in order."""
    told = pb.BatchCreateMessagesResponse()
    for result in results:
        if isinstance(result, Accepted):
            told.results.add(message_id=str(result.message.id), replayed=result.replayed)
        else:
            told.results.add(error=to_status(result))
    told.accepted = sum(isinstance(result, Accepted) for result in results)
    told.refused = len(results) - told.accepted
    return told


def put_off_until(message: Message, *, replayed: bool = False) -> pb.SendMessageResponse:
    """The answer of SendMessage for a message that is to be sent later."""
    return pb.SendMessageResponse(
        message=f"{_NOUN[message.channel]} scheduled",
        message_id=str(message.id),
        state=message_pb2.Message.STATE_QUEUED,
        replayed=replayed,
    )


def retried(channel: Channel) -> pb.RetryDeliveryResponse:
    """The documented answer to a retry."""
    return pb.RetryDeliveryResponse(message=f"{_NOUN[channel]} added to retry queue successfully")


def retried_each(request: pb.RetryDeliveriesRequest, refused: Mapping[str, ServiceError]) -> pb.RetryDeliveriesResponse:
    """The answer to a retry of several, those that are `refused` among them."""
    noun = {channel_pb2.CHANNEL_EMAIL: "Emails", channel_pb2.CHANNEL_SMS: "SMS"}.get(request.channel, "Messages")
    told = pb.RetryDeliveriesResponse(message=f"{noun} processed for retry")
    for each in request.delivery_log_ids:
        error = refused.get(each)
        told.results.add(delivery_log_id=each, success=error is None, error=error.message if error else "")
    return told


def bulk(
    channel: channel_pb2.Channel.ValueType, results: Sequence[pb.SendBulkMessagesResponse.Result]
) -> pb.SendBulkMessagesResponse:
    """The answer of SendBulkMessages with its documented sentence."""
    success = sum(result.success for result in results)
    noun = "email" if channel == channel_pb2.CHANNEL_EMAIL else "sms"
    did = "scheduled" if any(result.state == message_pb2.Message.STATE_QUEUED for result in results) else "sent"
    sentence = f"Bulk {noun} processed: {success} {did}, {len(results) - success} failed"
    return pb.SendBulkMessagesResponse(message=sentence, success=success == len(results), results=results)


def bulk_result(
    recipient: str, message_id: UUID, events: Sequence[DeliveryEvent], *, replayed: bool = False
) -> pb.SendBulkMessagesResponse.Result:
    """What became of one recipient's message."""
    end = _end_of(events)
    success = end.state in _TAKEN
    return pb.SendBulkMessagesResponse.Result(
        recipient=recipient,
        success=success,
        message_id=str(message_id),
        kind=end.kind,
        delivery_log_id=str(message_id),
        error="" if success else end.detail or end.reason,
        state=end.state,
        replayed=replayed,
    )


def put_off(recipient: str, message: Message, *, replayed: bool = False) -> pb.SendBulkMessagesResponse.Result:
    """A recipient whose message is to be sent later."""
    return pb.SendBulkMessagesResponse.Result(
        recipient=recipient,
        success=True,
        message_id=str(message.id),
        delivery_log_id=str(message.id),
        state=message_pb2.Message.STATE_QUEUED,
        replayed=replayed,
    )


def refused(recipient: str, violations: Sequence[FieldViolation]) -> pb.SendBulkMessagesResponse.Result:
    """A recipient that no message was accepted for."""
    told = "; ".join(map(_said_of, violations[:MAX_TOLD]))
    error = told if len(told) <= MAX_TOLD_CHARS else f"{told[: MAX_TOLD_CHARS - 1]}…"
    return pb.SendBulkMessagesResponse.Result(recipient=recipient, error=error)


def _said_of(violation: FieldViolation) -> str:
    field = violation.field.removeprefix("message.")
    return violation.description if field == "to" else f"{field} {violation.description}"


def unsent(recipient: str, error: ServiceError, *, replayed: bool = False) -> pb.SendBulkMessagesResponse.Result:
    """A recipient whose message was not accepted, or is still being sent: then the error names it."""
    accepted_id = error.metadata.get("messageId", "")
    return pb.SendBulkMessagesResponse.Result(
        recipient=recipient,
        message_id=accepted_id,
        delivery_log_id=accepted_id,
        error=error.message,
        replayed=replayed,
    )


def with_any_content(spec: message_pb2.MessageSpec) -> message_pb2.MessageSpec:
    """The spec with content filled in where it has none: a route does not depend on it."""
    filled = message_pb2.MessageSpec()
    filled.CopyFrom(spec)
    filled.text = filled.text or "-"
    for part in ("template_id", "variables"):
        filled.ClearField(part)
    if filled.channel == channel_pb2.CHANNEL_EMAIL:
        filled.subject = filled.subject or "-"
        filled.to = filled.to or "somebody@example.com"
    elif filled.channel == channel_pb2.CHANNEL_SMS:
        filled.to = filled.to or "+14155550100"
    return filled


def route(found: Route, chain: Chain, concurrency: Mapping[str, int]) -> pb.ExplainRouteResponse:
    """The answer of ExplainRoute; `concurrency` are the limits of calls at a time by provider id."""
    steps = [
        pb.ExplainRouteResponse.Step(
            provider_id=step.provider.id,
            kind=step.provider.kind,
            provider_name=step.provider.name,
            eligible=not step.skip_reason,
            skip_reason=step.skip_reason,
            skip_until=timestamp(step.skip_until),
            breaker=step.breaker,
            concurrency=concurrency.get(step.provider.id),
        )
        for step in found.steps
    ]
    return pb.ExplainRouteResponse(
        steps=steps, chain_version=chain.version, state=state_to_proto(found.state), reason=found.reason
    )
