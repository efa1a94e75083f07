"""What receipts make of attempts and messages, in any order and number."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.receipts import Receipt, ReceiptStatus
from services.dispatch.attempt import REFUSALS, Attempt
from services.dispatch.message import State
from services.dispatch.verdict import Case, Effect, Next, effect, standing
from tests.builders import a_history

DELIVERED, SENT_ON, BOUNCED = ReceiptStatus.DELIVERED, ReceiptStatus.SENT, ReceiptStatus.BOUNCED_SOFT
# How far a state is; only receipts about these states are told here.
FORWARD = {State.SENT: 1, State.UNKNOWN: 1, State.UNDELIVERED: 2, State.DELIVERED: 3}


def told(status: ReceiptStatus, **values: object) -> Receipt:
    """A receipt with this word."""
    return Receipt(status=status, provider_message_id="p-1", **values)  # type: ignore[arg-type]


def a_case(*steps: tuple[str, str], number: int = 1, ended: State | None = State.SENT, **values: object) -> Case:
    """A message whose attempts ended so: `("A", "accepted")`, or with a receipt: `("A", "accepted DELIVERED")`."""
    history = a_history(*((name, words.split()[0]) for name, words in steps))
    known = tuple(
        replace(attempt, receipt=ReceiptStatus(words.split()[1])) if " " in words else attempt
        for attempt, (_, words) in zip(history, steps, strict=True)
    )
    return Case(history=known, number=number, ended=ended, **values)  # type: ignore[arg-type]


SENT_BY_A = ("A", "accepted")


def test_delivered_is_owed_to_its_attempt() -> None:
    """DELIVERED comes with the attempt that delivered it, and leaves nothing in the queue."""
    change = effect(a_case(SENT_BY_A), told(DELIVERED))

    assert (change.tell, change.state, change.next) == (True, State.DELIVERED, Next.END)
    assert change.owed_to is change.attempt
    assert change.attempt is not None
    assert change.attempt.delivered


@pytest.mark.parametrize("ended", list(FORWARD))
def test_a_repeat_changes_nothing(ended: State) -> None:
    """The same word about the same attempt and address is told once."""
    case = a_case(("A", "accepted DELIVERED"), ended=ended, told=frozenset({(DELIVERED, "")}))

    assert effect(case, told(DELIVERED)) == Effect(tell=False)


@pytest.mark.parametrize("status", [ReceiptStatus.ACCEPTED, ReceiptStatus.SENT, ReceiptStatus.DEFERRED])
@pytest.mark.parametrize("known", ["DELIVERED", "FAILED"])
def test_a_step_on_the_way_is_not_told_after_its_end(status: ReceiptStatus, known: str) -> None:
    """X23: what comes in the wrong order is harmless."""
    assert not effect(a_case(("A", f"accepted {known}")), told(status)).tell


def test_sent_after_deferred_is_a_step_back() -> None:
    """A step that is behind what is known is not told."""
    assert not effect(a_case(("A", "accepted DEFERRED")), told(SENT_ON)).tell


@pytest.mark.parametrize("ended", [State.FAILED, State.CANCELED, State.EXPIRED])
def test_an_end_without_a_taker_is_not_undelivered(ended: State) -> None:
    """A refusal makes only SENT and UNKNOWN UNDELIVERED."""
    change = effect(a_case(("A", "unknown"), ended=ended), told(BOUNCED))

    assert (change.tell, change.state) == (True, None)


def test_what_was_cancelled_and_arrived_is_delivered() -> None:
    """An attempt that was unknown may have delivered what was then cancelled or failed; the truth wins."""
    assert effect(a_case(("A", "unknown"), ended=State.CANCELED), told(DELIVERED)).state is State.DELIVERED


@pytest.mark.parametrize("outcome", ["deferred", "denied", "unfit", "invalid"])
def test_an_attempt_that_was_not_taken_delivers_nothing(outcome: str) -> None:
    """What a provider surely refused it can not have delivered: told, and no more."""
    change = effect(a_case(("A", outcome), ended=State.FAILED), told(DELIVERED))

    assert change == Effect(tell=True)


def test_the_second_delivered_counts() -> None:
    """After a failover the first delivered wins; the next one is a duplicate."""
    case = a_case(("A", "accepted"), ("B", "accepted DELIVERED"), ended=State.DELIVERED)
    change = effect(case, told(DELIVERED))

    assert (change.state, change.duplicates) == (None, 1)
    assert change.attempt is not None


def test_a_refusal_while_another_provider_has_it() -> None:
    """A's late refusal says nothing about the copy that B took."""
    change = effect(a_case(SENT_BY_A, ("B", "accepted")), told(BOUNCED, route_at_fault=True))

    assert (change.tell, change.state, change.next) == (True, None, Next.LEAVE)


