"""ServiceError to google.rpc.Status and back, and every code's HTTP status."""

from typing import Any

import grpc
import pytest
from google.rpc import (  # type: ignore[import-untyped] # no py.typed in googleapis-common-protos
    code_pb2,
    error_details_pb2,
    status_pb2,
)
from grpc.aio import AioRpcError, Metadata
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import (
    FieldViolation,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.chassis.status import DOMAIN, GRPC_CODE, HTTP_STATUS, MAX_TRAILER_BYTES, from_rpc_error, to_status


def details(status: Any, cls: type[Any]) -> list[Any]:
    """All details of one type."""
    return [detail for packed in status.details if packed.Unpack(detail := cls())]


def rpc_error(error: ServiceError) -> AioRpcError:
    """What a client would catch."""
    status = to_status(error)
    return AioRpcError(
        GRPC_CODE[error.code],
        Metadata(),
        Metadata(("grpc-status-details-bin", status.SerializeToString())),
        details=status.message,
    )


def test_the_http_table_is_whole():
    """Every gRPC code has an HTTP status."""
    assert set(HTTP_STATUS) == set(grpc.StatusCode)
    assert len(HTTP_STATUS) == 17


def test_the_kind_table_is_whole():
    """Every kind has the gRPC code of its name, with google.rpc's number."""
    assert set(GRPC_CODE) == set(Kind)
    assert all(code.value[0] == code_pb2.Code.Value(kind.name) for kind, code in GRPC_CODE.items())


def test_a_status_has_exactly_one_error_info():
    """Reason, domain and metadata travel in one ErrorInfo; nothing else is added unasked."""
    status = to_status(NotFound("No such provider.", reason="PROVIDER_NOT_FOUND", metadata={"providerId": "p1"}))
    (info,) = details(status, error_details_pb2.ErrorInfo)
    assert (status.code, status.message, len(status.details)) == (code_pb2.NOT_FOUND, "No such provider.", 1)
    assert (info.reason, info.domain, dict(info.metadata)) == ("PROVIDER_NOT_FOUND", DOMAIN, {"providerId": "p1"})


def test_all_violations_travel():
    """BadRequest lists every violation in order."""
    violations = [FieldViolation(f"recipients[{n}]", "is not an address") for n in range(40)]
    (bad,) = details(to_status(InvalidArgument(violations=violations)), error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [(v.field, v.description) for v in violations]


def test_a_delay_travels():
    """RetryInfo carries the delay, rounded up to a millisecond, and only when there is one."""
    (retry,) = details(to_status(ResourceExhausted("x", retry_after=1.0001)), error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1001
    assert not details(to_status(ResourceExhausted("x")), error_details_pb2.RetryInfo)


@given(count=st.integers(1, 2000), text=st.text(min_size=1, max_size=600))
def test_a_status_always_fits_the_trailers(count, text):
    """However much is wrong, the status stays below what clients accept, and says how much was left out."""
    status = to_status(
        InvalidArgument(text * 3, violations=[FieldViolation(f"items[{n}]", text) for n in range(count)])
    )
    (bad,) = details(status, error_details_pb2.BadRequest)
    assert status.ByteSize() * 4 / 3 <= MAX_TRAILER_BYTES + 1024
    kept = len(bad.field_violations)
    if kept < count:
        assert bad.field_violations[-1].description == f"and {count - kept + 1} more violations"


@pytest.mark.parametrize("kind", list(Kind))
def test_an_error_comes_back_as_it_went(kind):
    """For every kind: what another service raised is what we raise."""
    (cls,) = (each for each in ServiceError.__subclasses__() if each.code is kind and "chassis" in each.__module__)
    if cls is Internal:
        error: ServiceError = Internal()
    else:
        error = cls(
            "words",
            reason="SOME_REASON",
            metadata={"a": "b"},
            violations=[FieldViolation("f", "d")],
            retry_after=1.5,
        )
    back = from_rpc_error(rpc_error(error))
    assert type(back) is cls
    assert (back.message, back.reason, back.metadata) == (error.message, error.reason, error.metadata)
    assert (back.violations, back.retry_after) == (error.violations, error.retry_after)


def test_an_unreachable_service_is_unavailable():
    """A connection failure becomes UNAVAILABLE with a delay; the transport's words, with its addresses, stay inside."""
    error = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), details="connect to 10.0.0.7:50051 failed")
    back = from_rpc_error(error)
    assert type(back) is Unavailable
    assert back.retry_after == 1.0
    assert "10.0.0.7" not in back.message


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.INTERNAL])
def test_foreign_crashes_are_internal(code):
    """A code that only a crash or a library produces becomes INTERNAL with the fixed sentence."""
    back = from_rpc_error(AioRpcError(code, Metadata(), Metadata(), details="Traceback: secret"))
    assert type(back) is Internal
    assert "secret" not in back.message


def test_contradicting_details_are_not_believed():
    """Details whose code is not the RPC's code are left aside."""
    lying = status_pb2.Status(code=code_pb2.NOT_FOUND, message="x").SerializeToString()
    error = AioRpcError(
        grpc.StatusCode.INVALID_ARGUMENT, Metadata(), Metadata(("grpc-status-details-bin", lying)), details="bad"
    )
    back = from_rpc_error(error)
    assert (type(back), back.message, back.reason) == (InvalidArgument, "bad", "INVALID_ARGUMENT")
