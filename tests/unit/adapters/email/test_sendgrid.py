"""SendGrid: the request of providers.md §1.2 and the answers of §1.4."""

import json
from typing import Any

import httpx
import pytest

from services.adapters.base import Address, Attachment, Call
from services.adapters.email.sendgrid import CODES, SPEC, build, read
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from tests.unit.adapters.calls import an_email

CONFIG = {"apiKey": "SG.key"}


def request_of(call: Call) -> httpx.Request:
    """The request the call becomes."""
    request = build(call)
    assert isinstance(request, httpx.Request)
    return request


def body_of(call: Call) -> Any:
    """Its JSON body."""
    return json.loads(request_of(call).content)


def test_request() -> None:
    """The whole request, as the documentation shows it."""
    call = an_email(
        CONFIG,
        html="<b>x</b>",
        cc=(Address(email="c@example.com"),),
        bcc=(Address(email="d@example.com"),),
        reply_to=Address(email="r@example.com"),
        attachments=(
            Attachment(filename="a.png", content_type="image/png", content=b"\x89", content_id="logo"),
            Attachment(filename="b.bin", content_type="", content=b"b"),
        ),
        headers=(("X-Entity-Ref", "1"),),
        tags=("receipts", "receipts"),
        metadata=(("order", "17"),),
    )
    request = request_of(call)
    assert (request.method, str(request.url), request.headers["authorization"]) == (
        "POST",
        "https://api.sendgrid.com/v3/mail/send",
        "Bearer SG.key",
    )
    assert body_of(call) == {
        "personalizations": [
            {
                "to": [{"email": "ada@example.net", "name": "Ada"}],
                "cc": [{"email": "c@example.com"}],
                "bcc": [{"email": "d@example.com"}],
                "custom_args": {"order": "17", "messagepipe_id": call.message_id, "messagepipe_attempt": "1"},
            }
        ],
        "from": {"email": "shop@example.com", "name": "Shop"},
        "reply_to": {"email": "r@example.com"},
        "subject": "Your receipt",
        "content": [{"type": "text/plain", "value": "Thank you."}, {"type": "text/html", "value": "<b>x</b>"}],
        "attachments": [
            {
                "content": "iQ==",
                "filename": "a.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "logo",
            },
            {"content": "Yg==", "filename": "b.bin", "type": "application/octet-stream", "disposition": "attachment"},
        ],
        "headers": {"X-Entity-Ref": "1"},
        "categories": ["receipts"],
    }


def test_options() -> None:
    """Settings of ours go where SendGrid wants them."""
    call = an_email(
        {
            **CONFIG,
            "baseUrl": "https://api.eu.sendgrid.com/",
            "onBehalfOf": "sub",
            "ipPoolName": "pool",
            "sandboxMode": True,
        }
    )
    assert str(request_of(call).url) == "https://api.eu.sendgrid.com/v3/mail/send"
    assert request_of(call).headers["on-behalf-of"] == "sub"
    assert (body_of(call)["ip_pool_name"], body_of(call)["mail_settings"]) == (
        "pool",
        {"sandbox_mode": {"enable": True}},
    )


def test_same_address_twice() -> None:
    """An address that is in two lists is sent once: SendGrid refuses repetitions."""
    lists = body_of(
        an_email(CONFIG, cc=(Address(email="ADA@example.net"), Address(email="c@x.co")), bcc=(Address(email="c@x.co"),))
    )
    (personalization,) = lists["personalizations"]
    assert [address["email"] for address in personalization["cc"]] == ["c@x.co"]
    assert "bcc" not in personalization


