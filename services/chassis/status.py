"""Between ServiceError, google.rpc.Status and HTTP: the one place that knows gRPC's codes. Not an interceptor.

The error model is AIP-193: exactly one ErrorInfo, BadRequest with every field violation, RetryInfo where waiting helps.
"""

import math
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # no py.typed in googleapis-common-protos
from grpc_status import rpc_status

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

DOMAIN = "messagepipe"

# A status travels in the trailers twice (grpc-message and base64 grpc-status-details-bin). Clients refuse headers over
# their limit, 8 KiB by default in gRPC core, and would then see RESOURCE_EXHAUSTED instead of the error.
MAX_TRAILER_BYTES = 7 * 1024
MAX_MESSAGE_CHARS = 1024
MAX_DESCRIPTION_CHARS = 512
MAX_METADATA_CHARS = 256
MAX_FIELD_CHARS = 256  # a map's key is part of the path, and the caller's choice

GRPC_CODE: Mapping[Kind, grpc.StatusCode] = {kind: grpc.StatusCode[kind.name] for kind in Kind}

# google/rpc/code.proto says which HTTP status belongs to which code; 499 is its "client closed request".
HTTP_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}

_ERRORS: Mapping[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: Internal,
}


def to_status(error: ServiceError) -> status_pb2.Status:
    """The error as the wire carries it; an over-long list of violations ends in how many were left out."""
    status = _status(error, error.violations)
    kept = len(error.violations)
    while kept and _trailer_bytes(status) > MAX_TRAILER_BYTES:
        kept = kept * 3 // 4
        left_out = FieldViolation("", f"and {len(error.violations) - kept} more violations")
        status = _status(error, (*error.violations[:kept], left_out))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """What another service answered, as our own error: reason, metadata, violations and delay are kept."""
    status = _status_of(error)
    cls = _ERRORS.get(error.code())
    if cls is None or status is None:
        # Without details it was not one of ours that answered, and its words are not for callers to read.
        return _without_details(error, cls)
    info = _detail(status, error_details_pb2.ErrorInfo)
    if cls is Internal:
        return Internal(metadata=dict(info.metadata) if info is not None else None)
    retry = _detail(status, error_details_pb2.RetryInfo)
    bad = _detail(status, error_details_pb2.BadRequest)
    return cls(
        status.message,
        reason=info.reason if info is not None and info.reason else None,
        metadata=dict(info.metadata) if info is not None else None,
        violations=[FieldViolation(each.field, each.description) for each in bad.field_violations] if bad else (),
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else None,
    )


def _status(error: ServiceError, violations: tuple[FieldViolation, ...]) -> status_pb2.Status:
    status = status_pb2.Status(code=GRPC_CODE[error.code].value[0], message=_cut(error.message, MAX_MESSAGE_CHARS))
    metadata = {key: _cut(value, MAX_METADATA_CHARS) for key, value in error.metadata.items()}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if violations:
        bad = error_details_pb2.BadRequest()
        for violation in violations:
            description = _cut(violation.description, MAX_DESCRIPTION_CHARS)
            bad.field_violations.add(field=_cut(violation.field, MAX_FIELD_CHARS), description=description)
        status.details.add().Pack(bad)
    if error.retry_after is not None:
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after)))
    return status


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(math.ceil(max(seconds, 0.0) * 1000) * 1_000_000)
    return duration


def _trailer_bytes(status: status_pb2.Status) -> int:
    size: int = status.ByteSize()
    return size * 4 // 3 + len(quote(status.message, safe=" ")) + 64


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    # grpc_status wants a synchronous call object; an AioRpcError answers the same three questions.
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # details that contradict the code: trust the code alone
        return None
    return status


def _without_details(error: grpc.aio.AioRpcError, cls: type[ServiceError] | None) -> ServiceError:
    if cls is Unavailable:
        return Unavailable("A service this one depends on cannot be reached; try again shortly.", retry_after=1.0)
    if cls is None or cls is Internal:
        return Internal()
    return cls(error.details() or "")


D = TypeVar("D", error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)


def _detail(status: status_pb2.Status, cls: type[D]) -> D | None:
    for packed in status.details:
        detail = cls()
        if packed.Unpack(detail):
            return detail
    return None
