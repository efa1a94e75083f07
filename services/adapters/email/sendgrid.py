"""SendGrid, Mail Send v3: settings, request, answer. Not its webhooks (`sendgrid_receipts.py`) or templates."""

import base64
from collections.abc import Iterable
from typing import Any, NamedTuple

import httpx

from services.adapters.base import Address, Attachment, Call, Capabilities, Channel, EmailContent, ProviderSpec
from services.adapters.email.sender import SENDER_MISSING, SENDER_SETTINGS, sender_of
from services.adapters.http import HttpKind, by_status, json_object
from services.adapters.mime import header_name, wire_address
from services.adapters.outcome import Outcome, Reason, Result, Verdict
from services.adapters.receipt_tools import MAX_AGE_SETTING

BASE_URL = "https://api.sendgrid.com"
MAX_RECIPIENTS = 1000
MAX_TAGS = 10
MAX_BYTES = 30_000_000  # the whole request; the documented limit is "less than 30 MB"
FORBIDDEN_HEADERS = frozenset({"x-sg-id", "x-sg-eid", "dkim-signature"})

SPEC = ProviderSpec(
    kind="sendgrid",
    channel=Channel.EMAIL,
    title="SendGrid",
    description="Twilio SendGrid, Mail Send API v3.",
    documentation_url="https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send",
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
        ("1000 recipients", "too many recipients", "personalizations may", "maximum number of"),
        Verdict(Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS),
    ),
    Row(400, "from", (), Verdict(Outcome.DENIED, Reason.SENDER_REFUSED, "sender")),
    Row(400, "reply_to", (), Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Row(
        400,
        "personalizations",
        ("valid address", "does not contain a valid", "invalid email"),
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
    refusal = _refusal(content)
    if refusal is not None:
        return refusal
    headers = {"authorization": f"Bearer {call.config['apiKey']}"}
    if on_behalf_of := call.config.get("onBehalfOf"):
        headers["on-behalf-of"] = str(on_behalf_of)
    base = str(call.config.get("baseUrl") or BASE_URL).rstrip("/")
    request = httpx.Request("POST", f"{base}/v3/mail/send", json=_body(call, content, sender), headers=headers)
    if len(request.content) >= MAX_BYTES:
        return Result(
            outcome=Outcome.UNFIT,
            reason=Reason.TOO_LARGE,
            provider_text="SendGrid takes less than 30 MB, encoded attachments included.",
        )
    return request


def _refusal(content: EmailContent) -> Result | None:
    if 1 + len(content.cc) + len(content.bcc) > MAX_RECIPIENTS:
        return Result(
            outcome=Outcome.UNFIT,
            reason=Reason.TOO_MANY_RECIPIENTS,
            provider_text="SendGrid takes at most 1000 recipients.",
        )
    if not (content.text or content.html):
        return Result(
            outcome=Outcome.INVALID,
            reason=Reason.CONTENT_INVALID,
            provider_text="The message has neither text nor html.",
        )
    if not content.subject:
        return Result(
            outcome=Outcome.INVALID,
            reason=Reason.CONTENT_INVALID,
            provider_text="SendGrid takes no message without a subject.",
        )
    if (
        not (content.sender is None or content.sender.email.isascii())
        or not content.to.email.rpartition("@")[0].isascii()
    ):
        return Result(
            outcome=Outcome.UNFIT,
            reason=Reason.FEATURE_UNSUPPORTED,
            provider_text="SendGrid takes no non-ASCII local part.",
        )
    return None


def _body(call: Call, content: EmailContent, sender: Address) -> dict[str, Any]:
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
    parts = [("text/plain", content.text), ("text/html", content.html)]
    body: dict[str, Any] = {
        "personalizations": [personalization],
        "from": _mailbox(sender),
        "subject": content.subject,
        "content": [{"type": kind, "value": value} for kind, value in parts if value],
    }
    if content.reply_to is not None:
        body["reply_to"] = _mailbox(content.reply_to)
    if content.attachments:
        body["attachments"] = [_attachment(part) for part in content.attachments]
    if headers := {
        header_name(name): value for name, value in content.headers if name.lower() not in FORBIDDEN_HEADERS
    }:
        body["headers"] = headers
    if content.tags:
        body["categories"] = [tag[:255] for tag in dict.fromkeys(content.tags)][:MAX_TAGS]
    if pool := call.config.get("ipPoolName"):
        body["ip_pool_name"] = pool
    if call.config.get("sandboxMode"):
        body["mail_settings"] = {"sandbox_mode": {"enable": True}}
    return body


def _once(addresses: Iterable[Address], seen: set[str]) -> list[dict[str, str]]:
    fresh = []
    for address in addresses:
        if address.email.lower() not in seen:
            seen.add(address.email.lower())
            fresh.append(_mailbox(address))
    return fresh


def _mailbox(address: Address) -> dict[str, str]:
    # SendGrid refuses ; and , in names.
    name = address.name.replace(";", " ").replace(",", " ").strip()
    return {"email": wire_address(address), **({"name": name} if name else {})}


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


KIND = HttpKind(spec=SPEC, build=build, read=read)
