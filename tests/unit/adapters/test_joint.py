"""Which calls go to a provider as one, and that none goes twice."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.adapters.base import Address, Call
from services.adapters.joint import NO_TIME_LEFT, CutOff, JointCalls, alike
from services.adapters.outcome import Outcome, Reason, Result
from tests.unit.adapters.calls import an_email

ACCEPTED = Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED)
LOST = Result(outcome=Outcome.UNKNOWN, reason=Reason.CONNECTION_LOST)


class Taker:
    """An adapter that takes three at a time and remembers what went over the wire, by recipient."""

    spec: Any = None

    def __init__(self) -> None:
        self.alone: list[str] = []
        self.together: list[list[str]] = []
        self.timeouts: list[float] = []
        self.answer: Result | Exception | None = ACCEPTED
        self.on_wire = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    most_together = 3

    def joinable(self, call: Call) -> str:
        """Everybody whose name does not begin with an x."""
        return "" if to(call).startswith("x") else to(call)

    async def send_together(self, calls: Sequence[Call]) -> Sequence[Result | None]:
        """The answer for each, when it may."""
        self.together.append([to(call) for call in calls])
        self.timeouts += [call.timeout for call in calls]
        self.on_wire.set()
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer and replace(self.answer, provider_message_id=to(call)) for call in calls]

    async def send(self, call: Call) -> Result:
        """Accepted."""
        self.alone.append(to(call))
        self.timeouts.append(call.timeout)
        return ACCEPTED

    async def close(self) -> None:
        """Nothing is open."""


def to(call: Call) -> str:
    """Whom it goes to, without the domain."""
    assert isinstance(call.content.to, Address)
    return call.content.to.email.partition("@")[0]


def a_call(name: str, **more: Any) -> Call:
    """One of a bulk request."""
    call = an_email({}, to=Address(email=f"{name}@example.com"), **more.pop("content", {}))
    return replace(call, **{"message_id": name, "together": "bulk-1", **more})


def begin() -> None:
    """It may."""


@pytest.fixture
def taker() -> Taker:
    """An adapter."""
    return Taker()


async def sent(taker: Taker, *calls: Call, joint: JointCalls | None = None) -> list[Result]:
    """What came of calls that come at the same time."""
    joint = joint or JointCalls()
    results = await asyncio.gather(*(joint.send(taker, call, begin) for call in calls))
    await joint.close()
    return list(results)


async def test_those_of_one_request_go_together(taker: Taker) -> None:
    """Three that come at the same time are one call, and each gets its own result."""
    results = await sent(taker, a_call("a"), a_call("b"), a_call("c"))

    assert (taker.together, taker.alone) == ([["a", "b", "c"]], [])
    assert [result.provider_message_id for result in results] == ["a", "b", "c"]


async def test_no_more_than_a_call_takes(taker: Taker) -> None:
    """Of seven, three and three go together and the last one alone."""
    await sent(taker, *map(a_call, "abcdefg"))

    assert (taker.together, taker.alone) == ([["a", "b", "c"], ["d", "e", "f"]], ["g"])


async def test_one_that_comes_later_is_waited_for(taker: Taker) -> None:
    """Their records are committed one after the other: a group is complete when nobody came for a moment."""
    joint = JointCalls(quiet=0.5)
    first = asyncio.create_task(joint.send(taker, a_call("a"), begin))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(joint.send(taker, a_call("b"), begin))
    await asyncio.gather(first, second)

    assert taker.together == [["a", "b"]]


@pytest.mark.parametrize(
    "other",
    [
        a_call("b", together=""),
        a_call("b", together="bulk-2"),
        a_call("b", provider_id="prov-2"),
        a_call("b", config_version=2),
        a_call("b", options={"o": 1}),
        a_call("b", config={"fromEmail": "other@example.com"}),
        a_call("b", project_sender=Address(email="other@example.com")),
        a_call("b", timeout=5.0),
        a_call("b", content={"subject": "Another"}),
        a_call("a"),
        a_call("x"),
    ],
    ids="no-bulk bulk provider version options config sender time content same-recipient unfit".split(),
)
async def test_what_goes_alone(taker: Taker, other: Call) -> None:
    """A call of no bulk request, of another one, through another provider, with anything else in it, or to the same
    recipient, is a call of its own.
    """
    await sent(taker, a_call("a"), other)

    assert (taker.together, sorted(taker.alone)) == ([], sorted(["a", to(other)]))


async def test_calls_that_are_counted_go_alone(taker: Taker) -> None:
    """Where no second may see more than so many calls each has a right of its own, and a refused group would make one
    more.
    """
    limited = {"ratePerSecond": 5}
    await sent(taker, a_call("a", config=limited), a_call("b", config=limited))

    assert (taker.together, taker.alone) == ([], ["a", "b"])


def test_alike_is_all_but_the_recipient() -> None:
    """Two calls of one content are alike whoever they are for, whichever attempt it is."""
    assert alike(a_call("a"), a_call("b", attempt=2, time_left=9.0, timeout=9.5))


@pytest.mark.parametrize("answer", [LOST, replace(LOST, outcome=Outcome.DEFERRED)])
async def test_what_is_answered_for_all_is_not_asked_again(taker: Taker, answer: Result) -> None:
    """An answer for each is the answer: nobody of the group is sent again here."""
    taker.answer = answer
    results = await sent(taker, a_call("a"), a_call("b"))

    assert [result.outcome for result in results] == [answer.outcome] * 2
    assert (taker.together, taker.alone) == ([["a", "b"]], [])


async def test_a_refused_group_goes_one_by_one(taker: Taker) -> None:
    """What the provider surely did not take, and may take alone, is sent alone once, in the time that is left."""
    taker.answer = None
    results = await sent(taker, a_call("a"), a_call("b"))

    assert results == [ACCEPTED, ACCEPTED]
    assert (taker.together, taker.alone) == ([["a", "b"]], ["a", "b"])
    assert all(9.0 < timeout < 10.0 for timeout in taker.timeouts)


async def test_no_time_left(taker: Taker) -> None:
    """When the refusal took nearly all the time, the message is deferred: surely nothing was taken."""
    taker.answer = None
    taker.may_answer.clear()
    sending = asyncio.create_task(sent(taker, a_call("a", timeout=0.4), a_call("b", timeout=0.4)))
    await taker.on_wire.wait()
    await asyncio.sleep(0.3)
    taker.may_answer.set()

    assert await sending == [NO_TIME_LEFT, NO_TIME_LEFT]
    assert taker.alone == []


async def test_cancelled_before_the_first_byte(taker: Taker) -> None:
    """Whoever goes away while the group gathers is not sent; the others are."""
    joint = JointCalls()
    tasks = [asyncio.create_task(joint.send(taker, a_call(name), begin)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert taker.together == [["a", "c"]]


async def test_cancelled_on_the_wire(taker: Taker) -> None:
    """Whoever goes away later changes nothing for the others."""
    taker.may_answer.clear()
    joint = JointCalls()
    tasks = [asyncio.create_task(joint.send(taker, a_call(name), begin)) for name in "abc"]
    await taker.on_wire.wait()
    tasks[0].cancel()
    await asyncio.sleep(0)
    taker.may_answer.set()

    assert await asyncio.gather(*tasks[1:]) == [replace(ACCEPTED, provider_message_id=name) for name in "bc"]
    assert (taker.together, taker.alone) == ([["a", "b", "c"]], [])


class TooLate(Exception):
    """It may not begin any more."""


def refusing_from(number: int) -> Callable[[], None]:
    """Raises TooLate from this time on that it is asked."""
    asked = iter(range(1, 100))

    def may_begin() -> None:
        if next(asked) >= number:
            raise TooLate

    return may_begin


async def test_whose_lease_ended_is_not_sent(taker: Taker) -> None:
    """Right before the first byte each is asked once more whether it may begin."""
    joint = JointCalls()
    calls = [joint.send(taker, a_call(name), refusing_from(1) if name == "b" else begin) for name in "abc"]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert taker.together == [["a", "c"]]
    assert isinstance(results[1], TooLate)


async def test_whose_lease_ended_is_not_sent_alone(taker: Taker) -> None:
    """The same before a message of a refused group is sent alone."""
    taker.answer = None
    joint = JointCalls()
    calls = [joint.send(taker, a_call(name), refusing_from(2) if name == "b" else begin) for name in "ab"]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert (taker.together, taker.alone) == ([["a", "b"]], ["a"])
    assert isinstance(results[1], TooLate)


async def test_an_adapter_that_raises(taker: Taker) -> None:
    """Each caller gets what the adapter raised; nobody is sent again."""
    taker.answer = ValueError("a bug")
    joint = JointCalls()
    calls = [joint.send(taker, a_call(name), begin) for name in "ab"]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results] == [ValueError, ValueError]
    assert taker.alone == []


async def test_close_cuts_what_is_under_way(taker: Taker) -> None:
    """Whoever still waits learns that the call was cut off."""
    taker.may_answer.clear()
    joint = JointCalls()
    tasks = [asyncio.create_task(joint.send(taker, a_call(name), begin)) for name in "ab"]
    await taker.on_wire.wait()
    await joint.close()

    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [CutOff, CutOff]


class Plain:
    """An adapter that has never heard of calls for many."""

    spec: Any = None

    async def send(self, call: Call) -> Result:
        """Accepted."""
        return ACCEPTED

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_plain_adapter() -> None:
    """An adapter that takes one at a time is asked one at a time."""
    joint = JointCalls()
    assert await asyncio.gather(*(joint.send(Plain(), a_call(name), begin) for name in "ab")) == [ACCEPTED] * 2
