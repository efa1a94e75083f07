"""The seven kinds of provider as the acceptance tests use them: settings, one message each with all it can carry, what
must arrive, and how the provider before it fails. Data, no tests.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.adapters.base import Channel
from tests.acceptance.arrived import form_call, json_call, multipart_call, ses_call, sns_call
from tests.contract.dialects import MAILGUN, SENDGRID, SES, SNS, TERMII, TWILIO, Dialect
from tests.fakes.vendor import Received, Reply

SMTP = "smtp"
AWS_SECRET = "sekrit/secret+access+key"  # of the dialects of SES and SNS

EMAIL: Mapping[str, Any] = {
    "channel": "EMAIL",
    "from": "Müller & Söhne <shop@müller.example>",
    "to": "Ada Lovelace, Countess <ada@example.com>",
    "cc": ["Grace Hopper <grace@example.com>"],
    "bcc": ["archive@example.com"],
    "replyTo": "Hilfe für Sie <help@example.com>",
    "subject": "Grüße, 世界 🎉",
    "text": "Hello, Ada.",
    "html": '<p>Hello, <b>Ada</b>. <img src="cid:logo"></p>',
    "attachments": [
        {"filename": "terms.txt", "contentType": "text/plain", "content": b64encode(b"terms").decode()},
        {
            "filename": "logo.png",
            "contentType": "image/png",
            "content": b64encode(b"\x89PNG").decode(),
            "contentId": "logo",
        },
    ],
    "headers": {"X-Campaign": "Spring"},
    "tags": ["welcome", "spring"],
    "metadata": {"order": "7"},
    # Each kind finds its own options only.
    "providerOptions": {
        "sendgrid": {"asm": {"group_id": 7}},
        "mailgun": {"o:tracking": "no"},
        "ses": {"FeedbackForwardingEmailAddress": "bounces@example.com"},
        "smtp": {"envelopeFrom": "bounces@example.com"},
    },
}
SMS: Mapping[str, Any] = {
    "channel": "SMS",
    "to": "+2348031234567",
    "text": "Grüße 🎉",
    "tags": ["welcome"],
    "metadata": {"order": "7"},
    "providerOptions": {
        "twilio": {"SmartEncoded": True},
        "termii": {"type": "unicode"},
        "sns": {"AWS.SNS.SMS.MaxPrice": 0.5},
    },
}

_SENDER = "shop@xn--mller-kva.example"
_HTML = EMAIL["html"]


def _mail_headers(message_id: str, **more: str) -> dict[str, str]:
    return {
        "from": f"Müller & Söhne <{_SENDER}>",
        "to": '"Ada Lovelace, Countess" <ada@example.com>',
        "cc": "Grace Hopper <grace@example.com>",
        "reply-to": "Hilfe für Sie <help@example.com>",
        "subject": "Grüße, 世界 🎉",
        "message-id": f"<{message_id}@xn--mller-kva.example>",
        "x-campaign": "Spring",
        "x-metadata-order": "7",
        **more,
    }


_FILES = [
    ("inline", "logo.png", "image/png", "<logo>", b"\x89PNG"),
    ("attachment", "terms.txt", "text/plain", "", b"terms"),
]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind over HTTP: its words, further settings, its message, and the request that message must become."""

    dialect: Dialect
    message: Mapping[str, Any]
    read: Callable[[Received], dict[str, Any]]
    arrives: Callable[[str], dict[str, Any]]  # by our message id
    settings: Mapping[str, Any] = field(default_factory=dict)
    sender: Mapping[str, Any] | None = None  # the project's own, for a message that names none


