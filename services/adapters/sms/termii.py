"""Termii, SMS API: settings, request, answer. Not its webhook (termii_receipts.py), WhatsApp media or token API."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from services.adapters.base import Call, Capabilities, Channel, ProviderSpec, SmsContent
from services.adapters.http import HttpKind, by_status, json_object
from services.adapters.outcome import Outcome, Reason, Result, Verdict, invalid_content, unfit
from services.adapters.sms.numbers import country_scope
from services.adapters.sms.sender import own_sender, sms_sender_of

BASE_URL = "https://v3.api.termii.com"
_SENDER_ID = r"^[A-Za-z0-9]{3,11}$"

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "channel": {"type": "string", "enum": ["generic", "dnd"], "title": "Route"},
        "type": {"type": "string", "enum": ["plain", "unicode"], "title": "Encoding"},
    },
}

SPEC = ProviderSpec(
    kind="termii",
    channel=Channel.SMS,
    title="Termii",
    description="SMS through Termii, mostly to African networks.",
    documentation_url="https://developers.termii.com/messaging-api",
    capabilities=Capabilities(receipts=True),
    options_schema=OPTIONS,
    limits={
        "from": "a sender id of 3-11 letters and digits; not a number",
        "validityPeriod": "not supported",
        "tags, metadata": "kept with the message, not handed to Termii, which has no place for them",
    },
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Termii",
        "description": (
            "Credentials and options of one Termii account. Receipts come when the account's webhook posts to "
            "/receipts/termii/{provider id} and webhookSecret is set."
        ),
        "type": "object",
        "additionalProperties": False,
        "required": ["apiKey", "senderId"],
        "properties": {
            "apiKey": {
                "type": "string",
                "title": "API key",
                "description": "From the account's dashboard. It travels in the body of each request.",
                "minLength": 1,
                "maxLength": 256,
                "writeOnly": True,
            },
            "senderId": {
                "type": "string",
                "title": "Sender id",
                "description": "Approved by Termii; used unless the message or the project names one that fits.",
                "pattern": _SENDER_ID,
                "errorMessage": "must be 3 to 11 letters and digits",
                "examples": ["Acme"],
            },
            "channel": {
                "type": "string",
                "title": "Route",
                "description": (
                    "dnd reaches numbers on Do-Not-Disturb and must be activated by Termii's support; one-time "
                    "passwords belong there. generic is promotional: it does not reach those numbers, nor MTN "
                    "Nigeria between 20:00 and 08:00 WAT."
                ),
                "enum": ["generic", "dnd"],
                "default": "generic",
            },
            "webhookSecret": {
                "type": "string",
                "minLength": 1,
                "maxLength": 512,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be a secret without spaces",
                "writeOnly": True,
                "title": "Webhook secret",
                "description": (
                    "What Termii signs its reports with: the account's secret key, for some the API key; receipts are "
                    "refused without it. Several, separated by commas, while one replaces another."
                ),
            },
            "baseUrl": {
                "type": "string",
                "title": "Base address",
                "description": "The account's own base address, as its dashboard shows it.",
                "format": "uri",
                "default": BASE_URL,
                "examples": [BASE_URL, "https://api.ng.termii.com"],
            },
        },
    },
)


class Rule(NamedTuple):
    """One row: the first whose status equals (0 = any) and whose text is contained in the lower-case words decides."""

    status: int
    text: str
    verdict: Verdict


# providers.md §6.4. The shape of errors is not documented: without a `message`, the words of the whole body count.
RULES = (
    Rule(0, "invalid sender id", Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Rule(0, "device not found", Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Rule(0, "not set up on this route", Verdict(Outcome.DENIED, Reason.REGION_REFUSED, "country")),
    Rule(0, "account is not active", Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED)),
    Rule(0, "insufficient", Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT)),
    Rule(0, "daily limit", Verdict(Outcome.DENIED, Reason.QUOTA_EXCEEDED)),
    Rule(0, "unauthorized", Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    # this route does not reach the number, one with the dnd channel may: the next provider's turn, not a bad number
    Rule(0, "dnd active on phone number", Verdict(Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED)),
    Rule(200, "phone number", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    Rule(400, "phone number", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    Rule(422, "phone number", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    # a 200 with an object but no message_id has failed, whatever it says
    Rule(200, "", Verdict(Outcome.UNFIT, Reason.REQUEST_REFUSED)),
    Rule(401, "", Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Rule(403, "", Verdict(Outcome.DENIED, Reason.PERMISSION)),
    Rule(404, "", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
)


def build(call: Call) -> httpx.Request | Result:
    """The POST for this call, or why it cannot be one."""
    content, config = call.content, call.config
    if not isinstance(content, SmsContent):
        raise TypeError("termii sends SMS only")
    if not content.text:
        return invalid_content("text", "The message has no text.")
    if content.validity is not None:
        return unfit(Reason.FEATURE_UNSUPPORTED, "validityPeriod", "Termii can not be told one.")
    if own_sender(call) and not re.fullmatch(_SENDER_ID, content.sender):
        return unfit(Reason.FEATURE_UNSUPPORTED, "from", "Termii takes a sender id of 3-11 letters and digits only.")
    body = {
        "api_key": config["apiKey"],
        "to": content.to.removeprefix("+"),
        "from": _sender(call),
        "sms": content.text,
        "type": "plain",
        "channel": config.get("channel") or "generic",
        **call.options,
    }
    return httpx.Request("POST", f"{base_url(config)}/api/sms/send", json=body)


def base_url(config: Mapping[str, Any]) -> str:
    """The address these settings mean, without path and final slash."""
    # people paste the base address with the path that some pages show
    return str(config.get("baseUrl") or BASE_URL).rstrip("/").removesuffix("/api")


def _sender(call: Call) -> str:
    """The message's own sender, else the project's where Termii can carry it (no phone number), else the settings'."""
    own = sms_sender_of(call)
    return own if re.fullmatch(_SENDER_ID, own) else str(call.config["senderId"])


def read(response: httpx.Response, call: Call) -> Result:
    """What Termii's answer means. Accepted takes a 200 and a `message_id` (providers.md §6.3)."""
    body = json_object(response)
    # a 64-bit number, which some accounts receive unquoted
    found_id = str(body.get("message_id") or "")
    text = str(body.get("message") or response.text)
    verdict = _verdict(response, text, found_id, readable=bool(body))
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=str(body.get("code") or response.status_code),
        provider_text=text,
        provider_message_id=found_id if verdict.outcome is Outcome.ACCEPTED else "",
        scope=_scope(verdict.scope, call),
    )


def _verdict(response: httpx.Response, text: str, found_id: str, *, readable: bool) -> Verdict:
    status, words = response.status_code, text.lower()
    if response.is_success and found_id:
        return Verdict(Outcome.ACCEPTED, Reason.ACCEPTED)
    if response.is_success and not readable:
        return Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER)  # it may have held the id
    known = 200 if response.is_success else status
    if status < 500 and status != 429:
        for rule in RULES:
            if rule.status in (0, known) and rule.text in words:
                return rule.verdict
    return by_status(status)


def _scope(word: str, call: Call) -> str:
    if word == "country" and isinstance(call.content, SmsContent):
        return country_scope(call.content.to)
    return f"sender:{_sender(call)}" if word == "sender" else ""


KIND = HttpKind(spec=SPEC, build=build, read=read)
