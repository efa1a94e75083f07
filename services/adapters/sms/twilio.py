"""Twilio, Messages resource of API 2010-04-01, for SMS: settings, request, answer. Not its callbacks
(twilio_receipts.py), media or scheduling.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx

from services.adapters.base import Call, Capabilities, Channel, ProviderSpec, SmsContent
from services.adapters.http import HttpKind, by_status, json_object
from services.adapters.outcome import Outcome, Reason, Result, Verdict, invalid_content, unfit
from services.adapters.sms.numbers import country_scope
from services.adapters.sms.sender import sms_sender_of

BASE_URL = "https://api.twilio.com"
MAX_CHARACTERS = 1600
MAX_VALIDITY = 36_000  # seconds; also Twilio's default

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "MediaUrl": {
            "type": "array",
            "title": "Pictures",
            "description": "Public addresses of media to send along as an MMS.",
            "maxItems": 10,
            "items": {"type": "string", "format": "uri", "maxLength": 2000},
        },
        "SmartEncoded": {"type": "boolean", "title": "Replace characters that would need UCS-2"},
        "ShortenUrls": {"type": "boolean", "title": "Shorten links"},
        "SendAsMms": {"type": "boolean", "title": "Send as MMS"},
        "ProvideFeedback": {"type": "boolean", "title": "Feedback will be given"},
        "RiskCheck": {"type": "string", "enum": ["enable", "disable"], "title": "SMS pumping protection"},
        "ContentRetention": {"type": "string", "enum": ["retain", "discard"], "title": "Keep the text"},
        "AddressRetention": {"type": "string", "enum": ["retain", "obfuscate"], "title": "Keep the number"},
        "Attempt": {"type": "integer", "minimum": 1, "maximum": 1000, "title": "Number of this attempt"},
        "FallbackFrom": {"type": "string", "minLength": 1, "maxLength": 100, "title": "Sender if the first fails"},
    },
}

SPEC = ProviderSpec(
    kind="twilio",
    channel=Channel.SMS,
    title="Twilio",
    description="Twilio Programmable Messaging, SMS.",
    documentation_url="https://www.twilio.com/docs/messaging/api/message-resource",
    capabilities=Capabilities(receipts=True, lookup=False, validity=True),
    options_schema=OPTIONS,
    limits={
        "text": f"at most {MAX_CHARACTERS} characters",
        "validityPeriod": f"1 to {MAX_VALIDITY} s",
        "tags, metadata": "kept with the message, not handed to Twilio, which has no place for them",
    },
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Twilio",
        "description": (
            "Credentials and sender of one Twilio account. Receipts come when the service knows its own public address "
            "(MESSAGEPIPE_PUBLIC_URL), or statusCallbackUrl is that of /receipts/twilio/{provider id}, and authToken "
            "or webhookSharedKeySecret is set."
        ),
        "type": "object",
        "required": ["accountSid"],
        "additionalProperties": False,
        "allOf": [
            {"anyOf": [{"required": ["authToken"]}, {"required": ["apiKeySid"]}]},
            {"anyOf": [{"required": ["fromNumber"]}, {"required": ["messagingServiceSid"]}]},
        ],
        "dependentRequired": {"apiKeySid": ["apiKeySecret"], "apiKeySecret": ["apiKeySid"]},
        "properties": {
            "accountSid": {
                "type": "string",
                "pattern": "^AC[0-9a-fA-F]{32}$",
                "errorMessage": "must be AC followed by 32 hexadecimal digits",
                "title": "Account SID",
                "description": "AC followed by 32 hexadecimal digits.",
                "examples": ["AC00000000000000000000000000000000"],
            },
            "authToken": {
                "type": "string",
                "minLength": 1,
                "maxLength": 256,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be a token without spaces",
                "writeOnly": True,
                "title": "Auth token",
                "description": "The account's token; also what Twilio signs its callbacks with.",
                "examples": ["0123456789abcdef0123456789abcdef"],
            },
            "apiKeySid": {
                "type": "string",
                "pattern": "^SK[0-9a-fA-F]{32}$",
                "errorMessage": "must be SK followed by 32 hexadecimal digits",
                "title": "API key SID",
                "description": "An API key to use instead of the auth token.",
                "examples": ["SK00000000000000000000000000000000"],
            },
            "apiKeySecret": {
                "type": "string",
                "minLength": 1,
                "maxLength": 256,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be a secret without spaces",
                "writeOnly": True,
                "title": "API key secret",
                "description": "The secret of the API key.",
                "examples": ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"],
            },
            "fromNumber": {
                "type": "string",
                "pattern": r"^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +&_-]{1,11})$",
                "errorMessage": "must be an E.164 number, a short code, or a word of up to 11 characters",
                "title": "Sender",
                "description": "E.164 number, short code or alphanumeric sender; used when the message names none.",
                "examples": ["+15005550006"],
            },
            "messagingServiceSid": {
                "type": "string",
                "pattern": "^MG[0-9a-fA-F]{32}$",
                "errorMessage": "must be MG followed by 32 hexadecimal digits",
                "title": "Messaging service SID",
                "description": "Lets Twilio choose the sender from a pool.",
                "examples": ["MG00000000000000000000000000000000"],
            },
            "statusCallbackUrl": {
                "type": "string",
                "format": "uri",
                "title": "Status callback",
                "description": (
                    "Where Twilio reports delivery, when not to the service's own address of this provider's receipts. "
                    "Our message id is appended as messagepipe_id."
                ),
                "examples": ["https://hooks.yourcompany.com/twilio"],
            },
            "webhookSharedKeySecret": {
                "type": "string",
                "minLength": 1,
                "maxLength": 512,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be a secret without spaces",
                "writeOnly": True,
                "title": "Webhook shared key",
                "description": (
                    "Only for callbacks signed with HMAC-SHA256; the others are signed with the auth token. Several, "
                    "separated by commas, while one replaces another."
                ),
            },
            "baseUrl": {
                "type": "string",
                "format": "uri",
                "default": BASE_URL,
                "title": "Endpoint",
                "description": "Another region of Twilio, or a test server.",
                "examples": [BASE_URL],
            },
        },
    },
)

_BAD_RECIPIENT = Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)
_BAD_SENDER = Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")
_BAD_CONTENT = Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)
_TRIAL = Verdict(Outcome.DENIED, Reason.TRIAL_ACCOUNT)

# providers.md §5.4, one row per code. Twilio says codes shift over time: what is not here is decided by HTTP status.
CODES: dict[int, Verdict] = {
    20003: Verdict(Outcome.DENIED, Reason.CREDENTIALS),
    20404: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    20429: Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED),
    20500: Verdict(Outcome.UNKNOWN, Reason.SERVER_ERROR),
    21211: _BAD_RECIPIENT,
    21212: _BAD_SENDER,
    21265: _BAD_RECIPIENT,
    21266: _BAD_RECIPIENT,
    21267: _TRIAL,
    21268: _BAD_RECIPIENT,
    21408: Verdict(Outcome.DENIED, Reason.REGION_REFUSED, "country"),
    21602: _BAD_CONTENT,
    21603: Verdict(Outcome.DENIED, Reason.SENDER_REFUSED),
    21604: _BAD_RECIPIENT,
    21606: _BAD_SENDER,
    21608: _TRIAL,
    21610: Verdict(Outcome.INVALID, Reason.RECIPIENT_OPTED_OUT),
    21611: Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED),
    21612: Verdict(Outcome.DENIED, Reason.REGION_REFUSED, "country"),
    21614: _BAD_RECIPIENT,
    21617: Verdict(Outcome.UNFIT, Reason.TOO_LARGE),
    21635: _BAD_RECIPIENT,
    21659: _BAD_SENDER,
    21660: _BAD_SENDER,
    21661: _BAD_SENDER,
    21704: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    30037: Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED),
    63007: _BAD_SENDER,
    572002: _TRIAL,
    572005: _TRIAL,
}


def build(call: Call) -> httpx.Request | Result:
    """The POST for this call, or why it cannot be one."""
    content, config = call.content, call.config
    if not isinstance(content, SmsContent):
        raise TypeError("twilio sends SMS only")
    form: dict[str, str | list[str]] = {"To": content.to, "Body": content.text, **_sender(call)}
    if "From" not in form and "MessagingServiceSid" not in form:
        text = "No sender: set it on the message, the project (/sms-config), or `fromNumber` of this provider."
        return unfit(Reason.SENDER_MISSING, "from", text)
    if not content.text:
        return invalid_content("text", "The message has no text.")
    if len(content.text) > MAX_CHARACTERS:
        return unfit(Reason.TOO_LARGE, "text", f"Twilio takes at most {MAX_CHARACTERS} characters.")
    if content.validity is not None and content.validity > MAX_VALIDITY:
        return unfit(Reason.FEATURE_UNSUPPORTED, "validityPeriod", f"Twilio takes at most {MAX_VALIDITY} s.")
    form["ValidityPeriod"] = str(_validity(content, call.time_left))
    if callback := _callback(call):
        form["StatusCallback"] = callback
    form |= {name: _form_value(value) for name, value in call.options.items()}
    request = httpx.Request("POST", f"{resource_url(config)}/Messages.json", data=form)
    return next(httpx.BasicAuth(*credentials(config)).auth_flow(request))


def credentials(config: Mapping[str, Any]) -> tuple[str, str]:
    """User and password of these settings: an API key where there is one, else the account and its token."""
    if config.get("apiKeySid"):
        return str(config["apiKeySid"]), str(config.get("apiKeySecret"))
    return str(config["accountSid"]), str(config["authToken"])


def resource_url(config: Mapping[str, Any]) -> str:
    """The account's own address, without the `.json`."""
    base = str(config.get("baseUrl") or BASE_URL).rstrip("/")
    return f"{base}/2010-04-01/Accounts/{config['accountSid']}"