@pytest.mark.parametrize(
    ("content", "config", "outcome", "reason"),
    [
        ({"sender": None}, {}, Outcome.UNFIT, Reason.SENDER_MISSING),
        ({"text": ""}, {}, Outcome.INVALID, Reason.CONTENT_INVALID),
        ({"subject": ""}, {}, Outcome.INVALID, Reason.CONTENT_INVALID),
        (
            {"cc": tuple(Address(email=f"a{n}@x.co") for n in range(1000))},
            {},
            Outcome.UNFIT,
            Reason.TOO_MANY_RECIPIENTS,
        ),
        ({"text": "x" * 30_000_000}, {}, Outcome.UNFIT, Reason.TOO_LARGE),
        ({"to": Address(email="jörg@x.co")}, {}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
    ],
)
def test_refused_on_the_spot(content: dict[str, Any], config: dict[str, Any], outcome: Outcome, reason: Reason) -> None:
    """What SendGrid would refuse for sure is not sent to it."""
    result = build(an_email({**CONFIG, **config}, **content))
    assert isinstance(result, Result)
    assert (result.outcome, result.reason) == (outcome, reason)


def test_sender_of_the_settings() -> None:
    """Without a sender on the message the settings' one is used."""
    assert body_of(an_email({**CONFIG, "fromEmail": "own@x.co", "fromName": "Own; Inc"}, sender=None))["from"] == {
        "email": "own@x.co",
        "name": "Own; Inc",
    }


SAMPLES = [
    (400, "to", "There is a limit of 1000 total recipients (to + cc + bcc) per request.", Outcome.UNFIT, ""),
    (400, "from.email", "The from email does not contain a valid address.", Outcome.DENIED, "sender:shop@example.com"),
    (400, "reply_to.email", "bad", Outcome.INVALID, ""),
    (400, "personalizations.0.to.0.email", "Does not contain a valid address.", Outcome.INVALID, ""),
    (400, "personalizations", "Each email address in the personalization block should be unique", Outcome.INVALID, ""),
    (400, "subject", "The subject is required.", Outcome.INVALID, ""),
    (400, "content.0.value", "must be a string at least one character", Outcome.INVALID, ""),
    (400, "attachments.0.content", "must be base64", Outcome.UNFIT, ""),
    (400, "categories", "at most 10", Outcome.UNFIT, ""),
    (400, None, "from does not match a verified Sender Identity", Outcome.DENIED, "sender:shop@example.com"),
    (400, None, "whatever", Outcome.UNFIT, ""),
    (401, None, "Maximum credits exceeded", Outcome.DENIED, ""),
    (401, None, "authorization required", Outcome.DENIED, ""),
    (
        403,
        "from",
        "The from address does not match a verified Sender Identity.",
        Outcome.DENIED,
        "sender:shop@example.com",
    ),
    (403, None, "access forbidden", Outcome.DENIED, ""),
    (404, None, "not found", Outcome.DENIED, ""),
    (413, None, "payload too large", Outcome.UNFIT, ""),
    (429, None, "too many requests", Outcome.DEFERRED, ""),
    (500, None, "internal", Outcome.UNKNOWN, ""),
    (503, None, "unavailable", Outcome.DEFERRED, ""),
]


@pytest.mark.parametrize(("status", "field", "message", "outcome", "scope"), SAMPLES)
def test_codes(status: int, field: str | None, message: str, outcome: Outcome, scope: str) -> None:
    """Each row of the sheet means what the sheet says, and SendGrid's words are kept."""
    result = read(
        httpx.Response(status, json={"errors": [{"message": message, "field": field, "help": None}]}), an_email(CONFIG)
    )
    assert (result.outcome, result.scope, result.provider_code, result.provider_text) == (
        outcome,
        scope,
        str(status),
        message,
    )


def test_every_row_is_reached() -> None:
    """Each row of the table has a sample that reaches it: no row is dead."""
    reached = set()
    for status, field, message, _, _ in SAMPLES:
        result = read(httpx.Response(status, json={"errors": [{"message": message, "field": field}]}), an_email(CONFIG))
        reached.add((status, result.outcome, result.reason))
    assert {(row.status, row.verdict.outcome, row.verdict.reason) for row in CODES} <= reached


@pytest.mark.parametrize("status", [200, 202])
def test_accepted_without_an_id(status: int) -> None:
    """An accepted message may come without an id; it is accepted all the same."""
    result = read(httpx.Response(status), an_email(CONFIG))
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "")


@pytest.mark.parametrize("body", [b"", b"oops", b'{"errors": 7}', b'{"errors": ["x", {"field": 7, "message": null}]}'])
def test_odd_bodies(body: bytes) -> None:
    """An error in words nobody expects is decided by its status."""
    assert read(httpx.Response(503, content=body), an_email(CONFIG)).outcome is Outcome.DEFERRED


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ({"apiKey": "SG.x"}, []),
        ({}, ["apiKey"]),
        ({"apiKey": "a b", "baseUrl": "sendgrid"}, ["apiKey", "baseUrl"]),
        ({"api_key": "x"}, ["apiKey", "api_key"]),
    ],
)
def test_settings(config: dict[str, Any], paths: list[str]) -> None:
    """Only the key is required; mistakes are told all at once."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths
