"""The events of a message as payloads for the ledger: what is told when something happens. Not how they are streamed
(watch.py).
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.outcome import Outcome
from services.adapters.receipts import Receipt
from services.dispatch.attempt import Attempt
from services.dispatch.convert import (
    OUTCOME_CODES,
    RECEIPT_CODES,
    attempt_to_proto,
    duration,
    state_to_proto,
    timestamp,
)
from services.dispatch.failover import Finish, Skip, Wait, possible_duplicate
from services.dispatch.ledger import Event
from services.dispatch.message import State
from services.dispatch.provider_events import ABOUT_A_PROVIDER
from services.dispatch.records import StoredEvent


def numbered(after: int, events: Iterable[DeliveryEvent]) -> tuple[Event, ...]:
    """These events with the sequences that follow `after`."""
    return tuple(
        Event(sequence=after + place, payload=event.SerializeToString()) for place, event in enumerate(events, start=1)
    )


def shown(event: StoredEvent) -> DeliveryEvent:
    """A stored event as clients see it: with its message if it is about one, its sequence and its time, also in the
    attempt it tells of.
    """
    told = DeliveryEvent.FromString(event.payload)
    if told.WhichOneof("event") not in ABOUT_A_PROVIDER:
        told.message_id = str(event.message_id)
    told.sequence = event.sequence
    told.time.FromDatetime(event.at)
    if told.HasField("attempt_started"):
        told.attempt_started.attempt.started_at.CopyFrom(told.time)
    elif told.HasField("attempt_finished"):
        told.attempt_finished.attempt.finished_at.CopyFrom(told.time)
    return told


def just_told(message_id: UUID, event: Event, at: datetime) -> StoredEvent:
    """An event that was written a moment ago, as if read back."""
    return StoredEvent(message_id=message_id, sequence=event.sequence, at=at, payload=event.payload)


def queued(deadline: datetime) -> DeliveryEvent:
    """The message is durable."""
    return DeliveryEvent(queued=DeliveryEvent.Queued(deadline=timestamp(deadline)))


def attempt_started(attempt: Attempt) -> DeliveryEvent:
    """The attempt is recorded."""
    return DeliveryEvent(attempt_started=DeliveryEvent.AttemptStarted(attempt=attempt_to_proto(attempt)))


def attempt_finished(attempt: Attempt) -> DeliveryEvent:
    """The attempt has its outcome."""
    return DeliveryEvent(attempt_finished=DeliveryEvent.AttemptFinished(attempt=attempt_to_proto(attempt)))


def provider_skipped(skip: Skip) -> DeliveryEvent:
    """A provider is passed by."""
    told = DeliveryEvent.ProviderSkipped(reason=skip.reason, detail=skip.detail, until=timestamp(skip.until))
    if skip.provider is not None:
        told.provider_id, told.kind, told.provider_name = skip.provider.id, skip.provider.kind, skip.provider.name
    return DeliveryEvent(provider_skipped=told)


def failover(left: Attempt, taken: Attempt) -> DeliveryEvent:
    """The dispatch moves from one provider to another."""
    told = DeliveryEvent.Failover(
        from_provider_id=left.provider_id,
        from_provider=left.kind,
        to_provider_id=taken.provider_id,
        to_provider=taken.kind,
    )
    if left.result is not None:
        told.outcome, told.reason = OUTCOME_CODES[left.result.outcome], left.result.reason
    if left.outcome is Outcome.ACCEPTED:
        told.reason = left.receipt or "" if left.refused else "RECEIPT_TIMEOUT"
    return DeliveryEvent(failover=told)


def retry_scheduled(wait: Wait) -> DeliveryEvent:
    """The next attempt waits."""
    told = DeliveryEvent.RetryScheduled(delay=duration(wait.delay), reason=wait.reason)
    if wait.provider is not None:
        told.provider_id, told.kind = wait.provider.id, wait.provider.kind
    return DeliveryEvent(retry_scheduled=told)


def receipt(attempt: Attempt, receipt: Receipt, state: State | None) -> DeliveryEvent:
    """The provider told something later; `state` is the message's after it, None while its dispatch goes on."""
    told = DeliveryEvent.Receipt(
        provider_id=attempt.provider_id,
        provider_status=receipt.provider_status,
        kind=attempt.kind,
        attempt=attempt.number,
        status=RECEIPT_CODES[receipt.status],
        provider_message_id=receipt.provider_message_id,
        detail=receipt.detail,
        occurred_at=timestamp(receipt.occurred_at),
        recipient=receipt.recipient,
        route_at_fault=receipt.route_at_fault,
    )
    if state is not None:
        told.state = state_to_proto(state)
    return DeliveryEvent(receipt=told)


def completed(finish: Finish, attempts: tuple[Attempt, ...]) -> DeliveryEvent:
    """The dispatch ended."""
    return DeliveryEvent(completed=_end(finish, attempts))


def ended_again(finish: Finish, attempts: tuple[Attempt, ...]) -> DeliveryEvent:
    """The dispatch, taken up again after its end, ended again."""
    return DeliveryEvent(ended_again=_end(finish, attempts))


def retried(generation: int, deadline: datetime) -> DeliveryEvent:
    """The message is dispatched anew."""
    return DeliveryEvent(retried=DeliveryEvent.Retried(generation=generation, deadline=timestamp(deadline)))


def _end(finish: Finish, attempts: tuple[Attempt, ...]) -> DeliveryEvent.Completed:
    told = DeliveryEvent.Completed(
        state=state_to_proto(finish.state),
        reason=finish.reason,
        detail=finish.detail,
        attempts=len(attempts),
        possible_duplicate=possible_duplicate(attempts),
    )
    if finish.attempt is not None:
        told.provider_id, told.kind = finish.attempt.provider_id, finish.attempt.kind
    return told
