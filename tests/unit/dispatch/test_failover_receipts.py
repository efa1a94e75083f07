"""What receipts, and silence, mean for the next step (failover.md R6)."""

from dataclasses import replace

import pytest

from services.adapters.receipts import ReceiptStatus
from services.dispatch.attempt import Attempt
from services.dispatch.failover import Decision, Finish, Situation, Start, decide, possible_duplicate
from services.dispatch.message import EndReason, Message, State
from tests.builders import NOON, a_chain, a_history, a_message, at_most_once, seconds

FAILED, DELIVERED = ReceiptStatus.FAILED, ReceiptStatus.DELIVERED


def heard(attempt: Attempt, receipt: ReceiptStatus | None, *, fault: bool = False, ago: float = 0) -> Attempt:
    """The attempt with what the provider told later; it ended `ago` seconds before noon."""
    return replace(attempt, receipt=receipt, route_at_fault=fault, finished_at=NOON - seconds(ago))


def next_step(message: Message, *history: Attempt, at: float = 0) -> Decision:
    """What is decided `at` seconds after noon, with the chain A > B > C."""
    return decide(
        Situation(
            message=message,
            history=history,
            chain=a_chain(),
            marks={},
            now=NOON + seconds(at),
            fraction=0.5,
            waited=True,
        )
    )


def a_first(outcome: str = "accepted", **values: object) -> Attempt:
    """The first attempt, through A."""
    (first,) = a_history(("A", outcome))
    return heard(first, values.pop("receipt", None), **values)  # type: ignore[arg-type]


def test_acceptance_is_listened_to_for_the_rest_of_the_time() -> None:
    """receiptTimeout: SENT at once, and looked at again when the provider was silent for so long."""
    message = a_message(receipt_timeout=60.0)

    assert next_step(message, a_first()) == Finish(state=State.SENT, attempt=a_first(), listen=60.0)
    again = next_step(message, a_first(ago=20))
    assert isinstance(again, Finish)
    assert again.listen == 40.0


def test_nobody_listens_beyond_the_deadline() -> None:
    """No call starts after the deadline, so silence until then can not lead to one."""
    end = next_step(a_message(receipt_timeout=7200.0), a_first())

    assert isinstance(end, Finish)
    assert end.listen is None


@pytest.mark.parametrize("receipt", [None, ReceiptStatus.SENT, ReceiptStatus.OPENED, ReceiptStatus.DEFERRED])
def test_silence_is_no_verdict(receipt: ReceiptStatus | None) -> None:
    """After receiptTimeout without "delivered" or "refused" the next provider is asked."""
    step = next_step(a_message(receipt_timeout=60.0), a_first(receipt=receipt, ago=61))

    assert isinstance(step, Start)
    assert step.provider.name == "B"


@pytest.mark.parametrize(
    ("wanted", "fault", "goes_on"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_refusal_goes_on_when_it_was_asked_for_and_the_routes_fault(wanted: bool, fault: bool, goes_on: bool) -> None:
    """failoverOnReceipt: B is asked; otherwise the message is UNDELIVERED with the word as reason."""
    step = next_step(a_message(failover_on_receipt=wanted), a_first(receipt=FAILED, fault=fault))

    if goes_on:
        assert isinstance(step, Start)
        assert step.provider.name == "B"
    else:
        assert isinstance(step, Finish)
        assert (step.state, step.reason) == (State.UNDELIVERED, "FAILED")


def test_an_unknown_attempt_that_was_refused_binds_nobody() -> None:
    """AT_MOST_ONCE: once a receipt says that A did not deliver it, B may be asked."""
    message = at_most_once(failover_on_receipt=True)

    assert isinstance(next_step(message, a_first("unknown")), Finish)
    assert isinstance(next_step(message, a_first("unknown", receipt=FAILED, fault=True)), Start)


def test_delivered_ends_it_whatever_else_was_tried() -> None:
    """A's late word ends a dispatch that has gone on to B."""
    a, b = a_history(("A", "unknown"), ("B", "deferred"))
    end = next_step(a_message(max_tries=3), heard(a, DELIVERED), heard(b, None))

    assert isinstance(end, Finish)
    assert (end.state, end.attempt and end.attempt.provider_name) == (State.DELIVERED, "A")


def test_a_provider_that_took_it_is_never_asked_again() -> None:
    """Neither after its refusal nor in a later round."""
    message = a_message(failover_on_receipt=True, max_rounds=3, max_tries=3)
    refused = [heard(attempt, FAILED, fault=True) for attempt in a_history(*((name, "accepted") for name in "ABC"))]
    end = next_step(message, *refused)

    assert isinstance(end, Finish)
    assert (end.state, end.reason) == (State.UNDELIVERED, EndReason.ALL_PROVIDERS_FAILED)


@pytest.mark.parametrize(("receipt", "state"), [(None, State.SENT), (FAILED, State.UNDELIVERED)])
@pytest.mark.parametrize("second", ["deferred", "invalid", "unfit"])
def test_what_was_taken_is_not_failed(receipt: ReceiptStatus | None, state: State, second: str) -> None:
    """When nobody else takes it, the message is as A's receipt left it: SENT when silent, UNDELIVERED when refused."""
    message = a_message(failover_on_receipt=True, receipt_timeout=1.0)
    a, b, c = a_history(("A", "accepted"), ("B", second), ("C", second))
    end = next_step(message, heard(a, receipt, fault=True, ago=60), heard(b, None, ago=30), heard(c, None, ago=10))

    assert isinstance(end, Finish)
    assert (end.state, end.attempt and end.attempt.provider_name) == (state, "A")


def test_the_deadline_of_what_was_taken() -> None:
    """A message that somebody took does not expire."""
    end = next_step(a_message(receipt_timeout=60.0), a_first(ago=10), at=4000)

    assert isinstance(end, Finish)
    assert end.state is State.SENT


def test_when_it_may_arrive_twice() -> None:
    """After silence or an unknown outcome it may; after a refusal it may not."""
    a, b = a_history(("A", "accepted"), ("B", "accepted"))

    assert possible_duplicate((a, b))
    assert not possible_duplicate((heard(a, FAILED, fault=True), b))
    assert not possible_duplicate((a,))
