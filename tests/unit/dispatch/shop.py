"""A worker at work with the store and the delivery handed in. No tests."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from services.dispatch.database_clock import DatabaseClock
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.ledger import Settled, Transition
from services.dispatch.peers import Share
from services.dispatch.ports import Lease
from services.dispatch.records import Claim
from services.dispatch.turns import Turns
from services.dispatch.worker import MARGIN, Worker
from tests.builders import NOON, PROJECT, a_spec, seconds
from tests.fakes.clock import FakeClock

MEBIBYTE = 1024 * 1024
SIZE = 1000
LEASE = 30.0
# How long after its begin, or its renewal, a call may be on the wire under a lease.
SAFE = LEASE * (1 - MARGIN)


class Queue:
    """What the worker sees of the store: a queue of claims, renewals that may fail, releases that are remembered."""

    settling = 0

    def __init__(self, lease: float = LEASE) -> None:
        self.lease_seconds = lease
        self.due: list[Claim] = []
        self.limits: list[int] = []
        self.apart: list[list[UUID]] = []
        self.most: list[int] = []
        self.shares: list[Share] = []
        self.away = False
        self.renewed: list[dict[UUID, int]] = []
        self.lost: set[UUID] = set()
        self.released: dict[UUID, int] = {}
        self.applied: list[Transition] = []

    def _check(self) -> None:
        if self.away:
            raise DatabaseUnavailable

    async def claim(self, turns: Turns, share: Share, apart: Sequence[UUID] = ()) -> list[Claim]:
        self._check()
        self.most.append(turns.max_bytes)
        self.shares.append(share)
        self.limits.append(turns.limit)
        self.apart.append(list(apart))
        taken, self.due = self.due[: turns.limit], self.due[turns.limit :]
        return taken

    async def renew(self, leases: dict[UUID, int]) -> frozenset[UUID]:
        self._check()
        self.renewed.append(dict(leases))
        return frozenset(leases) - self.lost

    async def release(self, leases: dict[UUID, int]) -> None:
        self._check()
        self.released.update(leases)

    async def apply(self, transition: Transition) -> Settled:
        self.applied.append(transition)
        return Settled(held=True, at=NOON)


class Deliveries:
    """A delivery that goes on until it is let go."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.go = asyncio.Event()
        self.answer: float | None = None
        self.error: Exception | None = None

    async def __call__(self, lease: Lease) -> float | None:
        self.leases.append(lease)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return self.answer


class Shop:
    """A worker at work and everything around it."""

    def __init__(
        self, places: int = 10, *, max_bytes: int = MEBIBYTE, jitter: float = 0.5, lease: float = LEASE
    ) -> None:
        self.queue, self.deliveries, self.clock = Queue(lease), Deliveries(), FakeClock()
        self.database_clock = DatabaseClock(self.clock)
        store: Any = self.queue
        self.worker = Worker(
            store,
            self.clock,
            self.database_clock,
            max_in_flight=places,
            max_bytes=max_bytes,
            jitter=lambda: jitter,
        )
        self.worker.deliver_with(self.deliveries)


def a_claim(number: int = 1, **values: Any) -> Claim:
    """A message that is due, never tried."""
    given: dict[str, Any] = {
        "id": UUID(int=number),
        "epoch": 2,
        "claims": 1,
        "project_id": PROJECT,
        "spec": a_spec().SerializeToString(),
        "deadline": NOON + seconds(3600),
        "created_at": NOON,
        "attempts": (),
        "last_sequence": 1,
        "at": NOON,
    }
    return Claim(**{**given, **values})


async def until(condition: Callable[[], object]) -> None:
    """Returns when the condition is true; the test's own time limit is the limit."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
