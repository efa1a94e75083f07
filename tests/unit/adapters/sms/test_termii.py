"""Termii: the request we write and what we make of its answers."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from services.adapters.base import secret_paths
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from services.adapters.sms.termii import RULES, SPEC, Rule, build, read
from tests.unit.adapters.calls import a_text

CONFIG = {"apiKey": "TLtestkey", "senderId": "Acme"}


def _request(config: dict[str, Any] | None = None, **content: Any) -> httpx.Request:
    request = build(a_text({**CONFIG, **(config or {})}, **content))
    assert isinstance(request, httpx.Request)
    return request


def _body(config: dict[str, Any] | None = None, **content: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(_request(config, **content).content)
    return body


def _read(status: int, body: object) -> Result:
    text = body if isinstance(body, str) else json.dumps(body)
    return read(httpx.Response(status, text=text), a_text(CONFIG))


def test_the_request_is_the_documented_one() -> None:
    """The key travels in the body, the number without its plus, on the generic route unless another is set."""
    request = _request()
    assert str(request.url) == "https://v3.api.termii.com/api/sms/send"
    assert json.loads(request.content) == {
        "api_key": "TLtestkey",
        "to": "2348012345678",
        "from": "Acme",
        "sms": "Your code is 1234",
        "type": "plain",
        "channel": "generic",
    }


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
def test_a_pasted_base_address_is_tidied(suffix: str) -> None:
    """A final slash or /api in the base address is not doubled."""
    request = _request({"baseUrl": f"https://api.ng.termii.com{suffix}"})
    assert str(request.url) == "https://api.ng.termii.com/api/sms/send"


@pytest.mark.parametrize(("sender", "used"), [("Shop24", "Shop24"), ("", "Acme")])
def test_the_messages_sender_wins(sender: str, used: str) -> None:
    """A sender of 3 to 11 letters and digits is used; without one, senderId."""
    assert _body(sender=sender)["from"] == used


@pytest.mark.parametrize(("projects", "used"), [("Shop24", "Shop24"), ("+15005550006", "Acme"), ("Too long!", "Acme")])
def test_the_projects_sender_gives_way_to_the_settings(projects: str, used: str) -> None:
    """The project's sender is for every provider: where Termii cannot carry it, senderId is used."""
    request = build(replace(a_text(CONFIG), project_sender=projects))
    assert isinstance(request, httpx.Request)
    assert json.loads(request.content)["from"] == used


@pytest.mark.parametrize(
    ("field", "values"), [("from", {"sender": "+15005550006"}), ("validityPeriod", {"validity": 60})]
)
def test_what_termii_can_not_say_is_unfit(field: str, values: dict[str, Any]) -> None:
    """A number as sender, or a validity, is refused by name instead of being dropped."""
    result = build(a_text(CONFIG, **values))
    assert isinstance(result, Result)
    assert (result.outcome, result.provider_text.partition(":")[0]) == (Outcome.UNFIT, field)


def test_the_route_is_a_setting() -> None:
    """`channel` chooses the route."""
    assert _body({"channel": "dnd"})["channel"] == "dnd"


def test_an_empty_text_is_invalid_without_a_request() -> None:
    """No provider would take an empty text, so none is asked."""
    result = build(a_text(CONFIG, text=""))
    assert isinstance(result, Result)
    assert result.outcome is Outcome.INVALID


@pytest.mark.parametrize("raw", ['"9122821270554876574"', "9122821270554876574"])
def test_a_64_bit_id_survives_quoted_or_not(raw: str) -> None:
    """The id keeps every digit, whether the account receives it as text or as a number."""
    result = _read(200, f'{{"message_id": {raw}, "message": "Successfully Sent", "balance": 9}}')
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "9122821270554876574")


def test_a_200_without_an_id_has_failed() -> None:
    """An object without message_id is no acceptance: its words decide, and unknown words mean unfit."""
    assert _read(200, {"code": 400, "message": "Insufficient balance"}).reason == Reason.OUT_OF_CREDIT
    novel = _read(200, {"message": "Something new"})
    assert (novel.outcome, novel.provider_text) == (Outcome.UNFIT, "Something new")


@pytest.mark.parametrize("body", ["", '{"message_id": "91228', "<html>hello</html>"])
def test_an_unreadable_200_is_unknown(body: str) -> None:
    """A 200 that cannot be read may have held the id."""
    assert _read(200, body).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.status}-{rule.text}")
def test_every_row_of_the_table_decides(rule: Rule) -> None:
    """Each row's words, in any case and with others around them, give its outcome and reason."""
    result = _read(rule.status or 400, {"message": f"Error: {rule.text.upper()}!"})
    assert (result.outcome, result.reason) == (rule.verdict.outcome, rule.verdict.reason)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.UNFIT),
        (405, Outcome.DENIED),
        (422, Outcome.UNFIT),
        (429, Outcome.DEFERRED),
        (500, Outcome.UNKNOWN),
        (502, Outcome.UNKNOWN),
        (503, Outcome.DEFERRED),
        (504, Outcome.UNKNOWN),
    ],
)
def test_the_status_decides_where_the_words_are_unknown(status: int, outcome: Outcome) -> None:
    """Text or HTML instead of the usual object is kept, and the status decides."""
    result = _read(status, "<h1>Oops: insufficient</h1>" if status >= 500 else "<h1>Oops</h1>")
    assert (result.outcome, result.provider_code) == (outcome, str(status))
    assert "Oops" in result.provider_text


def test_a_missing_route_denies_the_country_only() -> None:
    """A country that is "not set up on this route" is denied, and the others are not."""
    assert _read(400, {"message": "Country not set up on this route"}).scope == "country:NG"


def test_a_refused_sender_denies_that_sender_only() -> None:
    """An unapproved sender id stops that sender and leaves the others."""
    assert _read(400, {"message": "Invalid Sender ID"}).scope == "sender:Acme"


def test_a_do_not_disturb_number_is_unfit_not_invalid() -> None:
    """Another provider on a dnd route may still reach the number."""
    assert _read(400, {"message": "DND Active on Phone Number"}).outcome is Outcome.UNFIT


def test_every_secret_is_marked() -> None:
    """The key and what reports are signed with are write-only, and nothing else is."""
    assert secret_paths(SPEC) == (("apiKey",), ("webhookSecret",))


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (CONFIG, []),
        ({}, ["apiKey", "senderId"]),
        ({**CONFIG, "senderId": "A!"}, ["senderId"]),
        ({**CONFIG, "channel": "voice"}, ["channel"]),
        ({**CONFIG, "baseUrl": "termii.com"}, ["baseUrl"]),
        ({**CONFIG, "api_key": "x"}, ["api_key"]),
    ],
)
def test_settings_are_checked(config: dict[str, Any], paths: list[str]) -> None:
    """Every fault of the settings is named by its path."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths
