"""Whom an email is from: the message's own or project's sender, else the provider's settings. Not the envelope's
bounce address.
"""

from collections.abc import Mapping
from typing import Any

from services.adapters.base import Address, Call, EmailContent
from services.adapters.outcome import Reason, unfit

# Settings of ours that every email kind shares.
SENDER_SETTINGS: Mapping[str, Any] = {
    "fromEmail": {
        "type": "string",
        "format": "email",
        "maxLength": 320,
        "title": "Sender address",
        "description": "Used when neither the message nor the project names a sender.",
        "examples": ["noreply@yourcompany.com"],
    },
    "fromName": {
        "type": "string",
        "maxLength": 200,
        "title": "Sender name",
        "description": "Shown beside the sender address above.",
        "examples": ["Your Company"],
    },
}

SENDER_MISSING = unfit(
    Reason.SENDER_MISSING,
    "from",
    "The message has no sender: set it on the message, the project (/email-config), or `fromEmail` of this provider.",
)


def sender_of(call: Call) -> Address | None:
    """The sender of this call's email: the message's, else the project's, else the settings'.

    None when nobody names one: answer SENDER_MISSING then.
    """
    content = call.content
    if isinstance(content, EmailContent) and content.sender is not None:
        return content.sender
    if isinstance(call.project_sender, Address):
        return call.project_sender
    address = str(call.config.get("fromEmail") or "")
    return Address(email=address, name=str(call.config.get("fromName") or "")) if address else None
