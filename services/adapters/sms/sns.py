"""Amazon SNS, text messages to a phone number: settings, request, answer. Not topics, and not its delivery logs
(sns_receipts.py).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import httpx

from services.adapters import aws
from services.adapters.aws import Rule
from services.adapters.base import Call, Capabilities, Channel, ProviderSpec, SmsContent
from services.adapters.http import HttpKind
from services.adapters.outcome import Outcome, Reason, Result, Verdict, invalid_content, unfit
from services.adapters.sms.numbers import country_scope
from services.adapters.sms.sender import own_sender, sms_sender_of
from services.chassis.clock import Clock

MAX_MESSAGE_BYTES = 1600

_SENDER_ID = r"^(?=.*[A-Za-z])[A-Za-z0-9-]{3,11}$"
_ORIGINATION_NUMBER = r"^\+?[0-9]{5,14}$"

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "AWS.SNS.SMS.SMSType": {"type": "string", "enum": ["Transactional", "Promotional"], "title": "Type"},
        "AWS.SNS.SMS.MaxPrice": {
            "type": "number",
            "minimum": 0.0001,
            "maximum": 1000,
            "title": "Highest price",
            "description": "US dollars.",
        },
        "AWS.MM.SMS.EntityId": {"type": "string", "pattern": r"^[0-9]{1,50}$", "title": "Entity id (India)"},
        "AWS.MM.SMS.TemplateId": {"type": "string", "pattern": r"^[0-9]{1,50}$", "title": "Template id (India)"},
    },
}

SPEC = ProviderSpec(
    kind="sns",
    channel=Channel.SMS,
    title="Amazon SNS",
    description="SMS through Amazon SNS. It reports delivery to CloudWatch Logs only, from where you may forward it.",
    documentation_url="https://docs.aws.amazon.com/sns/latest/dg/sms_sending-overview.html",
    capabilities=Capabilities(receipts=True),
    options_schema=OPTIONS,
    limits={
        "text": f"at most {MAX_MESSAGE_BYTES} bytes of UTF-8",
        "from": "a sender id of 3-11 letters, digits or hyphens, or a number",
        "validityPeriod": "not supported",
        "tags, metadata": "kept with the message, not handed to SNS, which has no place for them",
    },
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Amazon SNS",
        "description": (
            "Credentials and options of one AWS account. SNS itself sends no receipts, and a message's state ends at "
            "sent, unless the account logs delivery status to CloudWatch and a function of yours forwards the records "
            "to /receipts/sns/{provider id} with receiptSecret."
        ),
        "type": "object",
        "additionalProperties": False,
        **aws.RULES_OF_SETTINGS,
        "properties": {
            **aws.SETTINGS,
            "senderId": {
                "type": "string",
                "title": "Sender id",
                "description": "Shown where the country allows it; used unless the message or the project names one.",
                "pattern": _SENDER_ID,
                "errorMessage": "must be 3 to 11 letters, digits or hyphens, with at least one letter",
                "examples": ["Acme"],
            },
            "originationNumber": {
                "type": "string",
                "title": "Origination number",
                "description": "A number or short code of the account to send from.",
                "pattern": _ORIGINATION_NUMBER,
                "errorMessage": "must be 5 to 14 digits, with or without a leading +",
                "examples": ["+14155550100"],
            },
            "smsType": {
                "type": "string",
                "title": "Type of messages",
                "description": "Transactional goes first, and where promotional may not. Unset: the account's default.",
                "enum": ["Transactional", "Promotional"],
            },
            "maxPrice": {
                "type": "number",
                "title": "Highest price",
                "description": "US dollars per message; a dearer one is accepted and then not sent.",
                "minimum": 0.0001,
                "maximum": 1000,
                "examples": [0.5],
            },
            "receiptSecret": {
                "type": "string",
                "minLength": 16,
                "maxLength": 512,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be at least 16 characters without spaces",
                "writeOnly": True,
                "title": "Receipt secret",
                "description": (
                    "Made up by you and known to your forwarding function, which sends it in the header "
                    "X-Messagepipe-Receipt-Secret, or as ?secret= where it can set no header; receipts are refused "
                    "without it. Several, separated by commas, while one replaces another."
                ),
            },
            "entityId": {
                "type": "string",
                "title": "Entity id",
                "description": "India only: the principal entity id registered with the regulator.",
                "examples": ["1101234567890123456"],
                "pattern": r"^[0-9]{1,50}$",
                "errorMessage": "must be digits",
            },
            "templateId": {
                "type": "string",
                "title": "Template id",
                "description": "India only: the template id registered with the regulator.",
                "examples": ["1101234567890123456"],
                "pattern": r"^[0-9]{1,50}$",
                "errorMessage": "must be digits",
            },
        },
    },
)

# providers.md §7.4; the codes all AWS services share are in aws.py. First match wins.
_BAD_NUMBER = Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)
_BAD_SENDER = Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")
_TOO_LONG = Verdict(Outcome.UNFIT, Reason.TOO_LARGE)
_MISCONFIGURED = Verdict(Outcome.DENIED, Reason.MISCONFIGURED)

RULES = (
    Rule("InvalidParameter", "PhoneNumber", _BAD_NUMBER),
    Rule("InvalidParameter", "phone number", _BAD_NUMBER),
    Rule("InvalidParameter", "too long", _TOO_LONG),
    Rule("InvalidParameter", "1600", _TOO_LONG),
    Rule("InvalidParameter", "SenderID", _BAD_SENDER),
    Rule("InvalidParameter", "OriginationNumber", _BAD_SENDER),
    Rule("InvalidParameter", "", _MISCONFIGURED),
    Rule("*", "no origination", Verdict(Outcome.DENIED, Reason.REGION_REFUSED, "country")),
    Rule("ParameterValueInvalid", "phone", _BAD_NUMBER),
    Rule("ParameterValueInvalid", "", _MISCONFIGURED),
    Rule("ValidationException", "phone", _BAD_NUMBER),
    Rule("ValidationException", "", _MISCONFIGURED),
    Rule("InvalidSecurity", "", Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Rule("NotFound", "", _MISCONFIGURED),
    Rule("EndpointDisabled", "", _MISCONFIGURED),
    Rule("PlatformApplicationDisabled", "", _MISCONFIGURED),
    Rule("KMSAccessDenied", "", _MISCONFIGURED),
    Rule("KMSDisabled", "", _MISCONFIGURED),
    Rule("KMSInvalidState", "", _MISCONFIGURED),
    Rule("KMSNotFound", "", _MISCONFIGURED),
    Rule("KMSOptInRequired", "", _MISCONFIGURED),
    Rule("KMSThrottling", "", _MISCONFIGURED),
)


def kind(clock: Clock) -> HttpKind:
    """SNS behind the HTTP template; `clock` dates the signature."""
    return HttpKind(spec=SPEC, build=lambda call: build(call, clock.now()), read=read)


def build(call: Call, now: datetime) -> httpx.Request | Result:
    """The signed POST for this call, or why it cannot be one."""
    content = call.content
    if not isinstance(content, SmsContent):
        raise TypeError("sns sends SMS only")
    sender = _sender(call)
    if sender is None:
        return unfit(Reason.SENDER_MISSING, "from", _NO_SENDER_FITS)
    if not content.text:
        return invalid_content("text", "The message has no text.")
    if len(content.text.encode()) > MAX_MESSAGE_BYTES:
        return unfit(Reason.TOO_LARGE, "text", f"SNS takes at most {MAX_MESSAGE_BYTES} bytes of text.")
    if content.validity is not None:
        return unfit(Reason.FEATURE_UNSUPPORTED, "validityPeriod", "SNS can not be told one.")
    form = [("Action", "Publish"), ("Version", "2010-03-31"), ("PhoneNumber", content.to), ("Message", content.text)]
    return aws.signed_post(
        f"{aws.endpoint(call.config, 'sns')}/",
        service="sns",
        body=urlencode([*form, *_attributes(call, sender)]).encode(),
        content_type="application/x-www-form-urlencoded; charset=utf-8",
        config=call.config,
        now=now,
    )


_NO_SENDER_FITS = (
    "SNS cannot carry this sender (a sender id of 3 to 11 letters, digits or hyphens, or a number): "
    "set another one on the message or the project (/sms-config), or `senderId` of this provider."
)


def _sender(call: Call) -> dict[str, str] | None:
    """The message's own sender, else the project's where SNS can carry it, else the settings'. Empty: AWS chooses;
    None: none fits.
    """
    own = sms_sender_of(call)
    if re.fullmatch(_ORIGINATION_NUMBER, own):
        return {"AWS.MM.SMS.OriginationNumber": own}
    if re.fullmatch(_SENDER_ID, own):
        return {"AWS.SNS.SMS.SenderID": own}
    settings = {
        "AWS.SNS.SMS.SenderID": call.config.get("senderId"),
        "AWS.MM.SMS.OriginationNumber": call.config.get("originationNumber"),
    }
    found = {name: str(value) for name, value in settings.items() if value}
    return None if own_sender(call) or (own and not found) else found


def _attributes(call: Call, sender: dict[str, str]) -> list[tuple[str, str]]:
    """The message attributes in the query protocol's numbered form."""
    settings = {
        "AWS.SNS.SMS.SMSType": call.config.get("smsType"),
        "AWS.SNS.SMS.MaxPrice": _price(call.config.get("maxPrice")),
        "AWS.MM.SMS.EntityId": call.config.get("entityId"),
        "AWS.MM.SMS.TemplateId": call.config.get("templateId"),
    }
    settings |= {name: _price(value) if name.endswith("MaxPrice") else value for name, value in call.options.items()}
    named = {**sender, **{name: str(value) for name, value in settings.items() if value}}
    form: list[tuple[str, str]] = []
    for number, (name, value) in enumerate(named.items(), start=1):
        entry = f"MessageAttributes.entry.{number}"
        form += [
            (f"{entry}.Name", name),
            (f"{entry}.Value.DataType", "Number" if name.endswith("MaxPrice") else "String"),
            (f"{entry}.Value.StringValue", value),
        ]
    return form


def _price(dollars: float | None) -> str:
    return f"{dollars:.4f}".rstrip("0").rstrip(".") if dollars else ""


def read(response: httpx.Response, call: Call) -> Result:
    """What SNS's answer means; 200 is accepted, whatever else can be read of it."""
    if response.is_success:
        return Result(
            outcome=Outcome.ACCEPTED,
            reason=Reason.ACCEPTED,
            provider_code=str(response.status_code),
            provider_message_id=aws.xml_text(response.text, "MessageId"),
        )
    return aws.refused(response, RULES, lambda word: _scope(word, call))


def _scope(word: str, call: Call) -> str:
    if word == "country" and isinstance(call.content, SmsContent):
        return country_scope(call.content.to)
    used = next(iter((_sender(call) or {}).values()), "")
    return f"sender:{used}" if word == "sender" and used else ""
