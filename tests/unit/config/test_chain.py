"""Telling watchers and waiting for their word."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from services.adapters.base import Channel
from services.chassis.errors import ResourceExhausted
from services.config.chain import (
    MAX_OUTSTANDING,
    SILENCE_SECONDS,
    Announcement,
    ChainKey,
    ChangedChain,
    ChangeHub,
    Link,
    Watcher,
)
from tests.unit.config.builders import a_provider

KEY = ChainKey("shop", Channel.EMAIL)


class HandClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """A fixed day."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def boottime(self) -> float:
        """Whatever it was set to."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Moves on."""
        self.seconds += seconds


def a_change(version: int, key: ChainKey = KEY) -> ChangedChain:
    """A change of the shop's email chain."""
    return ChangedChain(key=key, version=version)


def a_hub(clock: HandClock | None = None) -> ChangeHub:
    """A hub that waits for 0.05 seconds."""
    return ChangeHub(clock or HandClock(), patience=0.05)


async def begun(watcher: Watcher) -> AsyncIterator[Announcement]:
    """The watcher's announcements after the first one."""
    announcements = watcher.announcements()
    assert await anext(announcements) == Announcement(revision=1)
    return announcements


async def test_nobody_to_wait_for() -> None:
    """Without watchers a change is settled at once."""
    hub = a_hub()
    hub.tell(a_change(1))
    assert await hub.settle(KEY)


async def test_settled_when_acknowledged() -> None:
    """A change is settled by the acknowledgement of the announcement that carried it, or of a later one."""
    hub = a_hub()
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        hub.tell(a_change(1))
        assert not await hub.settle(KEY)
        told = await anext(announcements)
        assert told == Announcement(revision=2, changes=(a_change(1),))
        watcher.acknowledge(1)
        assert not await hub.settle(KEY)
        watcher.acknowledge(2)
        assert await hub.settle(KEY)


async def test_unsent_change_is_not_acknowledged_by_a_big_number() -> None:
    """A watcher can not acknowledge what it was never sent."""
    hub = a_hub()
    with hub.watch() as watcher:
        hub.tell(a_change(1))
        watcher.acknowledge(2**62)
        assert not await hub.settle(KEY)


async def test_changes_are_coalesced() -> None:
    """What was not sent yet is sent as the newest version of each chain, once."""
    hub = a_hub()
    other = ChainKey("shop", Channel.SMS)
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        for version in range(1, 6):
            hub.tell(a_change(version))
        hub.tell(a_change(1, other))
        told = await anext(announcements)
        assert told.changes == (a_change(5), a_change(1, other))


async def test_newer_change_needs_its_own_acknowledgement() -> None:
    """A chain that changed again after it was sent is not settled by the word about the older version."""
    hub = a_hub()
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        hub.tell(a_change(1))
        await anext(announcements)
        hub.tell(a_change(2))
        watcher.acknowledge(2)
        assert not await hub.settle(KEY)
        await anext(announcements)
        watcher.acknowledge(3)
        assert await hub.settle(KEY)


async def test_same_version_is_told_once() -> None:
    """A change that is heard of twice, as by NOTIFY and by polling, or out of order, is told once."""
    hub = a_hub()
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        hub.tell(a_change(2))
        await anext(announcements)
        watcher.acknowledge(2)
        hub.tell(a_change(2))
        hub.tell(a_change(1))
        assert await hub.settle(KEY)


async def test_other_chains_are_not_waited_for() -> None:
    """A write waits for its own chain only."""
    hub = a_hub()
    with hub.watch():
        hub.tell(a_change(1))
        assert await hub.settle(ChainKey("other", Channel.EMAIL))


async def test_gone_watcher_is_not_waited_for() -> None:
    """A watcher that leaves while somebody waits ends the wait."""
    hub = ChangeHub(HandClock(), patience=10)
    with hub.watch():
        hub.tell(a_change(1))
        waiting = asyncio.create_task(hub.settle(KEY))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 1)


async def test_silent_watcher_is_let_go() -> None:
    """A watcher that acknowledges nothing for half a minute holds nothing any more and is told to start anew."""
    clock = HandClock()
    hub = a_hub(clock)
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        hub.tell(a_change(1))
        clock.seconds = SILENCE_SECONDS + 1
        hub.tell(a_change(2))
        assert await hub.settle(KEY)
        with pytest.raises(ResourceExhausted):
            await anext(announcements)


async def test_quiet_time_is_not_silence() -> None:
    """An hour without changes says nothing about a watcher."""
    clock = HandClock()
    hub = a_hub(clock)
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        clock.seconds = 3600
        hub.tell(a_change(1))
        assert (await anext(announcements)).changes == (a_change(1),)


async def test_watcher_holds_a_bounded_number_of_chains() -> None:
    """A watcher that takes nothing is let go before it holds more chains than the limit."""
    hub = a_hub()
    with hub.watch() as watcher:
        for number in range(MAX_OUTSTANDING + 1):
            hub.tell(a_change(1, ChainKey(f"p{number}", Channel.SMS)))
        assert watcher.gone


async def test_closed_hub_ends_every_watch() -> None:
    """Open watches end without an error, and new ones end after their first answer."""
    hub = a_hub()
    with hub.watch() as watcher:
        announcements = await begun(watcher)
        hub.close()
        assert [each async for each in announcements] == []
    with hub.watch() as late:
        assert [each.revision async for each in late.announcements()] == [1]


def test_link_does_not_print_credentials() -> None:
    """The repr of a link is its provider's id."""
    assert "canary" not in repr(Link(provider=a_provider(), opened={"apiKey": "canary"}))
