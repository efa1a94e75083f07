"""Calls and settings the SMTP contract suites share. Not a test."""

from dataclasses import replace

from services.adapters.base import Address, Call, EmailContent
from services.adapters.egress import Egress, parse_networks
from services.adapters.outcome import Outcome, Result

LOOPBACK = Egress(allow=parse_networks(("127.0.0.0/8",)))
AUTH = {"user": "postman", "pass": "sekrit-password"}
UNVERIFIED = {"rejectUnauthorized": False}


def a_call(
    port: int, *, timeout: float = 3.0, time_left: float = 3600, content: EmailContent | None = None, **config: object
) -> Call:
    """A call to the server on this port."""
    return Call(
        message_id="0199c0de-0000-7000-8000-000000000001",
        attempt=1,
        content=content or an_email(),
        config={"host": "127.0.0.1", "port": port, **config},
        provider_id="provider-1",
        config_version=1,
        timeout=timeout,
        time_left=time_left,
    )


def an_email(**more: object) -> EmailContent:
    """A short email."""
    email = EmailContent(
        sender=Address(email="shop@example.com", name="Shop"),
        to=Address(email="ada@example.com"),
        subject="Hello",
        text="Hi",
    )
    return replace(email, **more)  # type: ignore[arg-type]


def meaning(result: Result) -> tuple[Outcome, str]:
    """What a result means, without its words."""
    return result.outcome, result.reason
