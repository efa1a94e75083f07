"""What SES and SNS answer alike (providers.md §0.3): codes that count whatever the status, and the boto errors that we
never see because our own template sends (docs/adr/0009).
"""

from collections.abc import Mapping
from typing import NamedTuple

import httpx

from services.adapters import aws
from services.adapters.outcome import Outcome, Reason
from tests.contract.codes.case import OWN, B, C, Case, D, F, Table

SHARED = (Table(aws, "SHARED_TEXTS"), Table(aws, "SHARED_CODES"))


def _code(
    code: str, outcome: Outcome, reason: Reason, *statuses: int, section: str = "0.3", why: str = ""
) -> list[Case]:
    row = ("SHARED_CODES", code)
    return [Case(section, status, code, "words", outcome, reason, row=row, why=why) for status in statuses]


_SKEWED = "SigV4 troubleshooting, AWS General Reference: a clock that is wrong comes back as a bad signature"

SHARED_CASES: tuple[Case, ...] = (
    *_code("AccessDeniedException", B, Reason.PERMISSION, 400, 403),
    *_code("AccessDenied", B, Reason.PERMISSION, 400, 403),
    *_code("AuthorizationError", B, Reason.PERMISSION, 400, 403),
    *_code("InvalidClientTokenId", B, Reason.CREDENTIALS, 400, 403),
    *_code("UnrecognizedClientException", B, Reason.CREDENTIALS, 400, 403),
    *_code("SignatureDoesNotMatch", B, Reason.CREDENTIALS, 400, 403),
    *_code("InvalidSignatureException", B, Reason.CREDENTIALS, 400, 403),
    *_code("IncompleteSignature", B, Reason.CREDENTIALS, 400, 403),
    *_code("MissingAuthenticationToken", B, Reason.CREDENTIALS, 400, 403),
    *_code("ExpiredTokenException", B, Reason.CREDENTIALS, 400, 403),
    *_code("ExpiredToken", B, Reason.CREDENTIALS, 400, 403),
    *_code("RequestExpired", B, Reason.CLOCK_SKEW, 400, 403),
    *_code("OptInRequired", B, Reason.ACCOUNT_SUSPENDED, 400, 403),
    *_code("SubscriptionRequiredException", B, Reason.ACCOUNT_SUSPENDED, 400, 403),
    *_code("Throttling", C, Reason.RATE_LIMITED, 400, 429),
    *_code("ThrottlingException", C, Reason.RATE_LIMITED, 400, 429),
    *_code("Throttled", C, Reason.RATE_LIMITED, 400, 429),
    *_code("RequestThrottled", C, Reason.RATE_LIMITED, 400, 429),
    *_code("TooManyRequestsException", C, Reason.RATE_LIMITED, 400, 429),
    *_code("RequestLimitExceeded", C, Reason.RATE_LIMITED, 400, 429, 503),
    *_code("SlowDown", C, Reason.RATE_LIMITED, 400, 429, 503),
    *_code("ServiceUnavailable", C, Reason.UNAVAILABLE, 503),
    *_code("InternalFailure", D, Reason.SERVER_ERROR, 500),
    *_code("InternalError", D, Reason.SERVER_ERROR, 500),
    *_code("InternalServiceErrorException", D, Reason.SERVER_ERROR, 500),
    *_code("ServiceUnavailableException", C, Reason.UNAVAILABLE, 503, section=OWN,
           why="the name of the same error in services that speak JSON (botocore's models)"),
    Case(OWN, 403, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than "
         "20260101T001500Z", B, Reason.CLOCK_SKEW, row=("SHARED_TEXTS", 0), why=_SKEWED),
    Case(OWN, 403, "SignatureDoesNotMatch", "Signature not yet current: 20260101T003000Z is still later than "
         "20260101T001500Z", B, Reason.CLOCK_SKEW, row=("SHARED_TEXTS", 1), why=_SKEWED),
)  # fmt: skip


class BotoError(NamedTuple):
    """One exception of §0.3: its class there, and what comes in its place when we send by ourselves.

    `ours` is an exception of our transport; None where nothing is raised, and `why` says what happens instead.
    """

    name: str
    sheet: Outcome
    ours: type[Exception] | None
    why: str = ""


BOTO: tuple[BotoError, ...] = (
    BotoError("NoCredentialsError", B, None, "settings without keys are refused; a host without any is denied"),
    BotoError("PartialCredentialsError", B, None, "settings without the second key are refused; so is the host's half"),
    BotoError("NoRegionError", B, None, "settings without a region are refused when they are stored"),
    BotoError("TokenRetrievalError", B, None, "of the host's chain, and so denied as its other errors are"),
    BotoError("ParamValidationError", F, None, "what cannot be built is unfit, on the spot"),
    BotoError("EndpointConnectionError", C, httpx.ConnectError),
    BotoError("ConnectTimeoutError", C, httpx.ConnectTimeout),
    BotoError("ProxyConnectionError", C, httpx.ProxyError),
    BotoError("SSLError", C, httpx.ConnectError),
    BotoError("ReadTimeoutError", D, httpx.ReadTimeout),
    BotoError("ConnectionClosedError", D, httpx.ReadError),
    BotoError("HTTPClientError", D, httpx.TransportError),
    BotoError("ResponseParserError", D, httpx.RemoteProtocolError),
)

STATUS_OF_NO_CODE: Mapping[int, tuple[Outcome, Reason]] = {
    400: (F, Reason.REQUEST_REFUSED),
    403: (B, Reason.PERMISSION),
    429: (C, Reason.RATE_LIMITED),
    500: (D, Reason.SERVER_ERROR),
    503: (C, Reason.UNAVAILABLE),
}
"""What a code of tomorrow means: by its status, §0.2."""
