"""A stored event as a webhook tells it: its type and its JSON. Pure; never a message's content: events have none."""

import json
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Proto
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptStatus
from services.dispatch import history as tell
from services.dispatch.convert import RECEIPT_CODES
from services.dispatch.records import StoredEvent
from services.dispatch.webhook import TYPES

_STATUS = {code: status for status, code in RECEIPT_CODES.items()}
_OF_RECEIPT = {
    ReceiptStatus.DELIVERED: "message.delivered",
    ReceiptStatus.BOUNCED_HARD: "message.undelivered",
    ReceiptStatus.BOUNCED_SOFT: "message.undelivered",
    ReceiptStatus.FAILED: "message.undelivered",
    ReceiptStatus.SUPPRESSED: "message.undelivered",
    ReceiptStatus.OPENED: "message.opened",
    ReceiptStatus.CLICKED: "message.clicked",
    ReceiptStatus.COMPLAINED: "message.complained",
    ReceiptStatus.UNSUBSCRIBED: "message.unsubscribed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The message that an event is about, as far as its project may be told: all but the content."""

    channel: Channel
    recipient: str
    labels: bytes


def type_of(payload: bytes) -> str:
    """The type that a stored event is posted as; "" for one that is not posted, such as one that a newer version of us
    wrote and this one has no word for.
    """
    try:
        told = DeliveryEvent.FromString(payload)
    except DecodeError:
        return ""
    match told.WhichOneof("event"):
        case "completed" | "ended_again" as end:
            kind = f"message.{_word(message_pb2.Message.State.DESCRIPTOR, getattr(told, end).state).lower()}"
        case "receipt":
            kind = _OF_RECEIPT.get(_STATUS.get(told.receipt.status, ReceiptStatus.SENT), "message.receipt")
        case "provider_degraded" | "provider_recovered" as change:
            kind = change.replace("_", ".")
        case "failover_engaged":
            kind = "provider.failover_engaged"
        case other:
            kind = f"message.{other}"
    return kind if kind in TYPES else ""


def body_of(event: StoredEvent, project_id: str, subject: Subject | None) -> str:
    """The body that is posted: the same text each time, so that copies are alike."""
    told = tell.shown(event)
    which = told.WhichOneof("event")
    data: dict[str, Any] = {"projectId": project_id, "sequence": event.sequence}
    if told.message_id:
        data["messageId"] = told.message_id
    if subject is not None:
        labels = message_pb2.MessageSpec.FromString(subject.labels)
        data |= {"channel": subject.channel.value, "recipient": subject.recipient}
        data |= {"tags": list(labels.tags), "metadata": dict(sorted(labels.metadata.items()))}
    if which is not None:
        data |= _json(getattr(told, which))
    return dumped(type_of(event.payload), told.time.ToJsonString(), data)


def dumped(kind: str, timestamp: str, data: dict[str, Any]) -> str:
    """The three members that every payload has (Standard Webhooks)."""
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, ensure_ascii=False, separators=(",", ":"))


def _json(message: Proto) -> dict[str, Any]:
    """What a message says, under its JSON names, enum words bare as everywhere in our JSON."""
    return {field.json_name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_one(field, each) for each in value]
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        well_known = field.message_type.file.package == "google.protobuf"
        return value.ToJsonString() if well_known else _json(value)
    if field.enum_type is not None:
        return _word(field.enum_type, value)
    return value


def _word(enum: EnumDescriptor, number: int) -> str:
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix))
