"""Chains, and telling dispatchers that one changed until they have all said that they know. It reads no database.

A write is answered only when every watcher connected to *this* replica has acknowledged the change, or the patience is
over. Watchers of other replicas are told within about a second (chain_listener.py) and are not waited for.

What a watcher has not acknowledged is kept by chain, newest version only, so a slow one costs one entry per changed
chain; one that falls behind for too long, or too far, is let go and has to start anew.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.adapters.base import Channel
from services.chassis.clock import Clock
from services.chassis.errors import ResourceExhausted
from services.config.channel_config import KeptChannelConfig
from services.config.provider import Provider

PATIENCE_SECONDS = 1.0
SILENCE_SECONDS = 30.0
MAX_OUTSTANDING = 10_000
REMEMBERED_CHAINS = 10_000


class ChainKey(NamedTuple):
    """Which chain: one project's, on one channel."""

    project_id: str
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedChain:
    """A chain that is not what it was, and its version after the change."""

    key: ChainKey
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One provider of a chain; `opened` are its whole settings, empty when it is disabled. Never log it."""

    provider: Provider
    opened: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Link({self.provider.id})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """All providers of a project and channel in order, and the sender. Version 0: nothing was ever configured."""

    key: ChainKey
    version: int
    channel_config: KeptChannelConfig | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One answer on a watcher's stream: its revision, and the chains that changed since the one before."""

    revision: int
    changes: tuple[ChangedChain, ...] = ()


class _Outstanding(NamedTuple):
    version: int
    revision: int | None  # of the answer that carried it; None: not sent yet


class Watcher:
    """One connected dispatcher: what it was told, and what it has not acknowledged yet. `gone` once it is let go."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outstanding: dict[ChainKey, _Outstanding] = {}
        self._unsent = asyncio.Event()
        self._progress = asyncio.Event()
        self._revision = 0
        self._heard_at = clock.boottime()
        self._fell_behind = False
        self.gone = False

    async def announcements(self) -> AsyncIterator[Announcement]:
        """The first one is empty and says that the watch stands; then one for whatever has changed meanwhile.

        Ends when the watcher was let go; raises ResourceExhausted (OVERLOADED) when that was for falling behind.
        """
        self._revision += 1
        yield Announcement(revision=self._revision)
        while True:
            await self._unsent.wait()
            if self._fell_behind:
                raise ResourceExhausted("This watch fell behind: start a new one.", retry_after=1.0)
            if self.gone:
                return
            yield self._next()

    def tell(self, change: ChangedChain) -> None:
        """Takes the change up for the next announcement; a newer version of the same chain replaces an older one."""
        if not self._outstanding:
            self._heard_at = self._clock.boottime()
        self._outstanding[change.key] = _Outstanding(change.version, None)
        silent = self._clock.boottime() - self._heard_at
        if len(self._outstanding) > MAX_OUTSTANDING or silent > SILENCE_SECONDS:
            self._fell_behind = True
            self.let_go()
        self._unsent.set()

    def acknowledge(self, revision: int) -> None:
        """The dispatcher has dropped everything that announcements up to `revision` named."""
        sent = {key: each.revision for key, each in self._outstanding.items() if each.revision is not None}
        for key in (key for key, told in sent.items() if told <= revision):
            del self._outstanding[key]
        self._heard_at = self._clock.boottime()
        self._move()

    def let_go(self) -> None:
        """Nobody waits for this watcher any more, and it holds nothing."""
        self.gone = True
        self._outstanding.clear()
        self._unsent.set()
        self._move()

    async def settled(self, key: ChainKey) -> None:
        """Returns once nothing about this chain is outstanding."""
        while key in self._outstanding:
            await self._progress.wait()

    def _next(self) -> Announcement:
        self._unsent.clear()
        self._revision += 1
        fresh = {key: each.version for key, each in self._outstanding.items() if each.revision is None}
        self._outstanding.update({key: _Outstanding(version, self._revision) for key, version in fresh.items()})
        changes = tuple(ChangedChain(key=key, version=version) for key, version in fresh.items())
        return Announcement(revision=self._revision, changes=changes)

    def _move(self) -> None:
        moved, self._progress = self._progress, asyncio.Event()
        moved.set()


class ChangeHub:
    """Every watcher connected to this replica, and the newest version of each chain they were told of."""

    def __init__(self, clock: Clock, *, patience: float = PATIENCE_SECONDS) -> None:
        self._clock = clock
        self._patience = patience
        self._watchers: set[Watcher] = set()
        self._told: OrderedDict[ChainKey, int] = OrderedDict()
        self._closed = False

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """A watcher that is told of every change from here to the end of the block."""
        watcher = Watcher(self._clock)
        if self._closed:
            watcher.let_go()
        else:
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.let_go()

    def tell(self, change: ChangedChain) -> None:
        """Tells every watcher, unless they were told of this version or a newer one before."""
        if self._told.get(change.key, -1) >= change.version:
            return
        self._told[change.key] = change.version
        self._told.move_to_end(change.key)
        if len(self._told) > REMEMBERED_CHAINS:
            self._told.popitem(last=False)  # telling twice does no harm
        for watcher in tuple(self._watchers):
            watcher.tell(change)

    async def settle(self, key: ChainKey) -> bool:
        """Waits for every watcher's word about this chain; False when the patience was over first."""
        try:
            async with asyncio.timeout(self._patience):
                for watcher in tuple(self._watchers):
                    await watcher.settled(key)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Lets every watcher go, and every later one at once: they have to watch another replica."""
        self._closed = True
        for watcher in tuple(self._watchers):
            watcher.let_go()
