"""Amazon SES: the request we write and what we make of its answers."""

import json
from base64 import b64decode
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import botocore.session
import httpx
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from services.adapters.aws import Rule
from services.adapters.base import Address, Attachment, secret_paths
from services.adapters.email.ses import RULES, SPEC, build, kind, read
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.schema import settings_errors
from tests.fakes.clock import START, FakeClock
from tests.unit.adapters.calls import SENDER, TO, an_email

CONFIG: dict[str, Any] = {
    "accessKeyId": "AKIDEXAMPLE",
    "secretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "region": "eu-west-1",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _build(config: dict[str, Any] | None = None, **content: Any) -> httpx.Request | Result:
    return build(an_email({**CONFIG, **(config or {})}, **content), NOW)


def _body(config: dict[str, Any] | None = None, **content: Any) -> dict[str, Any]:
    request = _build(config, **content)
    assert isinstance(request, httpx.Request)
    return cast("dict[str, Any]", json.loads(request.content))


def _mime(config: dict[str, Any] | None = None, **content: Any) -> EmailMessage:
    raw = b64decode(_body(config, **content)["Content"]["Raw"]["Data"])
    return message_from_bytes(raw, policy=default)


def _refused(**content: Any) -> tuple[Outcome, str]:
    result = _build(**content)
    assert isinstance(result, Result)
    return result.outcome, result.reason


def _error(status: int, code: str, message: str) -> Result:
    headers = {"x-amzn-errortype": code}
    return read(httpx.Response(status, json={"message": message}, headers=headers), an_email(CONFIG))


def _what_botocore_sends(**arguments: Any) -> AWSPreparedRequest:
    """The request of the official client for the same call, caught before it leaves."""
    caught: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        caught.append(request)
        return AWSResponse(request.url, 200, {}, _Empty())

    client = botocore.session.Session().create_client(
        "sesv2",
        region_name=CONFIG["region"],
        aws_access_key_id=CONFIG["accessKeyId"],
        aws_secret_access_key=CONFIG["secretAccessKey"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.meta.events.register("before-send.sesv2", answer)
    client.send_email(**arguments)
    return caught[0]


class _Empty:
    """The body of an answer as botocore reads it."""

    def stream(self, **_: Any) -> list[bytes]:
        return [b'{"MessageId": "1"}']


def test_the_wire_is_what_the_official_client_writes() -> None:
    """URL, content type and body equal those of botocore's own client for the same call."""
    request = _build(cc=(Address(email="b@example.net"),), bcc=(Address(email="c@example.net"),), tags=("receipt",))
    assert isinstance(request, httpx.Request)
    ours = json.loads(request.content)
    theirs = _what_botocore_sends(
        Content={"Raw": {"Data": b64decode(ours["Content"]["Raw"]["Data"])}},
        Destination={
            "ToAddresses": ["ada@example.net"],
            "CcAddresses": ["b@example.net"],
            "BccAddresses": ["c@example.net"],
        },
        EmailTags=[
            {"Name": "messagepipe_id", "Value": "0199a5f0-0000-7000-8000-000000000001"},
            {"Name": "messagepipe_attempt", "Value": "1"},
            {"Name": "tag_1", "Value": "receipt"},
        ],
    )
    assert (request.method, str(request.url)) == (theirs.method, theirs.url)
    assert ours == json.loads(theirs.body)
    assert request.headers["content-type"].encode() == theirs.headers["Content-Type"]


def test_the_request_is_signed_at_the_clocks_time() -> None:
    """The adapter's clock dates the signature and the mail."""
    request = kind(FakeClock()).build(an_email(CONFIG))
    assert isinstance(request, httpx.Request)
    assert request.headers["x-amz-date"] == START.strftime("%Y%m%dT%H%M%SZ")
    assert "/eu-west-1/ses/aws4_request" in request.headers["authorization"]


def test_the_mail_is_the_shared_mime_form() -> None:
    """The raw mail has our headers, both bodies and the attachment, and no trace of bcc."""
    mail = _mime(
        html="<p>Thank you.</p>",
        bcc=(Address(email="hidden@example.net"),),
        attachments=(Attachment(filename="a.txt", content_type="text/plain", content=b"x"),),
    )
    assert (mail["From"], mail["To"]) == ("Shop <shop@example.com>", "Ada <ada@example.net>")
    assert mail["Message-ID"] == "<0199a5f0-0000-7000-8000-000000000001@example.com>"
    assert [part.get_filename() for part in mail.iter_attachments()] == ["a.txt"]
    assert b"hidden" not in mail.as_bytes()
    assert mail.as_bytes().isascii()


def test_bcc_is_in_the_envelope_only() -> None:
    """Everybody who gets the mail is a destination, as a bare address with the domain as A-labels."""
    destination = _body(to=Address(email="a@bücher.example", name="A"), bcc=(Address(email="b@example.net"),))
    assert destination["Destination"] == {
        "ToAddresses": ["a@xn--bcher-kva.example"],
        "BccAddresses": ["b@example.net"],
    }


def test_tags_are_the_accounts_and_not_the_recipients() -> None:
    """Tags go as EmailTags, each with a name of its own, and nothing of them into the mail."""
    body = _body(tags=("receipt", "b"))
    assert body["EmailTags"][2:] == [{"Name": "tag_1", "Value": "receipt"}, {"Name": "tag_2", "Value": "b"}]
    assert _mime(tags=("receipt",))["Keywords"] is None


@pytest.mark.parametrize("tag", ["two words", "Köln", "a" * 257, "a.b"])
def test_a_tag_that_ses_can_not_hold_is_unfit(tag: str) -> None:
    """What is not letters, digits, _ and - is named, and not rewritten."""
    result = build(an_email(CONFIG, tags=("good", tag)), NOW)
    assert isinstance(result, Result)
    assert (result.outcome, result.provider_text[:8]) == (Outcome.UNFIT, "tags[1]:")


def test_the_configuration_set_goes_along() -> None:
    """The set whose events are the receipts is named when the settings name it."""
    request = build(an_email({**CONFIG, "configurationSet": "messagepipe"}), NOW)
    assert isinstance(request, httpx.Request)
    assert json.loads(request.content)["ConfigurationSetName"] == "messagepipe"


def test_the_settings_sender_is_used_when_nobody_names_one() -> None:
    """Without a sender of the message or project, fromEmail and fromName are it; without those the message is unfit."""
    mail = _mime({"fromEmail": "no@example.com", "fromName": "No"}, sender=None)
    assert mail["From"] == "No <no@example.com>"
    assert _refused(sender=None) == (Outcome.UNFIT, Reason.SENDER_MISSING)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"bcc": (TO,) * 50}, Reason.TOO_MANY_RECIPIENTS),
        ({"to": Address(email="jörg@example.com")}, Reason.FEATURE_UNSUPPORTED),
        ({"reply_to": Address(email="jörg@example.com")}, Reason.FEATURE_UNSUPPORTED),
        ({"tags": tuple(map(str, range(41)))}, Reason.FEATURE_UNSUPPORTED),
        ({"text": "x" * 40_000_000}, Reason.TOO_LARGE),
    ],
)
def test_what_ses_would_refuse_is_not_sent(content: dict[str, Any], reason: Reason) -> None:
    """Documented limits are compared before anything is sent."""
    assert _refused(**content) == (Outcome.UNFIT, reason)


