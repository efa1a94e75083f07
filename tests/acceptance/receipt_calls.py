"""What each kind posts about a message that it took, signed as the vendor signs, and the same call forged by one byte.
No test.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from services.adapters.receipts import ReceiptRequest
from tests.contract.dialects import MAILGUN, SENDGRID, SES, SNS, TERMII, TWILIO, Dialect
from tests.contract.receipt_vectors import (
    MAILGUN_EVENT,
    SES_CONFIG,
    SES_EVENT,
    SNS_CONFIG,
    SNS_RECORD,
    TERMII_CONFIG,
    mailgun_call,
    sendgrid_call,
    sns_call,
    sns_request,
    termii_call,
    twilio_call,
)
from tests.fakes.amazon import sns_envelope
from tests.fakes.vendor import Received


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A message that a vendor took: its own id for it, the request it got, and the provider's address for receipts."""

    reference: str
    request: Received
    receipts_url: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """What must be seen of a receipt: the state that follows, and its event's status and own words."""

    state: str
    status: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """One kind that sends receipts: how it says each of its words about a message, and what becomes of them.

    A forged call differs in the one byte after each of `signed_after` in the body, in one byte of each of
    `signed_headers`, or in the last byte of the address.
    """

    dialect: Dialect
    settings: Mapping[str, Any]
    call: Callable[[Sent, str], ReceiptRequest]
    told: Mapping[str, Told]
    signed_after: tuple[bytes, ...] = ()
    signed_headers: tuple[str, ...] = ()
    url_signed: bool = False

    def forgeries(self, good: ReceiptRequest) -> Iterator[tuple[str, ReceiptRequest]]:
        """A signed call with one byte changed, and where."""
        for before in self.signed_after:
            at = good.body.index(before) + len(before)
            other = _other(good.body[at : at + 1].decode()).encode()
            yield before.decode(), replace(good, body=good.body[:at] + other + good.body[at + 1 :])
        for name in self.signed_headers:
            value = good.headers[name]
            at = len(value) - 1 if value.isdigit() else len(value) // 2  # a time near now stays near now
            changed = value[:at] + _other(value[at]) + value[at + 1 :]
            yield name, replace(good, headers={**good.headers, name: changed})
        if self.url_signed:
            yield "url", replace(good, url=good.url[:-1] + _other(good.url[-1]))


def _other(character: str) -> str:
    return "1" if character == "0" else "0"


def _now() -> datetime:
    return datetime.now(UTC)


def _sendgrid(sent: Sent, word: str) -> ReceiptRequest:
    said = {
        "delivered": {"event": "delivered", "response": "250 OK"},
        "bounce": {"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such user"},
    }
    event = {
        "email": "ada@example.com",
        "timestamp": int(_now().timestamp()),
        "sg_event_id": uuid4().hex,
        "sg_message_id": f"{sent.reference}.recvd-5d4b-1-0",
        **said[word],
    }
    request, _ = sendgrid_call(json.dumps([event]).encode() + b"\r\n", at=_now())
    return replace(request, url=sent.receipts_url)


def _mailgun(sent: Sent, word: str) -> ReceiptRequest:
    failed = {"severity": "permanent", "delivery-status": {"code": 550, "message": "5.1.1 no such user"}}
    event = {
        **MAILGUN_EVENT,
        "event": word,
        "message": {"headers": {"message-id": sent.reference}},
        "user-variables": {},
        **(failed if word == "failed" else {}),
    }
    request, _ = mailgun_call(event, token=uuid4().hex + "0" * 18, at=_now())
    return replace(request, url=sent.receipts_url)


def _ses(sent: Sent, word: str) -> ReceiptRequest:
    bounce = {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [{"status": "5.1.1"}]}
    mail = {**SES_EVENT["mail"], "messageId": sent.reference, "tags": {}}
    event = {**SES_EVENT, "eventType": word, "mail": mail, **({"bounce": bounce} if word == "Bounce" else {})}
    envelope = sns_envelope(json.dumps(event), version="2", at=_now(), more={"MessageId": str(uuid4())})
    return replace(sns_request(envelope), url=sent.receipts_url)


