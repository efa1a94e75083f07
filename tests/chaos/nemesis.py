"""What does harm to a site: by seed, on its own schedule, and counted, so that a run can assert that it was hurt."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.chaos.proxy import Fault, FaultProxy, Plan
from tests.chaos.site import LEASE_SECONDS, Site

Harm = Callable[["Nemesis"], Awaitable[None]]


@dataclass
class Nemesis:
    """Plays one of `harms` every `every` seconds; `fired` counts them by name. Everything is healed when `run` ends."""

    site: Site
    seed: int
    harms: Sequence[Harm]
    every: float = 2.0
    fired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._restarts: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Do harm for so long; what was killed serves again and what was paused goes on when it returns."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        deck: list[Harm] = []
        while loop.time() < ends:
            await asyncio.sleep(self.dice.uniform(0.7, 1.3) * self.every)
            if not deck:  # each in its turn, in an order of the seed's
                deck = self.dice.sample(list(self.harms), len(self.harms))
            await deck.pop()(self)
        await asyncio.gather(*self._restarts)

    def victim(self, *names: str) -> str | None:
        """One of these processes of ours (any, when none is named) that runs now."""
        running = [name for name in names or self.site.services if self.site.services[name].is_running]
        return self.dice.choice(running) if running else None

    def restart_later(self, name: str) -> None:
        """The process is started again in a moment, while the harm goes on."""
        task = asyncio.create_task(self._restart(name))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restart(self, name: str) -> None:
        await asyncio.sleep(self.dice.uniform(0.0, 0.5))
        await self.site.services[name].start()


async def kill_any(nemesis: Nemesis) -> None:
    """kill -9 of a random process of ours."""
    await _kill(nemesis, nemesis.victim())


async def kill_dispatcher(nemesis: Nemesis) -> None:
    """kill -9 of a random dispatcher."""
    await _kill(nemesis, nemesis.victim(*nemesis.site.dispatchers))


async def _kill(nemesis: Nemesis, name: str | None) -> None:
    if name is not None:
        await nemesis.site.services[name].kill()
        nemesis.fired[f"kill {name}"] += 1
        nemesis.restart_later(name)


async def pause_dispatcher(nemesis: Nemesis) -> None:
    """SIGSTOP of a dispatcher past its leases, then SIGCONT."""
    name = nemesis.victim(*nemesis.site.dispatchers)
    if name is not None:
        nemesis.site.services[name].send(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * nemesis.dice.uniform(1.2, 2.0))
        nemesis.site.services[name].send(signal.SIGCONT)
        nemesis.fired[f"pause {name}"] += 1


async def stop_postgres(nemesis: Nemesis) -> None:
    """PostgreSQL stops immediately, and recovers."""
    await nemesis.site.database.stop_immediately()
    await asyncio.sleep(nemesis.dice.uniform(0.0, 1.0))
    await nemesis.site.database.start()
    nemesis.fired["postgres stopped"] += 1


def spoil(choose: Callable[[Site], FaultProxy], name: str, plans: Sequence[Plan], *, seconds: float = 1.0) -> Harm:
    """One of these plans on a proxy for a while."""

    async def play(nemesis: Nemesis) -> None:
        proxy = choose(nemesis.site)
        before = proxy.fired.total()
        proxy.plan = nemesis.dice.choice(list(plans))
        try:
            await asyncio.sleep(seconds * nemesis.dice.uniform(0.5, 1.5))
        finally:
            proxy.plan = Plan()
        nemesis.fired[name] += proxy.fired.total() > before

    return play


SPOILT = (
    Plan(fault=Fault.DELAY, rate=0.2, seconds=0.3),
    Plan(fault=Fault.CUT_BEFORE, rate=0.1),
    Plan(fault=Fault.CUT_AFTER, rate=0.1),
    Plan(fault=Fault.DROP_ANSWER, rate=0.05),
    Plan(fault=Fault.BLACKHOLE, rate=0.1),
)
LOST_LINES = (Plan(fault=Fault.CUT_BEFORE, rate=0.05), Plan(fault=Fault.CUT_AFTER, rate=0.05))


def _first_door(site: Site) -> FaultProxy:
    assert site.to_dispatch is not None
    return site.to_dispatch


spoil_providers = spoil(lambda site: site.to_provider, "provider line", SPOILT)
spoil_database = spoil(lambda site: site.to_database, "database line", LOST_LINES)
spoil_callers = spoil(_first_door, "caller line", LOST_LINES)
