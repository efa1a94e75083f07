"""What a provider allows, as arithmetic: how its calls are paced, how many may be open, who waits and for how long. Not
how that is agreed on between dispatchers (limit_book.py, limit_board.py).

A *grant* is one or a few calls that may begin between two moments by the database's clock. Grants of one provider
follow each other so that in no second more calls begin than `ratePerSecond` says, though a call may begin late in its
grant.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.adapters.outcome import Result
from services.dispatch.chain import Chain, Provider
from services.dispatch.health import Block, Mark, Marks
from services.dispatch.message import Message

VALID = 0.1
"""How long a grant's calls may begin, in seconds."""
AT_ONCE = 0.05
"""A grant holds what the provider allows in so many seconds, one call at least."""
LONGEST_SKIP = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A provider's limits: calls begun per second, calls open at a time; None means no such limit."""

    rate: float | None = None
    most: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any."""
        return self.rate is not None or self.most is not None


def allowance_of(provider: Provider) -> Allowance:
    """The limits in a provider's settings."""
    rate, most = provider.config.get("ratePerSecond"), provider.config.get("maxConcurrency")
    return Allowance(rate=None if rate is None else float(rate), most=None if most is None else int(most))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """At most `chunk` calls per grant, each followed by `spacing` seconds before the next grant may begin."""

    chunk: int
    spacing: float

    @property
    def rate(self) -> float:
        """How many calls per second come out of it."""
        return 1 / self.spacing


def pace_of(rate: float) -> Pace:
    """The pace at which no second, and for less than one call per second no 1/`rate` seconds, sees more than `rate`.

    Grants that begin within a second and `VALID` before it are all that may send in that second: of a steady pace p
    they hold less than p·(1 + VALID) + chunk calls. So p is chosen that this is `rate` + 1.
    """
    chunk = max(math.floor(rate * AT_ONCE), 1)
    if rate < 1:
        return Pace(chunk=1, spacing=1 / rate + VALID)
    return Pace(chunk=chunk, spacing=(1 + VALID) / (rate - (chunk - 1)))


def passed_by(marks: Marks, waits: Mapping[str, float], chain: Chain, now: datetime, cap: float) -> Marks:
    """The marks, and one for each provider whose turn would come later than in `cap` seconds: it is passed by."""
    extra = {
        provider.id: Mark(
            provider_id=provider.id,
            config_version=provider.version,
            block=Block.RATE_LIMITED,
            reason=Block.RATE_LIMITED,
            detail="The provider is at its limit.",
            until=now + timedelta(seconds=min(waits[provider.id], LONGEST_SKIP)),
        )
        for provider in chain.providers
        if waits.get(provider.id, 0.0) > cap
    }
    if not extra:
        return marks
    return {**marks, **{key: _and(marks.get(key, ()), mark) for key, mark in extra.items()}}


def _and(marks: Iterable[Mark], mark: Mark) -> tuple[Mark, ...]:
    return (*marks, mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLimit:
    """The provider can not be called before `wait` seconds have passed, as far as is known."""

    wait: float


class Permit(Protocol):
    """The right to one call; `end` is called exactly once."""

    @property
    def waited(self) -> bool:
        """Whether time passed until it was got: then everything else may have changed."""

    @property
    def patience(self) -> float:
        """How long `ready` may take, in seconds."""

    async def ready(self) -> bool:
        """Whether the call may begin at this moment; may take a while when the right lapsed."""

    def end(self, result: Result | None, seconds: float | None) -> None:
        """The call has ended; None: it was not made."""


class Limits(Protocol):
    """What keeps providers from being called too much."""

    async def enter(self, provider: Provider, message: Message, *, waited_for: str) -> Permit | AtLimit:
        """A permit, at once or after a moment; AtLimit when it would take longer. `waited_for` is the provider that the
        message has waited for in the queue.
        """


class _Free:
    waited = False
    patience = 0.0

    async def ready(self) -> bool:
        return True

    def end(self, result: Result | None, seconds: float | None) -> None:
        """Nothing is counted."""


class Unlimited:
    """Every call may begin."""

    async def enter(self, provider: Provider, message: Message, *, waited_for: str) -> Permit | AtLimit:
        """A permit."""
        return _Free()
