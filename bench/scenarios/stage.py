"""What most scenarios begin with: a project with providers, a dispatcher that is warm, and the limits beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from bench.rig import Loop, Rig, Run
from bench.scenario import Row
from bench.site import Service

IN_FLIGHT = 64
_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One project, its providers' ports in priority order, and the dispatcher."""

    rig: Rig
    project: str
    ports: tuple[int, ...]
    dispatch: Service

    async def behave(self, place: int, **behaviour: Any) -> None:
        """How the provider at this place answers from now on (provider.py)."""
        await self.rig.providers.ask("behave", port=self.ports[place], **behaviour)

    def service(self, *, way: str = "unary", in_flight: int = IN_FLIGHT, **more: Any) -> Loop:
        """Everything that is sent this way, until the last provider has accepted the last message."""

        async def loop() -> Run:
            return await self.rig.sent(self.dispatch, self.project, self.ports, way=way, in_flight=in_flight, **more)

        return loop


async def project(rig: Rig, *kinds: str, **config: object) -> tuple[str, tuple[int, ...]]:
    """A fresh project with these providers; its id, and their ports."""
    name = f"bench-{next(_numbers)}"
    ports = tuple([await rig.provider(kind) for kind in kinds])
    for priority, (kind, port) in enumerate(zip(kinds, ports, strict=True), start=1):
        await rig.site.add_provider(name, kind, port, priority=priority, **config)
    return name, ports


@asynccontextmanager
async def staged(
    rig: Rig, *kinds: str, channel: str = "EMAIL", warm: bool = True, **settings: str
) -> AsyncIterator[Stage]:
    """A dispatcher with `settings` on empty tables, and one project with providers of these kinds."""
    await rig.postgres.empty()
    name, ports = await project(rig, *kinds)
    async with rig.dispatch(settings) as dispatch:
        stage = Stage(rig=rig, project=name, ports=ports, dispatch=dispatch)
        if warm:
            await stage.service(seconds=rig.scale.warm, channel=channel)()
        yield stage


async def relay(rig: Rig, latency: float = 0.0) -> tuple[str, int]:
    """Limit (a) with a provider of its own, warm: where it serves, and that provider's port."""
    port = await rig.provider("sendgrid")
    target = f"127.0.0.1:{await rig.limits.ask('relay', port=port)}"
    await rig.offer(target, "limit", way="unary", in_flight=IN_FLIGHT, seconds=rig.scale.warm)
    await rig.providers.ask("behave", port=port, latency=latency)
    return target, port


def relayed(rig: Rig, target: str, *, in_flight: int = IN_FLIGHT) -> Loop:
    """Limit (a) as a loop."""

    async def loop() -> Run:
        return await rig.relayed(target, in_flight=in_flight)

    return loop


def cpu(limit: str, ours: str = "service") -> Row:
    """What a message costs in the limit beside what it costs in ours: what the ratio of the rates would be if nobody
    else used the machine. It holds on a busy one too.
    """
    theirs, its = f"{limit}.cost.service_us", f"{ours}.cost.service_us"
    return Row(what="the same, by CPU time", figure=theirs, beside=its, steady=True)


def alone(rig: Rig, limit: str, port: int, *, in_flight: int = IN_FLIGHT) -> Loop:
    """Limit (b), (c) or (d) as a loop."""

    async def loop() -> Run:
        return await rig.alone(limit, port, in_flight=in_flight)

    return loop
