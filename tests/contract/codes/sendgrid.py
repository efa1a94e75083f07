"""SendGrid's answers (providers.md §1.3, §1.4) and events (§1.5). Where words are quoted, they are those of its page
"Errors" or of the thread named beside them.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx

from services.adapters import http
from services.adapters.email import sendgrid, sendgrid_receipts
from services.adapters.outcome import Reason
from services.adapters.receipts import ReceiptRequest, ReceiptStatus
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import sendgrid_call
from tests.unit.adapters.calls import SENDER, an_email

_FROM = f"sender:{SENDER.email}"
_UNVERIFIED = "The from address does not match a verified Sender Identity. Mail cannot be sent until this is resolved."
_NOT_AN_ADDRESS = "Does not contain a valid address."

CASES = (
    Case("1.3", 202, "", "", ACCEPTED, Reason.ACCEPTED),
    Case("1.3", 200, "", "", ACCEPTED, Reason.ACCEPTED),  # sandbox mode
    Case("1.4", 400, "personalizations.0.to.0.email", _NOT_AN_ADDRESS, A, Reason.RECIPIENT_INVALID, row="CODES"),
    Case("1.4", 400, "personalizations.0.cc.1.email", _NOT_AN_ADDRESS, A, Reason.RECIPIENT_INVALID, row="CODES"),
    Case("1.4", 400, "personalizations.0.bcc.0.email", _NOT_AN_ADDRESS, A, Reason.RECIPIENT_INVALID, row="CODES"),
    Case("1.4", 400, "personalizations.0", "Each email address in the personalization block should be unique between "
         "to, cc, and bcc.", A, Reason.RECIPIENT_INVALID, row="CODES"),
    Case("1.4", 400, "subject", "The subject is required. You can get around this requirement if you use a template.",
         A, Reason.CONTENT_INVALID, row="CODES"),
    Case("1.4", 400, "content.0.value", "The content value must be a string at least one character in length.",
         A, Reason.CONTENT_INVALID, row="CODES"),
    Case("1.4", 400, "from", "The from object must be provided for every email send.", B, Reason.SENDER_REFUSED, _FROM,
         row="CODES"),
    Case("1.4", 400, "from.email", "The from email does not contain a valid address.", B, Reason.SENDER_REFUSED, _FROM,
         row="CODES"),
    Case("1.4", 400, "personalizations", "There is a limit of 1000 total recipients (to + cc + bcc) per request.",
         F, Reason.TOO_MANY_RECIPIENTS, row="CODES"),
    Case("1.4", 400, "personalizations", "The personalization block is limited to 1000 personalizations per request.",
         F, Reason.TOO_MANY_RECIPIENTS, row="CODES"),
    Case("1.4", 400, "attachments.0.content", "The attachment content must be base64 encoded.",
         F, Reason.REQUEST_REFUSED, row="CODES"),
    Case("1.4", 400, "categories", "There is a limit of 10 categories for each email that is sent.",
         F, Reason.REQUEST_REFUSED, row="CODES"),
    Case("1.4", 401, "", "Maximum credits exceeded", B, Reason.OUT_OF_CREDIT, row="CODES"),
    Case("1.4", 401, "", "authorization required", B, Reason.CREDENTIALS, row="CODES"),
    Case("1.4", 401, "", "The provided authorization grant is invalid, expired, or revoked", B, Reason.CREDENTIALS,
         row="CODES"),
    Case("1.4", 403, "from", _UNVERIFIED, B, Reason.SENDER_REFUSED, _FROM, row="CODES"),
    Case("1.4", 403, "", "access forbidden", B, Reason.PERMISSION, row="CODES"),
    Case("1.4", 403, "", "Too many bad requests. Temporary block", B, Reason.PERMISSION, row="CODES"),
    Case("1.4", 404, "", "not found", B, Reason.MISCONFIGURED, row=("STATUSES", 404)),
    Case("1.4", 405, "", "method not allowed", B, Reason.MISCONFIGURED, row=("STATUSES", 405)),
    Case("1.4", 406, "", "Missing Accept header", B, Reason.MISCONFIGURED, row=("STATUSES", 406)),
    Case("1.4", 415, "", "unsupported media type", B, Reason.MISCONFIGURED, row=("STATUSES", 415)),
    Case("1.4", 413, "", "payload too large", F, Reason.TOO_LARGE, row=("STATUSES", 413)),
    Case("1.4", 429, "", "too many requests", C, Reason.RATE_LIMITED, row=("STATUSES", 429)),
    Case("1.4", 500, "", "internal server error", D, Reason.SERVER_ERROR),
    Case("1.4", 503, "", "service unavailable", C, Reason.UNAVAILABLE, row=("STATUSES", 503)),
    Case(OWN, 400, "reply_to", "The reply_to object, when used, must at least have an email parameter with a valid "
         "email address.", A, Reason.CONTENT_INVALID, row="CODES", why="its page, Reply to errors"),
    Case(OWN, 400, "", _UNVERIFIED, B, Reason.SENDER_REFUSED, _FROM, row="CODES",
         why="sendgrid-nodejs#1088 quotes the words without status or field: they mean the same with any"),
    Case(OWN, 400, "personalizations.0.to", "The to array must at least have an email parameter with a valid email "
         "address.", A, Reason.RECIPIENT_INVALID, row="CODES", why="its page, Personalizations errors"),
    Case(OWN, 400, "", "words of tomorrow", F, Reason.REQUEST_REFUSED, why="no row knows them: by status, §0.2"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    if case.status < 300:
        return httpx.Response(case.status, headers={"x-message-id": "id"})
    return httpx.Response(
        case.status, json={"errors": [{"message": case.words, "field": case.code or None, "help": None}]}
    )


CALL = an_email({"apiKey": "SG.key"})
WALK = answers(
    "sendgrid",
    CASES,
    (Table(sendgrid, "CODES"),),
    lambda case: sendgrid.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)

_HARD, _SOFT = ReceiptStatus.BOUNCED_HARD, ReceiptStatus.BOUNCED_SOFT
_BLOCKED = (("BOUNCES", "blocked"),)


def _bounce(kind: str, classification: str = "") -> dict[str, str]:
    classified = {"bounce_classification": classification} if classification else {}
    return {"event": "bounce", "type": kind, "reason": "550", **classified}


def _classified(classification: str, *, fault: bool) -> Event:
    rows = (*_BLOCKED, ("ROUTE_AT_FAULT", classification))
    return Event("1.5", "soft failure", _bounce("blocked", classification), _SOFT, fault, rows)


def _dropped(reason: str, state: str, status: ReceiptStatus, *, fault: bool = False) -> Event:
    return Event(
        "1.5", state, {"event": "dropped", "reason": reason}, status, fault, (("_DROPS_FOLDED", reason.casefold()),)
    )


def _named(event: str, state: str, status: ReceiptStatus) -> Event:
    return Event("1.5", state, {"event": event}, status, rows=(("EVENTS", event),))


EVENTS = (
    _named("processed", "accepted", ReceiptStatus.ACCEPTED),
    _named("deferred", "deferred", ReceiptStatus.DEFERRED),
    _named("delivered", "delivered", ReceiptStatus.DELIVERED),
    Event("1.5", "hard failure", _bounce("bounce"), _HARD, rows=(("BOUNCES", "bounce"),)),
    Event("1.5", "hard failure", _bounce("bounce", "Invalid Address"), _HARD,
          rows=(("BOUNCES", "bounce"), ("ROUTE_AT_FAULT", "Invalid Address"))),
    Event("1.5", "soft failure", _bounce("blocked"), _SOFT, True, _BLOCKED),  # without `status`, as it may come
    _classified("Content", fault=True),
    _classified("Frequency or Volume Too High", fault=True),
    _classified("Invalid Address", fault=False),
    _classified("Mailbox Unavailable", fault=False),
    _classified("Reputation", fault=True),
    _classified("Technical Failure", fault=True),
    _classified("Unclassified", fault=False),
    _dropped("Bounced Address", "suppressed", ReceiptStatus.SUPPRESSED),
    _dropped("Unsubscribed Address", "suppressed", ReceiptStatus.SUPPRESSED),
    _dropped("Spam Reporting Address", "suppressed", ReceiptStatus.SUPPRESSED),
    _dropped("Invalid", "failed", ReceiptStatus.FAILED),
    _dropped("Spam Content", "failed", ReceiptStatus.FAILED, fault=True),
    _dropped("Recipient List over Package Quota", "failed", ReceiptStatus.FAILED, fault=True),
    _dropped("Invalid SMTPAPI header", "failed", ReceiptStatus.FAILED, fault=True),
    _named("open", "opened", ReceiptStatus.OPENED),
    _named("click", "clicked", ReceiptStatus.CLICKED),
    _named("spamreport", "complained", ReceiptStatus.COMPLAINED),
    _named("unsubscribe", "unsubscribed", ReceiptStatus.UNSUBSCRIBED),
    _named("group_unsubscribe", "unsubscribed", ReceiptStatus.UNSUBSCRIBED),
    Event("1.5", "unsubscribed", {"event": "group_resubscribe"}, None, why="its opposite: no state of a message"),
    Event("1.5", "flag provider", {"event": "account_status_change"}, None,
          why="about the account and no message; the next send is told by its 401 or 403"),
    Event(OWN, "ignored", {"event": "word of tomorrow"}, None, why="nothing is concluded from a word nobody knows"),
    Event(OWN, "failed", {"event": "dropped", "reason": "reason of tomorrow"}, ReceiptStatus.FAILED,
          why="dropped is never delivered, whatever the reason"),
)  # fmt: skip


@lru_cache(maxsize=64)
def _signed(body: str) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    return sendgrid_call(body.encode())


RECEIPTS = receipts(
    "sendgrid",
    EVENTS,
    tuple(Table(sendgrid_receipts, name) for name in ("EVENTS", "BOUNCES", "ROUTE_AT_FAULT", "_DROPS_FOLDED")),
    lambda said: sendgrid_receipts.SendgridReceipts().read(*_signed(json.dumps([said]))),
)