@pytest.mark.parametrize(("wanted", "fault", "expected"), [(True, True, Next.WAKE), (True, False, Next.LEAVE)])
def test_only_the_routes_fault_goes_on(wanted: bool, fault: bool, expected: Next) -> None:
    """failoverOnReceipt looks at the message again after a refusal that is not the recipient's; its state stays."""
    case = a_case(SENT_BY_A, failover_on_receipt=wanted)
    change = effect(case, told(BOUNCED, route_at_fault=fault))

    assert change.next is expected
    assert (change.state is None) == (expected is Next.WAKE)


def test_without_failover_on_receipt_nothing_goes_on() -> None:
    """The caller has to ask for it."""
    change = effect(a_case(SENT_BY_A), told(BOUNCED, route_at_fault=True))

    assert (change.state, change.next) == (State.UNDELIVERED, Next.LEAVE)


def test_while_the_dispatch_goes_on_only_delivered_wakes_it() -> None:
    """The dispatch reads its attempts before each step; an end is worth waking it for."""
    running = a_case(("A", "unknown"), ended=None)

    assert effect(running, told(DELIVERED)).next is Next.WAKE
    assert effect(running, told(BOUNCED)).next is Next.LEAVE
    assert effect(running, told(DELIVERED)).state is None


def test_a_copy_is_told_of_only() -> None:
    """What is about somebody in cc changes nothing about the recipient's message, however it is spelt."""
    case = a_case(SENT_BY_A, copies=frozenset({"bob@example.com"}))

    assert effect(case, told(BOUNCED, recipient="Bob@Example.com")) == Effect(tell=True)
    assert effect(case, told(BOUNCED, recipient="ada@example.com")).state is State.UNDELIVERED


def test_standing_by_all_attempts() -> None:
    """Delivered beats accepted, accepted beats unknown, and only refusals everywhere are undelivered."""
    unknown, accepted = ("A", "unknown"), ("B", "accepted")

    def where(*steps: tuple[str, str]) -> tuple[State, str] | None:
        found = standing(a_case(*steps).history)
        return found and (found[0], found[1].provider_name)

    assert where(("A", "accepted DELIVERED"), accepted) == (State.DELIVERED, "A")
    assert where(unknown, accepted) == (State.SENT, "B")
    assert where(unknown, ("B", "accepted FAILED")) == (State.UNKNOWN, "A")
    assert where(("A", "unknown FAILED"), ("B", "accepted FAILED")) == (State.UNDELIVERED, "B")
    assert where(("A", "deferred"), ("B", "invalid")) is None


@given(
    outcomes=st.lists(st.sampled_from(["accepted", "unknown", "deferred"]), min_size=1, max_size=3),
    ended=st.sampled_from([State.SENT, State.UNKNOWN]),
    wanted=st.booleans(),
    words=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(ReceiptStatus), st.booleans()), max_size=12),
)
def test_only_forward(
    outcomes: list[str], ended: State, wanted: bool, words: list[tuple[int, ReceiptStatus, bool]]
) -> None:
    """R6: whatever is told in whatever order, states and attempts only move forward, and DELIVERED absorbs."""
    history: tuple[Attempt, ...] = a_history(*(("ABC"[place], outcome) for place, outcome in enumerate(outcomes)))
    state, seen, duplicates = ended, set[tuple[int, ReceiptStatus]](), 0
    for place, status, fault in words:
        number = place % len(history) + 1
        told_before = frozenset((word, "") for about, word in seen if about == number)
        case = Case(history=history, number=number, ended=state, failover_on_receipt=wanted, told=told_before)
        change = effect(case, told(status, route_at_fault=fault))
        if change.tell:
            assert (number, status) not in seen
            seen.add((number, status))
        if change.attempt is not None:
            before, after = history[number - 1], change.attempt
            assert not before.delivered
            assert not (before.refused and after.receipt in REFUSALS)
            history = (*history[: number - 1], after, *history[number:])
        assert change.duplicates >= duplicates
        duplicates = change.duplicates
        if change.state is not None:
            assert FORWARD[change.state] > FORWARD[state]
            state = change.state
        assert (state is State.DELIVERED) == any(attempt.delivered for attempt in history)
