"""Twilio: the request of providers.md §5.2 and the codes of §5.4."""

import base64
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import pytest

from services.adapters.base import Call
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from services.adapters.sms.twilio import CODES, SPEC, build, read
from tests.unit.adapters.calls import a_text

SID = "AC" + "0" * 32
SERVICE = "MG" + "0" * 32
CONFIG = {"accountSid": SID, "authToken": "token", "fromNumber": "+15005550006"}
A, B, C, F, D = Outcome.INVALID, Outcome.DENIED, Outcome.DEFERRED, Outcome.UNFIT, Outcome.UNKNOWN


def form_of(call: Call) -> dict[str, str]:
    """The form the call becomes."""
    request = build(call)
    assert isinstance(request, httpx.Request)
    return dict(parse_qsl(request.content.decode()))


def test_request() -> None:
    """The whole request, as the documentation shows it; what is left until the deadline goes along as validity."""
    request = build(a_text(CONFIG, text="Kód 1234 & more"))
    assert isinstance(request, httpx.Request)
    assert (request.method, str(request.url)) == (
        "POST",
        f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json",
    )
    assert request.headers["authorization"] == "Basic " + base64.b64encode(f"{SID}:token".encode()).decode()
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(request.content.decode())) == {
        "To": "+2348012345678", "Body": "Kód 1234 & more", "From": "+15005550006", "ValidityPeriod": "3600",
    }  # fmt: skip


def test_api_key() -> None:
    """An API key may stand in for the auth token; the account stays in the URL."""
    config = {"accountSid": SID, "apiKeySid": "SK" + "0" * 32, "apiKeySecret": "s", "fromNumber": "+15005550006"}
    request = build(a_text(config))
    assert isinstance(request, httpx.Request)
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"SK" + b"0" * 32 + b":s").decode()
    assert SID in str(request.url)


@pytest.mark.parametrize(
    ("config", "sender", "expected"),
    [
        ({"fromNumber": "+15005550006"}, "", {"From": "+15005550006"}),
        ({"fromNumber": None, "messagingServiceSid": SERVICE}, "", {"MessagingServiceSid": SERVICE}),
        ({"messagingServiceSid": SERVICE}, "", {"From": "+15005550006", "MessagingServiceSid": SERVICE}),
        ({"messagingServiceSid": SERVICE}, "Shop", {"From": "Shop"}),
        ({}, SERVICE, {"MessagingServiceSid": SERVICE}),
    ],
)
def test_sender(config: dict[str, Any], sender: str, expected: dict[str, str]) -> None:
    """The message's own sender wins over the settings."""
    form = form_of(a_text({**CONFIG, **config}, sender=sender))
    assert {name: value for name, value in form.items() if name in ("From", "MessagingServiceSid")} == expected


def test_status_callback() -> None:
    """Our ids go along in the callback's address, beside what is there."""
    form = form_of(a_text({**CONFIG, "statusCallbackUrl": "https://hooks.example.com/t"}))
    query = parse_qs(urlsplit(form["StatusCallback"]).query)
    assert query == {"messagepipe_id": ["0199a5f0-0000-7000-8000-000000000001"], "messagepipe_attempt": ["1"]}


@pytest.mark.parametrize(
    ("content", "config", "outcome", "reason"),
    [
        ({"text": ""}, {}, A, Reason.CONTENT_INVALID),
        ({"text": "x" * 1601}, {}, F, Reason.TOO_LARGE),
        ({}, {"fromNumber": None}, F, Reason.SENDER_MISSING),
    ],
)
def test_refused_on_the_spot(content: dict[str, Any], config: dict[str, Any], outcome: Outcome, reason: Reason) -> None:
    """What Twilio would refuse for sure is not sent to it."""
    result = build(a_text({**CONFIG, **config}, **content))
    assert isinstance(result, Result)
    assert (result.outcome, result.reason) == (outcome, reason)


SHEET = {
    21211: A, 21614: A, 21635: A, 21265: A, 21268: A, 21266: A, 21610: A, 21602: A, 21604: A, 21617: F, 20003: B,
    20404: B,
    21212: B, 21606: B, 21659: B, 21660: B, 21661: B, 21603: B, 21267: B, 21608: B, 572002: B, 572005: B, 21408: B,
    21612: B,
    21704: B, 63007: B, 30037: B, 20429: C, 21611: C, 20500: D,
}  # fmt: skip


def test_the_table_is_the_sheet() -> None:
    """The table holds every code of the sheet, with its class, and no other."""
    assert {code: verdict.outcome for code, verdict in CODES.items()} == SHEET


@pytest.mark.parametrize("code", CODES)
def test_codes(code: int) -> None:
    """A code decides whatever the status is; Twilio's words are kept; a denial names how far it reaches."""
    result = read(httpx.Response(400, json={"code": code, "message": "words", "status": 400}), a_text(CONFIG))
    assert (result.outcome, result.provider_code, result.provider_text) == (SHEET[code], str(code), "words")
    country, sender = {21408, 21612}, {21212, 21606, 21659, 21660, 21661, 63007}
    assert result.scope == ("country:NG" if code in country else "sender:+15005550006" if code in sender else "")


@pytest.mark.parametrize(
    ("status", "outcome"), [(400, F), (401, B), (403, B), (404, B), (429, C), (500, D), (502, D), (503, C), (504, D)]
)
@pytest.mark.parametrize("body", [b"", b"oops", b'{"code": 99999, "message": "new"}', b'{"code": "21211"}', b"[]"])
def test_codes_nobody_knows(status: int, outcome: Outcome, body: bytes) -> None:
    """A code that is not in the table is decided by the status."""
    assert read(httpx.Response(status, content=body), a_text(CONFIG)).outcome is outcome


def test_accepted_without_an_id() -> None:
    """A 201 nobody can read is accepted without an id: never sent again."""
    result = read(httpx.Response(201, content=b"oops"), a_text(CONFIG))
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "")


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (CONFIG, []),
        ({"accountSid": SID, "authToken": "t", "messagingServiceSid": SERVICE}, []),
        ({**CONFIG, "fromNumber": "Shop"}, []),
        ({}, ["accountSid", "authToken", "fromNumber"]),
        ({**CONFIG, "accountSid": "AC1", "fromNumber": "0049"}, ["accountSid"]),
        ({**CONFIG, "fromNumber": "+0049 12"}, ["fromNumber"]),
        ({"accountSid": SID, "apiKeySid": "SK" + "0" * 32, "fromNumber": "12345"}, ["apiKeySecret"]),
    ],
)
def test_settings(config: dict[str, Any], paths: list[str]) -> None:
    """A token or an API key, a number or a service: what is missing is told by its name."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths
