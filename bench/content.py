"""What is sent in every measurement: one small email and one small text, and the request that SendGrid gets for it."""

import json

from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2
from messagepipe.type.v1 import channel_pb2

TEXT = "Your parcel is on its way and arrives tomorrow between nine and eleven. " * 3
SENDER = "shop@example.com"


def spec(project: str, channel: str = "EMAIL") -> message_pb2.MessageSpec:
    """One message of a project."""
    made = message_pb2.MessageSpec(project_id=project, text=TEXT)
    if channel == "SMS":
        made.channel, made.to = channel_pb2.CHANNEL_SMS, "+14155550100"
    else:
        made.channel, made.to, made.subject, made.sender = (
            channel_pb2.CHANNEL_EMAIL,
            "ada@example.com",
            "Your parcel",
            SENDER,
        )
    return made


def unary_request(project: str, channel: str = "EMAIL") -> bytes:
    """A CreateMessageRequest, and a DispatchMessageRequest too: both hold the message as field 1."""
    return dispatch_service_pb2.CreateMessageRequest(message=spec(project, channel)).SerializeToString()


def batch_request(project: str, size: int) -> bytes:
    """A BatchCreateMessagesRequest."""
    return dispatch_service_pb2.BatchCreateMessagesRequest(messages=[spec(project)] * size).SerializeToString()


def rest_body(project: str) -> bytes:
    """The body of POST /v1/messages."""
    message = spec(project)
    return json.dumps(
        {
            "projectId": project,
            "channel": "EMAIL",
            "to": message.to,
            "from": message.sender,
            "subject": message.subject,
            "text": message.text,
        }
    ).encode()


def provider_request() -> bytes:
    """As long as what the sendgrid adapter makes of this message."""
    arguments = {"messagepipe_id": "0" * 36, "messagepipe_attempt": "1"}
    to = {"to": [{"email": "ada@example.com"}], "custom_args": arguments}
    content = [{"type": "text/plain", "value": TEXT}]
    mail = {"personalizations": [to], "from": {"email": SENDER}, "subject": "Your parcel", "content": content}
    return json.dumps(mail, separators=(",", ":")).encode()