@pytest.mark.parametrize(
    "content",
    [
        {"subject": "Hi\r\nBcc: evil@example.org"},
        {"headers": (("X-A", "1\r\nBcc: evil@example.org"),)},
        {"to": Address(email="ada@example.net\r\nBcc: evil@example.org")},
    ],
)
def test_a_header_cannot_be_smuggled_in(content: dict[str, Any]) -> None:
    """A line break in anything that becomes a header raises, and no request exists."""
    with pytest.raises(ValueError, match=r"line break|envelope"):
        _build(**content)


@pytest.mark.parametrize(
    ("body", "found"), [('{"MessageId": "0100-000000"}', "0100-000000"), ('{"Messa', ""), ("", ""), ("<html>", "")]
)
def test_a_200_is_accepted_even_without_an_id(body: str, found: str) -> None:
    """The status says it was taken; an answer that cannot be read only costs the id."""
    result = read(httpx.Response(200, text=body), an_email(CONFIG))
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.code}-{rule.text}")
def test_every_row_of_the_table_decides(rule: Rule) -> None:
    """Each row's code and words give its outcome and reason, whatever the case of the words."""
    code = "ThrottlingException" if rule.code == "*" else rule.code
    result = _error(400, code, f"{rule.text.upper()}.")
    assert (result.outcome, result.reason) == (rule.verdict.outcome, rule.verdict.reason)


