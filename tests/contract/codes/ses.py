"""Amazon SES's answers (providers.md §3.3, §3.4, §0.3) and events (§3.5)."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx

from services.adapters import http
from services.adapters.email import ses, ses_receipts
from services.adapters.outcome import Outcome, Reason
from services.adapters.receipts import ReceiptRequest, ReceiptStatus
from tests.contract.codes.aws import SHARED, SHARED_CASES
from tests.contract.codes.case import ACCEPTED, OWN, A, B, C, Case, D, Event, F, Table, answers, receipts
from tests.contract.receipt_vectors import SES_EVENT, ses_call
from tests.fakes.amazon import NOW, Amazon
from tests.fakes.clock import FakeClock
from tests.unit.adapters.calls import SENDER, TO, an_email

_SENDER = f"sender:{SENDER.email}"
_IDENTITIES = "Email address is not verified. The following identities failed the check in region EU-WEST-1: %s"
_DAILY = "Daily message quota exceeded."
_RATE = "Maximum sending rate exceeded."


def _bad_request(words: str, outcome: Outcome, reason: Reason, scope: str = "", why: str = "") -> list[Case]:
    """The same of both codes: v2 has the first, and the second is seen of v1 and emulators."""
    section = OWN if why else "3.4"
    return [
        Case(section, 400, code, words, outcome, reason, scope, row="RULES", why=why)
        for code in ("BadRequestException", "InvalidParameterValue")
    ]


CASES = (
    Case("3.3", 200, "", '{"MessageId": "0100-000000"}', ACCEPTED, Reason.ACCEPTED),
    Case("3.4", 400, "MessageRejected", _IDENTITIES % SENDER.email, B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("3.4", 400, "MessageRejected", _IDENTITIES % TO.email, B, Reason.TRIAL_ACCOUNT, row="RULES"),
    Case("3.4", 400, "MessageRejected", "Email content refused.", A, Reason.CONTENT_REFUSED, row="RULES"),
    Case("3.4", 400, "MailFromDomainNotVerifiedException", "", B, Reason.SENDER_REFUSED, _SENDER, row="RULES"),
    Case("3.4", 400, "AccountSuspendedException", "", B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("3.4", 400, "SendingPausedException", "", B, Reason.ACCOUNT_SUSPENDED, row="RULES"),
    Case("3.4", 404, "NotFoundException", "Configuration set does not exist.", B, Reason.MISCONFIGURED, row="RULES"),
    *_bad_request("Missing domain", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Missing final '@domain'", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Domain contains control or whitespace", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Local address contains control or whitespace", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Illegal address", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Local address contains non-ASCII characters", A, Reason.RECIPIENT_INVALID),
    *_bad_request("Recipient count exceeds 50.", F, Reason.TOO_MANY_RECIPIENTS),
    *_bad_request("Message length is more than 41943040 bytes long", F, Reason.TOO_LARGE),
    *_bad_request("Message size is over the limit", F, Reason.TOO_LARGE),
    *_bad_request("Illegal attachment.", F, Reason.FEATURE_UNSUPPORTED),
    *_bad_request("This file type is not allowed", F, Reason.FEATURE_UNSUPPORTED),
    *_bad_request("1 validation error detected", B, Reason.MISCONFIGURED),
    Case("3.4", 400, "LimitExceededException", "quota", C, Reason.QUOTA_EXCEEDED, row="RULES"),
    Case("3.4", 400, "LimitExceededException", _DAILY, B, Reason.QUOTA_EXCEEDED, row="RULES"),
    Case("3.4", 429, "TooManyRequestsException", _RATE, C, Reason.RATE_LIMITED, row=("SHARED_CODES",
         "TooManyRequestsException")),
    Case("3.4", 400, "ThrottlingException", _RATE, C, Reason.RATE_LIMITED, row=("SHARED_CODES", "ThrottlingException")),
    Case("3.4", 400, "Throttling", _RATE, C, Reason.RATE_LIMITED, row=("SHARED_CODES", "Throttling")),
    *(Case("3.4", 400, code, _DAILY, B, Reason.QUOTA_EXCEEDED, row="RULES", sheet=C,
           why="§3.4 says of the daily quota: by its words and not by its code")
      for code in ("ThrottlingException", "Throttling")),
    Case("3.4", 500, "InternalServiceErrorException", "", D, Reason.SERVER_ERROR, row=("SHARED_CODES",
         "InternalServiceErrorException")),
    *SHARED_CASES,
    Case(OWN, 400, "MessageRejected", "Did not have authority to send from shop@example.com", B, Reason.SENDER_REFUSED,
         _SENDER, row="RULES", why="the words of moto and LocalStack for an unverified sender"),
    *_bad_request("Invalid from address", B, Reason.SENDER_REFUSED, _SENDER, why="of emulators: our side"),
    *_bad_request("Domain contains illegal character", A, Reason.RECIPIENT_INVALID,
                  why="SebastiaanKlippert/lambda-ses-forwarder#2: JavaMail's words, handed through"),
    *_bad_request("Invalid email address<ada@>.", A, Reason.RECIPIENT_INVALID, why="the words of moto"),
    *_bad_request("Invalid domain name: 'x_y'.", A, Reason.RECIPIENT_INVALID, why="in JavaMail's manner, from memory"),
)  # fmt: skip


def _answer(case: Case) -> httpx.Response:
    if case.words.startswith("{"):
        return httpx.Response(case.status, text=case.words)
    headers = {"x-amzn-errortype": f"{case.code}:http://internal.amazon.com/"}
    return httpx.Response(case.status, json={"message": case.words}, headers=headers)


CALL = an_email({"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret", "region": "eu-west-1"})
WALK = answers(
    "ses",
    CASES,
    (Table(ses, "RULES"), *SHARED),
    lambda case: ses.read(_answer(case), CALL),
    others=(Table(http, "STATUSES"),),
)

_HARD, _SOFT = ReceiptStatus.BOUNCED_HARD, ReceiptStatus.BOUNCED_SOFT


def _named(event: str, state: str, status: ReceiptStatus, *, fault: bool = False) -> Event:
    return Event("3.5", state, {"eventType": event}, status, fault, (("EVENTS", event),))


def _bounce(kind: str, sub_type: str, **recipient: str) -> dict[str, Any]:
    bounced = [{"emailAddress": "a@example.com", **recipient}]
    bounce = {"bounceType": kind, "bounceSubType": sub_type, "bouncedRecipients": bounced}
    return {"eventType": "Bounce", "bounce": bounce}


def _bounced(kind: str, sub_type: str, state: str, status: ReceiptStatus, *, fault: bool = False) -> Event:
    return Event("3.5", state, _bounce(kind, sub_type), status, fault, (("BOUNCES", (kind, sub_type)),))


def _complaint(**said: str) -> dict[str, Any]:
    return {"eventType": "Complaint", "complaint": said}


EVENTS = (
    _named("Send", "sent", ReceiptStatus.SENT),
    _named("Delivery", "delivered", ReceiptStatus.DELIVERED),
    Event("3.5", "delivered", {"notificationType": "Delivery"}, ReceiptStatus.DELIVERED,
          rows=(("EVENTS", "Delivery"),)),
    _bounced("Permanent", "General", "hard failure", _HARD),
    _bounced("Permanent", "NoEmail", "hard failure", _HARD),
    _bounced("Permanent", "Suppressed", "suppressed", ReceiptStatus.SUPPRESSED),
    _bounced("Permanent", "OnAccountSuppressionList", "suppressed", ReceiptStatus.SUPPRESSED),
    _bounced("Transient", "General", "soft failure", _SOFT),
    _bounced("Transient", "MailboxFull", "soft failure", _SOFT),
    _bounced("Transient", "MessageTooLarge", "soft failure", _SOFT),
    _bounced("Transient", "ContentRejected", "soft failure", _SOFT, fault=True),
    _bounced("Transient", "AttachmentRejected", "soft failure", _SOFT, fault=True),
    Event("3.5", "soft failure", _bounce("Undetermined", "Undetermined"), _SOFT,
          rows=(("BOUNCES", ("Undetermined", "")),)),
    _named("Complaint", "complained", ReceiptStatus.COMPLAINED),
    Event("3.5", "complained", _complaint(complaintFeedbackType="abuse"), ReceiptStatus.COMPLAINED,
          rows=(("EVENTS", "Complaint"),)),
    Event("3.5", "ignored", _complaint(complaintFeedbackType="not-spam"), None),
    _named("Reject", "failed", ReceiptStatus.FAILED),
    _named("Open", "opened", ReceiptStatus.OPENED),
    _named("Click", "clicked", ReceiptStatus.CLICKED),
    _named("Rendering Failure", "failed", ReceiptStatus.FAILED, fault=True),
    _named("DeliveryDelay", "deferred", ReceiptStatus.DEFERRED),
    _named("Subscription", "unsubscribed", ReceiptStatus.UNSUBSCRIBED),
    Event(OWN, "suppressed", _complaint(complaintSubType="OnAccountSuppressionList"), ReceiptStatus.SUPPRESSED,
          why="SES did not try to send it (API reference, Complaint)"),
    Event(OWN, "hard failure", _bounce("Permanent", "OfTomorrow"), _HARD, rows=(("BOUNCES", ("Permanent", "")),),
          why="a sub type nobody knows leaves what the type says"),
    Event(OWN, "soft failure", _bounce("Transient", "OfTomorrow"), _SOFT, rows=(("BOUNCES", ("Transient", "")),),
          why="the same"),
    Event(OWN, "soft failure", _bounce("OfTomorrow", ""), _SOFT, why="SES has given up, and why is unknown"),
    Event(OWN, "hard failure", _bounce("Permanent", "General", status="5.7.1"), _HARD, True,
          (("BOUNCES", ("Permanent", "General")),), "RFC 3463 §3.8: policy, which is about the way the mail came"),
    Event(OWN, "ignored", {"eventType": "OfTomorrow"}, None, why="nothing is concluded from a word nobody knows"),
)  # fmt: skip


@lru_cache(maxsize=64)
def _signed(said: str) -> tuple[ReceiptRequest, Mapping[str, Any]]:
    return ses_call({"mail": SES_EVENT["mail"], **json.loads(said)})


RECEIPTS = receipts(
    "ses",
    EVENTS,
    (Table(ses_receipts, "EVENTS"), Table(ses_receipts, "BOUNCES")),
    lambda said: ses_receipts.SesReceipts(Amazon().fetch, FakeClock(NOW)).read(*_signed(json.dumps(said))),
)
