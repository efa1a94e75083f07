"""A micro-batching writer: many callers, few flushes. It knows neither what it writes nor where to.

A commit costs an fsync whatever its size, so callers that arrive together share one (design decision 3).
"""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.chassis.admission import overloaded
from services.chassis.errors import ServiceError, Unavailable
from services.chassis.fair_line import FairLine
from services.chassis.telemetry_common import Flushed, no_batch

T = TypeVar("T")
R = TypeVar("R")


class FlushFailed(Exception):
    """The flush this item was part of raised; the reason is `__cause__`. Nothing is known about what was written."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a flush of {name} failed")


@dataclass(slots=True)
class _Entry(Generic[T, R]):
    item: T
    done: "asyncio.Future[R]"
    weight: int
    since: float  # of the event loop's clock
    hurries: bool


class MicroBatcher(Generic[T, R]):
    """Gathers items and hands them to `flush` in the order submitted, at most `concurrency` flushes at a time; items of
    different `lane` take turns.

    A flush starts when `max_rows` items or `max_weight` units wait, or one item that `hurries`; otherwise `max_delay`
    seconds after the first item, but not before the last flush has ended and `pace` seconds have passed since it
    started. `flush` answers one result per item, in order. For one event loop.

    Three bounds on what has no answer yet, beyond which new items are shed: `max_waiting` callers, `max_held` units
    (a single item always goes), and `max_age` seconds that a flush, or the oldest caller of the same lane, may take.
    """

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[list[R]]],
        *,
        name: str,
        max_rows: int = 200,
        max_delay: float = 0.002,
        pace: float = 0.0,
        hurries: Callable[[T], bool] = lambda _: False,
        max_waiting: int = 10_000,
        concurrency: int = 1,
        weigh: Callable[[T], int] | None = None,
        max_weight: int = 4 * 1024 * 1024,
        max_held: int | None = None,
        max_age: float | None = None,
        lane: Callable[[T], str] = lambda _: "",
    ) -> None:
        self._flush = flush
        self._name = name
        self._max_rows = max_rows
        self._max_delay = max_delay
        self._pace = pace
        self._hurries = hurries
        self._max_waiting = max_waiting
        self._concurrency = concurrency
        self._weigh = weigh
        self._max_weight = max_weight
        self._max_held = max_held
        self._max_age = max_age
        self._lane = lane
        self._queue: FairLine[_Entry[T, R]] = FairLine()
        self._queued_weight = 0
        self._hurried = 0
        self._last_began = -math.inf
        self._unanswered = 0
        self._held_weight = 0
        self._in_flight: set[float] = set()  # when each running flush began
        self._runners: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._flushed: Flushed = no_batch
        # A flush serves many callers: it must not run as the one who happened to come first (principal, log ids).
        self._context = contextvars.copy_context()

    def measured_by(self, flushed: Flushed) -> None:
        """Tell `flushed` of each flush from now on."""
        self._flushed = flushed

    async def submit(self, item: T) -> R:
        """The result of `item` once the flush that held it has ended.

        Raises ResourceExhausted (OVERLOADED) when too much waits already, or for too long, and Unavailable after
        `close`: nothing was written. Raises FlushFailed, or the ServiceError that `flush` raised: the write may have
        happened. A caller cancelled before its flush starts takes its item back; later, the flush goes on without it.
        """
        return await self._answer(self._enter(item))

    async def submit_each(self, items: Iterable[T]) -> list[R | Exception]:
        """As `submit` for each of them, by one caller and at once: the results, or what `submit` would have raised, in
        order.
        """
        entries = [self._entered(item) for item in items]
        answers: list[R | Exception] = []
        try:
            for entry in entries:
                try:
                    answers.append(entry if isinstance(entry, ServiceError) else await self._answer(entry))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is this item's answer
                    answers.append(error)
        finally:
            for entry in entries[len(answers) + 1 :]:  # the caller was cancelled while it waited for the one before
                self._take_back(entry)
        return answers

    def _entered(self, item: T) -> "_Entry[T, R] | ServiceError":
        try:
            return self._enter(item)
        except ServiceError as refusal:
            return refusal

    def _enter(self, item: T) -> "_Entry[T, R]":
        """The item stands in the queue."""
        if self._closed:
            raise Unavailable("The service is shutting down; try again.", retry_after=1.0)
        loop = asyncio.get_running_loop()
        entry: _Entry[T, R] = _Entry(
            item, loop.create_future(), self._weight_of(item), loop.time(), self._hurries(item)
        )
        lane = self._lane(item)
        self._check_room(entry, lane)
        self._unanswered += 1
        self._held_weight += entry.weight
        self._queue.append(entry, lane)
        self._queued_weight += entry.weight
        self._hurried += entry.hurries
        self._arm()
        return entry

    async def _answer(self, entry: "_Entry[T, R]") -> R:
        try:
            return await entry.done
        finally:
            self._leave(entry)

    def _take_back(self, entry: "_Entry[T, R] | ServiceError") -> None:
        if not isinstance(entry, ServiceError):
            entry.done.cancel()
            self._leave(entry)

    def _leave(self, entry: "_Entry[T, R]") -> None:
        self._unanswered -= 1
        self._held_weight -= entry.weight

    async def close(self) -> None:
        """Flushes what waits, then returns; from its first moment on `submit` refuses. May be called again."""
        self._closed = True
        self._disarm()
        while self._queue or self._runners:
            if len(self._runners) < self._concurrency and self._queue:
                self._start_runner()
            await asyncio.wait(self._runners, return_when=asyncio.FIRST_COMPLETED)

    @property
    def waiting(self) -> int:
        """How many callers have no answer yet, queued and in flight."""
        return self._unanswered

    def _check_room(self, entry: _Entry[T, R], lane: str) -> None:
        heavy = self._max_held is not None and self._unanswered and self._held_weight + entry.weight > self._max_held
        if heavy or self._unanswered >= self._max_waiting:
            raise overloaded("Too much is waiting to be written; nothing was done.")
        if self._max_age is not None and entry.since - self._oldest(entry.since, lane) > self._max_age:
            raise overloaded("Writing takes too long already; nothing was done.")

    def _oldest(self, now: float, lane: str) -> float:
        head = self._queue.first_of(lane)
        return min((*self._in_flight, now if head is None else head.since))

    def _weight_of(self, item: T) -> int:
        return 0 if self._weigh is None else self._weigh(item)

    def _arm(self) -> None:
        if len(self._runners) >= self._concurrency:
            return  # whichever flush ends next takes this along
        if self._cannot_wait():
            self._start_runner()
        elif self._timer is None:
            due = max(self._queue.first.since + self._max_delay, self._last_began + self._pace)
            self._timer = asyncio.get_running_loop().call_at(due, self._start_runner, context=self._context)

    def _cannot_wait(self) -> bool:
        full = len(self._queue) >= self._max_rows or self._queued_weight >= self._max_weight
        return full or self._hurried > 0

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_runner(self) -> None:
        self._disarm()
        runner = asyncio.get_running_loop().create_task(self._run(), name=self._name, context=self._context)
        self._runners.add(runner)
        runner.add_done_callback(self._runner_ended)

    def _runner_ended(self, runner: "asyncio.Task[None]") -> None:
        self._runners.discard(runner)
        # An item may have come between the runner's last look and its end.
        if self._queue and not self._closed and not runner.cancelled():
            self._arm()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            self._last_began = began = loop.time()
            self._in_flight.add(began)
            try:
                await self._flush_one(batch)
            finally:
                self._in_flight.discard(began)
                self._flushed(self._name, len(batch), began - batch[0].since, loop.time() - began)
            if not (self._closed or self._cannot_wait() or loop.time() >= self._last_began + self._pace):
                return  # its end arms the next one

    def _take(self) -> list[_Entry[T, R]]:
        batch: list[_Entry[T, R]] = []
        weight = 0
        while self._queue and len(batch) < self._max_rows:
            entry = self._queue.first
            if batch and weight + entry.weight > self._max_weight:
                break
            self._queue.popleft()
            self._queued_weight -= entry.weight
            self._hurried -= entry.hurries
            if not entry.done.done():  # done already: its caller was cancelled
                batch.append(entry)
                weight += entry.weight
        return batch

    async def _flush_one(self, batch: list[_Entry[T, R]]) -> None:
        try:
            results = await self._flush([entry.item for entry in batch])
            pairs = list(zip(batch, results, strict=True))
        except asyncio.CancelledError:
            for entry in batch:
                entry.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers, not to this task
            for entry in batch:
                if not entry.done.done():
                    entry.done.set_exception(self._failure(error))
            return
        for entry, result in pairs:
            if not entry.done.done():
                entry.done.set_result(result)

    def _failure(self, error: Exception) -> Exception:
        # One exception per caller: a shared one would collect every caller's traceback.
        failure = error.copy() if isinstance(error, ServiceError) else FlushFailed(self._name)
        failure.__cause__ = error
        return failure