@pytest.mark.parametrize(
    ("status", "code", "message", "outcome"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Outcome.DEFERRED),
        (400, "Throttling", "Maximum sending rate exceeded.", Outcome.DEFERRED),
        (400, "Throttling", "Daily message quota exceeded.", Outcome.DENIED),
        (403, "UnrecognizedClientException", "The security token is invalid.", Outcome.DENIED),
        (403, "ExpiredTokenException", "The security token is expired.", Outcome.DENIED),
        (403, "AccessDeniedException", "not authorized to perform ses:SendEmail", Outcome.DENIED),
        (500, "InternalServiceErrorException", "", Outcome.UNKNOWN),
        (502, "", "", Outcome.UNKNOWN),
        (413, "", "", Outcome.UNFIT),
    ],
)
def test_codes_from_the_field(status: int, code: str, message: str, outcome: Outcome) -> None:
    """Codes and words as SES sends them lead to the right next step."""
    assert _error(status, code, message).outcome is outcome


def test_an_unverified_sender_denies_that_sender_only() -> None:
    """Another sender of the same account may well be verified."""
    words = "Email address is not verified. The following identities failed the check in region EU-WEST-1: %s"
    result = _error(400, "MessageRejected", words % f"{TO.email}, Shop <{SENDER.email}>")
    assert (result.outcome, result.reason, result.scope) == (
        Outcome.DENIED,
        Reason.SENDER_REFUSED,
        f"sender:{SENDER.email}",
    )


def test_an_unverified_recipient_means_a_sandbox_account() -> None:
    """Only an account in the sandbox asks for verified recipients: the whole provider is denied."""
    words = f"Email address is not verified. The following identities failed the check in region EU-WEST-1: {TO.email}"
    result = _error(400, "MessageRejected", words)
    assert (result.outcome, result.reason, result.scope) == (Outcome.DENIED, Reason.TRIAL_ACCOUNT, "")


def test_an_xml_error_is_understood_too() -> None:
    """Emulators answer bad keys in XML."""
    body = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>bad</Message></Error></ErrorResponse>"
    assert read(httpx.Response(403, text=body), an_email(CONFIG)).reason == Reason.CREDENTIALS


def test_every_secret_is_marked() -> None:
    """Keys and token are write-only."""
    assert secret_paths(SPEC) == (("accessKeyId",), ("secretAccessKey",), ("sessionToken",))


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (CONFIG, []),
        (
            {**CONFIG, "sessionToken": "FwoG/+==", "endpointUrl": "http://127.0.0.1:4566", "fromEmail": "a@b.example"},
            [],
        ),
        ({}, ["accessKeyId", "region"]),
        ({"region": "eu-west-1", "hostCredentials": True}, []),
        ({"region": "eu-west-1", "hostCredentials": False}, ["hostCredentials"]),
        ({**CONFIG, "hostCredentials": True}, ["accessKeyId"]),
        ({"region": "eu-west-1", "accessKeyId": "AKIA1"}, ["secretAccessKey"]),
        ({**CONFIG, "roleArn": "arn:aws:iam::123456789012:role/mail", "externalId": "t-7"}, []),
        ({**CONFIG, "roleArn": "mail"}, ["roleArn"]),
        ({**CONFIG, "externalId": "t-7"}, ["roleArn"]),
        ({**CONFIG, "region": "Ireland"}, ["region"]),
        ({**CONFIG, "sessionToken": "a\r\nb"}, ["sessionToken", "sessionToken"]),
        ({**CONFIG, "fromEmail": "nobody"}, ["fromEmail"]),
        ({**CONFIG, "secretAccesKey": "x"}, ["secretAccesKey"]),
    ],
)
def test_settings_are_checked(config: dict[str, Any], paths: list[str]) -> None:
    """Every fault of the settings is named by its path."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths
