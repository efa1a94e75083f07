"""What each HTTP kind's provider may answer to a credential check, and what that must mean. Data, no tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from services.adapters.check import CheckVerdict
from tests.contract.dialects import HOTEL_NETWORK, MAILGUN, SENDGRID, SES, SNS, TERMII, TWILIO, Dialect
from tests.fakes.vendor import Received, Reply

GOOD, BAD, CANNOT = CheckVerdict.GOOD, CheckVerdict.BAD, CheckVerdict.CANNOT_VERIFY


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One conversation: replies by what is asked (`asked` names it), the verdict, and words the message must hold."""

    name: str
    dialect: Dialect
    replies: Mapping[str, Reply]
    verdict: CheckVerdict
    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sender: str = ""


def asked(received: Received) -> str:
    """The question in one word or path: the AWS action, else method and path without the account."""
    query = parse_qs(received.body.decode()) if b"Action=" in received.body else {}
    if query:
        return query["Action"][0]
    path = urlsplit(received.path).path
    return f"{received.method} {path.replace('/AC' + '0' * 32, '')}"


def answering(case: Case) -> Callable[[Received], Reply]:
    """A server that plays this case; a question nobody wrote down is answered 418."""
    return lambda received: case.replies.get(asked(received), Reply(status=418, body=asked(received).encode()))


def _aws(status: int, code: str, message: str = "no") -> Reply:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return Reply(status=status, body=body.encode())


_SCOPES = "GET /v3/scopes"
_MAIL_SEND = "POST /v3/mail/send"
_FORBIDDEN = Reply.json(403, {"errors": [{"message": "access forbidden", "field": None}]})
_UNVERIFIED = Reply.json(
    403, {"errors": [{"message": "The from address does not match a verified Sender Identity", "field": "from"}]}
)
_SENDGRID = (
    Case(name="scope", dialect=SENDGRID, verdict=GOOD, words="mail.send",
         replies={_SCOPES: Reply.json(200, {"scopes": ["alerts.read", "mail.send"]})}),
    Case(name="no-scope", dialect=SENDGRID, verdict=BAD, words="lacks the scope mail.send",
         replies={_SCOPES: Reply.json(200, {"scopes": ["mail.send.not", "alerts.read"]})}),
    Case(name="bad-key", dialect=SENDGRID, verdict=BAD, words="authorization grant is invalid",
         replies={_SCOPES: SENDGRID.bad_credentials}),
    Case(name="restricted-key", dialect=SENDGRID, verdict=GOOD, words="took a test message", sender="a@shop.test",
         replies={_SCOPES: _FORBIDDEN, _MAIL_SEND: Reply(status=200)}),
    Case(name="restricted-key-no-sender", dialect=SENDGRID, verdict=CANNOT, words="without a sender",
         replies={_SCOPES: _FORBIDDEN}),
    Case(name="restricted-key-may-not-send", dialect=SENDGRID, verdict=BAD, words="access forbidden",
         sender="a@shop.test", replies={_SCOPES: _FORBIDDEN, _MAIL_SEND: _FORBIDDEN}),
    Case(name="restricted-key-sender-unverified", dialect=SENDGRID, verdict=BAD, words="verified Sender Identity",
         settings={"fromEmail": "a@shop.test"}, replies={_SCOPES: _FORBIDDEN, _MAIL_SEND: _UNVERIFIED}),
    Case(name="restricted-key-busy", dialect=SENDGRID, verdict=CANNOT, words="proved nothing", sender="a@shop.test",
         replies={_SCOPES: _FORBIDDEN, _MAIL_SEND: Reply(status=503)}),
    Case(name="odd-scopes", dialect=SENDGRID, verdict=CANNOT, words="does not tell",
         replies={_SCOPES: Reply.json(200, {"scopes": "all"})}),
)  # fmt: skip

_DOMAIN = "GET /v4/domains/mg.example.com"
_TO_NOBODY = "POST /v3/mg.example.com/messages"


def _domain(**domain: object) -> Reply:
    return Reply.json(200, {"domain": {"name": "mg.example.com", **domain}})


