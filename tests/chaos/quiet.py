"""What surrounds a delivery in a World and never changes by itself: chains, health, the look at a lease. A look happens
when the test says so, not when real time goes by: so the same story always ends in the same way.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

from services.adapters.base import Channel
from services.dispatch.breaker import Breaker
from services.dispatch.chain import Chain, OpenedProvider, Provider
from services.dispatch.health import Marks
from services.dispatch.lease_bound import LeaseEnding
from tests.builders import a_provider
from tests.chaos.pair import Clocked

PROJECT = "shop"
CHAIN = Chain(
    project_id=PROJECT,
    channel=Channel.EMAIL,
    version=1,
    providers=(a_provider("A", timeout=5), a_provider("B", timeout=5)),
)


class Boot:
    """The clock of a process: as the database's, and nobody sleeps."""

    def __init__(self, database: Clocked) -> None:
        self._database = database

    def now(self) -> datetime:
        return self._database.now

    def boottime(self) -> float:
        return self._database.now.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Quiet:
    """Chains, health and providers that never change."""

    async def get(self, project_id: str, channel: Channel) -> Chain:
        return CHAIN

    async def opened(self, provider_id: str) -> OpenedProvider | None:
        return OpenedProvider(id=provider_id, channel=Channel.EMAIL, kind=provider_id, config={})

    def marks(self) -> Marks:
        return {}

    def learned(self, breakers: tuple[Breaker, ...]) -> None:
        """Nothing is learned here."""

    def begins(self, provider_id: str) -> None:
        """Nobody counts."""

    def ended(self, provider_id: str, *, accepted: bool) -> None:
        """Nobody counts."""

    def accepted(self, provider_id: str) -> int:
        return 0

    async def take_probe(self, provider: Provider, scopes: frozenset[str], prober: str, seconds: float) -> bool:
        return True


class Looks:
    """Stands for lease_bound.within_lease: cuts calls whose lease is over, but only when `look` is called."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[object], tuple[asyncio.Timeout, Callable[[], float]]] = {}

    @asynccontextmanager
    async def within_lease(self, limit: float, lease_left: Callable[[], float]) -> AsyncIterator[None]:
        """As lease_bound.within_lease."""
        task, scope = asyncio.current_task(), asyncio.timeout(None)
        assert task is not None
        try:
            async with scope:
                self._calls[task] = (scope, lease_left)
                try:
                    yield
                finally:
                    del self._calls[task]
        except TimeoutError as error:
            if scope.expired():
                raise LeaseEnding from error
            raise

    def look(self, tasks: Iterable["asyncio.Task[None]"]) -> None:
        """Those of these tasks that call under a lease that is over are cut."""
        for scope, lease_left in [self._calls[task] for task in tasks if task in self._calls]:
            if lease_left() <= 0:
                scope.reschedule(asyncio.get_running_loop().time())
