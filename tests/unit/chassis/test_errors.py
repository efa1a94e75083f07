"""Errors are values with a reason, and the tree drawn at the top of errors.py is the tree."""

import re

from messagepipe.config.v1 import error_reason_pb2 as config_reasons
from messagepipe.dispatch.v1 import error_reason_pb2 as dispatch_reasons

from services.chassis import errors
from services.chassis.errors import (
    CHASSIS_REASONS,
    FieldViolation,
    Internal,
    InvalidArgument,
    Kind,
    NotFound,
    ServiceError,
)


class ProviderNotFound(NotFound):
    """A service's own case."""

    reason = "PROVIDER_NOT_FOUND"


def test_one_class_per_kind():
    """Every kind has exactly one class, and the picture names exactly these classes."""
    classes = ServiceError.__subclasses__()
    chassis = [cls for cls in classes if cls.__module__ == errors.__name__]
    assert sorted(cls.code for cls in chassis) == sorted(Kind)
    assert re.findall(r"[├└]── (\w+)", errors.__doc__ or "") == [cls.__name__ for cls in chassis]


def test_a_case_names_its_reason():
    """A subclass sets the reason; an argument overrides it for one error only."""
    assert ProviderNotFound("no such provider").reason == "PROVIDER_NOT_FOUND"
    assert NotFound("no such page", reason="PAGE_NOT_FOUND").reason == "PAGE_NOT_FOUND"
    assert NotFound("x").reason == "NOT_FOUND"
    assert ProviderNotFound("no such provider").code is Kind.NOT_FOUND


def test_violations_make_the_message():
    """Without a message, the violations say what is wrong, all of them."""
    error = InvalidArgument(violations=[FieldViolation("a.b", "is required"), FieldViolation("c", "is too long")])
    assert str(error) == error.message == "a.b: is required; c: is too long"


def test_internal_says_nothing():
    """An internal error has the fixed public sentence."""
    assert Internal().message == "Internal error; the operators have been told."


def test_a_copy_is_the_same_answer():
    """A copy has the same class, words and facts, and a traceback of its own."""
    original = ProviderNotFound("gone", metadata={"id": "1"}, retry_after=2.0)
    try:
        raise original
    except ProviderNotFound:
        twin = original.copy()
    assert type(twin) is ProviderNotFound
    assert (twin.message, str(twin), twin.metadata, twin.retry_after) == ("gone", "gone", {"id": "1"}, 2.0)
    assert twin.__traceback__ is None


def test_the_contract_lists_the_chassis_reasons():
    """Both services' ErrorReason enums document every reason the chassis can raise."""
    for enum in (config_reasons.ErrorReason, dispatch_reasons.ErrorReason):
        words = {name.removeprefix("ERROR_REASON_") for name in enum.keys()}  # noqa: SIM118 - not a dict
        assert words >= CHASSIS_REASONS