_MAILGUN = (
    Case(name="active", dialect=MAILGUN, verdict=GOOD, words="domain is active",
         replies={_DOMAIN: _domain(state="active", is_disabled=False)}),
    Case(name="unverified", dialect=MAILGUN, verdict=BAD, words="DNS records",
         replies={_DOMAIN: _domain(state="unverified")}),
    Case(name="disabled", dialect=MAILGUN, verdict=BAD, words="disabled", replies={_DOMAIN: _domain(state="disabled")}),
    Case(name="is-disabled", dialect=MAILGUN, verdict=BAD, words="disabled",
         replies={_DOMAIN: _domain(state="active", is_disabled=True)}),
    Case(name="wrong-domain", dialect=MAILGUN, verdict=BAD, words="in this region",
         replies={_DOMAIN: Reply.json(404, {"message": "Domain not found: mg.example.com"})}),
    Case(name="sending-key", dialect=MAILGUN, verdict=GOOD, words="sending key",
         replies={_DOMAIN: Reply(status=401, body=b"Forbidden"),
                  _TO_NOBODY: Reply.json(400, {"message": "to parameter is missing"})}),
    Case(name="bad-key", dialect=MAILGUN, verdict=BAD, words="Forbidden",
         replies={_DOMAIN: Reply(status=401, body=b"Forbidden"), _TO_NOBODY: Reply(status=401, body=b"Forbidden")}),
    Case(name="sending-key-wrong-domain", dialect=MAILGUN, verdict=BAD, words="in this region",
         replies={_DOMAIN: Reply(status=401, body=b"Forbidden"),
                  _TO_NOBODY: Reply.json(404, {"message": "Domain not found: mg.example.com"})}),
    Case(name="sending-key-other-complaint", dialect=MAILGUN, verdict=CANNOT, words="need at least one of",
         replies={_DOMAIN: Reply(status=401, body=b"Forbidden"),
                  _TO_NOBODY: Reply.json(400, {"message": "need at least one of 'text' or 'html'"})}),
    Case(name="wrong-path", dialect=MAILGUN, verdict=CANNOT, words="Magnificent",
         replies={_DOMAIN: Reply(body=b"Mailgun Magnificent API")}),
)  # fmt: skip

_ACCOUNT = "GET /v2/email/account"
_HEALTHY = {"SendingEnabled": True, "ProductionAccessEnabled": True, "EnforcementStatus": "HEALTHY"}
_DENIED = Reply.json(403, {"message": "not authorized"}, headers={"x-amzn-errortype": "AccessDeniedException"})
_NOT_FOUND = Reply.json(404, {"message": "no such identity"}, headers={"x-amzn-errortype": "NotFoundException"})
_WHO = Reply(
    body=b"<GetCallerIdentityResponse><Arn>arn:aws:iam::123456789012:user/mailer</Arn></GetCallerIdentityResponse>"
)
_VERIFIED = Reply.json(200, {"VerifiedForSendingStatus": True})


def _identity(name: str) -> str:
    return f"GET /v2/email/identities/{name}"


