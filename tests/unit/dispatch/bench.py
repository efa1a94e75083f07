"""A delivery's surroundings, all of them fakes that are handed in. No tests."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain
from services.dispatch.delivery import Delivery, Lease, Tools
from services.dispatch.health import Mark, Marks
from services.dispatch.ledger import Transition
from services.dispatch.message import Message
from tests.builders import NOON, a_chain, a_message
from tests.fakes.adapter import ScriptedAdapter, scripted_adapters
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


@dataclass
class Bench:
    """A delivery's surroundings, all of them fakes; `run` delivers one lease."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))
    chain: Chain | Exception = field(default_factory=a_chain)
    known: Marks = field(default_factory=dict)
    lessons: list[Mark] = field(default_factory=list)
    published: list[Transition] = field(default_factory=list)
    left: float = 30.0
    public_url: str = ""

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

    def learned(self, mark: Mark) -> None:
        """A lesson, as Health promises."""
        self.lessons.append(mark)

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
