"""What this process knows about providers' health: its own lessons at once, the others' from the database. Rules:
health.py and breaker.py.

On the happy path it only counts in memory: a healthy provider has no breaker here, and nothing is written about it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch.breaker import RETURN_SECONDS, SHARE_WINDOW, Breaker, calls_allowed
from services.dispatch.chain import Provider
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.health import Block, Mark, Marks

REFRESH = 0.7
COUNT_EVERY, FORGET_EVERY = 1.0, 60.0
# Who was refused a probe does not ask again for so long, whatever is known here.
REFUSED_SECONDS = 1.0


class Book(Protocol):
    """Where every process's breakers are kept."""

    async def breakers(self) -> list[Breaker]:
        """Every provider of which something is known."""

    async def take_probe(
        self, provider_id: str, version: int, scopes: frozenset[str], prober: str, seconds: float
    ) -> tuple[bool, list[Breaker]]:
        """Whether `prober` alone may probe the provider, and how its breakers stand."""

    async def count(self, accepted: Mapping[str, int]) -> None:
        """How many messages this process saw each provider accept within SHARE_WINDOW."""

    async def forget(self) -> None:
        """Drop what says nothing any more."""


@dataclass(slots=True)
class _Return:
    """A provider that works again since `since`, as this process sees it."""

    since: datetime
    successes: int = 0
    calls: int = 0