_SES = (
    Case(name="account", dialect=SES, verdict=GOOD, words="may send in this region",
         replies={_ACCOUNT: Reply.json(200, _HEALTHY)}),
    Case(name="sandbox", dialect=SES, verdict=GOOD, words="in the sandbox",
         replies={_ACCOUNT: Reply.json(200, {**_HEALTHY, "ProductionAccessEnabled": False})}),
    Case(name="probation", dialect=SES, verdict=GOOD, words="on probation",
         replies={_ACCOUNT: Reply.json(200, {**_HEALTHY, "EnforcementStatus": "PROBATION"})}),
    Case(name="paused", dialect=SES, verdict=BAD, words="switched off",
         replies={_ACCOUNT: Reply.json(200, {**_HEALTHY, "SendingEnabled": False})}),
    Case(name="shut-down", dialect=SES, verdict=BAD, words="switched off",
         replies={_ACCOUNT: Reply.json(200, {**_HEALTHY, "EnforcementStatus": "SHUTDOWN"})}),
    Case(name="address-verified", dialect=SES, verdict=GOOD, words="a@mail.shop.test is verified",
         sender="a@mail.shop.test",
         replies={_ACCOUNT: Reply.json(200, _HEALTHY), _identity("a@mail.shop.test"): _VERIFIED}),
    Case(name="parent-domain-verified", dialect=SES, verdict=GOOD, words="shop.test is verified",
         settings={"fromEmail": "a@mail.shop.test"},
         replies={_ACCOUNT: Reply.json(200, _HEALTHY), _identity("a@mail.shop.test"): _NOT_FOUND,
                  _identity("mail.shop.test"): _NOT_FOUND, _identity("shop.test"): _VERIFIED}),
    Case(name="sender-unverified", dialect=SES, verdict=BAD, words="neither a@shop.test nor its domain",
         sender="a@shop.test",
         replies={_ACCOUNT: Reply.json(200, _HEALTHY), _identity("a@shop.test"): _NOT_FOUND,
                  _identity("shop.test"): Reply.json(200, {"VerifiedForSendingStatus": False})}),
    Case(name="odd-address-verified", dialect=SES, verdict=GOOD, words="is verified", sender="a+b/c'd@shop.test",
         replies={_ACCOUNT: Reply.json(200, _HEALTHY), _identity("a+b%2Fc'd@shop.test"): _VERIFIED}),
    Case(name="identity-not-allowed", dialect=SES, verdict=GOOD, words="could not be asked", sender="a@shop.test",
         replies={_ACCOUNT: Reply.json(200, _HEALTHY), _identity("a@shop.test"): _DENIED}),
    Case(name="send-only-policy", dialect=SES, verdict=CANNOT, words="user/mailer",
         replies={_ACCOUNT: _DENIED, "GetCallerIdentity": _WHO}),
    Case(name="emulator-without-account", dialect=SES, verdict=CANNOT, words="user/mailer",
         replies={_ACCOUNT: Reply(status=404, body=b"<html>404</html>"), "GetCallerIdentity": _WHO}),
    Case(name="bad-key", dialect=SES, verdict=BAD, words="UnrecognizedClientException",
         replies={_ACCOUNT: SES.bad_credentials}),
    Case(name="bad-key-in-xml", dialect=SES, verdict=BAD, words="InvalidClientTokenId",
         replies={_ACCOUNT: _aws(403, "InvalidClientTokenId")}),
    Case(name="bad-key-told-by-sts", dialect=SES, verdict=BAD, words="InvalidClientTokenId",
         replies={_ACCOUNT: _DENIED, "GetCallerIdentity": _aws(403, "InvalidClientTokenId")}),
    Case(name="sts-away", dialect=SES, verdict=CANNOT, words="not authorized",
         replies={_ACCOUNT: _DENIED, "GetCallerIdentity": Reply(status=503)}),
    Case(name="clock", dialect=SES, verdict=CANNOT, words="clock is wrong",
         replies={_ACCOUNT: _aws(403, "SignatureDoesNotMatch", "Signature expired: 20260101 is now earlier")}),
    Case(name="no-account-in-it", dialect=SES, verdict=CANNOT, words="does not tell",
         replies={_ACCOUNT: Reply.json(200, {})}),
)  # fmt: skip

_ATTRIBUTES = Reply(
    body=b"<GetSMSAttributesResponse><GetSMSAttributesResult><attributes><entry><key>DefaultSMSType</key>"
    b"<value>Transactional</value></entry><entry><key>MonthlySpendLimit</key><value>50</value></entry></attributes>"
    b"</GetSMSAttributesResult></GetSMSAttributesResponse>"
)
_SANDBOX = "GetSMSSandboxAccountStatus"
_SNS = (
    Case(name="attributes", dialect=SNS, verdict=GOOD, words="USD 50",
         replies={"GetSMSAttributes": _ATTRIBUTES, _SANDBOX: Reply(body=b"<IsInSandbox>false</IsInSandbox>")}),
    Case(name="sandbox", dialect=SNS, verdict=GOOD, words="SMS sandbox",
         replies={"GetSMSAttributes": _ATTRIBUTES, _SANDBOX: Reply(body=b"<IsInSandbox>true</IsInSandbox>")}),
    Case(name="sandbox-unknown", dialect=SNS, verdict=GOOD, words="SNS knows the keys",
         replies={"GetSMSAttributes": _ATTRIBUTES, _SANDBOX: Reply(status=500)}),
    Case(name="publish-only-policy", dialect=SNS, verdict=CANNOT, words="user/mailer",
         replies={"GetSMSAttributes": _aws(403, "AuthorizationError"), "GetCallerIdentity": _WHO}),
    Case(name="bad-key", dialect=SNS, verdict=BAD, words="InvalidClientTokenId",
         replies={"GetSMSAttributes": SNS.bad_credentials}),
    Case(name="suspended", dialect=SNS, verdict=BAD, words="OptInRequired",
         replies={"GetSMSAttributes": _aws(403, "OptInRequired")}),
)  # fmt: skip

_TWILIO_ACCOUNT = "GET /2010-04-01/Accounts.json"
_MESSAGES = "GET /2010-04-01/Accounts/Messages.json"
_BALANCE = "GET /2010-04-01/Accounts/Balance.json"
_KEY = {"apiKeySid": "SK" + "1" * 32, "apiKeySecret": "sekrit-key-secret"}


def _account(status: str = "active", kind: str = "Full") -> Reply:
    return Reply.json(200, {"sid": "AC" + "0" * 32, "status": status, "type": kind})


