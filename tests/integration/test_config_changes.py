"""Configuration changes under load with two dispatchers: known to both within a second, and no message is lost for it
(R1, X19, X20).
"""

import asyncio
import itertools
import time
from typing import Any

from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb

from tests.integration.breakers import another_dispatcher
from tests.integration.rig import Pipe, Story, eventually, metadata, rig

LONGEST = 1.0
PER_SECOND = 60


class Load:
    """Messages at a steady rate through both dispatchers in turn, each followed to its end."""

    def __init__(self, pipe: Pipe, *stubs: Any) -> None:
        self._pipe, self._stubs = pipe, itertools.cycle(stubs)
        self._stop = asyncio.Event()
        self.handed_in = 0
        self.stories: list[tuple[float, Story]] = []  # when it was handed in

    async def run(self) -> None:
        """Until `end`."""
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                group.create_task(self._one(next(self._stubs)))
                await asyncio.sleep(1 / PER_SECOND)

    def end(self) -> None:
        """No more."""
        self._stop.set()

    async def more(self, count: int) -> None:
        """Returns when so many more were handed in, however slow the machine is."""
        enough = self.handed_in + count
        await eventually(lambda: self.handed_in >= enough, seconds=30)

    async def _one(self, stub: Any) -> None:
        at = time.monotonic()
        self.handed_in += 1
        call = stub.DispatchMessage(pb.DispatchMessageRequest(message=self._pipe.spec()), metadata=metadata())
        self.stories.append((at, Story([event async for event in call])))


async def test_changes_reach_both_dispatchers_within_a_second_and_lose_nothing(database_url: str) -> None:
    """Raised, disabled and enabled again under 60 messages/s: each write is known to both dispatchers within a second,
    in fact when it is acknowledged; every message ends as sent, none is sent twice.
    """
    async with rig(database_url) as pipe, another_dispatcher(pipe, database_url) as second:
        await pipe.chain("A", "B")
        load = Load(pipe, pipe.messages, second.messages)
        running = asyncio.create_task(load.run())
        known: list[tuple[float, float, str]] = []
        changes: list[tuple[str, dict[str, Any], str]] = [
            ("A", {"priority": 9}, "B:accepted"),
            ("B", {"enabled": False}, "A:accepted"),
            ("B", {"enabled": True}, "B:accepted"),
        ]
        for name, change, first in changes:
            await load.more(40)
            asked = time.monotonic()
            await pipe.change(name, **change)
            known.append((asked, time.monotonic(), first))
        await load.more(40)
        load.end()
        await running

    # What was handed in shortly before a change may be decided after it.
    bounds = [*(asked - 0.1 for asked, _, _ in known[1:]), float("inf")]
    for (asked, written, first), until in zip(known, bounds, strict=True):
        assert written - asked < LONGEST
        assert {story.calls for at, story in load.stories if written <= at < until} == {first}
    assert {story.state for _, story in load.stories} == {"SENT"}
    assert len(load.stories) > PER_SECOND
    assert sum(len(adapter.calls) for adapter in pipe.adapters.values()) == len(load.stories)
