"""Every reason of the contract has exactly one class, and the reverse."""

import inspect
import re
from uuid import UUID

from messagepipe.dispatch.v1.error_reason_pb2 import ErrorReason

from services.chassis.errors import CHASSIS_REASONS, Kind, ServiceError
from services.dispatch import errors
from tests.builders import MESSAGE_ID

WORDS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
# Two classes name a chassis reason on purpose: they add what is away, and which method is not served.
SHARED = {"ServiceUnavailable": "UNAVAILABLE", "NotServed": "NOT_IMPLEMENTED"}


def own_classes() -> dict[str, type[ServiceError]]:
    """The classes that errors.py itself defines, by name."""
    classes = inspect.getmembers(errors, inspect.isclass)
    return {name: cls for name, cls in classes if issubclass(cls, ServiceError) and cls.__module__ == errors.__name__}


def own_reasons() -> dict[str, str]:
    """The reason that each class of ours names itself; one without is a case of its base."""
    return {name: cls.reason for name, cls in own_classes().items() if "reason" in vars(cls)}


def test_every_reason_is_raised_by_exactly_one_class() -> None:
    """Each word of error_reason.proto is the chassis' or one class's of ours; no class has a word of its own."""
    own = own_reasons()

    assert len(set(own.values())) == len(own)
    assert {name: reason for name, reason in own.items() if reason in CHASSIS_REASONS} == SHARED
    assert sorted(CHASSIS_REASONS | set(own.values())) == sorted(WORDS)


def test_the_tree_is_drawn() -> None:
    """The picture at the top of errors.py shows every class of ours once, in the line or below the line of its kind."""
    kind, drawn = "", {}
    for line in (errors.__doc__ or "").splitlines():
        names = re.findall(r"── (\w+)", line)
        if line.lstrip().startswith(("├── ", "└── ")):
            kind, *names = names
        drawn.update(dict.fromkeys(names, kind))

    assert drawn == {name: _camel(cls.code) for name, cls in own_classes().items()}


def _camel(code: Kind) -> str:
    return "".join(word.title() for word in code.split("_"))


def test_errors_name_the_message_and_nothing_else_of_it() -> None:
    """Each error carries the message's id where there is one, and the facts that the contract shows."""
    assert errors.MessageNotFound("x").metadata == {"id": "x"}
    assert errors.WrongState(MESSAGE_ID, "SENT", "ended").metadata == {"id": str(MESSAGE_ID), "state": "SENT"}
    assert errors.NotServed("RetryMessage").metadata == {"method": "RetryMessage"}
    assert errors.AllProvidersFailed(MESSAGE_ID, 2, "busy").metadata == {"messageId": str(MESSAGE_ID), "attempts": "2"}
    assert errors.MessageRejected(MESSAGE_ID, "RECIPIENT_INVALID", "no").metadata == {
        "messageId": str(MESSAGE_ID),
        "attemptReason": "RECIPIENT_INVALID",
    }
    assert errors.NoProvider(MESSAGE_ID, "none").metadata == {"messageId": str(MESSAGE_ID)}
    assert errors.MessageEnded(MESSAGE_ID, "EXPIRED").metadata == {"messageId": str(MESSAGE_ID), "state": "EXPIRED"}
    assert errors.StillSending(MESSAGE_ID).metadata == {"messageId": str(MESSAGE_ID)}


def test_the_documented_sentences() -> None:
    """X04: the REST answer is 500 with "All providers failed: …"; an unreachable part says when to try again."""
    failed = errors.AllProvidersFailed(UUID(int=1), 3, "SMTP connect error")

    assert (failed.message, failed.code) == ("All providers failed: SMTP connect error", Kind.INTERNAL)
    assert errors.ServiceUnavailable("The database").retry_after == 1.0
    assert errors.DatabaseUnavailable().message == errors.ServiceUnavailable("The database").message
    assert errors.ProjectNotFound().metadata == {}
