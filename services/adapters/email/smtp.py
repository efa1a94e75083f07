"""SMTP (RFC 5321): settings, and what a reply means by where it came. Not the dialogue: that is smtp_adapter.py, and
its socket smtp_wire.py.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from services.adapters.base import Address, Call, Capabilities, Channel, ProviderSpec
from services.adapters.email.sender import SENDER_SETTINGS, sender_of
from services.adapters.outcome import Outcome, Reason, Verdict

SPEC = ProviderSpec(
    kind="smtp",
    channel=Channel.EMAIL,
    title="SMTP",
    description="Any mail server that takes submissions: your own, or a provider's SMTP endpoint.",
    documentation_url="https://www.rfc-editor.org/rfc/rfc5321",
    options_schema={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "envelopeFrom": {
                "type": "string",
                "format": "email",
                "title": "Envelope sender",
                "description": "Where its bounces go (MAIL FROM, RFC 5321 §4.1.1.2), when not to its sender.",
            },
        },
    },
    limits={
        "attachments": "the whole message at most what the server announces as SIZE",
        "from, to, cc, bcc, replyTo": "non-ASCII characters before the @ only where the server offers SMTPUTF8",
    },
    capabilities=Capabilities(
        attachments=True, inline_attachments=True, cc_bcc=True, custom_headers=True, tags=True, metadata=True
    ),
    verdict_seconds=600.0,  # RFC 5321 §4.5.3.2.6: the server's time after the final dot
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SMTP",
        "description": "One mail server and how to talk to it. No receipts ever come: a message's state ends at sent.",
        "type": "object",
        "required": ["host", "port"],
        "additionalProperties": False,
        "properties": {
            "host": {
                "type": "string",
                "format": "hostname",
                "minLength": 1,
                "maxLength": 253,
                "title": "Host",
                "description": "Name or IP address, without scheme or port.",
                "examples": ["smtp.yourcompany.com"],
            },
            "port": {
                "type": "integer",
                "minimum": 1,
                "maximum": 65535,
                "title": "Port",
                "description": "587 for STARTTLS, 465 for implicit TLS, 25 for relays.",
                "examples": [587],
            },
            "secure": {
                "type": "boolean",
                "default": False,
                "title": "Implicit TLS",
                "description": "True: TLS from the first byte. False: STARTTLS, required with auth, else if offered.",
                "examples": [False],
            },
            "requireTls": {
                "type": "boolean",
                "default": False,
                "title": "Require TLS",
                "description": "Send nothing unless the server offers STARTTLS.",
                "examples": [True],
            },
            "auth": {
                "type": "object",
                "required": ["user", "pass"],
                "additionalProperties": False,
                "title": "Credentials",
                "description": "Leave out for servers that ask for none.",
                "properties": {
                    "user": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 320,
                        "title": "User",
                        "description": "The user name.",
                        "examples": ["user"],
                    },
                    "pass": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 1024,
                        "writeOnly": True,
                        "title": "Password",
                        "description": "The password.",
                        "examples": ["secret"],
                    },
                },
            },
            "tls": {
                "type": "object",
                "additionalProperties": False,
                "title": "TLS",
                "description": "Exceptions from the safe defaults.",
                "properties": {
                    "rejectUnauthorized": {
                        "type": "boolean",
                        "default": True,
                        "title": "Verify the certificate",
                        "description": "False believes any certificate: who sits in between reads mail and password.",
                        "examples": [True],
                    },
                    "allowPlaintextAuth": {
                        "type": "boolean",
                        "default": False,
                        "title": "Allow plaintext credentials",
                        "description": "True sends user and password unencrypted where no TLS is offered. For tests.",
                        "examples": [False],
                    },
                },
            },
            **SENDER_SETTINGS,
            "ehloName": {
                "type": "string",
                "format": "hostname",
                "title": "EHLO name",
                "description": "How we introduce ourselves; by default this machine's name, or its address.",
                "examples": ["mail.yourcompany.com"],
            },
            "maxConnections": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 10,
                "title": "Connections",
                "description": "At most this many at once from each of our processes.",
                "examples": [10],
            },
        },
    },
)


class Phase(StrEnum):
    """Where in the dialogue we are; a number means different things in different places."""

    CONNECT = "CONNECT"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"  # before 354
    BODY = "BODY"  # before the final dot was written
    DOT = "DOT"  # after it


class Row(NamedTuple):
    """One row of providers.md §4.3. Empty means any; the first row whose phase, code, enhanced code (or its start)
    and words match decides.
    """

    phases: str
    codes: str
    enhanced: str
    words: tuple[str, ...]
    verdict: Verdict


_SENDER = Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")
_RECIPIENT = Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)
_CONTENT = Verdict(Outcome.INVALID, Reason.CONTENT_REFUSED)
_RELAY = Verdict(Outcome.DENIED, Reason.RELAY_REFUSED)
_REPUTATION = Verdict(Outcome.DENIED, Reason.REPUTATION)
_LATER = Verdict(Outcome.DEFERRED, Reason.TEMPORARY_REFUSAL)
_MISCONFIGURED = Verdict(Outcome.DENIED, Reason.MISCONFIGURED)
_BLOCKED = (
    "blocklist",
    "block list",
    "blacklist",
    "black list",
    "spamhaus",
    "barracuda",
    "spamcop",
    "ip address is",
    "poor reputation",
)

CODES: tuple[Row, ...] = (
    Row("", "", "", ("maximum credits exceeded",), Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT)),
    Row("", "421", "", ("not allowed to send",), Verdict(Outcome.DENIED, Reason.PERMISSION)),
    Row("", "421", "", (), Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE)),
    # SES says so of an IAM user that may not send, Mailgun of a domain that may not yet.
    Row(
        "MAIL RCPT DATA BODY DOT",
        "554",
        "",
        ("is not authorized to perform",),
        Verdict(Outcome.DENIED, Reason.PERMISSION),
    ),
    Row("MAIL RCPT DATA BODY DOT", "554", "", ("sandbox subdomains",), Verdict(Outcome.DENIED, Reason.TRIAL_ACCOUNT)),
    Row("AUTH", "454", "", ("throttl", "quota"), Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)),
    Row("AUTH", "454", "", (), _LATER),
    Row("AUTH", "432 534 535 538", "", (), Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Row("", "530", "", (), Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Row("MAIL", "552", "", (), Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Row("MAIL RCPT DATA BODY DOT", "550 553 554", "", ("not verified", "verified sender identity"), _SENDER),
    Row("MAIL", "550 553 554", "", (), _SENDER),
    Row("MAIL", "", "5.1.7 5.1.8 5.7.1", (), _SENDER),
    Row("RCPT", "550 551 553 554", "", _BLOCKED, _REPUTATION),
    Row("RCPT", "550 551 553 554", "5.1.7 5.1.8", (), _SENDER),
    Row("RCPT", "550 551 553 554", "5.7", (), _RELAY),
    Row("RCPT", "550 551 553 554", "", ("relay",), _RELAY),
    Row("RCPT", "552", "5.3.4", (), Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Row("RCPT", "501 550 551 552 553 554 556", "", (), _RECIPIENT),
    Row("RCPT", "450 451 452", "", (), Verdict(Outcome.DEFERRED, Reason.RECIPIENT_UNAVAILABLE)),
    Row("DATA BODY DOT", "552", "5.2.2 5.2.3", (), _RECIPIENT),
    Row("DATA BODY DOT", "552", "", (), Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Row("DATA BODY DOT", "550 554", "", _BLOCKED, _REPUTATION),
    Row("DATA BODY DOT", "550 554", "", (), _CONTENT),
    Row("", "500 501 502 503 504 555", "", (), _MISCONFIGURED),
)

# A 5xx that no row knows: the phase says whose fault it is.
REFUSED_AT: dict[Phase, Verdict] = {
    Phase.CONNECT: Verdict(Outcome.DENIED, Reason.PERMISSION),
    Phase.EHLO: Verdict(Outcome.DENIED, Reason.PERMISSION),
    Phase.STARTTLS: Verdict(Outcome.DENIED, Reason.TLS_REQUIRED),
    Phase.AUTH: Verdict(Outcome.DENIED, Reason.CREDENTIALS),
    Phase.MAIL: _SENDER,
    Phase.RCPT: _RECIPIENT,
    Phase.DATA: _CONTENT,
    Phase.BODY: _CONTENT,
    Phase.DOT: _CONTENT,
}

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\d|\.)")


def enhanced_code(text: str) -> str:
    """The enhanced status code (RFC 3463) a reply's text begins with, or ""."""
    match = _ENHANCED.match(text)
    return match.group(1) if match else ""


def verdict_of(phase: Phase, code: int, text: str) -> Verdict:
    """What a reply that is not the one hoped for means: by the table, else by its class and phase."""
    enhanced, lower = enhanced_code(text), text.lower()
    for row in CODES:
        if (
            (not row.phases or phase in row.phases.split())
            and (not row.codes or str(code) in row.codes.split())
            and (
                not row.enhanced
                or any(enhanced == known or enhanced.startswith(known + ".") for known in row.enhanced.split())
            )
            and (not row.words or any(word in lower for word in row.words))
        ):
            return row.verdict
    if 400 <= code < 500:
        return _LATER
    if 500 <= code < 600:
        return REFUSED_AT[phase]
    if phase is Phase.DOT:
        return Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER)
    return Verdict(Outcome.DEFERRED, Reason.UNREADABLE_ANSWER)  # nonsense, but nothing was handed over yet


def smtp_sender(call: Call) -> Address | None:
    """The sender of this call's email; falls back to auth.user when that is an address."""
    sender = sender_of(call)
    if sender is None and "@" in (user := str((call.config.get("auth") or {}).get("user") or "")):
        return Address(email=user, name=str(call.config.get("fromName") or ""))
    return sender
