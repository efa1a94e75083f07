"""What one dispatcher does with messages whose dispatchers died: suspects alone, one after the other; what nobody
survives is taken out of work. The rules are quarantine.py's.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Never
from uuid import UUID

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import history as tell
from services.dispatch import quarantine_book as book
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.failover import Finish, possible_duplicate
from services.dispatch.ledger import Completion, Settled, Transition, apply
from services.dispatch.message import EndReason
from services.dispatch.quarantine import end_of_quarantined
from services.dispatch.store import Store
from services.dispatch.telemetry import UNCOUNTED, Telemetry
from services.dispatch.worker import Worker

PAUSE = 1.0
# How long a suspect has this dispatcher to itself, as far as suspects go. A message that kills does so soon; one that
# waits for a slow provider must not hold up the others for as long.
ALONE_SECONDS = 5.0

Publish = Callable[[UUID, str, Transition, datetime], None]


class Suspects:
    """Looks after messages with strikes, for as long as the process lives."""

    def __init__(
        self, store: Store, worker: Worker, clock: Clock, publish: Publish, telemetry: Telemetry = UNCOUNTED
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._publish, self._telemetry = publish, telemetry
        self._log = get_logger()

    async def run(self) -> Never:
        """Until cancelled: every second, and at once as long as there is something to do."""
        while True:
            try:
                busy = await self.take_one_out() or await self.work_on_one()
            except DatabaseUnavailable as error:
                self._log.warning("suspects_wait", cause=type(error.__cause__).__name__)
                busy = False
            if not busy:
                await self._clock.sleep(PAUSE)

    async def work_on_one(self) -> bool:
        """Whether there was a suspect; it was worked on to its end, or for as long as it may hold up the others."""
        since = self._clock.boottime()
        claim = await self._worker.claim_alone(lambda: self._store.claim_suspect(self._worker.lost()))
        if claim is None:
            return False
        self._log.warning("suspect", message=str(claim.id), claims=claim.claims)
        task = await self._worker.take_up(claim, since)
        if task is not None:
            await asyncio.wait([task], timeout=ALONE_SECONDS)
        return True

    async def take_one_out(self) -> bool:
        """Whether there was a message that nobody survives; its dispatch has ended, and everybody can see why."""
        async with self._store.transaction() as connection:
            struck = await book.take_out(connection)
            if struck is None:
                return False
            step = _last_step(struck, end_of_quarantined(struck.history))
            (settled,) = await apply(connection, [step], self._store.lease_seconds)
        self._tell(struck, step, settled)
        return True

    def _tell(self, struck: book.Struck, step: Transition, settled: Settled) -> None:
        self._telemetry.taken_out(EndReason.QUARANTINED)
        self._log.error("quarantined", message=str(struck.id), attempts=len(struck.history))
        self._publish(struck.id, struck.project_id, step, settled.at)


def _last_step(struck: book.Struck, finish: Finish) -> Transition:
    closed = ([struck.closes] if struck.closes else []) + list(struck.amends)
    end = tell.completed if struck.ended is None else tell.ended_again
    events = [*map(tell.attempt_finished, closed), end(finish, struck.history)]
    completion = Completion(
        state=finish.state,
        reason=finish.reason,
        provider_id=finish.attempt.provider_id if finish.attempt else "",
        kind=finish.attempt.kind if finish.attempt else "",
        possible_duplicate=possible_duplicate(struck.history),
    )
    return Transition(
        message_id=struck.id,
        project_id=struck.project_id,
        epoch=struck.epoch,
        closes=struck.closes,
        amends=struck.amends,
        completes=completion,
        events=tell.numbered(struck.last_sequence, events),
    )
