"""The oracle sees every way in which a run can be wrong, and nothing where it is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.message_pb2 import Message

from tests.chaos.oracle import Evidence, Known, Try, judge

ACCEPTED, DEFERRED, UNKNOWN = Attempt.OUTCOME_ACCEPTED, Attempt.OUTCOME_DEFERRED, Attempt.OUTCOME_UNKNOWN
SENT, FAILED = Message.STATE_SENT, Message.STATE_FAILED


def told(tries: int, *, completed: bool = True) -> tuple[tuple[int, str], ...]:
    """The history of a message with so many finished attempts."""
    words = ["queued", *["attempt_started", "attempt_finished"] * tries, *["completed"] * completed]
    return tuple(enumerate(words, start=1))


def a_known(*outcomes: int, **values: Any) -> Known:
    """A message that was sent with these outcomes."""
    tries = tuple(Try(number=number, outcome=outcome) for number, outcome in enumerate(outcomes, start=1))
    given = {"key": "k", "state": SENT, "queued": False, "tries": tries, "told": told(len(tries))}
    return Known(**{**given, **values})


def evidence(known: Known, *accepted: int, at_most_once: bool = False, **values: Any) -> Evidence:
    """Evidence about one acknowledged message, accepted in these attempts."""
    given: Mapping[str, Any] = {
        "sent": {"k": at_most_once},
        "acknowledged": {"k": "m"},
        "known": {"m": known},
        "accepted": {"m": accepted} if accepted else {},
    }
    return Evidence(**{**given, **values})


@pytest.mark.parametrize(
    "clean",
    [
        evidence(a_known(ACCEPTED), 1),
        evidence(a_known(DEFERRED, ACCEPTED), 2),
        evidence(a_known(UNKNOWN, ACCEPTED), 1, 2),
        evidence(a_known(UNKNOWN, ACCEPTED), 2),
        evidence(a_known(UNKNOWN, state=Message.STATE_UNKNOWN), 1, at_most_once=True),
        evidence(a_known(UNKNOWN, DEFERRED, state=FAILED), 1),
        evidence(
            a_known(
                tries=(Try(number=1, outcome=ACCEPTED, refused=True), Try(number=2, outcome=ACCEPTED)), told=told(2)
            ),
            1,
            2,
        ),
        evidence(a_known(ACCEPTED), 1, acknowledged={}),
    ],
)
def test_what_may_happen_is_clean(clean: Evidence) -> None:
    """Failover, explained duplicates and messages whose acknowledgement was lost are no fault."""
    assert judge(clean).wrong == {}


OPEN = (Try(number=1, outcome=None),)
WRONG = {
    "lost": replace(evidence(a_known(ACCEPTED)), known={}),
    "unexpected": evidence(a_known(ACCEPTED), 1, sent={}),
    "stuck": evidence(a_known(state=None, queued=True, told=told(0, completed=False))),
    "untrue, recorded as accepted": evidence(a_known(ACCEPTED)),
    "untrue, recorded as not accepted": evidence(a_known(DEFERRED, ACCEPTED), 1, 2),
    "untrue, never recorded": evidence(a_known(ACCEPTED), 1, 2),
    "untrue, FAILED although accepted": evidence(a_known(ACCEPTED, state=FAILED), 1),
    "duplicated": evidence(a_known(ACCEPTED, ACCEPTED), 1, 2),
    "duplicated in one attempt": evidence(a_known(UNKNOWN), 1, 1),
    "duplicated under AT_MOST_ONCE": evidence(a_known(UNKNOWN, ACCEPTED), 1, 2, at_most_once=True),
    "disordered, a gap": evidence(a_known(ACCEPTED, told=(*told(1)[:2], (4, "attempt_finished"), (5, "completed"))), 1),
    "disordered, two ends": evidence(a_known(ACCEPTED, told=(*told(1), (5, "completed"))), 1),
    "disordered, an attempt untold": evidence(a_known(ACCEPTED, told=told(0)), 1),
    "disordered, ended with an open attempt": evidence(a_known(tries=OPEN, told=told(1)), 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_must_not_happen_is_seen(name: str) -> None:
    """Each wrong is counted under its word."""
    assert name.split(maxsplit=1)[0].strip(",") in judge(WRONG[name]).wrong


def test_a_provider_that_has_what_we_do_not_is_seen() -> None:
    """A message that only a provider knows is unexpected: it was called before anything was durable."""
    assert judge(replace(evidence(a_known(ACCEPTED), 1), accepted={"m": (1,), "other": (1,)})).wrong == {
        "unexpected": 1
    }
