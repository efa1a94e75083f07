"""What the contract suite must know of each HTTP kind: valid settings and the kind's own words for each outcome.

To add a kind: write one Dialect and name it in DIALECTS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.adapters.base import Channel
from services.adapters.outcome import Outcome
from tests.fakes.vendor import Reply

HOTEL_NETWORK = Reply(status=200, body=b"<html>welcome to the hotel network</html>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind's words. `settings` gets the test server's address; `secrets` are values in it that must never be seen
    again.
    """

    channel: Channel
    kind: str
    settings: Callable[[str], Mapping[str, Any]]
    secrets: tuple[str, ...]
    accepted: Reply
    accepted_id: str
    throttled: Reply  # without Retry-After; the suite adds each form of it
    bad_credentials: Reply
    bad_recipient: Reply
    # A 2xx nobody can read: accepted without an id, unless providers.md says otherwise for this kind.
    unreadable: Reply = HOTEL_NETWORK
    unreadable_means: Outcome = Outcome.ACCEPTED
    # The same of the kind's own acceptance whose body does not come to its end: it may have held the id.
    cut_means: Outcome = Outcome.ACCEPTED
    obeys_retry_after: bool = True


SENDGRID = Dialect(
    channel=Channel.EMAIL,
    kind="sendgrid",
    settings=lambda url: {"apiKey": "SG.sekrit-key.value", "baseUrl": url},
    secrets=("SG.sekrit-key.value",),
    accepted=Reply(status=202, headers={"x-message-id": "sg-id-1"}),
    accepted_id="sg-id-1",
    throttled=Reply.json(429, {"errors": [{"message": "too many requests", "field": None}]}),
    bad_credentials=Reply.json(
        401, {"errors": [{"message": "The provided authorization grant is invalid", "field": None}]}
    ),
    bad_recipient=Reply.json(
        400, {"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]}
    ),
)

TWILIO = Dialect(
    channel=Channel.SMS,
    kind="twilio",
    settings=lambda url: {
        "accountSid": "AC" + "0" * 32,
        "authToken": "sekrit-auth-token",
        "fromNumber": "+15005550006",
        "baseUrl": url,
    },
    secrets=("sekrit-auth-token",),
    accepted=Reply.json(201, {"sid": "SM123", "status": "queued"}),
    accepted_id="SM123",
    throttled=Reply.json(429, {"code": 20429, "message": "Too Many Requests", "status": 429}),
    bad_credentials=Reply.json(401, {"code": 20003, "message": "Authenticate", "status": 401}),
    bad_recipient=Reply.json(400, {"code": 21211, "message": "The 'To' number is not valid.", "status": 400}),
)

MAILGUN = Dialect(
    channel=Channel.EMAIL,
    kind="mailgun",
    settings=lambda url: {"apiKey": "key-sekrit-mailgun", "domain": "mg.example.com", "baseUrl": url},
    secrets=("key-sekrit-mailgun",),
    accepted=Reply.json(200, {"id": "<20260101.1@mg.example.com>", "message": "Queued. Thank you."}),
    accepted_id="20260101.1@mg.example.com",
    throttled=Reply.json(429, {"message": "Too many requests"}),
    bad_credentials=Reply(status=401, body=b"Forbidden"),
    bad_recipient=Reply.json(400, {"message": "to parameter is not a valid address. please check documentation"}),
    unreadable_means=Outcome.DENIED,  # a wrong path answers 200 (providers.md §2.3)
    cut_means=Outcome.UNKNOWN,
)

_AWS_KEYS = {
    "accessKeyId": "AKIASEKRITEXAMPLE",
    "secretAccessKey": "sekrit/secret+access+key",
    "sessionToken": "sekrit+session/token==",
    "region": "eu-west-1",
}
_AWS_SECRETS = ("AKIASEKRITEXAMPLE", "sekrit/secret+access+key", "sekrit+session/token==")


def _ses_error(status: int, code: str, message: str) -> Reply:
    return Reply.json(status, {"message": message}, headers={"x-amzn-errortype": f"{code}:http://internal.amazon.com/"})


SES = Dialect(
    channel=Channel.EMAIL,
    kind="ses",
    settings=lambda url: {**_AWS_KEYS, "endpointUrl": url},
    secrets=_AWS_SECRETS,
    accepted=Reply.json(200, {"MessageId": "0102019-ses-000000"}),
    accepted_id="0102019-ses-000000",
    throttled=_ses_error(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    bad_credentials=_ses_error(403, "UnrecognizedClientException", "The security token included is invalid."),
    bad_recipient=_ses_error(400, "BadRequestException", "Missing final '@domain'"),
)

TERMII = Dialect(
    channel=Channel.SMS,
    kind="termii",
    settings=lambda url: {"apiKey": "TLsekritkey", "senderId": "Acme", "baseUrl": url},
    secrets=("TLsekritkey",),
    accepted=Reply.json(200, {"message_id": 9122821270554876574, "message": "Successfully Sent", "balance": 9}),
    accepted_id="9122821270554876574",
    throttled=Reply.json(429, {"message": "Too many requests"}),
    bad_credentials=Reply.json(401, {"message": "Unauthorized"}),
    bad_recipient=Reply.json(400, {"code": 400, "message": "Invalid phone number"}),
    unreadable_means=Outcome.UNKNOWN,  # a 200 counts only with a message_id (providers.md §6.3)
    cut_means=Outcome.UNKNOWN,
)


def _sns_error(status: int, code: str, message: str) -> Reply:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return Reply(status=status, headers={"content-type": "text/xml"}, body=body.encode())


SNS = Dialect(
    channel=Channel.SMS,
    kind="sns",
    settings=lambda url: {**_AWS_KEYS, "endpointUrl": url},
    secrets=_AWS_SECRETS,
    accepted=Reply(
        body=b"<PublishResponse><PublishResult><MessageId>sns-1</MessageId></PublishResult></PublishResponse>"
    ),
    accepted_id="sns-1",
    throttled=_sns_error(429, "Throttled", "Rate exceeded"),
    bad_credentials=_sns_error(403, "InvalidClientTokenId", "The security token included is invalid."),
    bad_recipient=_sns_error(400, "InvalidParameter", "Invalid parameter: PhoneNumber Reason: +1 is not valid"),
)

DIALECTS: tuple[Dialect, ...] = (SENDGRID, MAILGUN, SES, TWILIO, TERMII, SNS)
