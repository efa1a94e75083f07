"""A ledger in memory that keeps a message's transitions as the real one does: only under the epoch that holds it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from services.adapters.outcome import Result
from services.dispatch.breaker import Breaker
from services.dispatch.ledger import Settled, Transition


class MemoryLedger:
    """Writes while the epoch is held. `epochs` says who holds what; `expired` leases may close but not open. No attempt
    begins while somebody is `suppressed`.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.epochs: dict[UUID, int] = {}
        self.expired: set[UUID] = set()
        self.written: list[Transition] = []
        self.taught: list[Transition] = []
        self.evidence: list[Transition] = []
        self.late: dict[int, Result] = {}
        self.failures: list[Exception] = []
        self.suppressed: tuple[tuple[str, str], ...] = ()
        self.before: Callable[[Transition], None] = lambda _: None

    async def apply(self, transition: Transition) -> Settled:
        """Write one step, or say that somebody else holds the message, or raise the next of `failures`."""
        self.before(transition)
        if self.failures:
            raise self.failures.pop(0)
        if transition.opens is not None and self.suppressed:
            return Settled(held=False, at=self._now(), suppressed=self.suppressed)
        held = self.epochs.get(transition.message_id, 1) == transition.epoch
        if transition.opens is not None and transition.message_id in self.expired:
            held = False
        if held:
            self.written.append(transition)
        return Settled(held=held, at=self._now())

    async def teach(self, step: Transition) -> tuple[Breaker, ...]:
        """Keep what a step taught."""
        self.taught.append(step)
        return ()

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what came too late."""
        self.evidence.append(transition)

    async def late_results(self, message_id: UUID) -> Mapping[int, Result]:
        """What came too late, by attempt; or raise the next of `failures`."""
        if self.failures:
            raise self.failures.pop(0)
        return self.late
