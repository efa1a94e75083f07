"""Calls with readable defaults for the adapters' tests: override what matters."""

from typing import Any

from services.adapters.base import Address, Call, EmailContent, SmsContent

SENDER = Address(email="shop@example.com", name="Shop")
TO = Address(email="ada@example.net", name="Ada")
NUMBER = "+2348012345678"


def a_call(content: EmailContent | SmsContent, config: dict[str, Any], **more: Any) -> Call:
    """A call with these contents and settings."""
    values: dict[str, Any] = {
        "message_id": "0199a5f0-0000-7000-8000-000000000001",
        "attempt": 1,
        "provider_id": "prov-1",
        "config_version": 1,
        "timeout": 10.0,
        "time_left": 3600.0,
    }
    return Call(content=content, config=config, **{**values, **more})


def an_email(config: dict[str, Any], **content: Any) -> Call:
    """A call with a short email."""
    values: dict[str, Any] = {"sender": SENDER, "to": TO, "subject": "Your receipt", "text": "Thank you."}
    return a_call(EmailContent(**{**values, **content}), config)


def a_text(config: dict[str, Any], **content: Any) -> Call:
    """A call with a short SMS to Nigeria."""
    return a_call(SmsContent(**{"to": NUMBER, "text": "Your code is 1234", **content}), config)
