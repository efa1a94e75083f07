"""The errors a service can answer with, as plain values. Not gRPC and not HTTP: status.py alone knows those.

    ServiceError
    ├── InvalidArgument      the request is wrong, whatever state we are in     violations say where
    ├── Unauthenticated      we do not know who is asking
    ├── PermissionDenied     we know, and they may not
    ├── NotFound             there is no such thing (or it is another project's: the same answer)
    ├── AlreadyExists        there is one already
    ├── FailedPrecondition   the thing is in the wrong state for this
    ├── ResourceExhausted    too much at once                                   retry_after says when
    ├── Aborted              what was going on was ended; begin anew            retry_after says when
    ├── Unavailable          we cannot right now                                retry_after says when
    ├── Unimplemented        not built yet
    ├── DeadlineExceeded     the caller's time ran out
    └── Internal             our fault; the message says nothing about why

A service names its own cases as subclasses that set `reason`, one class per reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

INTERNAL_MESSAGE = "Internal error; the operators have been told."

# Every reason the chassis itself raises; a service's ErrorReason enum has to hold these too.
CHASSIS_REASONS = frozenset(
    {
        "INVALID_ARGUMENT",
        "TOKEN_MISSING",
        "TOKEN_INVALID",
        "TOKEN_EXPIRED",
        "KEY_INVALID",
        "SCOPE_MISSING",
        "OVERLOADED",
        "STREAM_STALLED",
        "DEADLINE_TOO_SHORT",
        "UNAVAILABLE",
        "NOT_IMPLEMENTED",
        "INTERNAL",
    }
)


class Kind(StrEnum):
    """What sort of failure it is, in the words of google.rpc.Code."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    UNAVAILABLE = "UNAVAILABLE"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong: the field's path as REST users write it (`provider.config`, `recipients[2]`), and what to do."""

    field: str
    description: str


class ServiceError(Exception):
    """An answer to the caller: public as it stands, so never a secret, a stack trace or another project's existence.

    `reason` is a terse upper-case constant; `metadata` are machine-readable facts; `retry_after` is in seconds.
    """

    code: ClassVar[Kind] = Kind.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        if reason is not None:
            self.reason = reason
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations: tuple[FieldViolation, ...] = tuple(violations)
        self.retry_after = retry_after
        self.message = message or _message_of(self.violations) or self.reason
        super().__init__(self.message)

    def copy(self) -> Self:
        """The same answer as a new exception, so that two callers who raise it do not share a traceback."""
        twin = type(self).__new__(type(self))
        twin.args = self.args
        twin.__dict__.update(self.__dict__)
        return twin


def _message_of(violations: tuple[FieldViolation, ...]) -> str:
    return "; ".join(f"{each.field}: {each.description}" if each.field else each.description for each in violations)


class InvalidArgument(ServiceError):
    """The request is wrong and will stay wrong; `violations` lists everything wrong with it at once."""

    code = Kind.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class Unauthenticated(ServiceError):
    """There is no valid token."""

    code = Kind.UNAUTHENTICATED
    reason = "TOKEN_INVALID"


class PermissionDenied(ServiceError):
    """The token is valid and does not allow this."""

    code = Kind.PERMISSION_DENIED
    reason = "SCOPE_MISSING"


class NotFound(ServiceError):
    """There is no such thing in any project the caller may use."""

    code = Kind.NOT_FOUND
    reason = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """There is one already, and it differs from what was asked."""

    code = Kind.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The thing exists and is in the wrong state for this."""

    code = Kind.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class ResourceExhausted(ServiceError):
    """A limit was reached; nothing was done."""

    code = Kind.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class Aborted(ServiceError):
    """What was going on has been ended from our side; it can be taken up again."""

    code = Kind.ABORTED
    reason = "STREAM_STALLED"


class Unavailable(ServiceError):
    """Not possible right now; the same request may work later."""

    code = Kind.UNAVAILABLE
    reason = "UNAVAILABLE"


class Unimplemented(ServiceError):
    """In the contract, not yet in the program."""

    code = Kind.UNIMPLEMENTED
    reason = "NOT_IMPLEMENTED"


class DeadlineExceeded(ServiceError):
    """The caller's deadline passed before an answer was there."""

    code = Kind.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Internal(ServiceError):
    """A fault of ours; the cause is in the log and nowhere else."""

    code = Kind.INTERNAL
    reason = "INTERNAL"

    def __init__(self, message: str = INTERNAL_MESSAGE, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, metadata=metadata)
