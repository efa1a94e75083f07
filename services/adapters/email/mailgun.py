"""Mailgun, Messages API v3: settings, request, answer. Not its webhooks (mailgun_receipts.py) or its domain
management.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime, quote
from typing import Any, NamedTuple

import httpx

from services.adapters.base import Address, Attachment, Call, Capabilities, Channel, EmailContent, ProviderSpec
from services.adapters.email.sender import SENDER_MISSING, SENDER_SETTINGS, sender_of
from services.adapters.http import MAX_RETRY_AFTER, HttpKind, by_status, json_object
from services.adapters.http_joint import Joint, same_for_each
from services.adapters.mime import check_headers, header_name, needing_smtputf8, wire_address
from services.adapters.outcome import Outcome, Reason, Result, Verdict, invalid_content, unfit
from services.adapters.receipt_tools import MAX_AGE_SETTING

MAX_RECIPIENTS = 1000
MAX_MESSAGE_BYTES = 25_000_000
MAX_OPTION_BYTES = 16_000  # all o:, h: and v: fields together
MAX_TAGS = 3
MAX_TAG_LENGTH = 128

_YES_OR_NO: Mapping[str, Any] = {"type": "string", "enum": ["yes", "no"]}
_CLICKS: Mapping[str, Any] = {"type": "string", "enum": ["yes", "no", "htmlonly"]}
OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "o:tracking": {**_CLICKS, "title": "Tracking"},
        "o:tracking-clicks": {**_CLICKS, "title": "Track clicks"},
        "o:tracking-opens": {**_YES_OR_NO, "title": "Track opens"},
        "o:require-tls": {**_YES_OR_NO, "title": "Deliver over TLS only"},
        "o:skip-verification": {**_YES_OR_NO, "title": "Deliver to a server whose certificate does not verify"},
        "amp-html": {"type": "string", "minLength": 1, "maxLength": 1_000_000, "title": "AMP part"},
    },
}

BASE_URLS = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}

SPEC = ProviderSpec(
    kind="mailgun",
    channel=Channel.EMAIL,
    title="Mailgun",
    description="Email through the Mailgun Messages API.",
    documentation_url="https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mailgun",
        "description": (
            "Credentials and options of one Mailgun domain. Receipts come when the domain's webhooks post to "
            "/receipts/mailgun/{provider id} and webhookSigningKey is set."
        ),
        "type": "object",
        "additionalProperties": False,
        "required": ["apiKey", "domain"],
        "properties": {
            "apiKey": {
                "type": "string",
                "title": "API key",
                "description": "An account API key, or a sending key of the domain.",
                "minLength": 1,
                "maxLength": 256,
                "writeOnly": True,
            },
            "domain": {
                "type": "string",
                "title": "Sending domain",
                "description": "The domain as it is named in Mailgun; it belongs to one region.",
                "format": "hostname",
                "examples": ["mg.example.com"],
            },
            "region": {
                "type": "string",
                "title": "Region",
                "description": "Where the domain was created in Mailgun.",
                "enum": ["us", "eu"],
                "default": "us",
            },
            **SENDER_SETTINGS,
            "testMode": {
                "type": "boolean",
                "default": False,
                "title": "Test mode",
                "description": "Mailgun accepts, logs and charges the message, and delivers nothing.",
                "examples": [False],
            },
            "webhookSigningKey": {
                "type": "string",
                "minLength": 1,
                "maxLength": 512,
                "pattern": "^[!-~]+$",
                "errorMessage": "must be a key without spaces",
                "writeOnly": True,
                "title": "Webhook signing key",
                "description": (
                    "The account's HTTP webhook signing key, which is not the API key; receipts are refused without "
                    "it. Several, separated by commas, while one replaces another."
                ),
            },
            "webhookMaxAgeSeconds": MAX_AGE_SETTING,
            "baseUrl": {
                "type": "string",
                "title": "Base address",
                "description": "Only to send to something other than Mailgun's own address of the region.",
                "format": "uri",
                "examples": ["https://api.eu.mailgun.net"],
            },
        },
    },
    options_schema=OPTIONS,
    limits={
        "to, cc, bcc": f"together at most {MAX_RECIPIENTS}",
        "tags": f"at most {MAX_TAGS} of {MAX_TAG_LENGTH} characters",
        "headers, tags, metadata": "at most 16 kB together",
        "attachments": "the whole message at most 25 MB, attachments as base64",
        "from, to, cc, bcc, replyTo": "no non-ASCII characters before the @",
    },
    capabilities=Capabilities(
        receipts=True,
        attachments=True,
        inline_attachments=True,
        cc_bcc=True,
        custom_headers=True,
        tags=True,
        metadata=True,
    ),
)


class Rule(NamedTuple):
    """One row: the first whose status equals (0 = any) and whose pattern is found in the unquoted, lower-case words."""

    status: int
    pattern: str
    verdict: Verdict


# providers.md §2.4. There are no codes: the words decide. "limit exceeded" comes first because Mailgun wraps it, with
# status 420 or 429: "Domain X is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025
# 07:00:31 UTC" (issue 50 of mailgun/mailgun-java).
RULES = (
    Rule(0, r"limit exceeded, try again", Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)),
    Rule(0, r"^(to|cc|bcc) parameter is not a valid address", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    Rule(0, r"^from parameter is not a valid address", Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Rule(400, r"parameter is missing", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(400, r"need at least one of", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(400, r"\bascii\b", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(0, r"too many recipients", Verdict(Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS)),
    Rule(400, r"16 ?kb", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Rule(0, r"^sandbox subdomains", Verdict(Outcome.DENIED, Reason.TRIAL_ACCOUNT)),
    Rule(0, r"is not allowed to send", Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED)),
    Rule(401, r"", Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Rule(402, r"", Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT)),
    Rule(403, r"", Verdict(Outcome.DENIED, Reason.PERMISSION)),
    Rule(404, r"", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
    Rule(413, r"", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Rule(420, r"", Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)),
)


def build(call: Call) -> httpx.Request | Result:
    """The POST for this call, or why it cannot be one."""
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent):
        raise TypeError("mailgun sends email only")
    if sender is None:
        return SENDER_MISSING
    check_headers(content)
    options = _options(call, content)
    refusal = _refusal(content, sender, options)
    if refusal is not None:
        return refusal
    return _post(call, content, {**_fields(content, sender), **options})


def joinable(call: Call) -> str:
    """The address of a call that may share a request. Not one with copies, which would reach their readers once per
    recipient, nor one whose content means something to Mailgun only there: %recipient…%.
    """
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent) or sender is None or content.cc or content.bcc:
        return ""
    fields = {**_fields(content, sender), **(options := _options(call, content))}
    if any("%recipient" in value.casefold() for values in fields.values() for value in values):
        return ""
    return "" if _refusal(content, sender, options) else wire_address(content.to).casefold()


def build_together(calls: Sequence[Call]) -> httpx.Request | Result:
    """One POST for all of them. With recipient-variables Mailgun sends each a mail of its own, in which nobody else is
    named, and fills in whose events it later tells of (its page "Batch Sending").
    """
    each = [(call, call.content) for call in calls if isinstance(call.content, EmailContent)]
    (first, content), sender = each[0], sender_of(calls[0])
    if sender is None:
        return SENDER_MISSING
    own = {
        wire_address(its.to): {"messagepipe_id": call.message_id, "messagepipe_attempt": str(call.attempt)}
        for call, its in each
    }
    fields = {**_fields(content, sender), **_options(first, content)}
    fields |= {f"v:{name}": [f"%recipient.{name}%"] for name in ("messagepipe_id", "messagepipe_attempt")}
    fields |= {"to": [_mailbox(its.to) for _, its in each], "recipient-variables": [json.dumps(own)]}
    return _post(first, content, fields)


def _post(call: Call, content: EmailContent, fields: Mapping[str, list[str]]) -> httpx.Request:
    files = [_file(part) for part in content.attachments]
    credentials = b64encode(f"api:{call.config['apiKey']}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    return httpx.Request("POST", _url(call), headers=headers, data=dict(fields), files=files or None)


def _url(call: Call) -> str:
    return f"{base_url(call.config)}/v3/{call.config['domain']}/messages"


def base_url(config: Mapping[str, Any]) -> str:
    """The address these settings mean, without version and final slash."""
    base = str(config.get("baseUrl") or BASE_URLS[config.get("region") or "us"])
    # people paste the base address with the version that some pages show
    return base.rstrip("/").removesuffix("/v3")


def _fields(content: EmailContent, sender: Address) -> dict[str, list[str]]:
    fields = {
        "from": [_mailbox(sender)],
        "to": [_mailbox(content.to)],
        "cc": [_mailbox(address) for address in content.cc],
        "bcc": [_mailbox(address) for address in content.bcc],
        "subject": [content.subject],
        "text": [content.text] if content.text else [],
        "html": [content.html] if content.html else [],
    }
    return {name: values for name, values in fields.items() if values}


def _options(call: Call, content: EmailContent) -> dict[str, list[str]]:
    # Mailgun also writes v: fields into the header X-Mailgun-Variables, which the recipient can read.
    options = {f"v:{name}": [value] for name, value in content.metadata}
    options |= {"v:messagepipe_id": [call.message_id], "v:messagepipe_attempt": [str(call.attempt)]}
    options |= {name: [str(value)] for name, value in call.options.items()}
    if call.config.get("testMode"):
        options["o:testmode"] = ["yes"]
    if content.tags:
        options["o:tag"] = list(dict.fromkeys(content.tags))
    if content.reply_to is not None:
        options["h:Reply-To"] = [_mailbox(content.reply_to)]
    for name, value in content.headers:
        options.setdefault(f"h:{header_name(name)}", []).append(value)
    return options


def _mailbox(address: Address) -> str:
    name = f'"{quote(address.name)}" ' if address.name else ""
    return f"{name}<{wire_address(address)}>"


def _file(part: Attachment) -> tuple[str, tuple[str, bytes, str]]:
    kind = part.content_type or "application/octet-stream"
    # the file name of an inline part is its content id; a part without a file name is silently dropped
    if part.content_id:
        return "inline", (part.content_id, part.content, kind)
    return "attachment", (part.filename or "attachment", part.content, kind)


def _refusal(content: EmailContent, sender: Address, options: dict[str, list[str]]) -> Result | None:
    if 1 + len(content.cc) + len(content.bcc) > MAX_RECIPIENTS:
        return unfit(Reason.TOO_MANY_RECIPIENTS, "to, cc, bcc", f"Mailgun takes at most {MAX_RECIPIENTS} recipients.")
    if not (content.text or content.html):
        return invalid_content("text", "The message has neither text nor html.")
    if foreign := needing_smtputf8(content, sender):
        return unfit(Reason.FEATURE_UNSUPPORTED, foreign, "Mailgun takes no non-ASCII characters before the @.")
    tags = options.get("o:tag", [])
    if len(tags) > MAX_TAGS or not all(_fits_tag(tag) for tag in tags):
        words = f"Mailgun takes at most {MAX_TAGS} tags, each of at most {MAX_TAG_LENGTH} ASCII characters."
        return unfit(Reason.FEATURE_UNSUPPORTED, "tags", words)
    counted = {name: values for name, values in options.items() if name[:2] in ("o:", "h:", "v:", "t:")}
    if sum(len(name) + len(value.encode()) for name, values in counted.items() for value in values) > MAX_OPTION_BYTES:
        return unfit(Reason.TOO_LARGE, "headers, tags, metadata", "Mailgun takes at most 16 kB of them together.")
    if _mime_bytes(content) > MAX_MESSAGE_BYTES:
        return unfit(Reason.TOO_LARGE, "attachments", "Mailgun takes at most 25 MB, encoded attachments included.")
    return None


def _fits_tag(tag: str) -> bool:
    return tag.isascii() and tag.isprintable() and len(tag) <= MAX_TAG_LENGTH


def _mime_bytes(content: EmailContent) -> int:
    """About how large the mail will be; base64 makes 78 bytes with the line end out of 57 (RFC 2045 §6.8)."""
    texts = len(content.text.encode()) + len(content.html.encode())
    return texts + sum(len(part.content) * 78 // 57 for part in content.attachments)


def read(response: httpx.Response, call: Call) -> Result:
    """What Mailgun's answer means. Accepted takes a 200 and an id: a wrong path is a 200 too (providers.md §2.3)."""
    body = json_object(response)
    text = str(body.get("message") or response.text)
    found_id = str(body.get("id") or "").strip().removeprefix("<").removesuffix(">")
    if response.is_success and found_id:
        verdict = Verdict(Outcome.ACCEPTED, Reason.ACCEPTED)
    elif response.is_success:
        verdict = _without_id(response, complete=bool(body))
    else:
        verdict = _verdict(response.status_code, text)
    sender = sender_of(call)
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=str(response.status_code),
        provider_text=text,
        provider_message_id=found_id,
        retry_after=_wait(text, response) if verdict.outcome is Outcome.DEFERRED else None,
        scope=f"sender:{sender.email}" if verdict.scope and sender is not None else "",
    )


