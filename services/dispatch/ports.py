"""What a delivery works on and with: the lease, and its surroundings as protocols, of which tests hand in fakes. Not
what it does with them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from services.adapters.base import Adapter, Channel
from services.adapters.joint import JointCalls
from services.adapters.outcome import Result
from services.chassis.clock import Clock
from services.chassis.tracing import NO_TRACES, TraceContext, Tracing
from services.dispatch.attempt import Attempt
from services.dispatch.breaker import Breaker
from services.dispatch.chain import Chain, Provider
from services.dispatch.generation import FIRST, Generation
from services.dispatch.health import Marks
from services.dispatch.ledger import Completion, Settled, Transition
from services.dispatch.limits import Limits, Unlimited
from services.dispatch.message import Message
from services.dispatch.retry import DEFAULT_BACKOFF, Backoff
from services.dispatch.telemetry import UNCOUNTED, Telemetry


class Chains(Protocol):
    """Where chains come from."""

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain as it is now; raises ConfigUnavailable."""


class Ledger(Protocol):
    """Where transitions are written."""

    async def apply(self, transition: Transition) -> Settled:
        """Write one step, or learn that somebody else holds the message."""

    async def teach(self, step: Transition) -> tuple[Breaker, ...]:
        """Write what a step taught that is settled already; answers how the breakers stand that it was about."""

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what was learned too late to settle."""

    async def late_results(self, message_id: UUID) -> Mapping[int, Result]:
        """What was learned too late of a message's attempts, by number."""


class Health(Protocol):
    """What is known about providers."""

    def marks(self) -> Marks:
        """Every mark by provider id."""

    def learned(self, breakers: tuple[Breaker, ...]) -> None:
        """How breakers stand after a step that was written; the others see it a moment later."""

    def begins(self, provider_id: str) -> None:
        """A call to the provider begins."""

    def ended(self, provider_id: str, *, accepted: bool) -> None:
        """A call ended."""

    def accepted(self, provider_id: str) -> int:
        """How many messages this process saw the provider accept within SHARE_WINDOW."""

    async def take_probe(self, provider: Provider, scopes: frozenset[str], prober: str, seconds: float) -> bool:
        """Whether `prober` alone, in all processes, may probe the provider for so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one message under one epoch; `waited` says that a wait after its last attempt is over,
    `waits_for` which provider it waited for because that one was at its limit, `ended` how its dispatch had ended
    before a receipt, or the want of one, or a retry brought it back. `together` is the same for the messages of one
    bulk request; it is not stored, so whoever claims one of them later works on it alone. Nor is `trace`, the
    trace context of its caller.
    """

    message: Message
    epoch: int
    history: tuple[Attempt, ...] = ()
    last_sequence: int = 1
    waited: bool = False
    waits_for: str = ""
    ended: Completion | None = None
    generation: Generation = FIRST
    together: str = ""
    trace: TraceContext | None = None

    @property
    def id(self) -> UUID:
        """The message's id."""
        return self.message.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a delivery works with; all of it is handed in by app.py."""

    chains: Chains
    ledger: Ledger
    health: Health
    adapters: Mapping[tuple[Channel, str], Adapter]
    clock: Clock
    database_now: Callable[[], datetime]
    fraction: Callable[[], float]
    publish: Callable[[UUID, str, Transition, datetime], None]
    lease_left: Callable[[UUID, int], float]
    give_up: Callable[[UUID, int], None] = lambda _id, _epoch: None
    limits: Limits = field(default_factory=Unlimited)
    joint: JointCalls = field(default_factory=JointCalls)
    public_url: str = ""
    backoff: Backoff = DEFAULT_BACKOFF
    telemetry: Telemetry = UNCOUNTED
    tracing: Tracing = NO_TRACES

    def receipts_url(self, kind: str, provider_id: str) -> str:
        """Where a provider's receipts are taken; "" when the service was not told how it is known outside."""
        return f"{self.public_url}/receipts/{kind}/{provider_id}" if self.public_url else ""
