"""SendBulkEmail: the request that botocore would write, and what each entry of the answer means."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import botocore.session
import httpx
import pytest
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from services.adapters.base import Address, Attachment, Call
from services.adapters.email.ses import build
from services.adapters.email.ses_joint import build_together, joinable, read_together
from services.adapters.outcome import Outcome, Reason, Result
from tests.unit.adapters.calls import an_email

CONFIG: dict[str, Any] = {"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret", "region": "eu-west-1"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def two(config: Mapping[str, Any] = CONFIG, **content: Any) -> list[Call]:
    """Two calls of one content, for Ada and for Bob, whose second attempt it is."""
    ada = an_email(dict(config), **content)
    bob = an_email(dict(config), to=Address(email="bob@müller.example"), **content)
    return [replace(ada, message_id="id-ada"), replace(bob, message_id="id-bob", attempt=2)]


def request_for(calls: list[Call]) -> httpx.Request:
    """The request they become."""
    request = build_together(calls, NOW)
    assert isinstance(request, httpx.Request)
    return request


def entry(address: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """One entry as the API reference has it."""
    return {
        "Destination": {"ToAddresses": [address]},
        "ReplacementTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": "{}"}},
    }


def test_the_request_is_botocores() -> None:
    """Path and body are what the official client makes of the same arguments, and its own check accepts them."""
    arguments = {
        "FromEmailAddress": "=?utf-8?b?U2jDtnA=?= <shop@example.com>",
        "ReplyToAddresses": ["help@example.com"],
        "DefaultContent": {
            "Template": {
                "TemplateContent": {"Subject": "Grüße", "Text": "Thank you.", "Html": "<b>x</b>"},
                "TemplateData": "{}",
                "Headers": [{"Name": "X-Ref", "Value": "1"}, {"Name": "X-Metadata-order", "Value": "17"}],
            }
        },
        "BulkEmailEntries": [
            entry("Ada <ada@example.net>", {"messagepipe_id": "id-ada", "messagepipe_attempt": "1", "tag_1": "news"}),
            entry(
                "bob@xn--mller-kva.example", {"messagepipe_id": "id-bob", "messagepipe_attempt": "2", "tag_1": "news"}
            ),
        ],
        "ConfigurationSetName": "set-1",
        "TenantName": "tenant-1",
    }
    model = botocore.session.get_session().get_service_model("sesv2")
    operation = model.operation_model("SendBulkEmail")
    assert not ParamValidator().validate(arguments, operation.input_shape).has_errors()
    theirs = create_serializer(model.metadata["protocol"]).serialize_to_request(arguments, operation)

    calls = two(
        {**CONFIG, "configurationSet": "set-1"},
        sender=Address(email="shop@example.com", name="Shöp"),
        reply_to=Address(email="help@example.com"),
        subject="Grüße",
        html="<b>x</b>",
        headers=(("X-Ref", "1"),),
        metadata=(("order", "17"),),
        tags=("news",),
    )
    ours = request_for([replace(call, options={"TenantName": "tenant-1"}) for call in calls])

    assert ours.url.raw_path.decode() == theirs["url_path"] == "/v2/email/outbound-bulk-emails"
    assert json.loads(ours.content) == json.loads(theirs["body"])
    assert "ses/aws4_request" in ours.headers["authorization"]


def test_the_same_place() -> None:
    """It goes where a message alone goes."""
    calls = two({**CONFIG, "endpointUrl": "http://127.0.0.1:4566"})
    alone = build(calls[0], NOW)
    assert isinstance(alone, httpx.Request)
    assert request_for(calls).url.host == alone.url.host == "127.0.0.1"


def test_whom_it_goes_to() -> None:
    """A plain email may share a request; its address is the one on the wire."""
    assert [joinable(call) for call in two()] == ["ada@example.net", "bob@xn--mller-kva.example"]


@pytest.mark.parametrize(
    "content",
    [
        {"cc": (Address(email="c@example.com"),)},
        {"bcc": (Address(email="d@example.com"),)},
        {"to": Address(email="jörg@example.com")},
        {"sender": None},
        {"subject": ""},
        {"text": ""},
        {"attachments": (Attachment(filename="a", content_type="", content=b"a"),)},
        {"subject": "{{name}}"},
        {"text": "Dear {{name}}"},
        {"html": "{{#if x}}"},
        {"headers": (("X-Ref", "{{id}}"),)},
        {"headers": (("X-Ref", "ä"),)},
        {"headers": (("X-Ref", "a"), ("X-Ref", "b"))},
        {"headers": tuple((f"X-{number}", "a") for number in range(16))},
        {"headers": (("X-Ref", "a" * 900),)},
        {"metadata": (("order", "ä"),)},
        {"text": "x" * 300_000},
    ],
    ids=(
        "cc bcc smtputf8 no-sender no-subject no-text file subject text html header non-ascii-header header-twice "
        "many-headers long-header metadata large"
    ).split(),
)
def test_what_has_to_go_alone(content: dict[str, Any]) -> None:
    """What a template would fill in, or what SES would write differently from our own MIME, is sent as that."""
    assert joinable(an_email(CONFIG, **content)) == ""


def test_an_option_that_only_single_messages_have() -> None:
    """SendBulkEmail knows no contact lists."""
    call = replace(an_email(CONFIG), options={"ListManagementOptions": {"ContactListName": "news"}})
    assert joinable(call) == ""


def answer(*entries: Any, status: int = 200) -> httpx.Response:
    """An answer with these entries."""
    return httpx.Response(status, json={"BulkEmailEntryResults": list(entries)})


def test_each_has_its_own_outcome() -> None:
    """One is accepted with its own id, one is refused: each is told so."""
    refused = {"Status": "ACCOUNT_SUSPENDED", "Error": "closed"}
    results = read_together(answer({"Status": "SUCCESS", "MessageId": "ses-1"}, refused), two())

    assert results == [
        Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED, provider_code="SUCCESS", provider_message_id="ses-1"),
        Result(
            outcome=Outcome.DENIED,
            reason=Reason.ACCOUNT_SUSPENDED,
            provider_code="ACCOUNT_SUSPENDED",
            provider_text="closed",
        ),
    ]


@pytest.mark.parametrize(
    ("status", "words", "outcome", "reason"),
    [
        ("MESSAGE_REJECTED", "virus", Outcome.INVALID, Reason.CONTENT_REFUSED),
        (
            "MESSAGE_REJECTED",
            "Email address is not verified. The following identities failed the check: ada@example.net",
            Outcome.DENIED,
            Reason.TRIAL_ACCOUNT,
        ),
        ("MAIL_FROM_DOMAIN_NOT_VERIFIED", "", Outcome.DENIED, Reason.SENDER_REFUSED),
        ("CONFIGURATION_SET_NOT_FOUND", "", Outcome.DENIED, Reason.MISCONFIGURED),
        ("CONFIGURATION_SET_DOES_NOT_EXIST", "", Outcome.DENIED, Reason.MISCONFIGURED),
        ("ACCOUNT_SUSPENDED", "", Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
        ("ACCOUNT_THROTTLED", "", Outcome.DEFERRED, Reason.RATE_LIMITED),
        ("ACCOUNT_DAILY_QUOTA_EXCEEDED", "", Outcome.DENIED, Reason.QUOTA_EXCEEDED),
        ("INVALID_SENDING_POOL_NAME", "", Outcome.DENIED, Reason.MISCONFIGURED),
        ("ACCOUNT_SENDING_PAUSED", "", Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
        ("CONFIGURATION_SET_SENDING_PAUSED", "", Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
        ("TRANSIENT_FAILURE", "", Outcome.DEFERRED, Reason.UNAVAILABLE),
        ("SOMETHING_NEW", "", Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER),
        ("", "", Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER),
    ],
)
def test_statuses(status: str, words: str, outcome: Outcome, reason: Reason) -> None:
    """Every status of the API reference; one that nobody knows is unknown, never sent again blindly."""
    (result, _) = read_together(answer({"Status": status, "Error": words}, {"Status": "SUCCESS"}), two())
    assert result is not None
    assert (result.outcome, result.reason) == (outcome, reason)


@pytest.mark.parametrize(
    "status",
    ["FAILED", "INVALID_PARAMETER", "INVALID_PARAMETER_VALUE", "TEMPLATE_NOT_FOUND", "TEMPLATE_DOES_NOT_EXIST"],
)
def test_what_may_fare_better_alone(status: str) -> None:
    """What was surely not sent, perhaps because it came as a template, goes alone; the other one was taken."""
    (first, second) = read_together(answer({"Status": status}, {"Status": "SUCCESS"}), two())
    assert first is None
    assert second is not None
    assert second.outcome is Outcome.ACCEPTED


def test_every_status_of_the_model_is_known() -> None:
    """botocore's own list has no status that would be unknown."""
    model = botocore.session.get_session().get_service_model("sesv2")
    for status in model.shape_for("BulkEmailStatus").enum:
        (result, _) = read_together(answer({"Status": status}, {"Status": "SUCCESS"}), two())
        assert result is None or result.outcome is not Outcome.UNKNOWN, status


