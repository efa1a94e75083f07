"""The gate before one provider, in one process: who may call it now, in the order of coming. What may be given out is
put in by limit_board.py; the arithmetic is limits.py's.
"""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from services.adapters.base import Channel
from services.adapters.outcome import Result
from services.dispatch.limits import AT_ONCE, Allowance, Pace, pace_of
from services.dispatch.window import Window

FIRST_GUESS = 1.0
"""How long a call takes until one was measured, in seconds."""


@dataclass(slots=True)
class _Grant:
    calls: int
    opens: float
    closes: float


class Gate:
    """Times are seconds since boot. Nothing here waits for the database."""

    def __init__(self, provider_id: str, project_id: str, channel: Channel, ceiling: int) -> None:
        self.provider_id, self.project_id, self.channel = provider_id, project_id, channel
        self.gone = False  # disabled or deleted: nobody waits for it any more
        self.allowance = Allowance()
        self.pace: Pace | None = None
        self.window = Window()
        self.open_calls = 0
        self._most_open, self._most_open_before = 0, 0  # in this second and in the one before
        self.slots, self.slots_until = 0, 0.0
        self.elsewhere = 0  # messages that wait for it in the queue
        self.share = 1.0  # the part of what it allows that this process gets while others want some too
        self.served = 0
        self.call_seconds = FIRST_GUESS
        self.enrolled = False
        self.line: deque[asyncio.Future[float]] = deque()
        self.asks_at, self.slots_at = 0.0, 0.0  # not before then the database is asked for more calls, slots
        self.used_at = 0.0
        self.recent = 0.0
        self._ceiling = ceiling
        self._grants: deque[_Grant] = deque()

    def allow(self, allowance: Allowance) -> None:
        """The provider's settings as they are now."""
        if allowance != self.allowance:
            self.allowance = allowance
            self.pace = None if allowance.rate is None else pace_of(allowance.rate)
            self._grants.clear()
            self.slots_until = self.asks_at = self.slots_at = 0.0

    @property
    def ceiling(self) -> int:
        """How many calls of this process may be open at the very most."""
        return self._ceiling if self.allowance.most is None else min(self._ceiling, self.allowance.most)

    def concurrency(self, now: float) -> int:
        """How many calls of this process may be open now."""
        most = self._ceiling if self.window.limit is None else self.window.limit
        if self.allowance.most is not None:
            most = min(most, self.slots if now < self.slots_until else 0)
        return most

    @property
    def speed(self) -> float:
        """How many calls per second this process may begin, as far as it knows."""
        open_at_once = min(self.ceiling, self.window.limit or self.ceiling)
        by_calls = open_at_once / self.call_seconds
        return max((by_calls if self.pace is None else min(self.pace.rate, by_calls)) * self.share, 0.001)

    def expected(self, now: float, *, called_up: bool) -> float:
        """How long the next one to come would wait, in seconds; who was called up stands before those in the queue."""
        ahead = len(self.line) + (0 if called_up else self.elsewhere)
        if self.window.limit is None and self.pace is None and self.allowance.most is not None:
            ahead = max(ahead + self.open_calls + 1 - self.allowance.most, 0)
        to_come = max(self.asks_at - now, 0.0) if self.pace is not None and not self.held(now) else 0.0
        return to_come + ahead / self.speed

    def put_in(self, calls: int, opens: float, closes: float) -> None:
        """So many calls may begin between these two moments."""
        if calls and opens < closes:
            self._grants.append(_Grant(calls, opens, closes))

    def held(self, now: float) -> int:
        """How many calls were granted and may still begin."""
        while self._grants and (self._grants[0].closes <= now or not self._grants[0].calls):
            self._grants.popleft()
        return sum(grant.calls for grant in self._grants)

    def opens_in(self, now: float) -> float | None:
        """Seconds until the next granted call may begin; None when there is none."""
        return max(self._grants[0].opens - now, 0.0) if self.held(now) else None

    def take(self, now: float) -> float | None:
        """The right to begin a call at once, as the moment when it ends; None when there is none."""
        if self.open_calls >= self.concurrency(now):
            return None
        if self.pace is None:
            closes = float("inf") if self.allowance.most is None else self.slots_until
        else:
            if not self.held(now) or self._grants[0].opens > now:
                return None
            self._grants[0].calls -= 1
            closes = self._grants[0].closes
        self.open_calls += 1
        self._most_open = max(self._most_open, self.open_calls)
        self.served += 1
        return closes

    def serve(self, now: float) -> None:
        """Whoever is first in line gets the right to call, as long as there is one."""
        while self.line:
            if self.line[0].done():
                self.line.popleft()
                continue
            closes = self.take(now)
            if closes is None:
                return
            self.line.popleft().set_result(closes)

    def calls_wanted(self, now: float) -> int:
        """How many calls the next grant should hold; 0 when none is needed."""
        if self.pace is None or not self.line or self.held(now) >= len(self.line):
            return 0
        if self.open_calls >= self.concurrency(now):
            return 0
        return min(len(self.line) + math.ceil(self.recent * AT_ONCE), self.pace.chunk)

    def slots_wanted(self, now: float, keep_seconds: float) -> int | None:
        """How many slots this process should have in all; None when nothing has to change."""
        most = self.allowance.most
        if most is None:
            return 0 if self.slots else None
        wanted = min(self.open_calls + len(self.line), most)
        if wanted > self.slots or (self.slots and now > self.slots_until - keep_seconds / 4):
            return wanted
        return None

    def ended(self, now: float, result: Result | None, seconds: float | None) -> None:
        """A call that was begun has ended, after so many seconds; None: nothing was sent."""
        if result is not None:
            at_once = max(self._most_open, self._most_open_before)
            began = now - (seconds or 0.0)
            self.window = self.window.learn(result, began=began, now=now, at_once=at_once, ceiling=self.ceiling)
        self.open_calls -= 1
        if seconds is not None:
            self.call_seconds += (max(seconds, 0.001) - self.call_seconds) / 8

    def room(self, now: float, ahead: float) -> int:
        """How many of those that wait in the queue can be called within the next `ahead` seconds."""
        if self.expected(now, called_up=True) > ahead:
            return 0
        return max(math.ceil(self.speed * ahead) - len(self.line), 0)

    def reckon(self, seconds: float) -> None:
        """Learn from the last `seconds` what part of the allowance comes to this process."""
        if self.pace is not None and self.line:
            self.share += (min(self.served / (self.pace.rate * seconds), 1.0) - self.share) / 2
        else:
            self.share = min(self.share + 0.1, 1.0)
        self.share = max(self.share, 0.05)
        self.recent = self.served / seconds
        self.served = 0
        self._most_open_before, self._most_open = self._most_open, self.open_calls
