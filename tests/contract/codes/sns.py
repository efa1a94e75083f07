"""Amazon SNS's answers to a text message (providers.md §7.3, §7.4, §0.3) and its delivery records (§7.5)."""

from typing import Any

import httpx

from services.adapters import http
from services.adapters.outcome import Outcome, Reason
from services.adapters.receipts import ReceiptStatus
from services.adapters.sms import sns, sns_receipts
from tests.contract.codes.aws import SHARED, SHARED_CASES
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import SNS_RECORD, sns_call
from tests.unit.adapters.calls import a_text

_SENDER = "sender:Acme"
_COUNTRY = "country:NG"


def _of_topics(code: str, status: int = 400) -> Case:
    return Case("7.4", status, code, "words", B, Reason.MISCONFIGURED, row="RULES")


def _shared(status: int, code: str, words: str, outcome: Outcome, reason: Reason) -> Case:
    return Case("7.4", status, code, words, outcome, reason, row=("SHARED_CODES", code))


CASES = (
    Case("7.3", 200, "", "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
         ACCEPTED, Reason.ACCEPTED),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: +1 is not valid to publish to",
         A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: Message too long", F, Reason.TOO_LARGE, row="RULES"),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: Message Reason: more than 1600 bytes", F, Reason.TOO_LARGE,
         row="RULES"),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: MessageAttributes AWS.SNS.SMS.SenderID is malformed",
         B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: AWS.MM.SMS.OriginationNumber is not owned",
         B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("7.4", 400, "InvalidParameter", "Invalid parameter: AWS.SNS.SMS.MaxPrice", B, Reason.MISCONFIGURED,
         row="RULES"),
    Case("7.4", 400, "ParameterValueInvalid", "Phone number is not valid", A, Reason.RECIPIENT_INVALID, row="RULES"),
    Case("7.4", 400, "ParameterValueInvalid", "something else", B, Reason.MISCONFIGURED, row="RULES"),
    Case("7.4", 400, "ValidationException", "1 validation error: phone number", A, Reason.RECIPIENT_INVALID,
         row="RULES"),
    Case("7.4", 400, "ValidationException", "something else", B, Reason.MISCONFIGURED, row="RULES"),
    Case("7.4", 400, "UserError", "No origination entities available to send", B, Reason.REGION_REFUSED, _COUNTRY,
         row="RULES"),
    _shared(403, "AuthorizationError", "not authorized to perform: SNS:Publish", B, Reason.PERMISSION),
    Case("7.4", 403, "InvalidSecurity", "words", B, Reason.CREDENTIALS, row="RULES"),
    _of_topics("NotFound", 404),
    _of_topics("EndpointDisabled"),
    _of_topics("PlatformApplicationDisabled"),
    _of_topics("KMSAccessDenied"),
    _of_topics("KMSDisabled"),
    _of_topics("KMSInvalidState"),
    _of_topics("KMSNotFound"),
    _of_topics("KMSOptInRequired", 403),
    _of_topics("KMSThrottling"),
    _shared(429, "Throttled", "Rate exceeded", C, Reason.RATE_LIMITED),
    _shared(400, "Throttling", "Rate exceeded", C, Reason.RATE_LIMITED),
    _shared(400, "ThrottlingException", "Rate exceeded", C, Reason.RATE_LIMITED),
    _shared(500, "InternalError", "words", D, Reason.SERVER_ERROR),
    Case("7.4", 400, "OptedOut", "words", F, Reason.REQUEST_REFUSED, why="not an error of Publish: by status"),
    *SHARED_CASES,
    Case(OWN, 400, "InvalidParameter", "not a valid phone number", A, Reason.RECIPIENT_INVALID, row="RULES",
         why="the same in two words, from memory"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    if case.words.startswith("<"):
        return httpx.Response(case.status, text=case.words)
    body = f"<ErrorResponse><Error><Code>{case.code}</Code><Message>{case.words}</Message></Error></ErrorResponse>"
    return httpx.Response(case.status, text=body)


CALL = a_text(
    {"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret", "region": "eu-west-1", "senderId": "Acme"},
)
WALK = answers(
    "sns",
    CASES,
    (Table(sns, "RULES"), *SHARED),
    lambda case: sns.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)


def _record(status: str, response: str) -> dict[str, Any]:
    return {**SNS_RECORD, "status": status, "delivery": {"destination": "+1415", "providerResponse": response}}


def _failure(response: str, state: str, status: ReceiptStatus, *, fault: bool = False) -> Event:
    return Event("7.5", state, _record("FAILURE", response), status, fault, ("RESPONSES",))


_SUPPRESSED, _FAILED, _SOFT = ReceiptStatus.SUPPRESSED, ReceiptStatus.FAILED, ReceiptStatus.BOUNCED_SOFT
_CARRIER = "Message has been accepted by phone carrier"

EVENTS = (
    Event("7.5", "delivered", _record("SUCCESS", _CARRIER), ReceiptStatus.DELIVERED, rows=("RESPONSES",)),
    _failure("Invalid phone number", "hard failure", ReceiptStatus.BOUNCED_HARD),
    _failure("Phone number is opted out", "suppressed", _SUPPRESSED),
    _failure("Phone is on a blocked list", "suppressed", _SUPPRESSED),
    _failure("Destination is on a blocked list", "suppressed", _SUPPRESSED),
    _failure("Phone has blocked SMS", "suppressed", _SUPPRESSED),
    _failure("Blocked as spam by phone carrier", "failed", _FAILED, fault=True),
    _failure("Phone carrier has blocked this message", "failed", _FAILED, fault=True),
    _failure("Message body is invalid", "failed", _FAILED),
    _failure("Phone carrier is currently unreachable/unavailable", "soft failure", _SOFT, fault=True),
    _failure("Phone is currently unreachable/unavailable", "soft failure", _SOFT),
    _failure("Unknown error attempting to reach phone", "soft failure", _SOFT, fault=True),
    _failure("This delivery would exceed max price", "failed", _FAILED, fault=True),
    Event("7.5", "delivered", _record("SUCCESS", "words of tomorrow"), ReceiptStatus.DELIVERED,
          rows=(("STATUSES", "SUCCESS"),)),
    Event("7.5", "failed", _record("FAILURE", "words of tomorrow"), _FAILED, rows=(("STATUSES", "FAILURE"),)),
    Event(OWN, "ignored", _record("OFTOMORROW", _CARRIER), None, why="the record's own verdict is needed"),
)  # fmt: skip


RECEIPTS = receipts(
    "sns",
    EVENTS,
    (Table(sns_receipts, "RESPONSES"), Table(sns_receipts, "STATUSES")),
    lambda said: sns_receipts.SnsReceipts().read(*sns_call(said)),
)