def _without(message: Mapping[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {**{name: value for name, value in message.items() if name not in names}, **more}


_SENDGRID = Kind(
    dialect=SENDGRID,
    message=EMAIL,
    settings={"ipPoolName": "transactional"},
    read=json_call,
    arrives=lambda message_id: {
        "path": "/v3/mail/send",
        "as": "Bearer SG.sekrit-key.value",
        "personalizations": [
            {
                "to": [{"email": "ada@example.com", "name": "Ada Lovelace, Countess"}],
                "cc": [{"email": "grace@example.com", "name": "Grace Hopper"}],
                "bcc": [{"email": "archive@example.com"}],
                "custom_args": {"order": "7", "messagepipe_id": message_id, "messagepipe_attempt": "2"},
            }
        ],
        "from": {"email": _SENDER, "name": "Müller & Söhne"},
        "reply_to": {"email": "help@example.com", "name": "Hilfe für Sie"},
        "subject": "Grüße, 世界 🎉",
        "content": [{"type": "text/plain", "value": "Hello, Ada."}, {"type": "text/html", "value": _HTML}],
        "attachments": [
            {"content": "dGVybXM=", "filename": "terms.txt", "type": "text/plain", "disposition": "attachment"},
            {
                "content": "iVBORw==",
                "filename": "logo.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "logo",
            },
        ],
        "headers": {"X-Campaign": "Spring"},
        "categories": ["welcome", "spring"],
        "asm": {"group_id": 7},
        "ip_pool_name": "transactional",
    },
)

_MAILGUN = Kind(
    dialect=MAILGUN,
    message=_without(EMAIL, "from"),
    sender={"senderEmail": f"shop@{_SENDER.partition('@')[2]}", "senderName": "Müller & Söhne", "enabled": True},
    settings={"testMode": True},
    read=multipart_call,
    arrives=lambda message_id: {
        "path": "/v3/mg.example.com/messages",
        "as": "api:key-sekrit-mailgun",
        "from": [f'"Müller & Söhne" <{_SENDER}>'],
        "to": ['"Ada Lovelace, Countess" <ada@example.com>'],
        "cc": ['"Grace Hopper" <grace@example.com>'],
        "bcc": ["<archive@example.com>"],
        "h:Reply-To": ['"Hilfe für Sie" <help@example.com>'],
        "subject": ["Grüße, 世界 🎉"],
        "text": ["Hello, Ada."],
        "html": [_HTML],
        "attachment": [("terms.txt", "text/plain", b"terms")],
        "inline": [("logo", "image/png", b"\x89PNG")],  # found by its file name
        "h:X-Campaign": ["Spring"],
        "o:tag": ["welcome", "spring"],
        "o:testmode": ["yes"],
        "o:tracking": ["no"],
        "v:order": ["7"],
        "v:messagepipe_id": [message_id],
        "v:messagepipe_attempt": ["2"],
    },
)

_SES = Kind(
    dialect=SES,
    message=EMAIL,
    settings={"configurationSet": "messagepipe"},
    read=ses_call(AWS_SECRET),
    arrives=lambda message_id: {
        "path": "/v2/email/outbound-emails",
        "signed": True,
        "Destination": {
            "ToAddresses": ["ada@example.com"],
            "CcAddresses": ["grace@example.com"],
            "BccAddresses": ["archive@example.com"],
        },
        "EmailTags": [
            {"Name": "messagepipe_id", "Value": message_id},
            {"Name": "messagepipe_attempt", "Value": "2"},
            {"Name": "tag_1", "Value": "welcome"},
            {"Name": "tag_2", "Value": "spring"},
        ],
        "ConfigurationSetName": "messagepipe",
        "FeedbackForwardingEmailAddress": "bounces@example.com",
        "mail": {"headers": _mail_headers(message_id), "text": "Hello, Ada.", "html": _HTML, "files": _FILES},
    },
)

_TWILIO = Kind(
    dialect=TWILIO,
    message={**SMS, "from": "+15005550009", "validityPeriod": "300s"},
    settings={"statusCallbackUrl": "https://hooks.example.com/twilio"},
    read=form_call,
    arrives=lambda message_id: {
        "path": f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json",
        "as": f"AC{'0' * 32}:sekrit-auth-token",
        "To": "+2348031234567",
        "From": "+15005550009",
        "Body": "Grüße 🎉",
        "SmartEncoded": "true",
        "ValidityPeriod": "300",
        "StatusCallback": f"https://hooks.example.com/twilio?messagepipe_id={message_id}&messagepipe_attempt=2",
    },
)

_TERMII = Kind(
    dialect=TERMII,
    message={**SMS, "from": "AcmeShop"},
    settings={"channel": "dnd"},
    read=json_call,
    arrives=lambda _: {
        "path": "/api/sms/send",
        "as": "",
        "api_key": "TLsekritkey",
        "to": "2348031234567",
        "from": "AcmeShop",
        "sms": "Grüße 🎉",
        "type": "unicode",
        "channel": "dnd",
    },
)

_SNS = Kind(
    dialect=SNS,
    message=SMS,
    sender={"senderId": "AcmeShop", "enabled": True},
    settings={"smsType": "Transactional"},
    read=sns_call(AWS_SECRET),
    arrives=lambda _: {
        "path": "/",
        "signed": True,
        "Action": "Publish",
        "Version": "2010-03-31",
        "PhoneNumber": "+2348031234567",
        "Message": "Grüße 🎉",
        "attributes": {
            "AWS.SNS.SMS.SenderID": ("String", "AcmeShop"),
            "AWS.SNS.SMS.SMSType": ("String", "Transactional"),
            "AWS.SNS.SMS.MaxPrice": ("Number", "0.5"),
        },
    },
)

HTTP_KINDS = (_SENDGRID, _MAILGUN, _SES, _TWILIO, _TERMII, _SNS)


def smtp_arrives(message_id: str) -> dict[str, Any]:
    """What EMAIL must be when a mail server has taken it from user `postman`."""
    return {
        "login": ["good"],
        "mail from": "bounces@example.com",
        "rcpt to": ("ada@example.com", "grace@example.com", "archive@example.com"),
        "headers": _mail_headers(message_id, keywords="welcome, spring"),
        "text": "Hello, Ada.",
        "html": _HTML,
        "files": _FILES,
    }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How the provider before fails, and what must be told of it; without a reply nobody listens there."""

    dialect: Dialect
    reply: Reply | None
    outcome: str
    reason: str

    @property
    def channel(self) -> Channel:
        """Its channel."""
        return self.dialect.channel


_UNAVAILABLE = Reply.json(503, {"message": "try later"})
THROTTLED = Reply.json(429, {"code": 20429, "message": "Too Many Requests"}, headers={"retry-after": "30"})

FAILURES: Mapping[str, Failure] = {
    "sendgrid": Failure(dialect=MAILGUN, reply=MAILGUN.bad_credentials, outcome="DENIED", reason="CREDENTIALS"),
    "mailgun": Failure(dialect=SENDGRID, reply=_UNAVAILABLE, outcome="DEFERRED", reason="UNAVAILABLE"),
    "ses": Failure(dialect=SENDGRID, reply=SENDGRID.bad_credentials, outcome="DENIED", reason="CREDENTIALS"),
    "smtp": Failure(dialect=SES, reply=None, outcome="DEFERRED", reason="CONNECT_FAILED"),
    "twilio": Failure(dialect=TWILIO, reply=TWILIO.bad_credentials, outcome="DENIED", reason="CREDENTIALS"),
    "termii": Failure(dialect=SNS, reply=SNS.bad_credentials, outcome="DENIED", reason="CREDENTIALS"),
    "sns": Failure(dialect=TWILIO, reply=THROTTLED, outcome="DEFERRED", reason="RATE_LIMITED"),
}
"""By the kind that comes after it."""
