"""How the steps of one lease are written, whatever happens meanwhile: the database goes away, the lease ends, the
process stops. Which steps: delivery.py.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from services.chassis.errors import ResourceExhausted, Unavailable
from services.chassis.log import get_logger
from services.dispatch.ledger import Settled, Transition
from services.dispatch.ports import Tools

T = TypeVar("T")

PAUSE, LONGEST_PAUSE = 0.1, 5.0
LONGEST_LESSON = 1.0
# How long a stopping process still tries to write what a provider answered; then the attempt stays open and becomes
# unknown.
ON_STOP = 3.0


class Fenced(Exception):
    """Somebody else holds the message: stop, they go on."""


class Settler:
    """Writes and tells the steps of one lease."""

    def __init__(self, tools: Tools, message_id: UUID, epoch: int) -> None:
        self._tools = tools
        self._message_id, self._epoch = message_id, epoch
        self._teaching: asyncio.Task[None] | None = None
        self._log = get_logger(message=str(message_id), epoch=epoch)

    async def write(self, transition: Transition) -> Settled:
        """Make a step durable and tell it; Fenced when somebody else has the message, or when a start can not be
        recorded. What a provider answered is kept in either case. A step that is answered `suppressed` is not written.

        What a step taught is written with it; but the next provider does not wait for that, only the next step does.
        """
        lesson = transition.lesson if transition.fails_over else None
        if lesson is not None:
            transition = replace(transition, lesson=None)
        settled = await _outlives_cancellation(self._persist(transition))
        if settled.suppressed:
            return settled
        if settled.held:
            self._tell(transition, settled)
            if lesson is not None:
                # In a context of its own: it is nobody's call, and goes on when this delivery is cut.
                step = replace(transition, lesson=lesson, engagement=None)
                self._teaching = asyncio.create_task(self._teach(step), name="teach", context=contextvars.Context())
            return settled
        if transition.fails_over:
            # The lease ended while the provider answered. If nobody took the message yet, the answer still counts.
            given_up = replace(
                transition,
                opens=None,
                lesson=lesson,
                engagement=None,
                amends=(),
                due_in=0.0,
                events=transition.events[:1],
            )
            settled = await _outlives_cancellation(self._persist(given_up))
            if settled.held:
                self._tell(given_up, settled)
                raise Fenced
        if transition.closes is not None:
            keeping = self.until_answered(lambda: self._tools.ledger.keep_evidence(transition), for_ever=True)
            await _outlives_cancellation(keeping)
        raise Fenced

    async def _teach(self, step: Transition) -> None:
        """Write what a step taught. Without the database it is lost: the next message learns it again."""
        try:
            self._tools.health.learned(await self._tools.ledger.teach(step))
        except (Unavailable, ResourceExhausted) as error:
            self._log.warning("lesson_lost", cause=type(error.__cause__).__name__)
        except Exception:  # noqa: BLE001 - whatever it is, the message goes on without it
            self._log.exception("lesson_failed")

    async def _taught(self) -> None:
        """Returns when the last lesson is written, so that whoever sees how a message ended can rely on it; or after a
        moment, because what a provider answered must not wait for long.
        """
        if self._teaching is not None:
            await asyncio.wait([self._teaching], timeout=LONGEST_LESSON)
            self._teaching = None

    async def until_answered(self, ask: Callable[[], Awaitable[T]], *, for_ever: bool) -> T:
        """What the database answers, asked again while it is away: for as long as that takes, or Fenced when the lease
        ends.
        """
        pause = PAUSE
        while True:
            try:
                return await ask()
            except (Unavailable, ResourceExhausted) as error:
                self._log.warning("settle_failed", cause=type(error.__cause__).__name__)
                if not for_ever and self._tools.lease_left(self._message_id, self._epoch) <= 0:
                    raise Fenced from error
            await self._tools.clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _persist(self, transition: Transition) -> Settled:
        """Write, after what the last step taught, until it is known what became of it; a start that brings no result
        only for as long as the lease lives.
        """
        await self._taught()
        for_ever = transition.closes is not None
        return await self.until_answered(lambda: self._tools.ledger.apply(transition), for_ever=for_ever)

    def _tell(self, transition: Transition, settled: Settled) -> None:
        self._tools.health.learned(settled.breakers)
        self._tools.publish(self._message_id, transition.project_id, transition, settled.at)


async def _outlives_cancellation(writing: Awaitable[T]) -> T:
    """What a provider answered is written even when this task is told to stop meanwhile; then the stop goes on."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=ON_STOP)
        task.cancel()
        raise
