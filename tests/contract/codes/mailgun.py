"""Mailgun's answers (providers.md §2.3, §2.4) and events (§2.5). There are no codes: the words are what counts."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx

from services.adapters import http
from services.adapters.email import mailgun, mailgun_receipts
from services.adapters.outcome import Reason
from services.adapters.receipts import ReceiptRequest, ReceiptStatus
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import MAILGUN_EVENT, mailgun_call
from tests.unit.adapters.calls import SENDER, an_email

_JAVA = "issue 50 of mailgun/mailgun-java quotes it"
_AGAIN = "try again after Mon, 25 Aug 2025 07:00:31 UTC"
_SENT_OVER_LIMIT = f"Domain x is not allowed to send: recipient limit exceeded, {_AGAIN}"

CASES = (
    Case("2.3", 200, "", '{"id": "<2024@mg.example.com>", "message": "Queued. Thank you."}',
         ACCEPTED, Reason.ACCEPTED),
    Case("2.3", 200, "", "Mailgun Magnificent API", B, Reason.MISCONFIGURED),
    Case("2.3", 200, "", '{"message": "no id in it"}', B, Reason.MISCONFIGURED),
    Case("2.3", 200, "", '{"id": "<2024', D, Reason.UNREADABLE_ANSWER, sheet=B,
         why="JSON that broke off may have held the id: whoever sends it again may send it twice"),
    Case("2.4", 400, "", "to parameter is not a valid address", A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("2.4", 400, "", "cc parameter is not a valid address", A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("2.4", 400, "", "'bcc' parameter is not a valid address. please check documentation",
         A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("2.4", 400, "", "from parameter is not a valid address", B, Reason.SENDER_REFUSED, f"sender:{SENDER.email}",
         row="RULES"),
    Case("2.4", 400, "", "to parameter is missing", A, Reason.CONTENT_INVALID, row="RULES"),
    Case("2.4", 400, "", "Need at least one of 'text' or 'html' parameters specified", A, Reason.CONTENT_INVALID,
         row="RULES"),
    Case("2.4", 400, "", "invalid date in o:deliverytime", F, Reason.REQUEST_REFUSED, sheet=A,
         why="we send no o:deliverytime, so it is no fault of the message; the words are not documented either"),
    Case("2.4", 400, "", "header name must be ASCII", A, Reason.CONTENT_INVALID, row="RULES"),
    Case("2.4", 400, "", "Too many recipients, max is 1000", F, Reason.TOO_MANY_RECIPIENTS, row="RULES"),
    Case("2.4", 400, "", "options are limited to 16 kB", F, Reason.TOO_LARGE, row="RULES"),
    Case("2.4", 400, "", "Sandbox subdomains are for test purposes only. Please add your own domain.",
         B, Reason.TRIAL_ACCOUNT, row="RULES"),
    Case("2.4", 403, "", "Domain x is not allowed to send: Sandbox subdomains are for test purposes only.",
         B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("2.4", 400, "", "Domain x is not allowed to send: free accounts are for test purposes only",
         B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("2.4", 403, "", "Domain x is not allowed to send: the domain is unverified and requires DNS configuration",
         B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("2.4", 403, "", "Domain x is not allowed to send: Please activate your Mailgun account",
         B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("2.4", 401, "", "Forbidden", B, Reason.CREDENTIALS, row="RULES"),
    Case("2.4", 402, "", "Request failed", B, Reason.OUT_OF_CREDIT, row="RULES"),
    Case("2.4", 403, "", "You are not allowed to send large batches yet", B, Reason.PERMISSION, row="RULES"),
    Case("2.4", 403, "", "the IP can't be used", B, Reason.PERMISSION, row="RULES"),
    Case("2.4", 404, "", "Domain not found: mg.example.com", B, Reason.MISCONFIGURED, row="RULES"),
    Case("2.4", 413, "", "request too large", F, Reason.TOO_LARGE, row="RULES"),
    Case("2.4", 429, "", f"request limit exceeded, {_AGAIN}", C, Reason.RATE_LIMITED, row="RULES"),
    Case("2.4", 429, "", f"bytes limit exceeded, {_AGAIN}", C, Reason.RATE_LIMITED, row="RULES"),
    Case("2.4", 429, "", '{"retry-seconds": 60}', C, Reason.RATE_LIMITED, row=("STATUSES", 429)),
    Case("2.4", 500, "", "Internal Server Error", D, Reason.SERVER_ERROR),
    Case("2.4", 502, "", "Bad Gateway", D, Reason.SERVER_ERROR),
    Case("2.4", 504, "", "Gateway Timeout", D, Reason.SERVER_ERROR),
    Case("2.4", 503, "", "Service Unavailable", C, Reason.UNAVAILABLE, row=("STATUSES", 503)),
    Case(OWN, 403, "", _SENT_OVER_LIMIT, C, Reason.RATE_LIMITED, row="RULES", why=_JAVA),
    Case(OWN, 420, "", _SENT_OVER_LIMIT, C, Reason.RATE_LIMITED, row="RULES", why=_JAVA),
    Case(OWN, 420, "", "Enhance your calm", C, Reason.RATE_LIMITED, row="RULES",
         why="the status of that issue, in other words"),
    Case(OWN, 400, "", "words of tomorrow", F, Reason.REQUEST_REFUSED, why="no row knows them: by status, §0.2"),
    Case(OWN, 503, "", "Domain x is not allowed to send", C, Reason.UNAVAILABLE, row=("STATUSES", 503),
         why="words do not overrule a server error: whose they are nobody knows"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    plain = case.words.startswith("{") or case.words in ("Forbidden", "Mailgun Magnificent API")
    return httpx.Response(case.status, text=case.words if plain else json.dumps({"message": case.words}))


CALL = an_email({"apiKey": "key-test", "domain": "mg.example.com"})
WALK = answers(
    "mailgun",
    CASES,
    (Table(mailgun, "RULES"),),
    lambda case: mailgun.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)


def _named(event: str, state: str, status: ReceiptStatus, *, fault: bool = False) -> Event:
    return Event("2.5", state, {"event": event}, status, fault, (("EVENTS", event),))


def _failed(severity: str, reason: str = "", **status: Any) -> dict[str, Any]:
    codes = {name.replace("_", "-"): value for name, value in status.items()}
    return {"event": "failed", "severity": severity, "reason": reason, "delivery-status": codes}


_SUPPRESSED = ReceiptStatus.SUPPRESSED

EVENTS = (
    _named("accepted", "accepted", ReceiptStatus.ACCEPTED),
    _named("rejected", "failed", ReceiptStatus.FAILED, fault=True),
    _named("delivered", "delivered", ReceiptStatus.DELIVERED),
    Event("2.5", "deferred", _failed("temporary", code=450), ReceiptStatus.DEFERRED),
    Event("2.5", "suppressed", _failed("permanent", "suppress-bounce", code=605), _SUPPRESSED),
    Event("2.5", "suppressed", _failed("permanent", "suppress-unsubscribe"), _SUPPRESSED),
    Event("2.5", "suppressed", _failed("permanent", "suppress-complaint"), _SUPPRESSED),
    *(Event("2.5", "suppressed", _failed("permanent", "old", code=code), _SUPPRESSED) for code in (605, 606, 607, 625)),
    Event("2.5", "hard failure", _failed("permanent", "bounce", code=550, enhanced_code="5.1.1"),
          ReceiptStatus.BOUNCED_HARD),
    Event("2.5", "hard failure", _failed("permanent", "bounce", code=550, bounce_code="5.1.10"),
          ReceiptStatus.BOUNCED_HARD),
    Event("2.5", "failed", _failed("permanent", "bounce", code=552, enhanced_code="5.2.2"), ReceiptStatus.FAILED),
    Event("2.5", "failed", _failed("permanent", "old", code=499), ReceiptStatus.FAILED, True),  # no MX was reached
    _named("opened", "opened", ReceiptStatus.OPENED),
    _named("clicked", "clicked", ReceiptStatus.CLICKED),
    _named("unsubscribed", "unsubscribed", ReceiptStatus.UNSUBSCRIBED),
    _named("complained", "complained", ReceiptStatus.COMPLAINED),
    Event(OWN, "failed", _failed("permanent", "bounce", code=554, enhanced_code="5.7.1"), ReceiptStatus.FAILED, True,
          why="RFC 3463 §3.8: policy, which is about the way the mail came"),
    Event(OWN, "failed", _failed("permanent", "bounce", code=550, enhanced_code="5.4.1"), ReceiptStatus.FAILED, True,
          why="RFC 3463 §3.5: routing"),
    Event(OWN, "ignored", {"event": "stored"}, None, why="a word nobody knows, or of incoming mail"),
)  # fmt: skip


@lru_cache(maxsize=64)
def _signed(said: str) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    return mailgun_call({**MAILGUN_EVENT, **json.loads(said)})


RECEIPTS = receipts(
    "mailgun",
    EVENTS,
    tuple(Table(mailgun_receipts, name) for name in ("EVENTS", "SUPPRESSED_CODES", "ROUTE_SUBJECTS")),
    lambda said: mailgun_receipts.MailgunReceipts().read(*_signed(json.dumps(said))),
)
