"""A delivery's surroundings, all of them fakes that are handed in. No tests."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker, Lesson
from services.dispatch.chain import Chain, Provider
from services.dispatch.delivery import Delivery
from services.dispatch.health import Marks
from services.dispatch.ledger import Transition
from services.dispatch.limits import Limits, Unlimited
from services.dispatch.message import Message
from services.dispatch.ports import Lease, Tools
from services.dispatch.telemetry import Telemetry
from tests.builders import NOON, a_chain, a_message
from tests.fakes.adapter import ScriptedAdapter, scripted_adapters
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger
from tests.fakes.meter import MemoryMeter


@dataclass
class Bench:
    """A delivery's surroundings, all of them fakes; `run` delivers one lease."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))
    chain: Chain | Exception = field(default_factory=a_chain)
    known: Marks = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    may_probe: bool = True
    published: list[Transition] = field(default_factory=list)
    left: float = 30.0
    public_url: str = ""
    limits: Limits = field(default_factory=Unlimited)
    meter: MemoryMeter = field(default_factory=MemoryMeter)

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock.now)
        self.adapters = scripted_adapters("ABCD", self.clock)

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain, as Chains promises."""
        if isinstance(self.chain, Exception):
            raise self.chain
        return self.chain

    def marks(self) -> Marks:
        """What is known, as Health promises."""
        return self.known

    def learned(self, breakers: tuple[Breaker, ...]) -> None:
        """How breakers stand, as Health promises."""
        self.told += [f"learned {breaker.provider_id}" for breaker in breakers]

    def begins(self, provider_id: str) -> None:
        """A call begins, as Health promises."""
        self.told.append(f"begins {provider_id}")

    def ended(self, provider_id: str, *, accepted: bool) -> None:
        """A call ended, as Health promises."""
        self.told.append(f"ended {provider_id} {accepted}")

    def accepted(self, provider_id: str) -> int:
        """How many it accepted, as Health promises."""
        return 7

    async def take_probe(self, provider: Provider, scopes: frozenset[str], prober: str, seconds: float) -> bool:
        """Whether the message may probe, as Health promises; who may not knows that somebody else does."""
        self.told.append(f"probe {provider.id} {prober} {seconds:g}")
        if not self.may_probe:
            until = self.clock.now() + timedelta(seconds=17)
            probed = [replace(mark, probed_until=until) for mark in self.known[provider.id]]
            self.known = {**self.known, provider.id: probed}
        return self.may_probe

    @property
    def lessons(self) -> list[Lesson]:
        """What was taught, with a step or after it, in order."""
        steps = sorted([*self.ledger.written, *self.ledger.taught], key=lambda step: step.events[0].sequence)
        return [step.lesson for step in steps if step.lesson is not None]

    def publish(self, message_id: UUID, project_id: str, transition: Transition, at: datetime) -> None:
        """A transition was written."""
        self.published.append(transition)

    def script(self, name: str, *steps: object) -> None:
        """What a provider's adapter plays."""
        self.adapters[name].script(*steps)

    def delivery(self, message: Message | None = None, **lease: Any) -> Delivery:
        """The delivery of a freshly leased message."""
        tools = Tools(
            chains=self,
            ledger=self.ledger,
            health=self,
            adapters={(Channel.EMAIL, adapter.spec.kind): adapter for adapter in self.adapters.values()},
            clock=self.clock,
            database_now=self.clock.now,
            fraction=lambda: 0.5,
            publish=self.publish,
            lease_left=lambda _id, _epoch: self.left,
            public_url=self.public_url,
            limits=self.limits,
            telemetry=Telemetry(self.meter),
        )
        return Delivery(tools, Lease(**{"message": message or a_message(), "epoch": 1, **lease}))

    async def run(self, message: Message | None = None, **lease: Any) -> float | None:
        """Deliver, to its end or to a wait."""
        return await self.delivery(message, **lease).run()

    @property
    def events(self) -> list[DeliveryEvent]:
        """Every event that was written, in order."""
        return [DeliveryEvent.FromString(event.payload) for step in self.ledger.written for event in step.events]

    @property
    def kinds(self) -> list[str]:
        """The events by their word."""
        return [str(event.WhichOneof("event")) for event in self.events]

    @property
    def end(self) -> Transition:
        """The last step written."""
        return self.ledger.written[-1]

    @property
    def first(self) -> ScriptedAdapter:
        """The adapter of A."""
        return self.adapters["A"]


def closed(step: Transition) -> Attempt:
    """The attempt that a step closes."""
    assert step.closes is not None
    return step.closes


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(30):
        await asyncio.sleep(0)
