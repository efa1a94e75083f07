"""One request for many: SendGrid's personalizations and Mailgun's recipient-variables, as their pages show them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from services.adapters.base import Address, Attachment, Call
from services.adapters.email import mailgun, sendgrid
from services.adapters.http_joint import Joint, same_for_each
from services.adapters.outcome import Outcome, Reason, Result
from tests.unit.adapters.calls import an_email

SENDGRID = {"apiKey": "SG.key"}
MAILGUN = {"apiKey": "key", "domain": "mg.example.com"}
KINDS = [pytest.param(sendgrid.JOINT, SENDGRID, id="sendgrid"), pytest.param(mailgun.JOINT, MAILGUN, id="mailgun")]


def two(config: dict[str, Any], **content: Any) -> list[Call]:
    """Two calls of one content, for Ada and for Bob, whose second attempt it is."""
    ada = an_email(config, **content)
    bob = an_email(config, to=Address(email="bob@müller.example"), **content)
    return [replace(ada, message_id="id-ada"), replace(bob, message_id="id-bob", attempt=2)]


def request_for(build: Callable[[list[Call]], httpx.Request | Result], calls: list[Call]) -> httpx.Request:
    """The request they become."""
    request = build(calls)
    assert isinstance(request, httpx.Request)
    return request


def test_sendgrid_personalizations() -> None:
    """Each has a personalization with its own address and its own ids; everything else is as for one alone."""
    calls = two(SENDGRID, metadata=(("order", "17"),), tags=("news",), headers=(("X-Ref", "1"),))
    request = request_for(sendgrid.build_together, calls)
    alone = request_for(lambda calls: sendgrid.build(calls[0]), calls)
    body = json.loads(request.content)

    assert body["personalizations"] == [
        {
            "to": [{"email": "ada@example.net", "name": "Ada"}],
            "custom_args": {"order": "17", "messagepipe_id": "id-ada", "messagepipe_attempt": "1"},
        },
        {
            "to": [{"email": "bob@xn--mller-kva.example"}],
            "custom_args": {"order": "17", "messagepipe_id": "id-bob", "messagepipe_attempt": "2"},
        },
    ]
    first = {**body, "personalizations": body["personalizations"][:1]}
    assert (first, request.url) == (json.loads(alone.content), alone.url)
    assert request.headers["authorization"] == "Bearer SG.key"


def test_sendgrid_stays_in_sandbox_mode() -> None:
    """A provider in sandbox mode delivers none of them."""
    body = json.loads(request_for(sendgrid.build_together, two({**SENDGRID, "sandboxMode": True})).content)
    assert body["mail_settings"] == {"sandbox_mode": {"enable": True}}


def test_mailgun_recipient_variables() -> None:
    """Each is in `to`, and what tells them apart is in recipient-variables by plain address; everything else is as for
    one alone.
    """
    calls = two({**MAILGUN, "testMode": True}, metadata=(("order", "17"),), tags=("news",))
    request = request_for(mailgun.build_together, calls)
    alone = request_for(lambda calls: mailgun.build(calls[0]), calls)
    fields = parse_qs(request.content.decode())
    ids = json.loads(fields.pop("recipient-variables")[0])

    assert ids == {
        "ada@example.net": {"messagepipe_id": "id-ada", "messagepipe_attempt": "1"},
        "bob@xn--mller-kva.example": {"messagepipe_id": "id-bob", "messagepipe_attempt": "2"},
    }
    assert fields.pop("to") == ['"Ada" <ada@example.net>', "<bob@xn--mller-kva.example>"]
    assert fields.pop("v:messagepipe_id") == ["%recipient.messagepipe_id%"]
    assert fields.pop("v:messagepipe_attempt") == ["%recipient.messagepipe_attempt%"]
    own = {"to", "v:messagepipe_id", "v:messagepipe_attempt"}
    assert fields == {name: value for name, value in parse_qs(alone.content.decode()).items() if name not in own}
    assert (fields["o:testmode"], request.url) == (["yes"], alone.url)


def test_mailgun_attachments() -> None:
    """Files go once, beside the variables."""
    file = Attachment(filename="a.pdf", content_type="application/pdf", content=b"PDF")
    body = request_for(mailgun.build_together, two(MAILGUN, attachments=(file,))).read()
    assert body.count(b'filename="a.pdf"') == 1
    assert b'name="recipient-variables"' in body


@pytest.mark.parametrize(("joint", "config"), KINDS)
def test_whom_it_goes_to(joint: Joint, config: dict[str, Any]) -> None:
    """A plain email may share a request; its address is the one on the wire, in one case of letters."""
    ada, bob = two(config)
    assert (joint.joinable(ada), joint.joinable(bob)) == ("ada@example.net", "bob@xn--mller-kva.example")
    assert joint.joinable(an_email(config, to=Address(email="ADA@Example.net"))) == "ada@example.net"
    assert joint.most == 1000


@pytest.mark.parametrize(("joint", "config"), KINDS)
@pytest.mark.parametrize(
    "content",
    [
        {"cc": (Address(email="c@example.com"),)},
        {"bcc": (Address(email="d@example.com"),)},
        {"to": Address(email="jörg@example.com")},
        {"tags": tuple("abcdefghijk")},
        {"sender": None},
    ],
    ids=["cc", "bcc", "smtputf8", "tags", "no-sender"],
)
def test_what_has_to_go_alone(joint: Joint, config: dict[str, Any], content: dict[str, Any]) -> None:
    """Copies would reach their readers once per recipient; and what is refused is refused alone."""
    assert joint.joinable(an_email(config, **content)) == ""


@pytest.mark.parametrize(
    "content",
    [
        {"subject": "Dear %recipient.name%"},
        {"text": "%RECIPIENT%"},
        {"html": "<b>%recipient.x%</b>"},
        {"headers": (("X-Ref", "%recipient.id%"),)},
        {"metadata": (("order", "%recipient.id%"),)},
        {"sender": Address(email="shop@example.com", name="%recipient_name%")},
    ],
    ids=["subject", "text", "html", "header", "metadata", "sender"],
)
def test_what_means_something_to_mailgun(content: dict[str, Any]) -> None:
    """Words that Mailgun would replace in a request for many arrive as they are: such a message goes alone."""
    assert mailgun.joinable(an_email(MAILGUN, **content)) == ""
    assert sendgrid.joinable(an_email(SENDGRID, **content)) == "ada@example.net"


def test_an_id_that_many_share_is_nobodys() -> None:
    """With one id for all each gets one that no receipt can name by itself; without any it stays empty."""
    accepted = Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED, provider_message_id="sg-1")
    assert [each and each.provider_message_id for each in same_for_each(accepted, 2)] == ["sg-1#1", "sg-1#2"]
    nameless = replace(accepted, provider_message_id="")
    assert same_for_each(nameless, 2) == [nameless, nameless]


@pytest.mark.parametrize(
    ("outcome", "reason", "alone"),
    [
        (Outcome.INVALID, Reason.RECIPIENT_INVALID, True),
        (Outcome.INVALID, Reason.CONTENT_INVALID, True),
        (Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS, True),
        (Outcome.DENIED, Reason.PERMISSION, True),
        (Outcome.DENIED, Reason.ACCOUNT_SUSPENDED, True),
        (Outcome.DENIED, Reason.TRIAL_ACCOUNT, True),
        (Outcome.DENIED, Reason.CREDENTIALS, False),
        (Outcome.DENIED, Reason.OUT_OF_CREDIT, False),
        (Outcome.DENIED, Reason.SENDER_REFUSED, False),
        (Outcome.DENIED, Reason.MISCONFIGURED, False),
        (Outcome.DEFERRED, Reason.RATE_LIMITED, False),
        (Outcome.DEFERRED, Reason.UNAVAILABLE, False),
        (Outcome.UNKNOWN, Reason.SERVER_ERROR, False),
        (Outcome.UNKNOWN, Reason.TIMEOUT, False),
    ],
)
def test_what_is_tried_alone(outcome: Outcome, reason: Reason, alone: bool) -> None:
    """Alone goes what surely was not accepted and may be about one of them; what may have been accepted never."""
    result = Result(outcome=outcome, reason=reason)
    assert same_for_each(result, 2) == ([None, None] if alone else [result, result])
