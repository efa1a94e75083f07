"""The oracle sees every way in which a run can be wrong, and nothing where it is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from messagepipe.dispatch.v1.attempt_pb2 import Attempt, ReceiptStatus
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.message_pb2 import Message

from tests.chaos.oracle import LOOKS, Evidence, Known, Try, judge, tried, undisturbed, words_of

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


TELLING = replace(evidence(a_known(ACCEPTED), 1), others={"p": ((1, "provider_degraded"), (2, "failover_engaged"))})


def test_what_providers_have_to_tell_belongs_to_no_message() -> None:
    """Events under the id of a provider are expected, in order and without gaps; anything else there is not."""
    assert judge(TELLING).wrong == {}
    assert judge(replace(TELLING, others={"p": ((2, "provider_degraded"),)})).wrong == {"disordered": 1}
    assert judge(replace(TELLING, others={"gone": ((1, "queued"),)})).wrong == {"unexpected": 1}


def test_a_message_that_is_there_twice_is_seen() -> None:
    """One hand-over, one message, whatever key came with it."""
    twice = evidence(a_known(ACCEPTED), 1)
    twice = replace(twice, known={**twice.known, "n": twice.known["m"]}, accepted={"m": (1,), "n": (1,)})

    assert judge(twice).wrong == {"duplicated": 1}


QUEUED = DeliveryEvent(queued=DeliveryEvent.Queued())
STARTED = DeliveryEvent(attempt_started=DeliveryEvent.AttemptStarted())
COMPLETED = DeliveryEvent(completed=DeliveryEvent.Completed())


def ended(number: int, outcome: "Attempt.Outcome.ValueType", reason: str = "") -> DeliveryEvent:
    """The end of an attempt."""
    attempt = Attempt(number=number, outcome=outcome, reason=reason)
    return DeliveryEvent(attempt_finished=DeliveryEvent.AttemptFinished(attempt=attempt))


def heard(number: int, status: str) -> DeliveryEvent:
    """A receipt for an attempt."""
    return DeliveryEvent(receipt=DeliveryEvent.Receipt(attempt=number, status=ReceiptStatus.Value(status)))


BOUNCED, DELIVERED = "RECEIPT_STATUS_BOUNCED_SOFT", "RECEIPT_STATUS_DELIVERED"


def test_a_bounce_followed_by_delivered_excuses_what_came_between() -> None:
    """Two receipts about one attempt: the first one led on to another provider, whatever the second one says."""
    history = [ended(1, ACCEPTED), heard(1, BOUNCED), ended(2, ACCEPTED), heard(1, DELIVERED)]
    tries = tuple(tried(number, ACCEPTED, history) for number in (1, 2))

    assert judge(evidence(a_known(tries=tries, told=told(2)), 1, 2)).wrong == {}
    assert judge(evidence(a_known(tries=tries, told=told(2)), 1, 2, at_most_once=True)).wrong == {}


def test_a_bounce_after_delivered_excuses_nothing() -> None:
    """What had arrived is not sent again, whatever is said of it later."""
    history = [ended(1, ACCEPTED), heard(1, DELIVERED), heard(1, BOUNCED), ended(2, ACCEPTED)]
    tries = tuple(tried(number, ACCEPTED, history) for number in (1, 2))

    assert judge(evidence(a_known(tries=tries, told=told(2)), 1, 2)).wrong == {"duplicated": 1}


def test_late_truth_explains_what_was_done_without_it() -> None:
    """An attempt that was lost excuses the one after it, though it became known later that a provider took it; its end
    is told twice then.
    """
    events = [
        QUEUED,
        STARTED,
        ended(1, UNKNOWN, "LEASE_LOST"),
        STARTED,
        ended(2, ACCEPTED),
        ended(1, ACCEPTED),
        COMPLETED,
    ]
    tries = tuple(tried(number, ACCEPTED, events) for number in (1, 2))
    history = words_of(list(enumerate(events, start=1)))

    assert judge(evidence(a_known(tries=tries, told=history), 1, 2)).wrong == {}
    assert judge(evidence(a_known(tries=tries, told=history), 1, 2, at_most_once=True)).wrong == {"duplicated": 1}


def test_an_attempt_of_which_nothing_was_sent_is_told_apart() -> None:
    """Its dispatcher saw before the first byte that its lease was over; any other deferred one was sent."""
    history = [ended(1, DEFERRED, "LEASE_LOST"), ended(2, DEFERRED, "UNAVAILABLE"), ended(3, UNKNOWN, "LEASE_LOST")]

    assert [tried(number, None, history).sent for number in (1, 2, 3)] == [False, True, True]


def test_an_end_that_is_told_twice_without_need_is_seen() -> None:
    """Only an attempt that was thought lost is told of again."""
    events = [
        QUEUED,
        STARTED,
        ended(1, ACCEPTED),
        ended(1, ACCEPTED),
        COMPLETED,
    ]
    history = words_of(list(enumerate(events, start=1)))

    assert judge(evidence(a_known(ACCEPTED, told=history), 1)).wrong == {"disordered": 1}


@pytest.mark.parametrize("name", WRONG)
def test_what_must_not_happen_is_seen(name: str) -> None:
    """Each wrong is counted under its word."""
    assert name.split(maxsplit=1)[0].strip(",") in judge(WRONG[name]).wrong


def test_a_provider_that_has_what_we_do_not_is_seen() -> None:
    """A message that only a provider knows is unexpected: it was called before anything was durable."""
    assert judge(replace(evidence(a_known(ACCEPTED), 1), accepted={"m": (1,), "other": (1,)})).wrong == {
        "unexpected": 1
    }


@pytest.mark.parametrize(
    ("marks", "read"), [([1, 1], 1), ([1, 2, 2, 2], 2), ([None, 3, 4, 4, 4], 3), ([None] * LOOKS, LOOKS)]
)
async def test_what_moves_while_it_is_read_is_read_again(marks: list[int | None], read: int) -> None:
    """Evidence is of one moment: nothing happened between its first and its last side; what never rests is not waited
    for.
    """
    left, reads = iter(marks), 0

    async def mark() -> int | None:
        return next(left)

    async def looked() -> Evidence:
        nonlocal reads
        reads += 1
        return evidence(a_known(ACCEPTED), reads)

    found = await undisturbed(looked, mark, pause=0)

    assert (reads, found.accepted) == (read, {"m": (read,)})
