"""Everything a scenario measures with: the database, the services, the fake providers, the load generator, the limits,
and which process runs on which core. Not a scenario.

What is measured has the first core to itself; everything else shares the others. On a machine of one core nothing is
pinned, and the figures say little.
"""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.agent import Agent
from bench.postgres import Postgres, open_postgres
from bench.processes import cpu_seconds
from bench.site import Service, Site, token

Run = Mapping[str, float]
Loop = Callable[[], Awaitable[Run]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured: seconds of each loop, messages of a backlog, messages stored and queued; and the seconds
    that a loop runs before it counts.
    """

    seconds: float = 5.0
    backlog: int = 100_000
    stored: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    queued: int = 1_000_000
    warm: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which cores are for what is measured, and which for the rest; none where nothing is pinned."""

    measured: tuple[int, ...]
    rest: tuple[int, ...]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """The first one for what is measured."""
        there = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(there) < 2:
            return cls(measured=(), rest=())
        return cls(measured=(there[0],), rest=tuple(there[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """All of it, running."""

    scale: Scale
    cores: Cores
    postgres: Postgres
    site: Site
    config: Service
    providers: Agent
    load: Agent
    limits: Agent

    async def provider(self, kind: str) -> int:
        """The port of a fresh fake provider."""
        return int(await self.providers.ask("listen", kind=kind))

    @asynccontextmanager
    async def dispatch(
        self, settings: Mapping[str, str] | None = None, *, cores: Sequence[int] | None = None
    ) -> AsyncIterator[Service]:
        """A dispatcher, on the measured core unless told otherwise."""
        its = self.cores.measured if cores is None else cores
        async with self.site.service("dispatch", settings, cores=its) as service:
            yield service

    @asynccontextmanager
    async def another_database(self, name: str) -> AsyncIterator["Rig"]:
        """The same rig whose dispatchers use a database of their own: what was filled once stays while others take
        their turn.
        """
        async with self.postgres.another(name) as its:
            yield replace(self, postgres=its, site=self.site.on(its.dsn))

    async def busy(self, work: Awaitable[Mapping[str, Any]], **pids: int) -> dict[str, float]:
        """What `work` answers, and how busy each process was meanwhile, in cores: what is at 1.0 is the limit. Of
        `messages` in the answer, what each cost in microseconds of CPU too.
        """
        named = {"load": self.load.pid, "providers": self.providers.pid, "postgres": self.postgres.pid, **pids}
        before, began = {name: cpu_seconds([pid]) for name, pid in named.items()}, time.monotonic()
        answer = await work
        elapsed = time.monotonic() - began
        shares = {f"busy.{name}": (cpu_seconds([pid]) - before[name]) / elapsed for name, pid in named.items()}
        if count := answer.get("messages"):
            shares |= {f"cost.{name[5:]}_us": share * elapsed / count * 1e6 for name, share in shares.items()}
        return {**answer, **shares}

    async def sent(
        self, service: Service, project: str, ports: Sequence[int], *, way: str, in_flight: int, **more: Any
    ) -> Run:
        """A closed loop through `service` until the last message that it took was accepted by a provider at one of
        `ports`: messages a second over all of that time.
        """
        return await self.busy(
            self.until_accepted(service, project, ports, way=way, in_flight=in_flight, **more), service=service.pid
        )

    async def until_accepted(self, service: Service, project: str, ports: Sequence[int], **more: Any) -> Run:
        """The same without a look at who was busy."""
        await self.providers.ask("reset")
        said = await self.offer(service.target, project, **more)
        await self.postgres.drained(120)
        counts = [await self.providers.ask("counts", port=port) for port in ports]
        last = max(count["last_at"] for count in counts)
        accepted = sum(count["accepted"] for count in counts)
        return {
            "rate": accepted / (last - said["began"]) if last else 0.0,
            "accepted_rate": said["handed"] / (said["ended"] - said["began"]),
            "messages": accepted,
            "lost": said["handed"] - accepted,
            "refused": said["refused"],
            "accept_p50_ms": said["p50_ms"],
            "accept_p99_ms": said["p99_ms"],
        }

    async def offer(self, target: str, project: str, *, way: str, in_flight: int, **more: Any) -> Mapping[str, float]:
        """The load generator's own account of a closed loop."""
        asked = {"seconds": self.scale.seconds, **more}
        answer: Mapping[str, float] = await self.load.ask(
            "throughput", target=target, token=token(), project=project, way=way, in_flight=in_flight, **asked
        )
        return answer

    async def paced(self, service: Service, project: str, *, rate: float) -> Run:
        """An open loop of single messages through `service`, `rate` a second."""
        return await self.busy(self._paced(service.target, project, rate), service=service.pid)

    async def _paced(self, target: str, project: str, rate: float) -> Run:
        said = await self.load.ask(
            "latency", target=target, token=token(), project=project, way="unary", rate=rate, seconds=self.scale.seconds
        )
        return {"rate": rate, "refused": said["refused"], "p50_ms": said["p50_ms"], "p99_ms": said["p99_ms"]}

    async def relayed(self, target: str, *, in_flight: int, way: str = "unary") -> Run:
        """Limit (a), which serves at `target`."""
        return await self.busy(self._relayed(target, in_flight, way), service=self.limits.pid)

    async def _relayed(self, target: str, in_flight: int, way: str) -> Run:
        said = await self.offer(target, "limit", way=way, in_flight=in_flight)
        return _limit(said)

    async def alone(self, limit: str, port: int, *, in_flight: int) -> Run:
        """Limit (b), (c) or (d): a loop that is client and measured in one."""
        return await self.busy(self._alone(limit, port, in_flight), service=self.limits.pid)

    async def _alone(self, limit: str, port: int, in_flight: int) -> Run:
        said = await self.limits.ask(limit, port=port, in_flight=in_flight, seconds=self.scale.seconds)
        return _limit(said)


def _limit(said: Mapping[str, float]) -> Run:
    """What a limit's loop came to: there, what is handed over has been accepted."""
    took = said["ended"] - said["began"]
    return {"rate": said["handed"] / took, "messages": said["handed"], "p99_ms": said["p99_ms"]}


@asynccontextmanager
async def open_rig(scale: Scale) -> AsyncIterator[Rig]:
    """Everything serves within the block except dispatchers: each scenario starts its own."""
    cores = Cores.of_this_machine()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mp-bench-logs-")))
        postgres = await stack.enter_async_context(open_postgres(cores.rest))
        site = Site(postgres.dsn, folder)
        config = await stack.enter_async_context(site.service("config", cores=cores.rest))
        agents = {}
        for name, its in (("provider", cores.rest), ("load", cores.rest), ("limits", cores.measured)):
            agents[name] = await Agent.start(f"bench.{name}", cores=its, log=folder / f"{name}.log")
            stack.push_async_callback(agents[name].stop)
        yield Rig(
            scale=scale,
            cores=cores,
            postgres=postgres,
            site=site,
            config=config,
            providers=agents["provider"],
            load=agents["load"],
            limits=agents["limits"],
        )