def _twilio(sent: Sent, word: str) -> ReceiptRequest:
    error = {"ErrorCode": "30003"} if word == "undelivered" else {}
    fields = {"MessageSid": sent.reference, "MessageStatus": word, "To": "+2348031234567", **error}
    # It calls the address that it was given with the message.
    request, _ = twilio_call(fields, url=sent.request.form()["StatusCallback"])
    return replace(request, headers={**request.headers, "content-type": "application/x-www-form-urlencoded"})


def _termii(sent: Sent, word: str) -> ReceiptRequest:
    report = {"type": "outbound", "message_id": sent.reference, "receiver": "2348031234567", "status": word}
    request, _ = termii_call(json.dumps(report).encode())
    return replace(request, url=sent.receipts_url)


def _sns(sent: Sent, word: str) -> ReceiptRequest:
    record = {
        **SNS_RECORD,
        "notification": {"messageId": sent.reference, "timestamp": "2026-01-01 00:00:00.000"},
        "status": word,
    }
    if word == "FAILURE":
        record["delivery"] = {"providerResponse": "Phone is currently unreachable/unavailable"}
    # As CloudWatch Logs hands it to the function that forwards it.
    event = {"timestamp": int(_now().timestamp() * 1000), "message": json.dumps(record)}
    request, _ = sns_call({"logEvents": [event]})
    return replace(request, url=sent.receipts_url)


def _delivered(words: str) -> Told:
    return Told(state="DELIVERED", status="DELIVERED", words=words)


def _undelivered(status: str, words: str) -> Told:
    return Told(state="UNDELIVERED", status=status, words=words)


SES_REPORTER = Reporter(
    dialect=SES,
    settings=SES_CONFIG,
    call=_ses,
    told={
        "Delivery": _delivered("Delivery"),
        "Bounce": _undelivered("BOUNCED_HARD", "Bounce Permanent General"),
    },
    signed_after=(rb"\"eventType\": \"", b'"MessageId":"', b'"Signature":"'),
)
REPORTERS = (
    Reporter(
        dialect=SENDGRID,
        settings=sendgrid_call(b"[]")[1],
        call=_sendgrid,
        told={"delivered": _delivered("delivered"), "bounce": _undelivered("BOUNCED_HARD", "bounce bounce")},
        signed_after=(b'"event": "', b"["),
        signed_headers=("x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"),
    ),
    Reporter(
        dialect=MAILGUN,
        settings={"webhookSigningKey": "test-signing-key"},
        call=_mailgun,
        told={"delivered": _delivered("delivered"), "failed": _undelivered("FAILED", "failed permanent")},
        # Mailgun does not sign the event itself.
        signed_after=(b'"timestamp": "', b'"token": "', b'"signature": "'),
    ),
    Reporter(
        dialect=TWILIO,
        settings={"authToken": "test-auth-token"},
        call=_twilio,
        told={"delivered": _delivered("delivered"), "undelivered": _undelivered("BOUNCED_SOFT", "undelivered 30003")},
        signed_after=(b"MessageStatus=", b"MessageSid="),
        signed_headers=("x-twilio-signature",),
        url_signed=True,
    ),
    Reporter(
        dialect=TERMII,
        settings=TERMII_CONFIG,
        call=_termii,
        told={
            "DELIVERED": _delivered("DELIVERED"),
            "Message Failed": _undelivered("FAILED", "Message Failed"),
        },
        signed_after=(b'"status": "', b'"message_id": "'),
        signed_headers=("x-termii-signature",),
    ),
    Reporter(
        dialect=SNS,
        settings=SNS_CONFIG,
        call=_sns,
        told={"SUCCESS": _delivered("SUCCESS"), "FAILURE": _undelivered("BOUNCED_SOFT", "FAILURE")},
        signed_headers=("x-messagepipe-receipt-secret",),  # all the proof there is
    ),
)


def path_of(url: str) -> str:
    """The path and query of an address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