def _balance(amount: str) -> Reply:
    return Reply.json(200, {"balance": amount, "currency": "USD"})


_TWILIO = (
    Case(name="active", dialect=TWILIO, verdict=GOOD, words="account is active",
         replies={_TWILIO_ACCOUNT: _account(), _BALANCE: _balance("12.50")}),
    Case(name="no-balance-of-a-subaccount", dialect=TWILIO, verdict=GOOD, words="account is active",
         replies={_TWILIO_ACCOUNT: _account(), _BALANCE: Reply(status=404)}),
    Case(name="empty", dialect=TWILIO, verdict=GOOD, words="balance is -0.10 USD",
         replies={_TWILIO_ACCOUNT: _account(), _BALANCE: _balance("-0.10")}),
    Case(name="trial", dialect=TWILIO, verdict=GOOD, words="trial account",
         replies={_TWILIO_ACCOUNT: _account(kind="Trial"), _BALANCE: _balance("5")}),
    Case(name="suspended", dialect=TWILIO, verdict=BAD, words="suspended",
         replies={_TWILIO_ACCOUNT: _account("suspended")}),
    Case(name="bad-token", dialect=TWILIO, verdict=BAD, words="Authenticate",
         replies={_TWILIO_ACCOUNT: TWILIO.bad_credentials}),
    Case(name="test-credentials", dialect=TWILIO, verdict=CANNOT, words="test credentials",
         replies={_TWILIO_ACCOUNT: Reply.json(403, {"code": 20008, "message": "Resource not accessible"})}),
    Case(name="no-such-account", dialect=TWILIO, verdict=BAD, words="does not know the account",
         replies={_TWILIO_ACCOUNT: Reply.json(404, {"code": 20404, "message": "not found"})}),
    Case(name="api-key", dialect=TWILIO, verdict=GOOD, words="knows the API key", settings=_KEY,
         replies={_MESSAGES: Reply.json(200, {"messages": []}), _BALANCE: _balance("1")}),
    Case(name="bad-api-key", dialect=TWILIO, verdict=BAD, words="Authenticate", settings=_KEY,
         replies={_MESSAGES: TWILIO.bad_credentials}),
    Case(name="restricted-api-key", dialect=TWILIO, verdict=CANNOT, words="may not list messages", settings=_KEY,
         replies={_MESSAGES: Reply.json(403, {"code": 70051, "message": "not authorized"})}),
)  # fmt: skip

_GET_BALANCE = "GET /api/get-balance"
_SENDER_ID = "GET /api/sender-id"


def _senders(status: str, name: str = "Acme") -> Reply:
    return Reply.json(200, {"data": [{"sender_id": "Other", "status": "x"}, {"sender_id": name, "status": status}]})


_FULL = Reply.json(200, {"user": "Ada", "balance": 785.57, "currency": "NGN"})
_TERMII = (
    Case(name="approved", dialect=TERMII, verdict=GOOD, words="sender id Acme",
         replies={_GET_BALANCE: _FULL, _SENDER_ID: _senders("unblock", "ACME")}),
    Case(name="pending", dialect=TERMII, verdict=BAD, words="not approved (pending)",
         replies={_GET_BALANCE: _FULL, _SENDER_ID: _senders("pending")}),
    Case(name="blocked", dialect=TERMII, verdict=BAD, words="not approved (block)",
         replies={_GET_BALANCE: _FULL, _SENDER_ID: _senders("block")}),
    Case(name="not-listed", dialect=TERMII, verdict=CANNOT, words="do not include Acme",
         replies={_GET_BALANCE: _FULL, _SENDER_ID: _senders("unblock", "Else")}),
    Case(name="no-list", dialect=TERMII, verdict=CANNOT, words="not whether Acme",
         replies={_GET_BALANCE: _FULL, _SENDER_ID: Reply(status=500)}),
    Case(name="empty", dialect=TERMII, verdict=GOOD, words="used up",
         replies={_GET_BALANCE: Reply.json(200, {"balance": "0"}), _SENDER_ID: _senders("active")}),
    Case(name="bad-key", dialect=TERMII, verdict=BAD, words="Unauthorized",
         replies={_GET_BALANCE: TERMII.bad_credentials}),
    Case(name="no-balance", dialect=TERMII, verdict=CANNOT, words="does not tell",
         replies={_GET_BALANCE: HOTEL_NETWORK}),
)  # fmt: skip

CASES: tuple[Case, ...] = (*_SENDGRID, *_MAILGUN, *_SES, *_SNS, *_TWILIO, *_TERMII)