@pytest.mark.parametrize(
    "response",
    [
        answer({"Status": "SUCCESS"}),
        answer(*[{"Status": "SUCCESS"}] * 3),
        answer({"Status": "SUCCESS"}, "SUCCESS"),
        httpx.Response(200, content=b'{"BulkEmailEntryResults": [{"Status": "SUCC'),
        httpx.Response(200, json={"BulkEmailEntryResults": {}}),
    ],
    ids=["fewer", "more", "no-object", "cut", "no-list"],
)
def test_an_answer_that_does_not_name_each(response: httpx.Response) -> None:
    """Nobody knows which of them were taken."""
    results = read_together(response, two())
    assert [result and result.outcome for result in results] == [Outcome.UNKNOWN] * 2


@pytest.mark.parametrize(
    ("status", "code", "words", "outcome"),
    [
        (400, "BadRequestException", "Template contains unsupported operations.", None),
        (403, "AccessDeniedException", "not authorized to perform: ses:SendBulkEmail", None),
        (404, "", "<html>no such path</html>", None),
        (403, "UnrecognizedClientException", "The security token is invalid.", Outcome.DENIED),
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", Outcome.DEFERRED),
        (500, "InternalFailure", "", Outcome.UNKNOWN),
    ],
)
def test_a_refusal_of_all(status: int, code: str, words: str, outcome: Outcome | None) -> None:
    """Whoever may not send many at a time, or an emulator that can not, gets them one by one."""
    response = httpx.Response(status, json={"message": words}, headers={"x-amzn-errortype": code} if code else {})
    results = read_together(response, two())
    assert [result and result.outcome for result in results] == [outcome] * 2
