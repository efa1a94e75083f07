"""Whatever a provider can not express is unfit with the field named: for every kind, every field of a message."""

from typing import Any

import pytest

from services.adapters.base import Address, Attachment, Call, EmailContent
from services.adapters.email import mailgun, sendgrid, ses
from services.adapters.outcome import Outcome, Result
from services.adapters.sms import sns, termii, twilio
from tests.fakes.clock import FakeClock
from tests.unit.adapters.calls import a_text, an_email

AWS = {"accessKeyId": "AKIA1", "secretAccessKey": "s" * 40, "region": "eu-west-1"}
SETTINGS: dict[str, dict[str, Any]] = {
    "sendgrid": {"apiKey": "SG.x"},
    "mailgun": {"apiKey": "key-x", "domain": "mg.example.com"},
    "ses": AWS,
    "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "t", "fromNumber": "+15005550006"},
    "termii": {"apiKey": "TL1", "senderId": "Acme"},
    "sns": AWS,
}
CLOCK = FakeClock()
BUILD = {
    "sendgrid": sendgrid.build,
    "mailgun": mailgun.build,
    "ses": ses.kind(CLOCK).build,
    "twilio": twilio.build,
    "termii": termii.build,
    "sns": sns.kind(CLOCK).build,
}
FOREIGN = Address(email="grüße@example.com")


def _many(count: int) -> tuple[Address, ...]:
    return tuple(Address(email=f"u{number}@example.com") for number in range(count))


def _file(size: int) -> tuple[Attachment, ...]:
    return (Attachment(filename="a.bin", content_type="application/octet-stream", content=bytes(size)),)


CASES: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {"to": FOREIGN}, "to") for kind in ("sendgrid", "mailgun", "ses")),
    *((kind, {"cc": (FOREIGN,)}, "cc") for kind in ("sendgrid", "mailgun", "ses")),
    *((kind, {"bcc": (FOREIGN,)}, "bcc") for kind in ("sendgrid", "mailgun", "ses")),
    *((kind, {"sender": FOREIGN}, "from") for kind in ("sendgrid", "mailgun", "ses")),
    *((kind, {"reply_to": FOREIGN}, "replyTo") for kind in ("sendgrid", "mailgun", "ses")),
    ("sendgrid", {"cc": _many(1000)}, "to, cc, bcc"),
    ("mailgun", {"bcc": _many(1000)}, "to, cc, bcc"),
    ("ses", {"cc": _many(25), "bcc": _many(25)}, "to, cc, bcc"),
    ("sendgrid", {"attachments": _file(23_000_000)}, "attachments"),
    ("mailgun", {"attachments": _file(19_000_000)}, "attachments"),
    ("ses", {"attachments": _file(30_000_000)}, "attachments"),
    ("sendgrid", {"tags": tuple(f"t{number}" for number in range(11))}, "tags"),
    ("mailgun", {"tags": ("a", "b", "c", "d")}, "tags"),
    ("ses", {"tags": ("two words",)}, "tags[0]"),
    ("sendgrid", {"headers": (("X-SG-EID", "1"),)}, "headers.X-SG-EID"),
    ("mailgun", {"headers": (("X-Long", "v" * 16_000),)}, "headers, tags, metadata"),
    ("sendgrid", {"metadata": tuple((f"k{number}", "v" * 500) for number in range(20))}, "metadata"),
    ("mailgun", {"metadata": tuple((f"k{number}", "v" * 900) for number in range(20))}, "headers, tags, metadata"),
    ("twilio", {"text": "x" * 1601}, "text"),
    ("twilio", {"validity": 36_001}, "validityPeriod"),
    ("sns", {"text": "ä" * 801}, "text"),
    ("sns", {"validity": 60}, "validityPeriod"),
    ("sns", {"sender": "two words"}, "from"),
    ("termii", {"validity": 60}, "validityPeriod"),
    ("termii", {"sender": "+14155550100"}, "from"),
]


def _call(kind: str, fields: dict[str, Any]) -> Call:
    make = an_email if kind in ("sendgrid", "mailgun", "ses") else a_text
    return make(SETTINGS[kind], **fields)


@pytest.mark.parametrize(("kind", "fields", "named"), CASES, ids=lambda value: str(value)[:40])
def test_the_field_is_named(kind: str, fields: dict[str, Any], named: str) -> None:
    """No request is made, the next provider may be tried, and the words begin with the field."""
    result = BUILD[kind](_call(kind, fields))
    assert isinstance(result, Result)
    assert (result.outcome, result.provider_text.partition(": ")[0]) == (Outcome.UNFIT, named)


@pytest.mark.parametrize("kind", BUILD)
def test_the_rest_is_sent(kind: str) -> None:
    """The same call without anything odd is a request, so the cases above are refused for their field alone."""
    assert not isinstance(BUILD[kind](_call(kind, {})), Result)


def test_every_limit_of_an_http_kind_has_a_case() -> None:
    """A limit that a spec tells people about is one that is enforced."""
    kept = {"tags, metadata"}  # SMS providers have no place for these: they stay with the message
    for spec in (sendgrid.SPEC, mailgun.SPEC, ses.SPEC, twilio.SPEC, termii.SPEC, sns.SPEC):
        told = {part for fields in spec.limits if fields not in kept for part in fields.split(", ")}
        tested = {
            part.partition(".")[0].partition("[")[0]
            for kind, _, named in CASES
            if kind == spec.kind
            for part in named.split(", ")
        }
        assert told == tested, spec.kind


def test_the_content_of_an_email_is_known() -> None:
    """A new field of a message has to be taken up here and by every kind."""
    assert set(EmailContent.__dataclass_fields__) == {
        *("sender", "to", "cc", "bcc", "reply_to", "subject", "text", "html"),
        *("attachments", "headers", "tags", "metadata"),
    }
