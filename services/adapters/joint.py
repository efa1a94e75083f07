"""Which calls go to a provider as one: those of one bulk request that come at about the same time. Not how a vendor is
told of many at once: that is each kind's.

Everything else of a message stays its own: its lease, its attempt that was recorded before, its permit, its outcome.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.adapters.base import Adapter, Call, EmailContent, JointAdapter, SmsContent
from services.adapters.outcome import Outcome, Reason, Result

# A group is complete when nobody has joined for a moment: its messages are recorded in a few commits, each a little
# after the other.
QUIET = 0.01
LONGEST = 0.25
# Calls whose time limits differ by more do not wait for one another.
SAME_TIME = 1.0
# With less time than this left, a message of a refused group is not sent alone any more, in seconds.
SHORTEST = 1.0

NO_TIME_LEFT = Result(
    outcome=Outcome.DEFERRED,
    reason=Reason.TEMPORARY_REFUSAL,
    provider_text="The call for several messages was refused; no time was left to send this one alone.",
)

Key = tuple[str, str, int]


class CutOff(Exception):
    """The process stopped while the call was under way."""


@dataclass(slots=True, eq=False)
class _Seat:
    """One call that waits: until when, and what asks whether it may still begin."""

    call: Call
    ends: float
    may_begin: Callable[[], None]
    answer: "asyncio.Future[Result | None]"


@dataclass(slots=True, eq=False)
class _Group:
    adapter: JointAdapter
    opened: float
    seats: list[_Seat] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)


def alike(call: Call, other: Call) -> bool:
    """Whether the two say the same to the provider, but for whom they go to and whose they are."""
    return (
        _said_to(call.content, other.content.to) == other.content
        and call.options == other.options
        and call.config == other.config
        and call.project_sender == other.project_sender
        and call.receipts_url == other.receipts_url
        and abs(call.timeout - other.timeout) <= SAME_TIME
    )


def _said_to(content: EmailContent | SmsContent, to: Any) -> EmailContent | SmsContent:
    return replace(content, to=to)


class JointCalls:
    """Brings calls together. None is on the wire twice: what a group was asked for is asked again only of a provider
    that has surely taken none of it.
    """

    def __init__(self, quiet: float = QUIET) -> None:
        """A group waits for `quiet` seconds without anybody new."""
        self._quiet = quiet
        self._open: dict[Key, _Group] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, adapter: Adapter, call: Call, may_begin: Callable[[], None]) -> Result:
        """What came of the call, which went to the provider alone or with others. `may_begin` raises, and so does this,
        when it may not any more after it waited; whoever is cancelled before the first byte is not sent.
        """
        if not (call.together and isinstance(adapter, JointAdapter)):
            return await adapter.send(call)
        clock = asyncio.get_running_loop().time
        ends = clock() + call.timeout
        seat = self._seat(adapter, call, ends, may_begin)
        if seat is None:
            return await adapter.send(call)
        answer = await seat.answer
        if answer is not None:
            return answer
        may_begin()
        left = ends - clock()
        if left < min(SHORTEST, call.timeout / 2):
            return NO_TIME_LEFT
        return await adapter.send(replace(call, timeout=left))

    def _seat(self, adapter: JointAdapter, call: Call, ends: float, may_begin: Callable[[], None]) -> _Seat | None:
        """A seat in the group that is open; None for a call that goes alone."""
        # Each message has its own right to begin at some moment, and a refused group would begin one call more.
        address = "" if call.config.get("ratePerSecond") else adapter.joinable(call)
        key = (call.together, call.provider_id, call.config_version)
        group = self._open.get(key)
        if not address or (group and (address in group.addresses or not alike(call, group.seats[0].call))):
            return None
        group = group or self._opened(key, adapter)
        seat = _Seat(call, ends, may_begin, asyncio.get_running_loop().create_future())
        group.seats.append(seat)
        group.addresses.add(address)
        if len(group.seats) >= adapter.most_together:
            del self._open[key]
        return seat

    def _opened(self, key: Key, adapter: JointAdapter) -> _Group:
        group = self._open[key] = _Group(adapter, asyncio.get_running_loop().time())
        # In a context of its own: it is nobody's call in particular.
        task = asyncio.create_task(self._run(key, group), name="joint call", context=contextvars.Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return group

    async def _run(self, key: Key, group: _Group) -> None:
        try:
            await self._gathered(key, group)
            await self._sent(group.adapter, _ready(group.seats))
        except Exception as error:  # noqa: BLE001 - each caller makes of it what it makes of an adapter that raises
            _answer(group.seats, error)
        finally:
            _answer(group.seats, CutOff())

    async def _gathered(self, key: Key, group: _Group) -> None:
        """Returns when the group is complete; nobody joins it after that."""
        latest, seen = group.opened + LONGEST, 0
        while self._open.get(key) is group and seen < len(group.seats):
            if asyncio.get_running_loop().time() > latest:
                break
            seen = len(group.seats)
            await asyncio.sleep(self._quiet)
        if self._open.get(key) is group:
            del self._open[key]

    async def _sent(self, adapter: JointAdapter, seats: Sequence[_Seat]) -> None:
        if len(seats) > 1:
            left = min(seat.ends for seat in seats) - asyncio.get_running_loop().time()
            calls = [replace(seat.call, timeout=max(left, 0.001)) for seat in seats]
            results = await adapter.send_together(calls)
        else:
            results = [None] * len(seats)
        for seat, result in zip(seats, results, strict=True):
            if not seat.answer.done():
                seat.answer.set_result(result)

    async def close(self) -> None:
        """Cut what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def _ready(seats: Sequence[_Seat]) -> Sequence[_Seat]:
    """Those whose callers still wait, and may begin at this moment."""
    for seat in seats:
        try:
            seat.may_begin()
        except Exception as error:  # noqa: BLE001 - its caller's own
            _answer([seat], error)
    return [seat for seat in seats if not seat.answer.done()]


def _answer(seats: Sequence[_Seat], error: Exception) -> None:
    """Tell those who have no answer yet."""
    for seat in seats:
        if not seat.answer.done():
            seat.answer.set_exception(error)
