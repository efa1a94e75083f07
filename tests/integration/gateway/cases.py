"""What a route does, as a value, and the messages and JSON that several routes speak of. No test."""

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message as Proto
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.config.v1 import provider_pb2, provider_schema_pb2
from messagepipe.dispatch.v1 import delivery_event_pb2, message_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_EMAIL, Channel

TIME = Timestamp(seconds=1704103200)
TIME_JSON = "2024-01-01T10:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One route: the URL and body sent, the request that must arrive, the answer given, the JSON that must come
    back.
    """

    url: str
    rpc: str
    request: Proto
    answer: Any
    json: Any = None
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def a_provider(channel: "Channel.ValueType" = CHANNEL_EMAIL) -> provider_pb2.Provider:
    """A provider as a service answers it."""
    made = provider_pb2.Provider(
        id="p-1", project_id="demo", channel=channel, kind="sendgrid", name="Primary", version=1, created_at=TIME
    )
    made.enabled, made.priority = False, 0
    made.config.update({"port": 587})
    return made


def provider_json(channel: str = "EMAIL") -> dict[str, Any]:
    """The same provider as a REST client sees it."""
    return {
        "id": "p-1",
        "projectId": "demo",
        "channel": channel,
        "provider": "sendgrid",
        "name": "Primary",
        "enabled": False,
        "priority": 0,
        "config": {"port": 587},
        "version": "1",
        "createdAt": TIME_JSON,
    }


SENDER = provider_pb2.ChannelConfig(
    project_id="demo", channel=CHANNEL_EMAIL, enabled=True, sender_email="noreply@yourcompany.com", created_at=TIME
)
SENDER_JSON = {
    "projectId": "demo",
    "channel": "EMAIL",
    "enabled": True,
    "senderEmail": "noreply@yourcompany.com",
    "senderName": "",
    "senderId": "",
    "createdAt": TIME_JSON,
}
SCHEMA = provider_schema_pb2.ProviderSchema(kind="ses", channel=CHANNEL_EMAIL, title="Amazon SES")
SCHEMA_JSON = {
    "provider": "ses",
    "channel": "EMAIL",
    "title": "Amazon SES",
    "description": "",
    "documentationUrl": "",
    "limits": {},
}
MESSAGE = message_pb2.Message(id="m-1", project_id="demo", state=message_pb2.Message.STATE_QUEUED, created_at=TIME)
MESSAGE_JSON = {
    "id": "m-1",
    "projectId": "demo",
    "channel": "UNSPECIFIED",
    "recipient": "",
    "state": "QUEUED",
    "reason": "",
    "provider": "",
    "providerId": "",
    "possibleDuplicate": False,
    "attempts": [],
    "tags": [],
    "metadata": {},
    "createdAt": TIME_JSON,
    "chainVersion": "0",
    "duplicates": 0,
    "generation": 0,
    "retrying": False,
    "templateId": "",
    "templateVersion": 0,
}
CONTENT = {"to": "ada@example.com", "subject": "Hi", "text": "It works.", "projectId": "demo"}


def a_spec(channel: "Channel.ValueType", **members: Any) -> message_pb2.MessageSpec:
    """What CONTENT asks for."""
    said: dict[str, Any] = {"to": "ada@example.com", "subject": "Hi", "text": "It works.", "project_id": "demo"}
    return message_pb2.MessageSpec(channel=channel, **(said | members))


EVENT = delivery_event_pb2.DeliveryEvent(
    message_id="m-1", sequence=1, time=TIME, queued=delivery_event_pb2.DeliveryEvent.Queued(deadline=TIME)
)
EVENT_JSON = {"messageId": "m-1", "sequence": "1", "time": TIME_JSON, "queued": {"deadline": TIME_JSON}}
AS_JSON = {"accept": "application/json"}
