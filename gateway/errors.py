"""From a refusal to the HTTP answer: the one place that knows the error body. It decides nothing and raises nothing of
its own.

The body is {"statusCode", "error", "message", "code", "reason", "details"}: the first three are the documented names
(`error` is HTTP's phrase), `code` is gRPC's word, `reason` the constant of error_reason.proto, `details` holds
`violations` and `metadata`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status

from services.chassis.errors import FieldViolation, Internal, InvalidArgument, Kind, ServiceError
from services.chassis.status import DOMAIN, GRPC_CODE, HTTP_STATUS, from_rpc_error

CLIENT_CLOSED = 499
# Sentences that clients of the documented API read in `error` (ADR 0006).
BAD_NUMBER = "Invalid phone number format"
_SENTENCES = {"TEMPLATE_NOT_FOUND": "Template not found"}
# Reasons whose HTTP status is not that of their gRPC code: the draft of Idempotency-Key asks for 422.
STATUS_OF_REASON: Mapping[str, int] = {"IDEMPOTENCY_KEY_REUSED": HTTPStatus.UNPROCESSABLE_ENTITY.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Everything an error answer says. `retry_after` in seconds; `headers` are further ones, names in lower case."""

    status: int
    code: str
    reason: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that HTTP knows and gRPC does not, such as 405."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def body(problem: Problem) -> dict[str, Any]:
    """The JSON body of an error answer; `details` is always there and has only the members it needs."""
    details: dict[str, Any] = {}
    if problem.violations:
        details["violations"] = [{"field": each.field, "description": each.description} for each in problem.violations]
    if problem.metadata:
        details["metadata"] = dict(problem.metadata)
    if problem.retry_after is not None:
        details["retryAfter"] = problem.retry_after
    return {
        "statusCode": problem.status,
        "error": _documented(problem) or phrase(problem.status),
        "message": problem.message,
        "code": problem.code,
        "reason": problem.reason,
        "details": details,
    }


def _documented(problem: Problem) -> str:
    """What the documented API says in `error` where it has a sentence instead of HTTP's words; "" elsewhere."""
    if problem.reason in _SENTENCES:
        return _SENTENCES[problem.reason]
    said = (each.description for each in problem.violations)
    return BAD_NUMBER if any(each.startswith(BAD_NUMBER) for each in said) else ""


def headers(problem: Problem) -> dict[str, str]:
    """The headers that go with the body: Retry-After in whole seconds, at least 1 (RFC 9110 §10.2.3)."""
    found = dict(problem.headers)
    if problem.retry_after is not None:
        found["retry-after"] = str(max(1, math.ceil(problem.retry_after)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        found["www-authenticate"] = _challenge(problem.reason)
    return found


def phrase(status: int) -> str:
    """HTTP's words for a status."""
    return "Client Closed Request" if status == CLIENT_CLOSED else HTTPStatus(status).phrase


def of_service_error(error: ServiceError) -> Problem:
    """One of our own errors, raised here."""
    code = GRPC_CODE[error.code]
    return Problem(
        status=HTTP_STATUS[code],
        code=code.name,
        reason=error.reason,
        message=error.message,
        violations=error.violations,
        metadata=error.metadata,
        retry_after=error.retry_after,
    )


def of_rpc_error(error: grpc.aio.AioRpcError) -> Problem:
    """What a service behind the gateway answered; of a failure without our ErrorInfo only the kind is told."""
    status = _status_of(error)
    if status is not None and (found := _ours(status)) is not None:
        return found
    return of_service_error(from_rpc_error(error))


def of_status(status: status_pb2.Status) -> Problem:
    """A google.rpc.Status inside an answer, read exactly like one that ends a call."""
    return _ours(status) or of_service_error(Internal())


def relative(problem: Problem, prefix: str, kept: Sequence[str]) -> Problem:
    """The problem with field paths as the caller's JSON body has them.

    `prefix` is the JSON path of the field that the body fills ("" when the body is the request); `kept` are paths that
    the URL filled, which keep their names: `provider.config.apiKey` → `config.apiKey`, but the path's `provider.id`
    stays.
    """
    if not prefix or not problem.violations:
        return problem
    message, moved = problem.message, []
    for violation in problem.violations:
        at = violation.field
        if at.startswith(prefix + ".") and at not in kept:
            at = at[len(prefix) + 1 :]
            message = message.replace(f"{violation.field}: ", f"{at}: ")
        moved.append(FieldViolation(at, violation.description))
    return replace(problem, message=message, violations=tuple(moved))


def no_route(path: str, nearest: str | None) -> Refusal:
    """404 for a path that nothing serves."""
    hint = f" Did you mean {nearest}?" if nearest else ""
    message = f"There is no route {path}.{hint} GET /openapi.json lists all."
    return _refusal(HTTPStatus.NOT_FOUND, Kind.NOT_FOUND, "ROUTE_NOT_FOUND", message)


def wrong_method(method: str, allowed: Sequence[str]) -> Refusal:
    """405 with Allow (RFC 9110 §15.5.6)."""
    allow = ", ".join(allowed)
    message = f"This path does not take {method}; it takes {allow}."
    refusal = _refusal(HTTPStatus.METHOD_NOT_ALLOWED, Kind.UNIMPLEMENTED, "METHOD_NOT_ALLOWED", message)
    return Refusal(replace(refusal.problem, headers={"allow": allow}))


def too_large(limit: int) -> Refusal:
    """413: the body is over the route's limit."""
    message = f"The body is larger than the {limit} bytes that this route takes."
    return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Kind.INVALID_ARGUMENT, "BODY_TOO_LARGE", message)


def request_too_large(limit: int) -> Refusal:
    """413: the body was within its limit, what it says is not; gRPC's own word for it would read as "try later"."""
    message = f"The request is larger than the {limit} bytes that this route takes, base64 decoded and lists expanded."
    return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Kind.INVALID_ARGUMENT, "BODY_TOO_LARGE", message)


