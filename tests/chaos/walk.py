"""A long story by seed over a World: the same moves as test_state_machine.py has, weighted so that messages get far."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.adapters.receipts import ReceiptStatus
from tests.chaos.invariants import hold
from tests.chaos.miniature import LEASE_SECONDS
from tests.chaos.pair import FAILURES, fail_next
from tests.chaos.world import World

OUTCOMES = ("accepted", "accepted", "deferred", "unknown", "unknown but taken", "invalid")
STATUSES = (ReceiptStatus.DELIVERED, ReceiptStatus.BOUNCED_SOFT, ReceiptStatus.BOUNCED_HARD)

Move = Callable[[], Awaitable[None]]


@dataclass
class Walker:
    """Moves by dice; the invariants hold after each move."""

    world: World
    dice: random.Random

    async def walk(self, steps: int) -> None:
        """So many moves."""
        moves: list[tuple[int, Move]] = [
            (10, self._accept),
            (4, self._accept_keyed),
            (18, self._claim),
            (6, self._renew),
            (4, self._renew_late),
            (6, self._look),
            (10, self._suspect),
            (26, self._answer),
            (4, self._pause),
            (10, self._resume),
            (4, self._sleep_through_a_takeover),
            (2, self._crash),
            (3, self._drain),
            (4, self._die_of_it),
            (4, self._stand_before_the_wire),
            (3, self._retry),
            (10, self._advance),
            (2, self._cancel),
            (6, self._receipt),
            (4, self._fail),
        ]
        for _ in range(steps):
            (move,) = self.dice.choices([move for _, move in moves], [weight for weight, _ in moves])
            await move()
            await hold(self.world)

    def _place(self) -> int:
        return self.dice.randrange(2)

    async def _accept(self) -> None:
        await self.world.accept(
            self._place(),
            at_most_once=self.dice.random() < 0.4,
            tries=self.dice.randint(1, 3),
            again=self.dice.random() < 0.5,
            ttl=self.dice.choice([5, 60, 3600, 3600]),
        )

    async def _accept_keyed(self) -> None:
        key, subject = self.dice.choice("kl"), self.dice.choice(["Hello", "Hello", "Hello", "Goodbye"])
        await self.world.accept_keyed(self._place(), key, subject)

    async def _claim(self) -> None:
        await self.world.claim(self._place())

    async def _renew(self) -> None:
        await self.world.renew(self._place())

    async def _renew_late(self) -> None:
        await self.world.renew_late(self._place(), self.dice.randrange(50), self.dice.choice(OUTCOMES))

    async def _look(self) -> None:
        await self.world.look(self._place())

    async def _suspect(self) -> None:
        await self.world.suspect(self._place())

    async def _stand_before_the_wire(self) -> None:
        await self.world.stand_before_the_wire(self._place())

    async def _retry(self) -> None:
        if self.world.accepted:
            await self.world.retry(self.dice.randrange(50), accept_duplicate=self.dice.random() < 0.5)

    async def _answer(self) -> None:
        if self.world.waiting():
            await self.world.answer(self.dice.randrange(50), self.dice.choice(OUTCOMES))

    async def _pause(self) -> None:
        await self.world.pause(self._place())

    async def _resume(self) -> None:
        await self.world.resume(self._place())

    async def _sleep_through_a_takeover(self) -> None:
        place = self._place()
        await self.world.pause(place)
        await self._answer()
        await self.world.advance(LEASE_SECONDS + 1)
        await self.world.claim(1 - place)
        await self.world.resume(place)

    async def _crash(self) -> None:
        await self.world.crash(self._place())

    async def _drain(self) -> None:
        await self.world.drain(self._place(), at_once=self.dice.random() < 0.5)

    async def _die_of_it(self) -> None:
        at_once = self.dice.random() < 0.5
        for _ in range(self.dice.randint(1, 4)):
            await self.world.die_of_it(self._place(), at_once=at_once)

    async def _advance(self) -> None:
        await self.world.advance(self.dice.choice([0.5, 1.0, 3.0, 11.0, 31.0]))

    async def _cancel(self) -> None:
        if self.world.accepted:
            await self.world.cancel(self.dice.randrange(50))

    async def _receipt(self) -> None:
        if self.world.calls:
            await self.world.receipt(self.dice.randrange(50), self.dice.choice(STATUSES))

    async def _fail(self) -> None:
        fail_next(self.dice.choice(sorted(FAILURES)))
