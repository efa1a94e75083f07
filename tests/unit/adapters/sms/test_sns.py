"""Amazon SNS: the request we write and what we make of its answers."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import botocore.session
import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from services.adapters.aws import Rule
from services.adapters.base import secret_paths
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from services.adapters.sms.sns import RULES, SPEC, build, kind, read
from tests.fakes.clock import START, FakeClock
from tests.unit.adapters.calls import NUMBER, a_text

CONFIG: dict[str, Any] = {
    "accessKeyId": "AKIDEXAMPLE",
    "secretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "region": "eu-west-1",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _request(config: dict[str, Any] | None = None, **content: Any) -> httpx.Request:
    request = build(a_text({**CONFIG, **(config or {})}, **content), NOW)
    assert isinstance(request, httpx.Request)
    return request


def _form(config: dict[str, Any] | None = None, **content: Any) -> dict[str, str]:
    return dict(parse_qsl(_request(config, **content).content.decode()))


def _attributes(config: dict[str, Any] | None = None, **content: Any) -> dict[str, tuple[str, str]]:
    form = _form(config, **content)
    names = {key.removesuffix(".Name"): name for key, name in form.items() if key.endswith(".Name")}
    return {name: (form[f"{at}.Value.DataType"], form[f"{at}.Value.StringValue"]) for at, name in names.items()}


def _error(status: int, code: str, message: str, **content: Any) -> Result:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return read(httpx.Response(status, text=body), a_text(CONFIG, **content))


def _what_botocore_sends(**arguments: Any) -> AWSPreparedRequest:
    """The request of the official client for the same call, caught before it leaves."""
    caught: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        caught.append(request)
        return AWSResponse(request.url, 200, {}, _Empty())

    session = botocore.session.Session()
    client = session.create_client(
        "sns",
        region_name=CONFIG["region"],
        aws_access_key_id=CONFIG["accessKeyId"],
        aws_secret_access_key=CONFIG["secretAccessKey"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.meta.events.register("before-send.sns", answer)
    client.publish(**arguments)
    return caught[0]


class _Empty:
    """The body of an answer as botocore reads it."""

    def stream(self, **_: Any) -> list[bytes]:
        return [b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"]


def test_the_wire_is_what_the_official_client_writes() -> None:
    """URL, content type and every form field equal those of botocore's own client for the same call."""
    ours = _request({"senderId": "Acme", "smsType": "Transactional", "maxPrice": 0.5}, text="Grüße & \U0001f600 +1")
    theirs = _what_botocore_sends(
        PhoneNumber=NUMBER,
        Message="Grüße & \U0001f600 +1",
        MessageAttributes={
            "AWS.SNS.SMS.SenderID": {"DataType": "String", "StringValue": "Acme"},
            "AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"},
            "AWS.SNS.SMS.MaxPrice": {"DataType": "Number", "StringValue": "0.5"},
        },
    )
    assert (ours.method, str(ours.url)) == (theirs.method, theirs.url)
    assert sorted(parse_qsl(ours.content.decode())) == sorted(parse_qsl(theirs.body))
    assert ours.headers["content-type"].encode() == theirs.headers["Content-Type"]


