"""What a delivery asks of its surroundings, as protocols: tests hand in fakes that keep them. No code."""

from typing import Protocol

from services.adapters.base import Channel
from services.dispatch.breaker import Breaker
from services.dispatch.chain import Chain, Provider
from services.dispatch.health import Marks
from services.dispatch.ledger import Settled, Transition


class Chains(Protocol):
    """Where chains come from."""

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain as it is now; raises ConfigUnavailable."""


class Ledger(Protocol):
    """Where transitions are written."""

    async def apply(self, transition: Transition) -> Settled:
        """Write one step, or learn that somebody else holds the message."""

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what was learned too late to settle."""


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
        """How many messages this process saw the provider accept within a minute."""

    async def take_probe(self, provider: Provider, scopes: frozenset[str], prober: str, seconds: float) -> bool:
        """Whether `prober` alone, in all processes, may probe the provider for so many seconds."""
