"""Mailgun: the request we write and what we make of its answers."""

import json
from base64 import b64decode
from email import message_from_bytes
from email.policy import HTTP
from typing import Any, cast
from urllib.parse import parse_qs

import httpx
import pytest

from services.adapters.base import Address, Attachment, secret_paths
from services.adapters.email.mailgun import RULES, SPEC, Rule, build, read
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from tests.unit.adapters.calls import TO, an_email

CONFIG = {"apiKey": "key-test", "domain": "mg.example.com"}
OPTIONS = {"v:messagepipe_id": ["0199a5f0-0000-7000-8000-000000000001"], "v:messagepipe_attempt": ["1"]}
DATE = {"date": "Mon, 25 Aug 2025 07:00:01 GMT"}


def _build(config: dict[str, Any] | None = None, **content: Any) -> httpx.Request | Result:
    return build(an_email({**CONFIG, **(config or {})}, **content))


def _request(config: dict[str, Any] | None = None, **content: Any) -> httpx.Request:
    request = _build(config, **content)
    assert isinstance(request, httpx.Request)
    return request


def _refused(**content: Any) -> tuple[Outcome, str]:
    result = _build(**content)
    assert isinstance(result, Result)
    return result.outcome, result.reason


def _read(status: int, body: object, headers: dict[str, str] | None = None) -> Result:
    text = body if isinstance(body, str) else json.dumps(body)
    return read(httpx.Response(status, text=text, headers=headers), an_email(CONFIG))


def _parts(request: httpx.Request) -> list[tuple[str, str | None, str, bytes]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + request.read(), policy=HTTP)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_content_type(),
            cast("bytes", part.get_payload(decode=True)),
        )
        for part in message.iter_parts()
    ]


def test_the_request_is_the_documented_one() -> None:
    """A form POST to the domain's messages, HTTP Basic with user `api`; our ids go along as variables."""
    request = _request(html="<p>Thank you.</p>")
    assert (request.method, str(request.url)) == ("POST", "https://api.mailgun.net/v3/mg.example.com/messages")
    assert b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"api:key-test"
    assert parse_qs(request.content.decode()) == {
        "from": ['"Shop" <shop@example.com>'],
        "to": ['"Ada" <ada@example.net>'],
        "subject": ["Your receipt"],
        "text": ["Thank you."],
        "html": ["<p>Thank you.</p>"],
        **OPTIONS,
    }


def test_everything_else_has_its_field() -> None:
    """Copies, reply-to, headers and tags are repeated fields with the documented names."""
    copies = (Address(email="b@example.net"), Address(email="c@example.net"))
    form = parse_qs(
        _request(
            cc=copies,
            bcc=(Address(email="d@example.net"),),
            reply_to=Address(email="help@example.com", name="Help"),
            headers=(("X-Order", "7"), ("X-Order", "8")),
            tags=("receipt", "receipt", "de"),
        ).content.decode()
    )
    assert form["cc"] == ["<b@example.net>", "<c@example.net>"]
    assert form["bcc"] == ["<d@example.net>"]
    assert form["h:Reply-To"] == ['"Help" <help@example.com>']
    assert form["h:X-Order"] == ["7", "8"]
    assert form["o:tag"] == ["receipt", "de"]


def test_metadata_are_variables() -> None:
    """The caller's data are v: fields beside our two, which nobody's metadata can replace."""
    form = parse_qs(_request(metadata=(("customer", "42"), ("messagepipe_id", "forged"))).content.decode())
    assert form["v:customer"] == ["42"]
    assert form["v:messagepipe_id"] == ["0199a5f0-0000-7000-8000-000000000001"]


def test_attachments_are_named_parts() -> None:
    """Files travel as multipart; an inline image is named by its content id, and no part is without a file name."""
    parts = _parts(
        _request(
            attachments=(
                Attachment(filename="invoice.pdf", content_type="application/pdf", content=b"%PDF\r\n.\r\n"),
                Attachment(filename="logo.png", content_type="image/png", content=b"\x89PNG", content_id="logo"),
                Attachment(filename="", content_type="", content=b"x"),
            )
        )
    )
    assert [part for part in parts if part[0] in ("attachment", "inline")] == [
        ("attachment", "invoice.pdf", "application/pdf", b"%PDF\r\n.\r\n"),
        ("inline", "logo", "image/png", b"\x89PNG"),
        ("attachment", "attachment", "application/octet-stream", b"x"),
    ]
    assert ("subject", None, "text/plain", b"Your receipt") in parts


@pytest.mark.parametrize(
    ("config", "base"),
    [
        ({"region": "eu"}, "https://api.eu.mailgun.net"),
        ({"baseUrl": "http://127.0.0.1:9000/"}, "http://127.0.0.1:9000"),
        ({"baseUrl": "https://api.eu.mailgun.net/v3", "region": "us"}, "https://api.eu.mailgun.net"),
    ],
)
def test_the_region_or_the_base_address_chooses_the_host(config: dict[str, Any], base: str) -> None:
    """`region` picks Mailgun's host, `baseUrl` any other; a pasted /v3 is not doubled."""
    assert str(_request(config).url) == f"{base}/v3/mg.example.com/messages"