def test_the_request_is_signed_at_the_clocks_time() -> None:
    """The adapter's clock dates the signature."""
    request = kind(FakeClock()).build(a_text(CONFIG))
    assert isinstance(request, httpx.Request)
    assert request.headers["x-amz-date"] == START.strftime("%Y%m%dT%H%M%SZ")
    assert "/eu-west-1/sns/aws4_request" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("sender", "config", "expected"),
    [
        ("Shop24", {"senderId": "Acme"}, {"AWS.SNS.SMS.SenderID": ("String", "Shop24")}),
        ("+15005550006", {"senderId": "Acme"}, {"AWS.MM.SMS.OriginationNumber": ("String", "+15005550006")}),
        ("", {"senderId": "Acme"}, {"AWS.SNS.SMS.SenderID": ("String", "Acme")}),
        ("", {"originationNumber": "12345"}, {"AWS.MM.SMS.OriginationNumber": ("String", "12345")}),
        ("", {}, {}),
    ],
)
def test_the_messages_sender_wins_where_sns_can_carry_it(
    sender: str, config: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    """A sender id or a number goes into the attribute for it; without one the settings' is used."""
    assert _attributes(config, sender=sender) == expected


@pytest.mark.parametrize(("projects", "used"), [("Shop24", "Shop24"), ("Not for SNS!", "Acme")])
def test_the_projects_sender_gives_way_to_the_settings(projects: str, used: str) -> None:
    """The project's sender is for every provider: where SNS cannot carry it, the settings' is used."""
    request = build(replace(a_text({**CONFIG, "senderId": "Acme"}), project_sender=projects), NOW)
    assert isinstance(request, httpx.Request)
    assert dict(parse_qsl(request.content.decode()))["MessageAttributes.entry.1.Value.StringValue"] == used


@pytest.mark.parametrize("config", [{}, {"senderId": "Acme"}])
def test_a_messages_own_sender_that_fits_not_is_unfit(config: dict[str, Any]) -> None:
    """A sender was asked for and SNS can not send it: the field is named, and nobody else's name is used."""
    result = build(a_text({**CONFIG, **config}, sender="Not for SNS!"), NOW)
    assert isinstance(result, Result)
    assert (result.outcome, result.reason) == (Outcome.UNFIT, Reason.SENDER_MISSING)
    assert "senderId" in result.provider_text


def test_indian_registration_ids_are_sent() -> None:
    """Entity and template ids travel as attributes of their own."""
    assert _attributes({"entityId": "1101", "templateId": "2202"}) == {
        "AWS.MM.SMS.EntityId": ("String", "1101"),
        "AWS.MM.SMS.TemplateId": ("String", "2202"),
    }


@pytest.mark.parametrize(("text", "fits"), [("x" * 1600, True), ("x" * 1601, False), ("ü" * 801, False)])
def test_the_limit_is_in_bytes(text: str, fits: bool) -> None:
    """SNS takes 1600 bytes of UTF-8, so 801 two-byte letters are too many."""
    result = build(a_text(CONFIG, text=text), NOW)
    assert isinstance(result, httpx.Request) is fits
    if isinstance(result, Result):
        assert (result.outcome, result.reason) == (Outcome.UNFIT, Reason.TOO_LARGE)


def test_an_empty_text_is_invalid_without_a_request() -> None:
    """No provider would take an empty text, so none is asked."""
    result = build(a_text(CONFIG, text=""), NOW)
    assert isinstance(result, Result)
    assert result.outcome is Outcome.INVALID


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<PublishResponse><PublishResult><MessageId>5c8a</MessageId></PublishResult></PublishResponse>", "5c8a"),
        ("<PublishResponse><PublishRes", ""),
        ("", ""),
    ],
)
def test_a_200_is_accepted_even_without_an_id(body: str, found: str) -> None:
    """The status says it was taken; an answer that cannot be read only costs the id."""
    result = read(httpx.Response(200, text=body), a_text(CONFIG))
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.code}-{rule.text}")
def test_every_row_of_the_table_decides(rule: Rule) -> None:
    """Each row's code and words give its outcome and reason."""
    code = "UserError" if rule.code == "*" else rule.code
    result = _error(400, code, f"Invalid: {rule.text.upper()}")
    assert (result.outcome, result.reason) == (rule.verdict.outcome, rule.verdict.reason)


def test_a_missing_origination_identity_denies_the_country_only() -> None:
    """Countries differ in what sender they need: only this one is denied."""
    result = _error(400, "UserError", "No origination entities available to send")
    assert (result.outcome, result.scope) == (Outcome.DENIED, "country:NG")


def test_a_refused_sender_id_denies_that_sender_only() -> None:
    """A sender id that SNS does not take stops that sender and leaves the others."""
    result = _error(400, "InvalidParameter", "Invalid parameter: AWS.SNS.SMS.SenderID", sender="Shop24")
    assert result.scope == "sender:Shop24"


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (403, "InvalidClientTokenId", Outcome.DENIED),
        (403, "SignatureDoesNotMatch", Outcome.DENIED),
        (403, "AuthorizationError", Outcome.DENIED),
        (400, "Throttling", Outcome.DEFERRED),
        (429, "Throttled", Outcome.DEFERRED),
        (500, "InternalError", Outcome.UNKNOWN),
        (503, "ServiceUnavailable", Outcome.DEFERRED),
    ],
)
def test_shared_codes_apply(status: int, code: str, outcome: Outcome) -> None:
    """What every AWS service says alike is understood here too."""
    assert _error(status, code, "words").outcome is outcome


def test_every_secret_is_marked() -> None:
    """Keys, token and the secret of receipts are write-only."""
    assert secret_paths(SPEC) == (("accessKeyId",), ("secretAccessKey",), ("sessionToken",), ("receiptSecret",))


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (CONFIG, []),
        ({**CONFIG, "maxPrice": 1}, []),
        ({}, ["accessKeyId", "region"]),
        ({"region": "eu-west-1", "hostCredentials": True}, []),
        ({"region": "eu-west-1", "hostCredentials": False}, ["hostCredentials"]),
        ({**CONFIG, "hostCredentials": True}, ["accessKeyId"]),
        ({"region": "eu-west-1", "accessKeyId": "AKIA1"}, ["secretAccessKey"]),
        ({**CONFIG, "roleArn": "arn:aws:iam::123456789012:role/mail", "externalId": "t-7"}, []),
        ({**CONFIG, "roleArn": "mail"}, ["roleArn"]),
        ({**CONFIG, "externalId": "t-7"}, ["roleArn"]),
        ({**CONFIG, "region": "eu-west-1.evil.example/"}, ["region"]),
        ({**CONFIG, "senderId": "12345"}, ["senderId"]),
        ({**CONFIG, "smsType": "promotional"}, ["smsType"]),
        ({**CONFIG, "endpointUrl": "ftp://x"}, ["endpointUrl"]),
        ({**CONFIG, "accessKeyID": "x"}, ["accessKeyID"]),
    ],
)
def test_settings_are_checked(config: dict[str, Any], paths: list[str]) -> None:
    """Every fault of the settings is named by its path; a region cannot smuggle in another host."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths
