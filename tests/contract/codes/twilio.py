"""Twilio's answers (providers.md §5.3, §5.4) and callbacks (§5.4 "after acceptance", §5.5)."""

from collections.abc import Mapping

import httpx

from services.adapters import http
from services.adapters.outcome import Outcome, Reason
from services.adapters.receipts import ReceiptStatus
from services.adapters.sms import twilio, twilio_receipts
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import twilio_call
from tests.unit.adapters.calls import a_text

_NUMBER = "+15005550006"
_SENDER = f"sender:{_NUMBER}"
_COUNTRY = "country:NG"


def _code(number: int, words: str, outcome: Outcome, reason: Reason, scope: str = "", *, status: int = 400) -> Case:
    return Case("5.4", status, str(number), words, outcome, reason, scope, ("CODES", number))


CASES = (
    Case("5.3", 201, "", '{"sid": "SM1", "status": "queued"}', ACCEPTED, Reason.ACCEPTED),
    _code(21211, "The 'To' number is not a valid phone number.", A, Reason.RECIPIENT_INVALID),
    _code(21614, "'To' number is not a valid mobile number", A, Reason.RECIPIENT_INVALID),
    _code(21635, "'To' number cannot be a landline", A, Reason.RECIPIENT_INVALID),
    _code(21265, "'To' number cannot be a short code", A, Reason.RECIPIENT_INVALID),
    _code(21268, "premium number", A, Reason.RECIPIENT_INVALID),
    _code(21266, "'To' and 'From' number cannot be the same", A, Reason.RECIPIENT_INVALID),
    _code(21610, "Attempt to send to unsubscribed recipient", A, Reason.RECIPIENT_OPTED_OUT),
    _code(21602, "Message body is required", A, Reason.CONTENT_INVALID),
    _code(21604, "'To' phone number is required", A, Reason.RECIPIENT_INVALID),
    _code(21617, "The concatenated message body exceeds the 1600 character limit", F, Reason.TOO_LARGE),
    _code(20003, "Authenticate", B, Reason.CREDENTIALS, status=401),
    _code(20404, "The requested resource was not found", B, Reason.MISCONFIGURED, status=404),
    _code(21212, "The 'From' number is not a valid phone number", B, Reason.SENDER_REFUSED, _SENDER),
    _code(21606, "The 'From' phone number is not a valid, SMS-capable number", B, Reason.SENDER_REFUSED, _SENDER),
    _code(21659, "'From' is not a Twilio phone number or short code", B, Reason.SENDER_REFUSED, _SENDER),
    _code(21660, "Mismatch between the 'From' number and the account", B, Reason.SENDER_REFUSED, _SENDER),
    _code(21661, "'From' number is not SMS-capable", B, Reason.SENDER_REFUSED, _SENDER),
    _code(21603, "A 'From' phone number is required", B, Reason.SENDER_REFUSED),
    _code(21267, "Alphanumeric sender on a trial account", B, Reason.TRIAL_ACCOUNT),
    _code(21608, "The number is unverified. Trial accounts cannot send to it", B, Reason.TRIAL_ACCOUNT),
    _code(572002, "trial account", B, Reason.TRIAL_ACCOUNT),
    _code(572005, "trial account", B, Reason.TRIAL_ACCOUNT),
    _code(21408, "Permission to send has not been enabled for the region", B, Reason.REGION_REFUSED, _COUNTRY),
    _code(21612, "The 'To' phone number is not reachable via SMS from this 'From'", B, Reason.REGION_REFUSED, _COUNTRY),
    _code(21704, "The Messaging Service contains no phone numbers", B, Reason.MISCONFIGURED),
    _code(63007, "could not find a Channel with the specified From address", B, Reason.SENDER_REFUSED, _SENDER),
    _code(30037, "Outbound messaging has been disabled", B, Reason.ACCOUNT_SUSPENDED, status=403),
    _code(20429, "Too Many Requests", C, Reason.RATE_LIMITED, status=429),
    _code(21611, "This 'From' number has exceeded the maximum number of queued messages", C, Reason.RATE_LIMITED),
    _code(20500, "Internal Server Error", D, Reason.SERVER_ERROR, status=500),
    # By status, for codes that are in no table.
    Case("5.4", 400, "99999", "words of tomorrow", F, Reason.REQUEST_REFUSED),
    Case("5.4", 401, "99999", "words of tomorrow", B, Reason.CREDENTIALS, row=("STATUSES", 401)),
    Case("5.4", 403, "99999", "words of tomorrow", B, Reason.PERMISSION, row=("STATUSES", 403)),
    Case("5.4", 404, "99999", "words of tomorrow", B, Reason.MISCONFIGURED, row=("STATUSES", 404)),
    Case("5.4", 429, "99999", "words of tomorrow", C, Reason.RATE_LIMITED, row=("STATUSES", 429)),
    Case("5.4", 500, "99999", "words of tomorrow", D, Reason.SERVER_ERROR),
    Case("5.4", 502, "", "Bad Gateway", D, Reason.SERVER_ERROR),
    Case("5.4", 503, "", "Service Unavailable", C, Reason.UNAVAILABLE, row=("STATUSES", 503), sheet=D,
         why="§0.2 says C of a 503 of all HTTP providers, §5.4 says 5xx: a 503 was surely not accepted"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    if case.words.startswith("{"):
        return httpx.Response(case.status, text=case.words)
    if not case.code:
        return httpx.Response(case.status, text=case.words)
    said = {"code": int(case.code), "message": case.words, "status": case.status}
    return httpx.Response(case.status, json=said)


CALL = a_text({"accountSid": "AC" + "0" * 32, "authToken": "token", "fromNumber": _NUMBER})
WALK = answers(
    "twilio",
    CASES,
    (Table(twilio, "CODES"),),
    lambda case: twilio.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)

_FAILED, _HARD = ReceiptStatus.FAILED, ReceiptStatus.BOUNCED_HARD


def _word(word: str, state: str, status: ReceiptStatus) -> Event:
    return Event("5.5", state, {"MessageStatus": word}, status, rows=(("STATUSES", word),))


def _later(code: int, state: str, status: ReceiptStatus, *, fault: bool = False, why: str = "") -> Event:
    said = {"MessageStatus": "undelivered", "ErrorCode": str(code)}
    return Event("5.4", state, said, status, fault, (("CODES", code),), why)


def _too_late(code: int, status: ReceiptStatus, why: str, *, fault: bool = False) -> Event:
    """A code of the API that comes only with a callback: with a messaging service Twilio looks later."""
    return Event(OWN, "failed", {"MessageStatus": "failed", "ErrorCode": str(code)}, status, fault, why=why)


EVENTS = (
    _word("accepted", "accepted", ReceiptStatus.ACCEPTED),
    _word("scheduled", "accepted", ReceiptStatus.ACCEPTED),
    _word("queued", "accepted", ReceiptStatus.ACCEPTED),
    _word("sending", "accepted", ReceiptStatus.ACCEPTED),
    _word("sent", "sent", ReceiptStatus.SENT),
    _word("delivered", "delivered", ReceiptStatus.DELIVERED),
    _word("undelivered", "failed", _FAILED),
    _word("failed", "failed", _FAILED),
    _word("canceled", "failed", _FAILED),
    _word("read", "opened", ReceiptStatus.OPENED),
    _word("partially_delivered", "sent", ReceiptStatus.SENT),
    Event("5.5", "ignored", {"MessageStatus": "receiving"}, None),
    Event("5.5", "ignored", {"MessageStatus": "received"}, None),
    _later(30001, "failed", _FAILED, fault=True),
    _later(30002, "failed", _FAILED, fault=True),
    _later(30003, "soft failure", ReceiptStatus.BOUNCED_SOFT),
    _later(30004, "suppressed", ReceiptStatus.SUPPRESSED),
    _later(30005, "hard failure", _HARD),
    _later(30006, "hard failure", _HARD),
    _later(30007, "failed", _FAILED),  # not to be sent elsewhere by itself
    _later(30008, "failed", _FAILED, fault=True),
    _later(30017, "failed", _FAILED, fault=True),
    _later(30022, "failed", _FAILED, fault=True),
    _later(30023, "failed", _FAILED, fault=True),
    _later(30024, "failed", _FAILED, fault=True),
    _later(30032, "failed", _FAILED, fault=True),
    _later(30033, "failed", _FAILED, fault=True),
    _later(30034, "failed", _FAILED, fault=True),
    _later(30035, "failed", _FAILED, fault=True),
    _later(30036, "failed", _FAILED, fault=True),
    _later(30410, "failed", _FAILED, fault=True),
    _later(30500, "failed", _FAILED, fault=True),
    _later(30450, "failed", _FAILED),
    _later(30453, "failed", _FAILED),
    _later(30454, "failed", _FAILED),
    _later(30046, "unknown", ReceiptStatus.SENT, why="there is no state for it: what was known before stands"),
    _too_late(21211, _HARD, "the same code means the same later: no such number"),
    _too_late(21610, ReceiptStatus.SUPPRESSED, "the same code means the same later: opted out"),
    _too_late(21606, _FAILED, "the same code means the same later: our sender, so another provider may do", fault=True),
    _too_late(21602, _FAILED, "the same code means the same later: no provider would take it"),
    Event(OWN, "failed", {"MessageStatus": "failed", "ErrorCode": "99999"}, _FAILED, rows=(("STATUSES", "failed"),),
          why="a code of tomorrow leaves what the status says"),
)  # fmt: skip


def _posted(said: Mapping[str, str]) -> dict[str, str]:
    return {"MessageSid": "SM1", **said}


RECEIPTS = receipts(
    "twilio",
    EVENTS,
    (Table(twilio_receipts, "STATUSES"), Table(twilio_receipts, "CODES")),
    lambda said: twilio_receipts.TwilioReceipts().read(*twilio_call(_posted(said))),
)
