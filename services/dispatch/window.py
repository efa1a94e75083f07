"""How many calls at a time a provider stands from one process, learnt from what it answers (AIMD): arithmetic only. Who
waits meanwhile: gate.py.

Some time-outs and refusals are a provider's everyday life and say nothing about how much it is asked; too much is when
a tenth of the answers is so. And what was begun before the limit changed says nothing about the new one (the rule of
TCP: one step back per round trip, RFC 5681 §3.1).
"""

import math
from dataclasses import dataclass, replace

from services.adapters.outcome import Outcome, Reason, Result

SHRINK = 0.7
# Too much: at least so many answers, and one of so many.
LEAST, ONE_OF = 2, 10
# Older answers count half as soon as there are so many.
REMEMBERED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`limit` calls at a time; None until it was too much. `credit` counts the successes since the limit changed, which
    was at `since`; `strained` of `answers` were refusals and time-outs.
    """

    limit: int | None = None
    since: float = -math.inf
    credit: int = 0
    answers: int = 0
    strained: int = 0

    def learn(self, result: Result, *, began: float, now: float, at_once: int, ceiling: int) -> "Window":
        """After the answer to a call that was begun at `began`; `at_once` calls were open together lately."""
        if began < self.since:
            return self
        overload = is_overload(result)
        seen = _counted(self, overload)
        if overload and seen.strained >= LEAST and seen.strained * ONE_OF >= seen.answers:
            before = at_once if self.limit is None else min(self.limit, at_once)
            return Window(limit=max(math.floor(before * SHRINK), 1), since=now)
        return _after_success(seen, now, ceiling) if result.outcome is Outcome.ACCEPTED else seen


def is_overload(result: Result) -> bool:
    """Whether a result may say that there was too much: a 429 or a time-out."""
    throttled = result.outcome is Outcome.DEFERRED and result.reason == Reason.RATE_LIMITED
    return throttled or (result.outcome in (Outcome.UNKNOWN, Outcome.DEFERRED) and result.reason == Reason.TIMEOUT)


def _counted(window: Window, overload: bool) -> Window:
    answers, strained = window.answers + 1, window.strained + overload
    if answers > REMEMBERED:
        answers, strained = answers // 2, strained // 2
    return replace(window, answers=answers, strained=strained)


def _after_success(window: Window, now: float, ceiling: int) -> Window:
    """One more per as many successes as the limit; without a limit again from `ceiling` on."""
    if window.limit is None:
        return window
    if window.credit + 1 < window.limit:
        return replace(window, credit=window.credit + 1)
    if window.limit + 1 >= ceiling:
        return Window(since=now)
    return replace(window, limit=window.limit + 1, credit=0)
