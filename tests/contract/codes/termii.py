"""Termii's answers (providers.md §6.3, §6.4) and reports (§6.5). There are no codes, and few words are documented."""

import json

import httpx

from services.adapters import http
from services.adapters.outcome import Reason
from services.adapters.receipts import ReceiptStatus
from services.adapters.sms import termii, termii_receipts
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import termii_call
from tests.unit.adapters.calls import a_text

_SENDER = "sender:Acme"
_COUNTRY = "country:NG"
_GUESS = "as in §6.4, from memory: the words are not documented"

CASES = (
    Case("6.3", 200, "", '{"message_id": "9122821270554876574", "message": "Successfully Sent", "balance": 9}',
         ACCEPTED, Reason.ACCEPTED),
    Case("6.3", 200, "", '{"code": "ok", "message_id": 9122821270554876574, "message": "Successfully Sent"}',
         ACCEPTED, Reason.ACCEPTED),
    Case("6.3", 200, "", '{"message": "Something new"}', F, Reason.REQUEST_REFUSED, row="RULES"),
    Case("6.3", 200, "", '{"message": "Insufficient balance"}', B, Reason.OUT_OF_CREDIT, row="RULES"),
    Case("6.3", 200, "", '{"message_id": "9122', D, Reason.UNREADABLE_ANSWER, sheet=F,
         why="what broke off may have held the id; §6.3 speaks of answers without one"),
    Case("6.4", 400, "", "Something new", F, Reason.REQUEST_REFUSED),
    Case("6.4", 401, "", "no valid key", B, Reason.CREDENTIALS, row="RULES"),
    Case("6.4", 403, "", "forbidden", B, Reason.PERMISSION, row="RULES"),
    Case("6.4", 404, "", "<h1>Not Found</h1>", B, Reason.MISCONFIGURED, row="RULES"),
    Case("6.4", 404, "", '{"code": 404, "message": "Invalid Sender Id"}',
         B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("6.4", 404, "", '{"message": "Device not found"}', B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("6.4", 405, "", "method not allowed", B, Reason.MISCONFIGURED, row=("STATUSES", 405)),
    Case("6.4", 422, "", "could not be processed", F, Reason.REQUEST_REFUSED),
    Case("6.4", 429, "", "Too many requests", C, Reason.RATE_LIMITED, row=("STATUSES", 429)),
    Case("6.4", 500, "", "Server error", D, Reason.SERVER_ERROR),
    Case("6.4", 502, "", "Bad Gateway", D, Reason.SERVER_ERROR),
    Case("6.4", 503, "", "Service Unavailable", C, Reason.UNAVAILABLE, row=("STATUSES", 503)),
    Case("6.4", 400, "", "Country not set up on this route. Contact administrator", B, Reason.REGION_REFUSED, _COUNTRY,
         row="RULES"),
    Case("6.4", 400, "", "Your account is not active", B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("6.4", 400, "", "Insufficient balance", B, Reason.OUT_OF_CREDIT, row="RULES"),
    Case("6.4", 400, "", "Daily limit reached", B, Reason.QUOTA_EXCEEDED, row="RULES"),
    Case("6.4", 400, "", "Unauthorized", B, Reason.CREDENTIALS, row="RULES"),
    Case("6.4", 400, "", "Invalid phone number", A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("6.4", 400, "", "The to field must be digits", F, Reason.REQUEST_REFUSED, sheet=A,
         why="'to' stands in too many sentences to decide by, and the text is unconfirmed: unfit asks the next"),
    Case("6.4", 400, "", "DND Active on Phone Number", F, Reason.FEATURE_UNSUPPORTED, row="RULES"),
    Case(OWN, 422, "", "Phone number is not valid", A, Reason.RECIPIENT_INVALID, row="RULES", why=_GUESS),
    Case(OWN, 200, "", '{"message": "Invalid phone number"}', A, Reason.RECIPIENT_INVALID, row="RULES", why=_GUESS),
    Case(OWN, 500, "", "Insufficient balance", D, Reason.SERVER_ERROR,
         why="words do not overrule a server error: whose they are nobody knows"),
    Case(OWN, 429, "", "Daily limit reached", C, Reason.RATE_LIMITED, row=("STATUSES", 429),
         why="§0.2: a 429 was not processed, whatever it says"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    plain = case.words.startswith(("{", "<"))
    return httpx.Response(case.status, text=case.words if plain else json.dumps({"message": case.words}))


CALL = a_text({"apiKey": "TLtestkey", "senderId": "Acme"})
WALK = answers(
    "termii",
    CASES,
    (Table(termii, "RULES"),),
    lambda case: termii.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)


def _report(words: str, state: str, status: ReceiptStatus, *, fault: bool = False, why: str = "") -> Event:
    return Event(OWN if why else "6.5", state, {"type": "outbound", "status": words}, status, fault, ("STATUSES",), why)


EVENTS = (
    _report("Message Sent", "sent", ReceiptStatus.SENT),
    _report("Delivered", "delivered", ReceiptStatus.DELIVERED),
    _report("DELIVERED | Message delivered to handset", "delivered", ReceiptStatus.DELIVERED),
    _report("DND Active on Phone Number", "failed", ReceiptStatus.FAILED, fault=True),
    _report("Rejected", "failed", ReceiptStatus.FAILED, fault=True),
    _report("Message Failed", "failed", ReceiptStatus.FAILED, fault=True),
    _report("Expired", "soft failure", ReceiptStatus.BOUNCED_SOFT),
    Event("6.5", "ignored", {"type": "inbound", "status": "Received"}, None),
    Event("6.5", "ignored", {"type": "outbound", "status": "Received"}, None),
    _report("Undelivered", "failed", ReceiptStatus.FAILED, why="its opposite is in it: a failure must not read as one"),
    _report("Message not delivered", "failed", ReceiptStatus.FAILED, why="the same in two words"),
)  # fmt: skip


RECEIPTS = receipts(
    "termii",
    EVENTS,
    (Table(termii_receipts, "STATUSES"),),
    lambda said: termii_receipts.TermiiReceipts().read(*termii_call(json.dumps({"message_id": "1", **said}).encode())),
)
