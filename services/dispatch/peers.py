"""Which dispatchers live, and which shards each of them looks at first. A preference only: nothing is safe or unsafe by
it, so a wrong picture costs a second and no message.

There is no assignment service: every dispatcher says each second that it lives, sees the others, and ranks itself
among them by name. Each rank has its part of the 1,024 shards; what nobody took for a second is everybody's.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Never

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.ledger import Connection

BEAT_SECONDS = 1.0
LIVES_SECONDS = 5.0
"""Who was silent for longer does not count any more."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one dispatcher among `count`: each rank has a range of the 1,024 shards."""

    rank: int = 0
    count: int = 1


ALL = Share()


class Peers:
    """The dispatchers on this database, at most a second behind; alone until the first beat."""

    def __init__(
        self, transaction: Callable[[], AbstractAsyncContextManager[Connection]], clock: Clock, *, name: str
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._name = name
        self._names: Sequence[str] = (name,)
        self._left = False
        self._log = get_logger()

    @property
    def count(self) -> int:
        """How many dispatchers live, ours included."""
        return len(self._names)

    @property
    def rank(self) -> int:
        """Our place among them, from 0."""
        return self._names.index(self._name)

    @property
    def share(self) -> Share:
        """Our part of the shards."""
        return Share(self.rank, self.count)

    async def beat(self) -> None:
        """Say that we live, and see who else does. While the database does not answer, what is known stays
        known.
        """
        if self._left:
            return
        try:
            async with self._transaction() as connection:
                rows = await connection.fetch(_BEAT, self._name, LIVES_SECONDS)
        except DatabaseUnavailable as error:
            self._log.warning("beat_failed", cause=type(error.__cause__).__name__)
            return
        names = [row["name"] for row in rows]
        if len(names) != self.count:
            self._log.info("peers_changed", dispatchers=len(names))
        self._names = names

    async def run(self) -> Never:
        """Beat once a second until cancelled."""
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            await self.beat()

    async def leave(self) -> None:
        """We take nothing more: the others share our part at once, not only after we were silent for long."""
        self._left = True
        try:
            async with self._transaction() as connection:
                await connection.execute(_LEAVE, self._name)
        except DatabaseUnavailable as error:
            self._log.warning("leave_failed", cause=type(error.__cause__).__name__)


# Whoever beats sweeps too. Sweepers pass each other's rows by, so that they can not deadlock.
_BEAT = """
WITH beat AS (
    INSERT INTO dispatch.workers (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET seen_at = now() RETURNING name
), swept AS (
    DELETE FROM dispatch.workers WHERE name IN (
        SELECT name FROM dispatch.workers WHERE seen_at < now() - interval '1 minute' AND name <> $1
        FOR UPDATE SKIP LOCKED
    )
)
SELECT name FROM beat
UNION SELECT name FROM dispatch.workers WHERE seen_at > now() - $2 * interval '1 second'
ORDER BY name
"""
_LEAVE = "DELETE FROM dispatch.workers WHERE name = $1"
