"""Events on their way to whoever watches: this process's own at once, everybody's from the database. Nothing is kept
for watchers.

A watcher is handed events directly while they follow the last one it has seen; after a gap, an overflow or a poll it
reads the database from where it stands. So being late, coming back and being slow are one case.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.chassis.errors import Unavailable
from services.dispatch import history as tell
from services.dispatch.ledger import Event, Transition
from services.dispatch.records import StoredEvent
from services.dispatch.resume import Position, token_from_position

RING = 256
RING_BYTES = 256 * 1024
# Of one read for one watcher: who does not read holds it until the stream is ended.
PAGE = 100
SHORTEST_POLL, LONGEST_POLL = 0.05, 1.0

Key = TypeVar("Key", bound=Hashable)


class EventReader(Protocol):
    """Where events are read."""

    async def events_after(self, message_id: UUID, sequence: int, limit: int = ...) -> list[StoredEvent]:
        """The events of a message after `sequence`, in order."""

    async def is_completed(self, message_id: UUID) -> bool:
        """Whether the dispatch of a message has ended."""

    async def project_events_after(self, project_id: str, position: Position, limit: int = ...) -> list[StoredEvent]:
        """The events of a project after a position, in commit order."""


class Moved(Unavailable):
    """The stream goes on at another process, from the place that `metadata` name: the one that told it so far stops."""

    def __init__(self, **place: str) -> None:
        super().__init__("This process is stopping; take the stream up again.", metadata=place, retry_after=0.5)


class Inbox:
    """What one watcher has not taken yet: at most `RING` events of `RING_BYTES`; on overflow all are dropped and the
    database is asked.
    """

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []
        self._bytes = 0
        self._hint = asyncio.Event()
        self.closed = False

    def close(self) -> None:
        """Nothing will come any more."""
        self.closed = True
        self._hint.set()

    def put(self, events: list[StoredEvent]) -> None:
        """Hand over events, or only the hint that there are some."""
        self._bytes += sum(len(event.payload) for event in events)
        if len(self._events) + len(events) > RING or self._bytes > RING_BYTES:
            self._events.clear()
            self._bytes = 0
        else:
            self._events.extend(events)
        self._hint.set()

    def take(self) -> list[StoredEvent]:
        """Everything that was handed over."""
        events, self._events, self._bytes = self._events, [], 0
        self._hint.clear()
        return events

    async def wait(self, seconds: float) -> bool:
        """Whether something came within `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        return self._hint.is_set()


class EventHub:
    """Hands this process's events to its watchers, by message and by project."""

    def __init__(self) -> None:
        self._by_message: dict[UUID, set[Inbox]] = defaultdict(set)
        self._by_project: dict[str, set[Inbox]] = defaultdict(set)
        self._projects_closed = self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing happens here any more."""
        return self._closed

    def close_projects(self) -> None:
        """The process stops: who watches a project is sent elsewhere."""
        self._projects_closed = True
        for inbox in _all(self._by_project):
            inbox.close()

    def close(self) -> None:
        """Nothing happens here any more: who watches a message is told what was written, and sent elsewhere."""
        self.close_projects()
        self._closed = True
        for inbox in _all(self._by_message):
            inbox.close()

    def publish(self, message_id: UUID, project_id: str, transition: Transition, at: datetime) -> None:
        """The events of a transition that was written at `at`."""
        self.tell(message_id, project_id, transition.events, at)

    def tell(self, message_id: UUID, project_id: str, told: Iterable[Event], at: datetime) -> None:
        """Events of a message that were written at `at`."""
        inboxes = self._by_message.get(message_id)
        if inboxes:
            events = [tell.just_told(message_id, event, at) for event in told]
            for inbox in inboxes:
                inbox.put(events)
        self.hint(project_id)

    def hint(self, project_id: str) -> None:
        """Something of this project was written."""
        for inbox in self._by_project.get(project_id, ()):
            inbox.put([])

    def of_message(self, message_id: UUID) -> contextlib.AbstractContextManager[Inbox]:
        """An inbox for the events of one message, for as long as the block runs."""
        return _listed(self._by_message, message_id, closed=self._closed)

    def of_project(self, project_id: str) -> contextlib.AbstractContextManager[Inbox]:
        """An inbox for hints about one project, for as long as the block runs."""
        return _listed(self._by_project, project_id, closed=self._projects_closed)


def _all(inboxes: dict[Key, set[Inbox]]) -> list[Inbox]:
    return [inbox for each in inboxes.values() for inbox in each]


@contextlib.contextmanager
def _listed(inboxes: dict[Key, set[Inbox]], key: Key, *, closed: bool) -> Iterator[Inbox]:
    inbox = Inbox()
    if closed:
        inbox.close()
    inboxes[key].add(inbox)
    try:
        yield inbox
    finally:
        inboxes[key].discard(inbox)
        if not inboxes[key]:
            del inboxes[key]


async def watch_message(
    reader: EventReader, inbox: Inbox, message_id: UUID, after: int
) -> AsyncIterator[DeliveryEvent]:
    """Every event of a message after `after`, in order and none twice, up to `completed` and what came with it: what
    was recorded after it by then, such as receipts, is told too, and not waited for. One that was retried is followed
    to where it ended again.

    Ends at once when `after` is at or past `completed`. The caller has checked that the message exists and whose it is.
    Raises Moved when the process stops, after everything that was written by then.
    """
    last, pause, ended = after, SHORTEST_POLL, False
    fresh = await reader.events_after(message_id, last, PAGE)
    while True:
        for event in fresh:
            if event.sequence != last + 1:
                continue  # seen already, or after a gap: the database is asked below
            last, pause = event.sequence, SHORTEST_POLL
            told = tell.shown(event)
            yield told
            ended = _is_over(told, ended)
        if ended and len(fresh) < PAGE:
            return
        if not fresh and pause > SHORTEST_POLL and await _nothing_follows(reader, message_id, last):
            return
        if inbox.closed and not fresh:
            raise Moved(afterSequence=str(last))
        fresh = inbox.take() if await inbox.wait(pause) else []
        if not fresh or fresh[0].sequence > last + 1:
            pause = min(pause * 2, LONGEST_POLL)
            fresh = await reader.events_after(message_id, last, PAGE)


def _is_over(event: DeliveryEvent, before: bool) -> bool:
    """Whether the dispatch is over after this event: a retry opens it again, until it has ended again."""
    if event.HasField("retried"):
        return False
    return before or event.HasField("completed") or event.HasField("ended_again")


async def _nothing_follows(reader: EventReader, message_id: UUID, last: int) -> bool:
    """Whether the dispatch is over and `last` is at or past its end: somebody resumed from behind the last event."""
    return await reader.is_completed(message_id) and not await reader.events_after(message_id, last)


async def watch_project(
    reader: EventReader, inbox: Inbox, project_id: str, position: Position
) -> AsyncIterator[tuple[DeliveryEvent, Position]]:
    """Every event of a project after a position as it is committed, each with the position after it; ends only when the
    process stops, with Moved.
    """
    pause = SHORTEST_POLL
    while not inbox.closed:
        events = await reader.project_events_after(project_id, position, PAGE)
        for event in events:
            position = (event.transaction_id, event.message_id, event.sequence)
            yield tell.shown(event), position
        if events:
            pause = SHORTEST_POLL
            continue
        # An event is readable only when no older transaction is open, a moment after its hint: so look again soon.
        inbox.take()
        pause = SHORTEST_POLL if await inbox.wait(pause) else min(pause * 2, LONGEST_POLL)
        await asyncio.sleep(SHORTEST_POLL / 5)
    raise Moved(resumeToken=token_from_position(position))
