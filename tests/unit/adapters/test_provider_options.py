"""Where `providerOptions.<kind>` ends up on each provider's wire."""

import json
from dataclasses import replace
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from services.adapters.base import Call, EmailContent
from services.adapters.email import mailgun, sendgrid, ses
from services.adapters.mime import build_mime
from services.adapters.registry import specs
from services.adapters.schema import schema_errors
from services.adapters.sms import sns, termii, twilio
from tests.fakes.clock import FakeClock
from tests.unit.adapters.calls import a_text, an_email
from tests.unit.adapters.test_what_a_kind_can_not_say import SETTINGS

CLOCK = FakeClock()


def _sent(request: object) -> httpx.Request:
    assert isinstance(request, httpx.Request)
    return request


def _email(kind: str, options: dict[str, Any], **config: Any) -> Call:
    return replace(an_email({**SETTINGS[kind], **config}), options=options)


def _sms(kind: str, options: dict[str, Any], **config: Any) -> Call:
    return replace(a_text({**SETTINGS[kind], **config}), options=options)


def test_sendgrid() -> None:
    """Options are members of the body; the settings' sandbox mode can not be switched off by a message."""
    options = {
        "asm": {"group_id": 7},
        "ip_pool_name": "mine",
        "tracking_settings": {"open_tracking": {"enable": False}},
        "mail_settings": {"footer": {"enable": True, "text": "Bye"}},
    }
    body = json.loads(_sent(sendgrid.build(_email("sendgrid", options, sandboxMode=True, ipPoolName="its"))).content)
    assert (body["asm"], body["ip_pool_name"]) == ({"group_id": 7}, "mine")
    assert body["tracking_settings"] == options["tracking_settings"]
    assert body["mail_settings"] == {"footer": {"enable": True, "text": "Bye"}, "sandbox_mode": {"enable": True}}


def test_mailgun() -> None:
    """Options are fields of the form."""
    call = _email("mailgun", {"o:tracking": "no", "o:require-tls": "yes", "amp-html": "<html amp4email>"})
    form = parse_qs(_sent(mailgun.build(call)).content.decode())
    assert (form["o:tracking"], form["o:require-tls"], form["amp-html"]) == (["no"], ["yes"], ["<html amp4email>"])


def test_ses() -> None:
    """Options are members of the request; the message's configuration set wins over the settings'."""
    call = _email("ses", {"ConfigurationSetName": "mine", "TenantName": "t1"}, configurationSet="its")
    body = json.loads(_sent(ses.kind(CLOCK).build(call)).content)
    assert (body["ConfigurationSetName"], body["TenantName"]) == ("mine", "t1")


def test_twilio() -> None:
    """Options are fields of the form: lists repeat, booleans are in lower case."""
    options = {"MediaUrl": ["https://x.example/a", "https://x.example/b"], "SmartEncoded": True, "Attempt": 2}
    form = parse_qs(_sent(twilio.build(_sms("twilio", options))).content.decode())
    assert form["MediaUrl"] == ["https://x.example/a", "https://x.example/b"]
    assert (form["SmartEncoded"], form["Attempt"]) == (["true"], ["2"])


def test_termii() -> None:
    """Options are members of the body and win over the settings'."""
    body = json.loads(_sent(termii.build(_sms("termii", {"channel": "dnd", "type": "unicode"}))).content)
    assert (body["channel"], body["type"]) == ("dnd", "unicode")


def test_sns() -> None:
    """Options are message attributes with their types, each named once."""
    options = {"AWS.SNS.SMS.MaxPrice": 0.25, "AWS.SNS.SMS.SMSType": "Promotional"}
    call = _sms("sns", options, smsType="Transactional", maxPrice=0.5)
    form = {name: values[0] for name, values in parse_qs(_sent(sns.kind(CLOCK).build(call)).content.decode()).items()}
    named = {form[name]: form[name.replace(".Name", ".Value.StringValue")] for name in form if name.endswith(".Name")}
    assert named == {"AWS.SNS.SMS.SMSType": "Promotional", "AWS.SNS.SMS.MaxPrice": "0.25"}


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: f"{spec.channel}-{spec.kind}")
def test_every_schema_of_options_is_closed_and_takes_none(spec: Any) -> None:
    """No kind lets a message write what the schema does not name, and every kind does without options."""
    assert schema_errors(spec.options_schema, {}) == []
    assert schema_errors(spec.options_schema, {"to": "eve"}) != []


def test_the_status_callback_is_ours_where_nothing_else_is_set() -> None:
    """Twilio reports to this provider's receipts, unless the settings say where, or nothing could verify it."""
    ours = "https://mail.example.com/receipts/twilio/p1"

    def asked(**config: Any) -> str:
        call = replace(a_text({**SETTINGS["twilio"], **config}), receipts_url=ours)
        form = parse_qs(_sent(twilio.build(call)).content.decode())
        return form.get("StatusCallback", [""])[0].partition("?messagepipe_id=")[0]

    key = {"authToken": "", "apiKeySid": "SK" + "0" * 32, "apiKeySecret": "s"}
    assert asked() == ours
    assert asked(statusCallbackUrl="https://hooks.example.com/t") == "https://hooks.example.com/t"
    assert asked(**key) == ""
    assert asked(**key, webhookSharedKeySecret="shared") == ours


@pytest.mark.parametrize(
    ("asked", "time_left", "sent"), [(None, 120.7, "120"), (60, 120.0, "60"), (600, 120.0, "120"), (None, 1e6, "36000")]
)
def test_twilios_validity(asked: int | None, time_left: float, sent: str) -> None:
    """R4: the message's validity goes along, and never lasts longer than its deadline or Twilio's limit."""
    call = replace(a_text(SETTINGS["twilio"], validity=asked), time_left=time_left)
    assert parse_qs(_sent(twilio.build(call)).content.decode())["ValidityPeriod"] == [sent]


def test_keywords_are_phrases() -> None:
    """SMTP carries tags as the field RFC 5322 §3.6.5 has for them, quoted where they are no atoms."""
    content = an_email({}, tags=("receipt", "a, b", "receipt")).content
    assert isinstance(content, EmailContent)
    mime = build_mime(content, sender=content.to, message_id="m1", now=CLOCK.now())
    assert " ".join(message_from_bytes(mime)["Keywords"].split()) == 'receipt, "a, b"'
