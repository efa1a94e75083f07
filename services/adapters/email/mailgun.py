"""Mailgun, Messages API v3: settings, request, answer. Not its webhooks or its domain management."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx

from services.adapters.base import Address, Call, Capabilities, Channel, EmailContent, ProviderSpec
from services.adapters.outcome import Outcome, Reason, Result, Verdict

MAX_RECIPIENTS = 1000
MAX_MESSAGE_BYTES = 25_000_000
MAX_OPTION_BYTES = 16_000
MAX_TAGS = 3
MAX_TAG_LENGTH = 128

_BASE = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}

SPEC = ProviderSpec(
    kind="mailgun",
    channel=Channel.EMAIL,
    title="Mailgun",
    description="Email through the Mailgun Messages API.",
    documentation_url="https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages",
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mailgun",
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
            "fromEmail": {
                "type": "string",
                "title": "Sender address",
                "description": "Used when neither the message nor the project names a sender.",
                "format": "email",
                "examples": ["noreply@mg.example.com"],
            },
            "fromName": {
                "type": "string",
                "title": "Sender name",
                "description": "Goes with the sender address above.",
                "maxLength": 200,
            },
            "baseUrl": {
                "type": "string",
                "title": "Base address",
                "description": "Only to send to something other than Mailgun's own address of the region.",
                "format": "uri",
                "examples": ["https://api.eu.mailgun.net"],
            },
        },
        "dependentRequired": {"fromName": ["fromEmail"]},
    },
    capabilities=Capabilities(
        attachments=True, inline_attachments=True, cc_bcc=True, custom_headers=True, tags=True
    ),
)


class Rule(NamedTuple):
    """One row: the first whose status equals (0 = any) and whose text is contained, whatever its case, decides."""

    status: int
    text: str
    verdict: Verdict


# providers.md §2.4. Numbers are not given: the words decide. "limit exceeded" comes first because Mailgun wraps it: status 420 or 429,
# "Domain X is not allowed to send: recipient limit exceeded, try again after Mon, 25 Aug 2025 07:00:31 UTC" (mailgun-java issue 50).
RULES = (
    Rule(0, "limit exceeded, try again", Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)),
    Rule(0, "to parameter is not a valid address", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),
    Rule(0, "cc parameter is not a valid address", Verdict(Outcome.INVALID, Reason.RECIPIENT_INVALID)),  # bcc too
    Rule(0, "from parameter is not a valid address", Verdict(Outcome.DENIED, Reason.SENDER_REFUSED)),
    Rule(400, "parameter is missing", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(400, "need at least one of", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(0, "too many recipients", Verdict(Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS)),
    Rule(400, "16 kb", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Rule(400, "16kb", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Rule(0, "sandbox subdomains are for test", Verdict(Outcome.DENIED, Reason.TRIAL_ACCOUNT)),
    Rule(0, "is not allowed to send", Verdict(Outcome.DENIED, Reason.ACCOUNT_SUSPENDED)),
    Rule(0, "domain not found", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
    Rule(400, "", Verdict(Outcome.INVALID, Reason.CONTENT_INVALID)),
    Rule(401, "", Verdict(Outcome.DENIED, Reason.CREDENTIALS)),
    Rule(402, "", Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT)),
    Rule(403, "", Verdict(Outcome.DENIED, Reason.PERMISSION)),
    Rule(404, "", Verdict(Outcome.DENIED, Reason.MISCONFIGURED)),
    Rule(413, "", Verdict(Outcome.UNFIT, Reason.TOO_LARGE)),
    Rule(420, "", Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED)),
)