def test_names_are_quoted() -> None:
    """A name with commas and quotes cannot add a recipient; a domain beyond ASCII becomes A-labels."""
    sender = Address(email="a@bücher.example", name='Bücher, "Shop" <x@y.z>')
    form = parse_qs(_request(sender=sender).content.decode())
    assert form["from"] == ['"Bücher, \\"Shop\\" <x@y.z>" <a@xn--bcher-kva.example>']


def test_the_settings_sender_is_used_when_nobody_names_one() -> None:
    """Without a sender of the message or project, fromEmail and fromName are it; without those the message is unfit."""
    form = parse_qs(_request({"fromEmail": "no@mg.example.com", "fromName": "No"}, sender=None).content.decode())
    assert form["from"] == ['"No" <no@mg.example.com>']
    assert _refused(sender=None) == (Outcome.UNFIT, Reason.SENDER_MISSING)


@pytest.mark.parametrize(
    ("content", "outcome", "reason"),
    [
        ({"bcc": (TO,) * 1000}, Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS),
        ({"text": ""}, Outcome.INVALID, Reason.CONTENT_INVALID),
        ({"to": Address(email="jörg@example.com")}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
        ({"tags": ("a", "b", "c", "d")}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
        ({"tags": ("grün",)}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
        ({"tags": ("a\r\nBcc: x@y.z",)}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
        ({"tags": ("a" * 129,)}, Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED),
        ({"headers": (("X-Long", "x" * 16_000),)}, Outcome.UNFIT, Reason.TOO_LARGE),
        ({"text": "x" * 25_000_001}, Outcome.UNFIT, Reason.TOO_LARGE),
    ],
)
def test_what_mailgun_would_refuse_is_not_sent(content: dict[str, Any], outcome: Outcome, reason: Reason) -> None:
    """Documented limits are compared before anything is sent."""
    assert _refused(**content) == (outcome, reason)


def test_the_size_counts_attachments_as_base64() -> None:
    """18.5 MB of attachment are more than 25 MB of mail."""
    part = Attachment(filename="a", content_type="", content=bytes(18_500_000))
    assert _refused(attachments=(part,)) == (Outcome.UNFIT, Reason.TOO_LARGE)


@pytest.mark.parametrize(
    "content",
    [
        {"subject": "Hi\r\nBcc: evil@example.org"},
        {"to": Address(email="ada@example.net", name="Ada\nBcc: evil@example.org")},
        {"to": Address(email="ada@example.net>, <evil@example.org")},
        {"headers": (("X-A", "1\r\nBcc: evil@example.org"),)},
        {"headers": (("X-A: 1\r\nBcc", "evil@example.org"),)},
        {"headers": (("Bcc", "evil@example.org"),)},
    ],
)
def test_a_header_cannot_be_smuggled_in(content: dict[str, Any]) -> None:
    """A line break or a reserved name in anything that becomes a header raises, and no request exists."""
    with pytest.raises(ValueError, match=r"line break|header name|set by messagepipe|envelope"):
        _build(**content)


def test_accepted_gives_the_id_without_brackets() -> None:
    """Webhooks name the id without angle brackets, so it is kept that way."""
    result = _read(200, {"id": "<20240101.1@mg.example.com>", "message": "Queued. Thank you."})
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "20240101.1@mg.example.com")


@pytest.mark.parametrize("body", ["Mailgun Magnificent API", "<html>login</html>", {"message": "hello"}])
def test_a_200_without_an_id_is_denied(body: object) -> None:
    """A wrong path answers 200 too: nobody took the message and the settings are wrong."""
    assert (_read(200, body).outcome, _read(200, body).reason) == (Outcome.DENIED, Reason.MISCONFIGURED)


@pytest.mark.parametrize("body", ['{"id": "<2024', ""])
def test_a_200_that_breaks_off_is_unknown(body: str) -> None:
    """What was cut may have been the id."""
    assert _read(200, body).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "message", "outcome", "reason"),
    [
        (400, "to parameter is not a valid address. please check documentation", "INVALID", "RECIPIENT_INVALID"),
        (400, "'to' parameter is not a valid address. please check documentation", "INVALID", "RECIPIENT_INVALID"),
        (400, "cc parameter is not a valid address", "INVALID", "RECIPIENT_INVALID"),
        (400, "bcc parameter is not a valid address", "INVALID", "RECIPIENT_INVALID"),
        (400, "h:Reply-To parameter is not a valid address", "UNFIT", "REQUEST_REFUSED"),
        (400, "from parameter is not a valid address", "DENIED", "SENDER_REFUSED"),
        (400, "to parameter is missing", "INVALID", "CONTENT_INVALID"),
        (400, "Need at least one of 'text' or 'html' parameters specified", "INVALID", "CONTENT_INVALID"),
        (400, "Header name must be ASCII", "INVALID", "CONTENT_INVALID"),
        (400, "Too many recipients, max is 1000", "UNFIT", "TOO_MANY_RECIPIENTS"),
        (400, "o:, h:, v: and t: options are limited to 16kB", "UNFIT", "TOO_LARGE"),
        (400, "Sandbox subdomains are for test purposes only. Please add your own domain", "DENIED", "TRIAL_ACCOUNT"),
        (403, "Domain mg.example.com is not allowed to send: disabled", "DENIED", "ACCOUNT_SUSPENDED"),
        (401, "Forbidden", "DENIED", "CREDENTIALS"),
        (402, "Payment required", "DENIED", "OUT_OF_CREDIT"),
        (403, "You can't send large batches yet", "DENIED", "PERMISSION"),
        (404, "Domain not found: mg.example.com", "DENIED", "MISCONFIGURED"),
        (413, "Too large", "UNFIT", "TOO_LARGE"),
        (420, "Slow down", "DEFERRED", "RATE_LIMITED"),
        (429, "Slow down", "DEFERRED", "RATE_LIMITED"),
        (400, "Something new", "UNFIT", "REQUEST_REFUSED"),
        (500, "Too many recipients", "UNKNOWN", "SERVER_ERROR"),
        (502, "Bad gateway", "UNKNOWN", "SERVER_ERROR"),
        (503, "Unavailable", "DEFERRED", "UNAVAILABLE"),
        (504, "Timeout", "UNKNOWN", "SERVER_ERROR"),
    ],
)
def test_each_answer_has_its_meaning(status: int, message: str, outcome: str, reason: str) -> None:
    """Words decide where Mailgun has known words, the status elsewhere; the words are kept."""
    result = _read(status, {"message": message})
    assert (result.outcome, result.reason, result.provider_text) == (outcome, reason, message)


def test_no_row_of_the_table_is_dead() -> None:
    """Every row can be reached: none is hidden behind an earlier, wider one."""
    for index, rule in enumerate(RULES):
        assert not [earlier for earlier in RULES[:index] if _hides(earlier, rule)], rule


def _hides(earlier: Rule, later: Rule) -> bool:
    return earlier.status in (0, later.status) and earlier.pattern in ("", later.pattern)


def test_a_plain_text_401_is_understood() -> None:
    """Mailgun's 401 may be the bare word Forbidden."""
    assert (_read(401, "Forbidden").reason, _read(401, "Forbidden").provider_text) == ("CREDENTIALS", "Forbidden")


@pytest.mark.parametrize("status", [420, 429, 403])
def test_a_limit_wrapped_as_not_allowed_is_deferred_until_its_date(status: int) -> None:
    """Mailgun calls a passing limit "not allowed to send" too; the wait is counted by the answer's own clock."""
    words = "Domain mg.example.com is not allowed to send: recipient limit exceeded, try again after %s"
    result = _read(status, {"message": words % "Mon, 25 Aug 2025 07:00:31 UTC"}, DATE)
    assert (result.outcome, result.retry_after) == (Outcome.DEFERRED, 30.0)


@pytest.mark.parametrize(
    ("until", "headers", "wait"),
    [
        ("Mon, 25 Aug 2025 07:00:31 UTC", {}, None),
        ("Mon, 25 Aug 2025 06:00:00 UTC", DATE, 0.0),
        ("Mon, 25 Aug 2035 06:00:00 UTC", DATE, 86_400.0),
        ("some other day, perhaps", DATE, None),
        ("Mon, 99 Aug 2025 07:00:31 UTC", DATE, None),
    ],
)
def test_a_date_that_makes_no_sense_is_not_obeyed(until: str, headers: dict[str, str], wait: float | None) -> None:
    """A past date is now, a far one a day; an unreadable one, or one without a Date header, is left to the headers."""
    result = _read(429, {"message": f"request limit exceeded, try again after {until}"}, headers)
    assert (result.outcome, result.retry_after) == (Outcome.DEFERRED, wait)


def test_every_secret_is_marked() -> None:
    """The two keys are write-only, and nothing else is."""
    assert secret_paths(SPEC) == (("apiKey",), ("webhookSigningKey",))


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (CONFIG, []),
        ({**CONFIG, "region": "eu", "fromEmail": "a@b.example", "fromName": "A"}, []),
        ({}, ["apiKey", "domain"]),
        ({**CONFIG, "domain": "mg.example.com/../x"}, ["domain"]),
        ({**CONFIG, "domain": "https://mg.example.com"}, ["domain"]),
        ({**CONFIG, "region": "EU"}, ["region"]),
        ({**CONFIG, "baseUrl": "api.mailgun.net"}, ["baseUrl"]),
        ({**CONFIG, "fromEmail": "nobody"}, ["fromEmail"]),
        ({**CONFIG, "apikey": "x"}, ["apikey"]),
    ],
)
def test_settings_are_checked(config: dict[str, Any], paths: list[str]) -> None:
    """Every fault of the settings is named by its path; a domain cannot smuggle in another path."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths


def test_test_mode() -> None:
    """The setting asks Mailgun to deliver nothing; without it the field is not sent."""
    asked = [parse_qs(_request({"testMode": on}).content.decode()).get("o:testmode") for on in (True, False)]
    assert asked == [["yes"], None]
