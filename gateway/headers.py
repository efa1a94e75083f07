"""Which HTTP headers become which gRPC metadata and the other way round. Everything not named here is dropped."""

import re
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers

from services.chassis.api_keys import HEADER, has_form, key_invalid, two_proofs
from services.chassis.errors import FieldViolation, InvalidArgument, Unauthenticated

REQUEST_ID = "x-request-id"
MAX_TIMEOUT_SECONDS = 300.0

# Every answer: nobody guesses its type, caches it, frames it or learns from it where a click came from.
ALWAYS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


def request_id(headers: Headers) -> str:
    """The caller's own x-request-id when it is one plain word, otherwise a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def bearer(headers: Headers) -> str:
    """The token of the one Authorization header, "" without one; Unauthenticated for another scheme, or two."""
    values = headers.getlist("authorization")
    if not values:
        return ""
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("The header must be exactly one `Authorization: Bearer <token>`.")
    return token.strip(" ")


def bearing(token: str) -> tuple[str, str]:
    """A token as the services are told it."""
    return "authorization", f"Bearer {token}"


def api_key(headers: Headers) -> str | None:
    """The key of the one x-api-key header, None without one; Unauthenticated for two, for what can be no key, and for a
    token beside it. Whether the key works is for the service to know.
    """
    values = headers.getlist(HEADER)
    if not values:
        return None
    if "authorization" in headers:
        raise two_proofs()
    if len(values) > 1 or not has_form(values[0]):
        raise key_invalid()
    return values[0]


def metadata(headers: Headers, proof: tuple[str, str], request: str) -> tuple[tuple[str, str], ...]:
    """What a service behind the gateway is told: who asks (`proof`), the request id and the trace (W3C Trace Context),
    nothing else.
    """
    told = [proof, (REQUEST_ID, request)]
    trace = headers.get("traceparent", "")
    if _TRACEPARENT.fullmatch(trace):
        told.append(("traceparent", trace))
        state = headers.get("tracestate", "")
        if _TRACESTATE.fullmatch(state):
            told.append(("tracestate", state))
    return tuple(told)


def timeout(headers: Headers, default: float | None) -> float | None:
    """Seconds the call may take: `Request-Timeout: seconds`, more than 0 and at most 300, or the route's default."""
    given = headers.get("request-timeout")
    if given is None:
        return default
    if not _SECONDS.fullmatch(given) or not 0 < float(given) <= MAX_TIMEOUT_SECONDS:
        what = f"must be seconds, more than 0 and at most {MAX_TIMEOUT_SECONDS:g}"
        raise InvalidArgument(violations=[FieldViolation("Request-Timeout", what)])
    return float(given)


def wants_json(headers: Headers) -> bool:
    """Whether a stream is wanted as one JSON document: application/json is accepted and text/event-stream is not
    named.
    """
    accept = headers.get("accept", "").lower()
    return "application/json" in accept and "text/event-stream" not in accept


def responds_async(headers: Headers) -> bool:
    """Whether the caller would rather not wait for the outcome (RFC 7240 §4.1)."""
    preferences = ",".join(headers.getlist("prefer")).lower().split(",")
    return any(each.split(";")[0].strip() == "respond-async" for each in preferences)