def wrong_content_type(given: str, taken: Sequence[str] = ("application/json",)) -> Refusal:
    """415: only the types that the route takes are read, in UTF-8 and without a content coding."""
    message = f"Send the body with Content-Type: {' or '.join(taken)}{f', not {given[:80]}' if given else ''}."
    return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Kind.INVALID_ARGUMENT, "CONTENT_TYPE_UNSUPPORTED", message)


def body_too_slow(seconds: float) -> Refusal:
    """408: the body did not arrive in time."""
    message = f"The body did not arrive within {seconds:g} s."
    return _refusal(HTTPStatus.REQUEST_TIMEOUT, Kind.DEADLINE_EXCEEDED, "BODY_TIMEOUT", message)


def ambiguous_length() -> InvalidArgument:
    """400: two statements about the body's length (RFC 9112 §6.3); obeying either is how requests are smuggled."""
    return InvalidArgument("Send Content-Length or Transfer-Encoding, not both.", reason="AMBIGUOUS_LENGTH")


def _refusal(status: HTTPStatus, kind: Kind, reason: str, message: str) -> Refusal:
    return Refusal(Problem(status=status.value, code=kind.value, reason=reason, message=message))


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        # grpc_status wants a synchronous call object; an AioRpcError answers the same three questions.
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # details that contradict the code
        return None
    return status


def _ours(status: status_pb2.Status) -> Problem | None:
    """The problem a status of one of our services tells, None for a status of anybody else."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    kinds = (info, bad, retry)
    found = {kind.DESCRIPTOR.full_name for kind in kinds for packed in status.details if packed.Unpack(kind)}
    code = next((each for each in grpc.StatusCode if each.value[0] == status.code), grpc.StatusCode.UNKNOWN)
    if info.domain != DOMAIN or code is grpc.StatusCode.OK:
        return None
    return Problem(
        status=STATUS_OF_REASON.get(info.reason, HTTP_STATUS[code]),
        code=code.name,
        reason=info.reason,
        message=status.message,
        violations=tuple(FieldViolation(each.field, each.description) for each in bad.field_violations),
        metadata=dict(info.metadata),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry.DESCRIPTOR.full_name in found else None,
    )


def _challenge(reason: str) -> str:
    # RFC 6750 §3.1: no error word when the request carried no token at all.
    realm = 'Bearer realm="messagepipe"'
    return realm if reason in ("TOKEN_MISSING", "KEY_INVALID") else f'{realm}, error="invalid_token"'
