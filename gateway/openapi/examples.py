"""One request and one answer for each documented route, shown in /openapi.json and /docs. The tests send every one of
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.openapi.template_examples import TEMPLATE_EXAMPLES

_ID = "6f1d1a52-6d0c-4c6e-9b0e-3a3c9f6f2b11"
_MESSAGE = "0191f7a4-7c1e-7b52-8a41-5d0f6f0a3c2e"
_TIME = "2024-01-01T10:00:00Z"
EMAIL, SMS = "email", "sms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`request` is the JSON body, `response` the answer; None where there is none."""

    request: Any = None
    response: Any = None


_SETTINGS: Mapping[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    EMAIL: ("sendgrid", "Primary SendGrid", {"apiKey": "SG.your-key"}, {}),
    SMS: (
        "twilio",
        "Primary Twilio",
        {"accountSid": "ACyour-sid", "authToken": "your-token", "fromNumber": "+14155550100"},
        {"accountSid": "ACyour-sid", "fromNumber": "+14155550100"},
    ),
}
_SENDERS: Mapping[str, dict[str, Any]] = {
    EMAIL: {"senderEmail": "noreply@yourcompany.com", "senderName": "Your Company Name", "enabled": True},
    SMS: {"senderId": "YourCompany", "enabled": True},
}


def _provider(channel: str, **changes: Any) -> dict[str, Any]:
    kind, name, _, public = _SETTINGS[channel]
    return {
        "id": _ID,
        "projectId": "demo",
        "channel": channel.upper(),
        "provider": kind,
        "name": name,
        "enabled": True,
        "priority": 1,
        "config": public,
        "version": "1",
        "createdAt": _TIME,
        "updatedAt": _TIME,
    } | changes


def _sender(channel: str) -> dict[str, Any]:
    empty = {"senderEmail": "", "senderName": "", "senderId": ""}
    times = {"createdAt": _TIME, "updatedAt": _TIME}
    return {"projectId": "demo", "channel": channel.upper(), **empty, **_SENDERS[channel], **times}


def _schema(channel: str) -> dict[str, Any]:
    email = channel == EMAIL
    return {
        "provider": _SETTINGS[channel][0],
        "channel": channel.upper(),
        "title": "SendGrid" if email else "Twilio",
        "description": "Email through the SendGrid v3 API." if email else "SMS through the Twilio API.",
        "documentationUrl": "",
        "configSchema": {"type": "object", "required": list(_SETTINGS[channel][2])},
        "optionsSchema": {"type": "object", "properties": {}},
        "limits": {"to, cc, bcc": "together at most 1000"} if email else {"text": "at most 1600 characters"},
    }


def _configuration(channel: str) -> dict[str, Example]:
    kind, name, config, _ = _SETTINGS[channel]
    base = f"/{channel}-config"
    create = {"provider": kind, "name": name, "enabled": True, "priority": 1, "config": config}
    change = {"enabled": False, "priority": 2}
    return {
        f"GET {base}/provider-schemas": Example(response=[_schema(channel)]),
        f"GET {base}/provider-schemas/{{kind}}": Example(response=_schema(channel)),
        f"GET {base}/providers": Example(response=[_provider(channel)]),
        f"POST {base}/providers": Example(request=create, response=_provider(channel)),
        f"GET {base}/providers/{{id}}": Example(response=_provider(channel)),
        f"PUT {base}/providers/{{provider.id}}": Example(request=change, response=_provider(channel, **change)),
        f"GET {base}": Example(response=_sender(channel)),
        f"POST {base}": Example(request=_SENDERS[channel], response=_sender(channel)),
        f"PUT {base}": Example(request=_SENDERS[channel], response=_sender(channel)),
    }


_SENT = {
    "messageId": _MESSAGE,
    "state": "SENT",
    "providerId": _ID,
    "possibleDuplicate": False,
    "attempts": [],
    "replayed": False,
}
_SUBJECT = {"subject": "Hello"}


def _sending(path: str, channel: str, to: str, word: str) -> dict[str, Example]:
    content = {"projectId": "demo", "text": "It works."} | (_SUBJECT if channel == EMAIL else {})
    kind = _SETTINGS[channel][0]
    result = {
        "recipient": to,
        "success": True,
        "messageId": _MESSAGE,
        "provider": kind,
        "deliveryLogId": _MESSAGE,
        "error": "",
        "state": "SENT",
        "replayed": False,
    }
    return {
        f"POST /{path}/send": Example(
            request={"to": to, **content}, response={"message": f"{word} sent successfully", "provider": kind, **_SENT}
        ),
        f"POST /{path}/send-bulk": Example(
            request={"recipients": [to], **content},
            response={"message": f"Bulk {channel} processed: 1 sent, 0 failed", "success": True, "results": [result]},
        ),
    }


_PROJECT = {"id": "demo", "name": "Demo", "createdAt": _TIME}
_KEY = {"id": _ID, "projectId": "demo", "name": "Web shop", "prefix": "mzl_8GkPq2Zs", "isActive": True}
_MADE_KEY = {
    "message": "API key created successfully. Keep it safe: it is not shown again.",
    "key": "mzl_8GkPq2Zs" + "x" * 32,
    **_KEY,
    "createdAt": _TIME,
}
_LISTED_KEY = {**_KEY, "createdAt": _TIME, "lastUsedAt": _TIME}
_OF_PROJECT = "/projects/{project_id}/api-keys"
_PROJECTS: Mapping[str, Example] = {
    "POST /projects": Example(request={"name": "Demo"}, response=_PROJECT),
    "GET /projects": Example(response=[_PROJECT]),
    "GET /projects/{id}": Example(response=_PROJECT),
    f"POST {_OF_PROJECT}": Example(request={"name": "Web shop"}, response=_MADE_KEY),
    f"GET {_OF_PROJECT}": Example(response=[_LISTED_KEY]),
    f"PUT {_OF_PROJECT}/{{id}}": Example(
        request={"name": "Old shop", "isActive": False}, response={**_LISTED_KEY, "name": "Old shop", "isActive": False}
    ),
}


def _retrying(channel: str, noun: str, nouns: str) -> dict[str, Example]:
    result = {"deliveryLogId": _MESSAGE, "success": True, "error": ""}
    return {
        f"POST /{channel}/retry": Example(
            request={"deliveryLogId": _MESSAGE}, response={"message": f"{noun} added to retry queue successfully"}
        ),
        f"POST /{channel}/retry-multiple": Example(
            request={"deliveryLogIds": [_MESSAGE]},
            response={"message": f"{nouns} processed for retry", "results": [result]},
        ),
    }


EXAMPLES: Mapping[str, Example] = {
    **_PROJECTS,
    **{name: Example(request=said, response=told) for name, (said, told) in TEMPLATE_EXAMPLES.items()},
    **_configuration(EMAIL),
    **_configuration(SMS),
    **_sending("email", EMAIL, "ada@example.com", "Email"),
    **_sending("sms", SMS, "+14155550100", "SMS"),
    **_sending("message", SMS, "+14155550100", "SMS"),
    **_retrying(EMAIL, "Email", "Emails"),
    **_retrying(SMS, "SMS", "SMS"),
    "POST /v1/messages": Example(
        request={
            "projectId": "demo",
            "channel": "EMAIL",
            "to": "ada@example.com",
            "subject": "Hello",
            "text": "It works.",
        }
    ),
    "POST /v1/providers:reorder": Example(request={"projectId": "demo", "channel": "EMAIL", "providerIds": [_ID]}),
}