def _sender(call: Call) -> dict[str, str]:
    """The message's own sender wins, then the project's; else the messaging service, which may hold the number to
    prefer, else the number alone.
    """
    own = sms_sender_of(call)
    if own:
        return {"MessagingServiceSid": own} if own.startswith("MG") and len(own) == 34 else {"From": own}
    settings = {"From": call.config.get("fromNumber"), "MessagingServiceSid": call.config.get("messagingServiceSid")}
    return {name: str(value) for name, value in settings.items() if value}


def _validity(content: SmsContent, time_left: float) -> int:
    """What the message asks for, but never longer than its deadline (failover.md R4)."""
    asked = MAX_VALIDITY if content.validity is None else content.validity
    return int(min(max(time_left, 1), asked))


def _form_value(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _callback(call: Call) -> str:
    """Where Twilio shall report to: the settings' word, else ours when we could verify what it says there."""
    verifiable = call.config.get("authToken") or call.config.get("webhookSharedKeySecret")
    url = str(call.config.get("statusCallbackUrl") or (call.receipts_url if verifiable else ""))
    if not url:
        return ""
    parts = urlsplit(url)
    ours = urlencode({"messagepipe_id": call.message_id, "messagepipe_attempt": call.attempt})
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, ours]))))


def read(response: httpx.Response, call: Call) -> Result:
    """What Twilio's answer means: 201 is accepted (queued there), everything else by its code, else by status."""
    body = json_object(response)
    if response.is_success:
        return Result(
            outcome=Outcome.ACCEPTED,
            reason=Reason.ACCEPTED,
            provider_code=str(body.get("status") or response.status_code),
            provider_message_id=str(body.get("sid") or ""),
        )
    code = body.get("code")
    verdict = CODES.get(code) if isinstance(code, int) else None
    verdict = verdict or by_status(response.status_code)
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=str(code or response.status_code),
        provider_text=str(body.get("message") or response.text),
        scope=_scope(verdict.scope, call),
    )


def _scope(kind: str, call: Call) -> str:
    match kind:
        case "country" if isinstance(call.content, SmsContent):
            return country_scope(call.content.to)
        case "sender":
            used: dict[str, Any] = _sender(call)
            return f"sender:{used.get('From') or used.get('MessagingServiceSid')}"
        case _:
            return ""


KIND = HttpKind(spec=SPEC, build=build, read=read)
