"""Amazon SES, SendBulkEmail: one request for many, and one answer for each of them. Not single messages, which go as
MIME (ses.py).

The content goes as a template that stands in the request and in which nothing is to be filled in. SES writes the MIME:
what it might write differently from ours goes alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from services.adapters.aws import AwsError, find_verdict
from services.adapters.base import Call, EmailContent
from services.adapters.email import ses
from services.adapters.email.sender import SENDER_MISSING, sender_of
from services.adapters.http import json_object
from services.adapters.http_joint import FOR_ALL, Joint, same_for_each
from services.adapters.mime import header_name, mailbox_on_one_line, wire_address
from services.adapters.outcome import Outcome, Reason, Result, Verdict
from services.chassis.clock import Clock

MAX_ENTRIES = 50
MAX_HEADERS = 15
MAX_HEADER = 900  # characters of name and value; 996 are documented
MAX_TEMPLATE_BYTES = 256 * 1024
# A request that is malformed as a whole may be so as a template, which a message alone is not.
FOR_EACH = FOR_ALL - {Reason.MISCONFIGURED}

# API reference, BulkEmailEntryResult: the code that the same refusal has of a message alone (providers.md §3.4).
CODES: Mapping[str, str] = {
    "MESSAGE_REJECTED": "MessageRejected",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": "MailFromDomainNotVerifiedException",
    "ACCOUNT_SUSPENDED": "AccountSuspendedException",
    "ACCOUNT_THROTTLED": "TooManyRequestsException",
    "ACCOUNT_SENDING_PAUSED": "SendingPausedException",
    "CONFIGURATION_SET_SENDING_PAUSED": "SendingPausedException",
    "CONFIGURATION_SET_NOT_FOUND": "NotFoundException",
    "CONFIGURATION_SET_DOES_NOT_EXIST": "NotFoundException",
}
VERDICTS: Mapping[str, Verdict] = {
    "SUCCESS": Verdict(Outcome.ACCEPTED, Reason.ACCEPTED),
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": Verdict(Outcome.DENIED, Reason.QUOTA_EXCEEDED),
    "INVALID_SENDING_POOL_NAME": Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    "TRANSIENT_FAILURE": Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE),
}
# Surely not sent, and perhaps because it came as a template.
ALONE = frozenset(
    {"FAILED", "INVALID_PARAMETER", "INVALID_PARAMETER_VALUE", "TEMPLATE_NOT_FOUND", "TEMPLATE_DOES_NOT_EXIST"}
)


def joint(clock: Clock) -> Joint:
    """SendBulkEmail; `clock` dates the signature."""
    return Joint(
        most=MAX_ENTRIES,
        joinable=joinable,
        build=lambda calls: build_together(calls, clock.now()),
        read=read_together,
    )


def joinable(call: Call) -> str:
    """The address of a call that may share a request: without copies and files, with nothing in it that a template
    would fill in or that its headers can not carry.
    """
    content, sender = call.content, sender_of(call)
    if not isinstance(content, EmailContent) or sender is None or ses.refusal_of(content, sender):
        return ""
    if content.cc or content.bcc or content.attachments or "ListManagementOptions" in call.options:
        return ""
    headers = _headers(content)
    texts = (content.subject, content.text, content.html, *headers.values())
    simple = content.subject and (content.text or content.html) and not any("{{" in text for text in texts)
    if not simple or sum(len(text.encode()) for text in texts) > MAX_TEMPLATE_BYTES:
        return ""
    if len(headers) > MAX_HEADERS or len(headers) < len(content.headers) + len(content.metadata):
        return ""
    if not all(value.isascii() and len(name) + len(value) <= MAX_HEADER for name, value in headers.items()):
        return ""
    return wire_address(content.to).casefold()


def build_together(calls: Sequence[Call], now: datetime) -> httpx.Request | Result:
    """The signed POST for all of them: an entry each, to its own address and with its own tags."""
    each = [(call, call.content) for call in calls if isinstance(call.content, EmailContent)]
    (first, content), sender = each[0], sender_of(calls[0])
    if sender is None:
        return SENDER_MISSING
    parts = {"Subject": content.subject, "Text": content.text, "Html": content.html}
    headers = [{"Name": name, "Value": value} for name, value in _headers(content).items()]
    template = {
        "TemplateContent": {name: text for name, text in parts.items() if text},
        "TemplateData": "{}",
        **({"Headers": headers} if headers else {}),
    }
    body: dict[str, Any] = {
        "FromEmailAddress": mailbox_on_one_line(sender),
        "DefaultContent": {"Template": template},
        "BulkEmailEntries": [_entry(call, its) for call, its in each],
    }
    if content.reply_to is not None:
        body["ReplyToAddresses"] = [mailbox_on_one_line(content.reply_to)]
    return ses.post("outbound-bulk-emails", body, first, now)


def _entry(call: Call, content: EmailContent) -> dict[str, Any]:
    return {
        "Destination": {"ToAddresses": [mailbox_on_one_line(content.to)]},
        "ReplacementTags": ses.tags_of(call, content),
        # without it, "The template data is invalid" (boto/boto3#1795)
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": "{}"}},
    }


def _headers(content: EmailContent) -> dict[str, str]:
    """The message's own, and its metadata as the MIME of one alone has it."""
    own = {header_name(name): value for name, value in content.headers}
    return own | {header_name(f"X-Metadata-{name}"): value for name, value in content.metadata}


def read_together(response: httpx.Response, calls: Sequence[Call]) -> Sequence[Result | None]:
    """What SES says of each; of all, when it took none. A success that does not name every one of them leaves each
    unknown.
    """
    if not response.is_success:
        return same_for_each(ses.read(response, calls[0]), len(calls), FOR_EACH)
    told = json_object(response).get("BulkEmailEntryResults")
    entries = told if isinstance(told, list) else []
    if len(entries) != len(calls) or not all(isinstance(entry, dict) for entry in entries):
        return [Result(outcome=Outcome.UNKNOWN, reason=Reason.UNREADABLE_ANSWER)] * len(calls)
    return [_result(entry, call) for entry, call in zip(entries, calls, strict=True)]


def _result(entry: Mapping[str, Any], call: Call) -> Result | None:
    status, words = str(entry.get("Status") or ""), str(entry.get("Error") or "")
    if status in ALONE:
        return None
    verdict = VERDICTS.get(status)
    if verdict is None and status in CODES:
        verdict = find_verdict(AwsError(CODES[status], words), ses.RULES)
    verdict = verdict or Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER)
    sender = sender_of(call)
    result = Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=status,
        provider_text=words,
        provider_message_id=str(entry.get("MessageId") or "") if verdict.outcome is Outcome.ACCEPTED else "",
        scope=f"sender:{sender.email}" if verdict.scope and sender else "",
    )
    return ses.by_identity(result, call)
