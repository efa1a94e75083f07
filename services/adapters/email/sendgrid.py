"""SendGrid, Mail Send v3: settings, request, answer. Not its webhooks (`sendgrid_receipts.py`) or templates."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import httpx

from services.adapters.base import Address, Attachment, Call, Capabilities, Channel, EmailContent, ProviderSpec
from services.adapters.email.sender import SENDER_MISSING, SENDER_SETTINGS, sender_of
from services.adapters.email.sendgrid_options import OPTIONS
from services.adapters.http import HttpKind, by_status, json_object
from services.adapters.http_joint import Joint, same_for_each
from services.adapters.mime import header_name, needing_smtputf8, wire_address
from services.adapters.outcome import Outcome, Reason, Result, Verdict, invalid_content, unfit
from services.adapters.receipt_tools import MAX_AGE_SETTING

BASE_URL = "https://api.sendgrid.com"
MAX_RECIPIENTS = 1000
MAX_TAGS = 10
MAX_TAG_LENGTH = 255
MAX_CUSTOM_ARGS_BYTES = 10_000
MAX_BYTES = 30_000_000  # the whole request; the documented limit is "less than 30 MB"
FORBIDDEN_HEADERS = frozenset({"x-sg-id", "x-sg-eid", "dkim-signature", "received"})

SPEC = ProviderSpec(
    kind="sendgrid",
    channel=Channel.EMAIL,
    title="SendGrid",
    description="Twilio SendGrid, Mail Send API v3.",
    documentation_url="https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send",
    options_schema=OPTIONS,
    limits={
        "to, cc, bcc": f"together at most {MAX_RECIPIENTS}; the same address is sent to once",
        "tags": f"at most {MAX_TAGS} of {MAX_TAG_LENGTH} characters",
        "metadata": f"at most {MAX_CUSTOM_ARGS_BYTES} bytes together",
        "headers": "not x-sg-id, x-sg-eid, dkim-signature or received",
        "attachments": "the whole request must be less than 30 MB, attachments as base64",
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
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SendGrid",
        "description": (
            "Credentials and options of one SendGrid account. Receipts come when its Event Webhook is signed and posts "
            "to /receipts/sendgrid/{provider id}, and webhookPublicKey is set."
        ),
        "type": "object",
        "required": ["apiKey"],
        "additionalProperties": False,
        "properties": {
            "apiKey": {
                "type": "string",
                "minLength": 1,
                "maxLength": 512,
                "pattern": r"^[!-~]+$",
                "errorMessage": "must be an API key without spaces",
                "writeOnly": True,
                "title": "API key",
                "description": "Starts with SG. and needs the scope mail.send.",
                "examples": ["SG.xxxxxxxx.yyyyyyyy"],
            },
            **SENDER_SETTINGS,
            "baseUrl": {
                "type": "string",
                "format": "uri",
                "default": BASE_URL,
                "title": "Endpoint",
                "description": "https://api.eu.sendgrid.com for subusers of the EU region.",
                "examples": [BASE_URL, "https://api.eu.sendgrid.com"],
            },
            "onBehalfOf": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "pattern": r"^[!-~]+$",
                "errorMessage": "must be a subuser name without spaces",
                "title": "On behalf of",
                "description": "A subuser's name, sent as the header on-behalf-of.",
                "examples": ["subuser"],
            },
            "ipPoolName": {
                "type": "string",
                "minLength": 2,
                "maxLength": 64,
                "title": "IP pool",
                "description": "The pool of addresses to send from.",
                "examples": ["transactional"],
            },
            "webhookPublicKey": {
                "type": "string",
                "minLength": 64,
                "maxLength": 1024,
                "pattern": r"^[A-Za-z0-9+/=]+(,[A-Za-z0-9+/=]+)*$",
                "errorMessage": "must be the key in base64, without the lines BEGIN and END PUBLIC KEY",
                "title": "Webhook verification key",
                "description": (
                    "Shown where the Event Webhook's signature verification is switched on; receipts are refused "
                    "without it. Several, separated by commas, while one replaces another."
                ),
                "examples": [
                    (
                        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5+QLw58Hea6yzUg8Od6ceClbWeQ0TVmaKJO6wc1l6LwJ"
                        "byx/ivCfO4goFyt9dXlVbmV8KqA6A5eGxrJrhxwZVw=="
                    )
                ],
            },
            "webhookMaxAgeSeconds": MAX_AGE_SETTING,
            "sandboxMode": {
                "type": "boolean",
                "default": False,
                "title": "Sandbox mode",
                "description": "SendGrid checks the message and delivers nothing.",
                "examples": [False],
            },
        },
    },
)


class Row(NamedTuple):
    """One row of providers.md §1.4: the first row whose status, field start and words (any of them) match decides."""

    status: int
    field: str
    words: tuple[str, ...]
    verdict: Verdict


CODES: tuple[Row, ...] = (
    Row(
        400,
        "",
        ("limit of 1000", "limited to 1000"),  # recipients, personalizations: its page "Errors"
        Verdict(Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS),
    ),
    Row(400, "from", (), Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Row(400, "reply_to", (), Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Row(
        400,
        "personalizations",
        ("valid address", "valid email address"),
        Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID),
    ),
    Row(400, "personalizations", ("unique", "duplicate"), Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    Row(400, "subject", (), Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Row(400, "content", (), Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Row(400, "attachments", (), Verdict(Outcome.UNFIT, Reason.REQUEST_REFUSED)),
    Row(400, "categories", (), Verdict(Outcome.UNFIT, Reason.REQUEST_REFUSED)),
    Row(400, "", ("verified sender identity",), Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Row(401, "", ("maximum credits exceeded",), Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT)),
    Row(401, "", (), Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Row(403, "", ("verified sender identity",), Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Row(403, "", (), Verdict(Outcome.DENIED, Reason.PERMISSION)),
)


def build(call: Call) -> httpx.Request | Result:
    """The POST for this call, or why it cannot be one."""
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent):
        raise TypeError("sendgrid sends email only")
    if sender is None:
        return SENDER_MISSING
    refusal = _refusal(content, sender)
    if refusal is not None:
        return refusal
    return _post(call, _body(call, content, sender, [_personalization(call, content)]))


def joinable(call: Call) -> str:
    """The address of a call that may share a request: copies would reach their readers once per recipient, and
    SendGrid refuses an address that stands twice in a request.
    """
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent) or sender is None or content.cc or content.bcc:
        return ""
    return "" if _refusal(content, sender) else wire_address(content.to).casefold()


def build_together(calls: Sequence[Call]) -> httpx.Request | Result:
    """One POST for all of them: a personalization each, so that nobody sees the others and every event names the
    message it is about.
    """
    each = [(call, call.content) for call in calls if isinstance(call.content, EmailContent)]
    (first, content), sender = each[0], sender_of(calls[0])
    if sender is None:
        return SENDER_MISSING
    return _post(first, _body(first, content, sender, [_personalization(call, its) for call, its in each]))


def _post(call: Call, body: dict[str, Any]) -> httpx.Request | Result:
    headers = {"authorization": f"Bearer {call.config['apiKey']}"}
    if on_behalf_of := call.config.get("onBehalfOf"):
        headers["on-behalf-of"] = str(on_behalf_of)
    base = str(call.config.get("baseUrl") or BASE_URL).rstrip("/")
    request = httpx.Request("POST", f"{base}/v3/mail/send", json=body, headers=headers)
    if len(request.content) >= MAX_BYTES:
        return unfit(Reason.TOO_LARGE, "attachments", "SendGrid takes less than 30 MB, encoded attachments included.")
    return request


def _refusal(content: EmailContent, sender: Address) -> Result | None:
    if 1 + len(content.cc) + len(content.bcc) > MAX_RECIPIENTS:
        return unfit(Reason.TOO_MANY_RECIPIENTS, "to, cc, bcc", f"SendGrid takes at most {MAX_RECIPIENTS} recipients.")
    if not (content.text or content.html):
        return invalid_content("text", "The message has neither text nor html.")
    if not content.subject:
        return invalid_content("subject", "SendGrid takes no message without a subject.")
    if foreign := needing_smtputf8(content, sender):
        return unfit(Reason.FEATURE_UNSUPPORTED, foreign, "SendGrid takes no non-ASCII characters before the @.")
    for name, _ in content.headers:
        if name.lower() in FORBIDDEN_HEADERS:
            return unfit(Reason.FEATURE_UNSUPPORTED, f"headers.{name}", "SendGrid sets this header itself.")
    tags = dict.fromkeys(content.tags)
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_LENGTH for tag in tags):
        words = f"SendGrid takes at most {MAX_TAGS} categories of {MAX_TAG_LENGTH} characters."
        return unfit(Reason.FEATURE_UNSUPPORTED, "tags", words)
    if sum(len(name.encode()) + len(value.encode()) for name, value in content.metadata) > MAX_CUSTOM_ARGS_BYTES:
        return unfit(Reason.TOO_LARGE, "metadata", f"SendGrid takes at most {MAX_CUSTOM_ARGS_BYTES} bytes.")
    return None


def _personalization(call: Call, content: EmailContent) -> dict[str, Any]:
    # The same address twice in one personalization is a 400: the first mention wins.
    seen: set[str] = set()
    lists = {"to": _once([content.to], seen), "cc": _once(content.cc, seen), "bcc": _once(content.bcc, seen)}
    personalization: dict[str, Any] = {name: addresses for name, addresses in lists.items() if addresses}
    # Inside the personalization: at message level the official spec types custom_args as a string.
    personalization["custom_args"] = {
        **dict(content.metadata),
        "messagepipe_id": call.message_id,
        "messagepipe_attempt": str(call.attempt),
    }
    return personalization


def _body(call: Call, content: EmailContent, sender: Address, personalizations: list[Any]) -> dict[str, Any]:
    parts = [("text/plain", content.text), ("text/html", content.html)]
    body: dict[str, Any] = {
        "personalizations": personalizations,
        "from": _mailbox(sender),
        "subject": content.subject,
        "content": [{"type": kind, "value": value} for kind, value in parts if value],
    }
    if content.reply_to is not None:
        body["reply_to"] = _mailbox(content.reply_to)
    if content.attachments:
        body["attachments"] = [_attachment(part) for part in content.attachments]
    if content.headers:
        body["headers"] = {header_name(name): value for name, value in content.headers}
    if content.tags:
        body["categories"] = list(dict.fromkeys(content.tags))
    if pool := call.config.get("ipPoolName"):
        body["ip_pool_name"] = pool
    body |= call.options
    if call.config.get("sandboxMode"):
        body["mail_settings"] = {**body.get("mail_settings", {}), "sandbox_mode": {"enable": True}}
    return body


def _once(addresses: Iterable[Address], seen: set[str]) -> list[dict[str, str]]:
    fresh = []
    for address in addresses:
        if address.email.lower() not in seen:
            seen.add(address.email.lower())
            fresh.append(_mailbox(address))
    return fresh


def _mailbox(address: Address) -> dict[str, str]:
    # As it is, commas too: since 6.7.1 (2021) SendGrid's own library puts no quotes around them either.
    return {"email": wire_address(address), **({"name": address.name} if address.name else {})}


def _attachment(part: Attachment) -> dict[str, str]:
    inline = (
        {"disposition": "inline", "content_id": part.content_id} if part.content_id else {"disposition": "attachment"}
    )
    encoded = base64.b64encode(part.content).decode("ascii")
    return {
        "content": encoded,
        "filename": part.filename,
        # SendGrid refuses ; here: the media type goes without its parameters.
        "type": part.content_type.partition(";")[0] or "application/octet-stream",
        **inline,
    }


def read(response: httpx.Response, call: Call) -> Result:
    """What SendGrid's answer means; 202 (200 in sandbox mode) is accepted, the id is in a header and may be missing."""
    if response.is_success:
        return Result(
            outcome=Outcome.ACCEPTED,
            reason=Reason.ACCEPTED,
            provider_code=str(response.status_code),
            provider_message_id=response.headers.get("x-message-id", ""),
        )
    listed = json_object(response).get("errors")
    errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
    text = "; ".join(str(error.get("message") or "") for error in errors) or response.text
    verdict = _verdict(response.status_code, errors, text)
    sender = sender_of(call)
    scope = f"sender:{sender.email}" if verdict.scope and sender is not None else ""
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=str(response.status_code),
        provider_text=text,
        scope=scope,
    )


def _verdict(status: int, errors: list[dict[str, Any]], text: str) -> Verdict:
    fields = [str(error.get("field") or "") for error in errors] or [""]
    for row in CODES:
        named = not row.field or any(
            field == row.field or field.startswith((row.field + ".", row.field + "[")) for field in fields
        )
        worded = not row.words or any(word in text.lower() for word in row.words)
        if row.status == status and named and worded:
            return row.verdict
    return by_status(status)


def read_together(response: httpx.Response, calls: Sequence[Call]) -> Sequence[Result | None]:
    """The same for each: SendGrid takes or refuses a request as a whole."""
    return same_for_each(read(response, calls[0]), len(calls))


KIND = HttpKind(spec=SPEC, build=build, read=read)
JOINT = Joint(most=MAX_RECIPIENTS, joinable=joinable, build=build_together, read=read_together)
