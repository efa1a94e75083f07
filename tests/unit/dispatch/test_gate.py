"""The gate before one provider: rights to call, in order, and what is expected of them."""

import asyncio

import pytest

from services.adapters.base import Channel
from services.adapters.outcome import Reason
from services.dispatch.gate import Gate
from services.dispatch.limits import Allowance
from tests.builders import a_result, throttled


def a_gate(rate: float | None = None, most: int | None = None, ceiling: int = 100) -> Gate:
    """A gate with these limits."""
    gate = Gate("p", "shop", Channel.EMAIL, ceiling)
    gate.allow(Allowance(rate=rate, most=most))
    return gate


def taken(gate: Gate, now: float) -> int:
    """How many rights there are to take."""
    count = 0
    while gate.take(now) is not None:
        count += 1
    return count


def test_without_limits_the_ceiling_is_the_limit() -> None:
    """A provider without limits is called as often as the process allows."""
    assert taken(a_gate(), 0.0) == 100


def test_a_grant_is_good_between_its_two_moments() -> None:
    """Not before it opens, not when it has closed, and not more often than it says."""
    gate = a_gate(rate=10)
    gate.put_in(2, 1.0, 1.1)

    assert gate.take(0.99) is None
    assert gate.opens_in(0.5) == 0.5
    assert gate.take(1.0) == 1.1
    assert gate.take(1.1) is None
    assert gate.opens_in(1.1) is None


def test_slots_bound_open_calls_until_they_end() -> None:
    """As many calls are open as there are slots; none begins when the slots' time is over; an end makes room."""
    gate = a_gate(most=3)
    assert gate.take(0.0) is None
    gate.slots, gate.slots_until = 2, 10.0
    assert taken(gate, 0.0) == 2
    gate.ended(5.0, a_result("accepted"), 0.1)
    assert gate.take(9.9) == 10.0
    gate.ended(5.0, a_result("accepted"), 0.1)
    assert gate.take(10.0) is None


def test_a_refusal_shrinks_and_successes_grow() -> None:
    """After two 429s with ten calls open, seven are at a time; seven successes make it eight."""
    gate = a_gate()
    for _ in range(10):
        gate.take(0.0)
    for _ in range(2):
        gate.ended(1.0, throttled(1), 0.1)
    for _ in range(8):
        gate.ended(2.0, a_result("unknown", reason=Reason.UNAVAILABLE), 0.1)
    assert taken(gate, 0.0) == 7
    for _ in range(7):
        gate.ended(5.0, a_result("accepted"), 0.1)
    assert taken(gate, 0.0) == 8


async def test_the_line_is_served_in_order() -> None:
    """Who came first is called first; who has gone is passed over."""
    gate = a_gate(most=2)
    line = [asyncio.get_running_loop().create_future() for _ in range(3)]
    gate.line.extend(line)
    line[0].cancel()
    gate.slots, gate.slots_until = 1, 10.0
    gate.serve(0.0)

    assert [turn.done() for turn in line] == [True, True, False]
    assert line[1].result() == 10.0


@pytest.mark.parametrize(("elsewhere", "called_up", "least"), [(0, False, 0.0), (100, False, 10.0), (100, True, 0.0)])
def test_what_is_expected_counts_who_stands_before(elsewhere: int, called_up: bool, least: float) -> None:
    """A hundred that wait in the queue are ten seconds at ten calls per second, but not for who was called up."""
    gate = a_gate(rate=10)
    gate.call_seconds = 0.1
    gate.elsewhere = elsewhere

    assert least <= gate.expected(0.0, called_up=called_up) <= least * 1.2


def test_new_settings_end_old_rights() -> None:
    """Grants and slots of other limits are not used."""
    gate = a_gate(rate=10, most=5)
    gate.put_in(5, 0.0, 1.0)
    gate.slots, gate.slots_until = 5, 10.0
    gate.allow(Allowance(rate=20, most=5))

    assert gate.take(0.5) is None


def test_what_was_open_is_remembered_for_a_second() -> None:
    """Refusals that come when most of the calls have ended are about how many were open, not about the last ones."""
    gate = a_gate()
    for _ in range(20):
        gate.take(0.0)
    for _ in range(18):
        gate.ended(0.5, a_result("accepted"), 0.1)
    gate.reckon(1.0)
    for _ in range(2):
        gate.ended(1.5, throttled(1), 1.5)

    assert gate.window.limit == 14