class HealthBoard:
    """Breakers by provider, less than a second behind what other processes have written."""

    def __init__(self, book: Book, clock: Clock, database_now: Callable[[], datetime]) -> None:
        self._book = book
        self._clock = clock
        self._database_now = database_now
        self._breakers: dict[str, dict[str, Breaker]] = {}
        self._marks: dict[str, tuple[Mark, ...]] = {}
        self._fresh: list[Breaker] = []
        self._returns: dict[str, _Return] = {}
        self._asking: set[str] = set()
        self._accepted: dict[str, dict[int, int]] = {}
        self._log = get_logger()

    def known(self) -> Iterator[Breaker]:
        """Every breaker that this process knows of, in no order."""
        for scopes in self._breakers.values():
            yield from scopes.values()

    def marks(self) -> Marks:
        """Why providers are passed by, by provider id."""
        return self._marks

    def learned(self, breakers: tuple[Breaker, ...]) -> None:
        """How breakers stand after a step of this process: holds here from now on."""
        self._fresh.extend(breakers)
        for breaker in breakers:
            self._put(breaker)
        self._show({breaker.provider_id for breaker in breakers})

    def begins(self, provider_id: str) -> None:
        """A call to the provider begins; `ended` follows, whatever happens."""
        back = self._returns.get(provider_id)
        if back is not None:
            back.calls += 1
            self._show({provider_id})

    def ended(self, provider_id: str, *, accepted: bool) -> None:
        """A call ended."""
        if accepted:
            second, counts = int(self._clock.boottime()), self._accepted.setdefault(provider_id, {})
            counts[second] = counts.get(second, 0) + 1
        back = self._returns.get(provider_id)
        if back is not None:
            back.calls = max(back.calls - 1, 0)
            back.successes += accepted
            self._show({provider_id})

    def accepted(self, provider_id: str) -> int:
        """How many messages this process saw the provider accept within SHARE_WINDOW."""
        since = int(self._clock.boottime()) - SHARE_WINDOW
        return sum(count for second, count in self._accepted.get(provider_id, {}).items() if second > since)

    async def take_probe(self, provider: Provider, scopes: frozenset[str], prober: str, seconds: float) -> bool:
        """Whether `prober` alone, in all processes, may probe the provider for so many seconds. One that is refused, or
        whose database is away, passes the provider by.
        """
        if provider.id in self._asking:
            return self._refused(provider, scopes)
        self._asking.add(provider.id)
        try:
            taken, breakers = await self._book.take_probe(provider.id, provider.version, scopes, prober, seconds)
        except DatabaseUnavailable:
            return self._refused(provider, scopes)
        finally:
            self._asking.discard(provider.id)
        self._forget_missing(provider.id, scopes, breakers)
        self.learned(tuple(breakers))
        self._log.info("provider_probe", provider=provider.id, kind=provider.kind, taken=taken)
        return taken or self._refused(provider, scopes)

    def _refused(self, provider: Provider, scopes: frozenset[str]) -> bool:
        until = self._database_now() + timedelta(seconds=REFUSED_SECONDS)
        known = self._breakers.get(provider.id, {})
        self.learned(
            tuple(
                replace(breaker, probed_until=max(breaker.probed_until or until, until))
                for scope, breaker in known.items()
                if scope in scopes and breaker.block is not None
            )
        )
        return False

    def _forget_missing(self, provider_id: str, scopes: frozenset[str], breakers: list[Breaker]) -> None:
        there = {breaker.scope for breaker in breakers}
        known = self._breakers.get(provider_id, {})
        for scope in [scope for scope in known if scope in scopes and scope not in there]:
            del known[scope]
        self._show({provider_id})

    async def refresh(self) -> None:
        """Take over what is in the database; lessons of the last moments, which the reading may have missed, are kept
        on top.
        """
        before, self._fresh = self._fresh, []
        try:
            read = await self._book.breakers()
        except BaseException:
            self._fresh = [*before, *self._fresh]
            raise
        known = set(self._breakers)
        self._breakers = {}
        for breaker in (*read, *before, *self._fresh):
            self._put(breaker)
        self._show(known | set(self._breakers))

    async def run(self) -> None:
        """Refresh, count and forget until cancelled; while the database does not answer, what is known stays known."""
        count_at = forget_at = self._clock.boottime()
        while True:
            await self._clock.sleep(REFRESH)
            now = self._clock.boottime()
            try:
                await self.refresh()
                if now >= count_at:
                    count_at = now + COUNT_EVERY
                    await self.count()
                if now >= forget_at:
                    forget_at = now + FORGET_EVERY
                    await self._book.forget()
            except DatabaseUnavailable as error:
                self._log.warning("health_not_refreshed", cause=type(error.__cause__).__name__)

    async def count(self) -> None:
        """Tell the others what providers that failed lately accepted here; the others' need no count."""
        self._drop_old_counts()
        now = self._database_now()
        failed = [each for scopes in self._breakers.values() if (each := scopes.get("")) and each.failed_lately(now)]
        counts = {each.provider_id: self.accepted(each.provider_id) for each in failed}
        if worth := {provider_id: count for provider_id, count in counts.items() if count}:
            await self._book.count(worth)

    def _drop_old_counts(self) -> None:
        since = int(self._clock.boottime()) - SHARE_WINDOW
        for provider_id, counts in list(self._accepted.items()):
            for second in [second for second in counts if second <= since]:
                del counts[second]
            if not counts:
                del self._accepted[provider_id]

    def _put(self, breaker: Breaker) -> None:
        scopes = self._breakers.setdefault(breaker.provider_id, {})
        known = scopes.get(breaker.scope)
        if known is None or breaker.revision >= known.revision:
            scopes[breaker.scope] = breaker

    def _show(self, provider_ids: set[str]) -> None:
        now = self._database_now()
        for provider_id in provider_ids:
            breakers = self._breakers.get(provider_id, {}).values()
            marks = tuple(mark for breaker in breakers for mark in (*breaker.marks, *self._returning(breaker, now)))
            if marks:
                self._marks[provider_id] = marks
            else:
                self._marks.pop(provider_id, None)
            if not breakers:
                self._returns.pop(provider_id, None)

    def _returning(self, breaker: Breaker, now: datetime) -> tuple[Mark, ...]:
        """The mark of a provider that works again and has as many calls as it may have (gradual return)."""
        if breaker.scope or breaker.block is not None or breaker.returned_at is None:
            if not breaker.scope:
                self._returns.pop(breaker.provider_id, None)
            return ()
        until = breaker.returned_at + timedelta(seconds=RETURN_SECONDS)
        back = self._returns.get(breaker.provider_id)
        if back is None or back.since != breaker.returned_at:
            back = self._returns[breaker.provider_id] = _Return(since=breaker.returned_at)
        most = calls_allowed(back.successes)
        if now >= until or most is None or back.calls < most:
            return ()
        return (
            Mark(
                provider_id=breaker.provider_id,
                config_version=breaker.config_version,
                block=Block.RETURNING,
                reason=Block.RETURNING,
                detail=f"It works again and is given {most} calls at a time.",
                until=until,
            ),
        )
