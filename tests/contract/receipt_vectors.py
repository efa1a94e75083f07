"""Signed calls of every kind that sends receipts: the vectors of providers.md §10, and signers to make more.

To add a kind: write its vectors and name them in VECTORS, and its signer in SIGNERS.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptRequest, ReceiptStatus
from tests.fakes.amazon import NOW, TOPIC, sns_envelope

OURS = "0199c0de-0000-7000-8000-000000000001"


def a_request(kind: str, body: bytes, headers: Mapping[str, str] | None = None, *, query: str = "") -> ReceiptRequest:
    """A call on this kind's public address, come just now."""
    url = f"https://hooks.example.com/receipts/{kind}/p1{query}"
    return ReceiptRequest(url=url, headers=headers or {}, body=body, received_at=NOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One signed call and what it means. `signed` lists the headers, settings and JSON paths that take part in it.

    `same_body` says whether a changed body still means the same to the signature, so that it may pass.
    """

    name: str
    channel: Channel
    kind: str
    config: Mapping[str, Any]
    request: ReceiptRequest
    status: ReceiptStatus
    provider_message_id: str
    message_id: str = ""
    body_signed: bool = True
    url_signed: bool = False
    headers_signed: tuple[str, ...] = ()
    settings_signed: tuple[str, ...] = ()
    members_signed: tuple[tuple[str, ...], ...] = ()
    same_body: Callable[[bytes, bytes], bool] = field(default=lambda _, __: False)


# --- SendGrid

SENDGRID_CONFIG = {
    "webhookPublicKey": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5+QLw58Hea6yzUg8Od6ceClbWeQ0TVmaKJO6wc1l6LwJ"
        "byx/ivCfO4goFyt9dXlVbmV8KqA6A5eGxrJrhxwZVw=="
    )
}
_SENDGRID_SIGNATURE = "x-twilio-email-event-webhook-signature"
_SENDGRID_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

SENDGRID = Vector(
    name="sendgrid",
    channel=Channel.EMAIL,
    kind="sendgrid",
    config=SENDGRID_CONFIG,
    request=a_request(
        "sendgrid",
        b'[{"email":"a@example.com","event":"delivered","sg_event_id":"e1","sg_message_id":"m1.filter0",'
        b'"timestamp":1700000000}]\r\n',
        {
            _SENDGRID_SIGNATURE: (
                "MEUCIQDIGfxq50JXm0vWTNRp4IdFF48K+DI4772MbPPLuZI2ggIgZe9xVKkCVkQysi9d4jt1ujxVBPN1qOsahlGvXls5lso="
            ),
            _SENDGRID_TIMESTAMP: "1700000000",
        },
    ),
    status=ReceiptStatus.DELIVERED,
    provider_message_id="m1",
    headers_signed=(_SENDGRID_SIGNATURE, _SENDGRID_TIMESTAMP),
    settings_signed=("webhookPublicKey",),
)


@lru_cache(maxsize=1)
def _sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sendgrid_call(body: bytes, at: datetime = NOW) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Sign this body as SendGrid does; with the settings that prove it."""
    stamp = str(int(at.timestamp()))
    signature = _sendgrid_key().sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    public = _sendgrid_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    headers = {_SENDGRID_SIGNATURE: base64.b64encode(signature).decode(), _SENDGRID_TIMESTAMP: stamp}
    return a_request("sendgrid", body, headers), {"webhookPublicKey": base64.b64encode(public).decode()}


# --- Mailgun

MAILGUN_CONFIG = {"webhookSigningKey": "test-signing-key"}
MAILGUN_EVENT = {
    "event": "delivered",
    "id": "pl27",
    "timestamp": 1_700_000_000.5,
    "recipient": "joan@example.com",
    "message": {"headers": {"message-id": "20231114.1@mg.example.com"}},
    "user-variables": {"messagepipe_id": OURS},
    "flags": {"is-test-mode": False},
}

MAILGUN = Vector(
    name="mailgun",
    channel=Channel.EMAIL,
    kind="mailgun",
    config=MAILGUN_CONFIG,
    request=a_request(
        "mailgun",
        json.dumps(
            {
                "signature": {
                    "timestamp": "1700000000",
                    "token": "a" * 50,
                    "signature": "fba02b5dc7e0ed59317d3f7fa9c5a1e7b6565a72c562a6f5b640507ae4d77fa5",
                },
                "event-data": MAILGUN_EVENT,
            }
        ).encode(),
    ),
    status=ReceiptStatus.DELIVERED,
    provider_message_id="20231114.1@mg.example.com",
    message_id=OURS,
    body_signed=False,
    settings_signed=("webhookSigningKey",),
    members_signed=(("signature", "timestamp"), ("signature", "token"), ("signature", "signature")),
)


def mailgun_call(event: object, token: str = "t" * 50, at: datetime = NOW) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Sign this event as Mailgun does."""
    stamp = str(int(at.timestamp()))
    signature = hmac.new(b"test-signing-key", f"{stamp}{token}".encode(), "sha256").hexdigest()
    body = {"signature": {"timestamp": stamp, "token": token, "signature": signature}, "event-data": event}
    return a_request("mailgun", json.dumps(body).encode()), MAILGUN_CONFIG


# --- SES through SNS

SES_CONFIG = {"snsTopicArns": [TOPIC]}
SES_EVENT: dict[str, Any] = {
    "eventType": "Delivery",
    "mail": {
        "messageId": "0102018c-ses-000000",
        "timestamp": "2023-11-14T22:13:20.000Z",
        "destination": ["a@example.com"],
        "tags": {"messagepipe_id": [OURS], "ses:operation": ["SendRawEmail"]},
    },
    "delivery": {
        "timestamp": "2023-11-14T22:13:25.000Z",
        "recipients": ["a@example.com"],
        "smtpResponse": "250 2.6.0 Message received",
    },
}


def sns_request(envelope: Mapping[str, str]) -> ReceiptRequest:
    """The call that carries this envelope."""
    return a_request("ses", json.dumps(envelope, separators=(",", ":")).encode())


def ses_call(event: object) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Put this event of SES into a signed envelope."""
    return sns_request(sns_envelope(json.dumps(event))), SES_CONFIG


def _ses_vector(version: str) -> Vector:
    return Vector(
        name=f"ses-signature-{version}",
        channel=Channel.EMAIL,
        kind="ses",
        config=SES_CONFIG,
        request=sns_request(sns_envelope(json.dumps(SES_EVENT), version=version, more={"Subject": "Amazon SES"})),
        status=ReceiptStatus.DELIVERED,
        provider_message_id="0102018c-ses-000000",
        message_id=OURS,
        same_body=_same_json,
    )


def _same_json(left: bytes, right: bytes) -> bool:
    """Whether both are one envelope: Amazon signs its texts and not how the JSON is laid out."""
    try:
        return bool(json.loads(left) == json.loads(right))
    except ValueError:
        return False


# --- Twilio

TWILIO_CONFIG = {"authToken": "test-auth-token", "webhookSharedKeySecret": "test-auth-token"}
TWILIO_URL = "https://hooks.example.com/twilio/status?provider=p1"
TWILIO_FIELDS = {
    "AccountSid": "AC00000000000000000000000000000000",
    "ApiVersion": "2010-04-01",
    "From": "+15005550006",
    "MessageSid": "SM00000000000000000000000000000001",
    "MessageStatus": "delivered",
    "RawDlrDoneDate": "2601021530",
    "SmsSid": "SM00000000000000000000000000000001",
    "SmsStatus": "delivered",
    "To": "+14155550100",
}
_SHARED_KEY = {"x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}


def _twilio_vector(name: str, signature: str, setting: str, headers: Mapping[str, str]) -> Vector:
    request = a_request("twilio", urlencode(TWILIO_FIELDS).encode(), {"x-twilio-signature": signature, **headers})
    return Vector(
        name=name,
        channel=Channel.SMS,
        kind="twilio",
        config=TWILIO_CONFIG,
        request=replace(request, url=TWILIO_URL),
        status=ReceiptStatus.DELIVERED,
        provider_message_id="SM00000000000000000000000000000001",
        url_signed=True,
        headers_signed=("x-twilio-signature",),
        settings_signed=(setting,),
        same_body=_same_form,
    )


def _same_form(left: bytes, right: bytes) -> bool:
    """Twilio signs what the form says and not how: %2B and %2b are one."""
    upper = [bytes(raw).upper() if b"%" in raw else raw for raw in (left, right)]
    return upper[0] == upper[1]


def twilio_call(
    fields: Mapping[str, str], *, url: str = f"https://hooks.example.com/receipts/twilio/p1?messagepipe_id={OURS}"
) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Sign these fields as Twilio does with the auth token."""
    signed = url + "".join(name + value for name, value in sorted(fields.items()))
    signature = base64.b64encode(hmac.new(b"test-auth-token", signed.encode(), "sha1").digest()).decode()
    request = a_request("twilio", urlencode(fields).encode(), {"x-twilio-signature": signature})
    return replace(request, url=url), TWILIO_CONFIG


# --- Termii

TERMII_CONFIG = {"webhookSecret": "test-secret"}
_TERMII_BODY = b'{"type":"outbound","message_id":"5964465985113503103","receiver":"2343459509389","status":"DELIVERED"}'
_TERMII_HEX = (
    "beae18f3ff846ee696111bcc6345fdbc349461fb1bcb1f8c567d5554d948c9c3"
    "bdb1982fd2e61653231e1a870add6963f96922a971f955023ab951f7b5ffde47"
)


def _termii_vector(name: str, signature: str) -> Vector:
    return Vector(
        name=name,
        channel=Channel.SMS,
        kind="termii",
        config=TERMII_CONFIG,
        request=a_request("termii", _TERMII_BODY, {"x-termii-signature": signature}),
        status=ReceiptStatus.DELIVERED,
        provider_message_id="5964465985113503103",
        headers_signed=("x-termii-signature",),
        settings_signed=("webhookSecret",),
    )


def termii_call(body: bytes) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Sign this body as Termii does, in hex."""
    signature = hmac.new(b"test-secret", body, "sha512").hexdigest()
    return a_request("termii", body, {"x-termii-signature": signature}), TERMII_CONFIG


# --- SNS text messages

SNS_CONFIG = {"receiptSecret": "a-secret-of-ours"}
_SNS_SECRET = "x-messagepipe-receipt-secret"
SNS_RECORD = {
    "notification": {"messageId": "34d9b400-c6dd-5444-820d-fbeb0f1f54cf", "timestamp": "2023-11-14 22:13:20.000"},
    "delivery": {
        "phoneCarrier": "My Phone Carrier",
        "destination": "+14155550100",
        "providerResponse": "Message has been accepted by phone carrier",
    },
    "status": "SUCCESS",
}

SNS = Vector(
    name="sns",
    channel=Channel.SMS,
    kind="sns",
    config=SNS_CONFIG,
    request=a_request("sns", json.dumps(SNS_RECORD).encode(), {_SNS_SECRET: "a-secret-of-ours"}),
    status=ReceiptStatus.DELIVERED,
    provider_message_id="34d9b400-c6dd-5444-820d-fbeb0f1f54cf",
    body_signed=False,  # a shared secret proves the caller and nothing else
    headers_signed=(_SNS_SECRET,),
    settings_signed=("receiptSecret",),
)


def sns_call(body: object, query: str = "") -> tuple[ReceiptRequest, Mapping[str, Any]]:
    """Send this body with the shared secret, in the header unless the query carries it."""
    headers = {} if query else {_SNS_SECRET: "a-secret-of-ours"}
    return a_request("sns", json.dumps(body).encode(), headers, query=query), SNS_CONFIG


VECTORS = (
    SENDGRID,
    MAILGUN,
    _ses_vector("1"),
    _ses_vector("2"),
    _twilio_vector("twilio-sha1", "Dv5Zl6FycmQaXlwL4qm/HK2PR9I=", "authToken", {}),
    _twilio_vector(
        "twilio-sha256", "0YNta5eqsRxTCEPBkjG7y/3ZFSZSo+UyKJd4f/UevRs=", "webhookSharedKeySecret", _SHARED_KEY
    ),
    _termii_vector("termii-hex", _TERMII_HEX),
    _termii_vector("termii-base64", base64.b64encode(bytes.fromhex(_TERMII_HEX)).decode()),
    SNS,
)

SIGNERS: Mapping[tuple[Channel, str], Callable[[Any], tuple[ReceiptRequest, Mapping[str, Any]]]] = {
    (Channel.EMAIL, "sendgrid"): lambda said: sendgrid_call(json.dumps([said]).encode()),
    (Channel.EMAIL, "mailgun"): mailgun_call,
    (Channel.EMAIL, "ses"): ses_call,
    (Channel.SMS, "twilio"): lambda said: twilio_call(_flat(said)),
    (Channel.SMS, "termii"): lambda said: termii_call(json.dumps(said).encode()),
    (Channel.SMS, "sns"): sns_call,
}
"""How each kind signs any value, so that what is said inside may be as hostile as one likes."""


def _flat(said: object) -> dict[str, str]:
    fields = said.items() if isinstance(said, dict) else [("MessageStatus", said)]
    return {
        str(name).encode("utf-8", "replace").decode(): str(value).encode("utf-8", "replace").decode()
        for name, value in fields
        if name
    }


def body_hash(body: bytes) -> str:
    """SHA-256 in hex, as Twilio puts it into the URL of a JSON call."""
    return hashlib.sha256(body).hexdigest()
