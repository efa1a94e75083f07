"""Every reason of the contract has exactly one class, and the reverse."""

import inspect

from messagepipe.config.v1.error_reason_pb2 import ErrorReason

from services.chassis.errors import CHASSIS_REASONS, ServiceError
from services.config import errors

WORDS = {value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values} - {"UNSPECIFIED"}


def _own_reasons() -> list[str]:
    classes = inspect.getmembers(errors, inspect.isclass)
    own = [cls for _, cls in classes if issubclass(cls, ServiceError) and cls.__module__ == errors.__name__]
    return [cls.reason for cls in own if "reason" in vars(cls)]


def test_every_reason_is_raised_by_exactly_one_class() -> None:
    """Each word of error_reason.proto is either the chassis' or one class's of ours, never both."""
    assert sorted([*_own_reasons(), *CHASSIS_REASONS]) == sorted(WORDS)


def test_the_tree_is_drawn() -> None:
    """The picture at the top of errors.py shows every reason of ours."""
    assert errors.__doc__ is not None
    assert [reason for reason in _own_reasons() if reason not in errors.__doc__] == []
