"""The HTTP error body and its headers."""

from http import HTTPStatus

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from gateway import errors
from gateway.errors import Problem, body, headers, of_rpc_error, of_service_error, of_status, relative
from services.chassis.errors import FieldViolation, InvalidArgument, ServiceError, Unauthenticated, Unavailable
from services.chassis.status import to_status


def an_rpc_error(error: ServiceError) -> AioRpcError:
    """What a client of a service that raised `error` sees."""
    status = to_status(error)
    code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(code, Metadata(), trailers, details=status.message)


VIOLATIONS = (FieldViolation("provider.config.apiKey", "is required"), FieldViolation("name", "is too long"))


def test_an_error_keeps_everything_on_its_way_through_a_service():
    """Raised here or there, the caller reads the same."""
    error = InvalidArgument("No.", reason="BAD", metadata={"a": "b"}, violations=VIOLATIONS, retry_after=1.5)

    assert of_rpc_error(an_rpc_error(error)) == of_service_error(error) == of_status(to_status(error))


def test_the_body_has_the_documented_names_and_ours():
    """`details` is always there and holds what there is."""
    error = InvalidArgument("No.", metadata={"a": "b"}, violations=VIOLATIONS[1:])

    assert body(of_service_error(error)) == {
        "statusCode": 400,
        "error": "Bad Request",
        "message": "No.",
        "code": "INVALID_ARGUMENT",
        "reason": "INVALID_ARGUMENT",
        "details": {"violations": [{"field": "name", "description": "is too long"}], "metadata": {"a": "b"}},
    }


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_failure_without_our_details_never_tells_its_words_when_it_is_a_fault(code: grpc.StatusCode):
    """What gRPC or a stranger says about a fault is not for callers; every code has an answer."""
    problem = of_rpc_error(AioRpcError(code, Metadata(), Metadata(), details="10.0.0.7:5432 refused"))

    assert 400 <= problem.status < 600
    assert body(problem)["error"]
    assert problem.status < 500 or problem.status in (501, 504) or "10.0.0.7" not in problem.message


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_details_that_contradict_the_code_are_not_believed(code: grpc.StatusCode):
    """A status whose trailer says something else than its details is read by its code alone."""
    status = to_status(Unavailable("x"))
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    if code not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK):
        assert of_rpc_error(AioRpcError(code, Metadata(), trailers, details="y")).message != "x"


def test_paths_are_relative_to_the_body_that_was_sent():
    """In violations and in the message; what the URL filled keeps its name."""
    problem = of_service_error(InvalidArgument(violations=[*VIOLATIONS, FieldViolation("provider.id", "is odd")]))
    moved = relative(problem, "provider", ["provider.id"])

    assert [each.field for each in moved.violations] == ["config.apiKey", "name", "provider.id"]
    assert moved.message == "config.apiKey: is required; name: is too long; provider.id: is odd"
    assert relative(problem, "", []) == problem


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (30.0, "30")])
def test_retry_after_is_whole_seconds_and_never_zero(seconds: float, header: str):
    """So that nobody comes back at once."""
    assert headers(of_service_error(Unavailable("x", retry_after=seconds)))["retry-after"] == header


def test_a_401_says_how_to_authenticate():
    """With an error word only when there was a token (RFC 6750 §3.1)."""
    missing = headers(of_service_error(Unauthenticated("x", reason="TOKEN_MISSING")))
    expired = headers(of_service_error(Unauthenticated("x", reason="TOKEN_EXPIRED")))

    assert missing == {"www-authenticate": 'Bearer realm="messagepipe"'}
    assert expired == {"www-authenticate": 'Bearer realm="messagepipe", error="invalid_token"'}


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (errors.no_route("/x", None), 404),
        (errors.wrong_method("PATCH", ["GET"]), 405),
        (errors.too_large(10), 413),
        (errors.wrong_content_type("text/plain"), 415),
        (errors.body_too_slow(60), 408),
    ],
)
def test_refusals_of_http_have_the_same_body(refusal: errors.Refusal, status: int):
    """Their phrase is HTTP's."""
    assert body(refusal.problem)["statusCode"] == status
    assert body(refusal.problem)["error"] == HTTPStatus(status).phrase


def test_every_status_has_a_phrase():
    """499 is not HTTP's own and has one all the same."""
    assert errors.phrase(499) == "Client Closed Request"
    assert body(Problem(status=500, code="INTERNAL", reason="X", message=""))["error"] == "Internal Server Error"