def _without_id(response: httpx.Response, *, complete: bool) -> Verdict:
    """A 200 without an id is somebody else's page: nothing was taken. One that broke off may have held it."""
    if not complete and (response.text.lstrip().startswith("{") or not response.text.strip()):
        return Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER)
    return Verdict(Outcome.DENIED, Reason.MISCONFIGURED)


def _verdict(status: int, text: str) -> Verdict:
    words = text.replace("'", "").lower()
    if status < 500:
        for rule in RULES:
            if rule.status in (0, status) and re.search(rule.pattern, words):
                return rule.verdict
    return by_status(status)


def _wait(text: str, response: httpx.Response) -> float | None:
    """Seconds until the "try again after <date>", by the answer's own clock (its Date header); at most 24 h."""
    named = re.search(r"try again after ([A-Za-z0-9:, +-]{10,40})", text)
    if named is None or "date" not in response.headers:
        return None
    try:
        until, now = (parsedate_to_datetime(raw) for raw in (named[1], response.headers["date"]))
    except ValueError:
        return None
    seconds = until.replace(tzinfo=until.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)
    return min(max(seconds.total_seconds(), 0.0), MAX_RETRY_AFTER)


def read_together(response: httpx.Response, calls: Sequence[Call]) -> Sequence[Result | None]:
    """The same for each: Mailgun takes or refuses a request as a whole, and names one id for all."""
    return same_for_each(read(response, calls[0]), len(calls))


KIND = HttpKind(spec=SPEC, build=build, read=read)
JOINT = Joint(most=MAX_RECIPIENTS, joinable=joinable, build=build_together, read=read_together)
