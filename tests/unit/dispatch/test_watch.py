"""Watchers: every event once, in order, however late, slow or interrupted they are."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.chassis.errors import Kind
from services.dispatch import history as tell
from services.dispatch.failover import Finish
from services.dispatch.ledger import Transition
from services.dispatch.message import State
from services.dispatch.records import StoredEvent
from services.dispatch.resume import Position, position_from_token
from services.dispatch.watch import PAGE, RING, RING_BYTES, EventHub, Inbox, Moved, watch_message, watch_project
from tests.builders import MESSAGE_ID, NOON, PROJECT, an_attempt


class Book:
    """Stored events of one message, read as the store reads them."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.reads = 0
        self.hidden = 0

    def write(self, count: int, *, end: bool = False) -> list[StoredEvent]:
        """Append events, the last one `completed` when it is the end."""
        fresh = []
        for place in range(count):
            number = len(self.events) + 1
            told = tell.attempt_started(an_attempt(result=None, number=number))
            if end and place == count - 1:
                told = tell.completed(Finish(state=State.SENT), ())
            payload = told.SerializeToString()
            stored = StoredEvent(
                message_id=MESSAGE_ID, sequence=number, at=NOON, payload=payload, transaction_id=100 + number
            )
            self.events.append(stored)
            fresh.append(stored)
        return fresh

    async def events_after(self, message_id: UUID, sequence: int, limit: int = 500) -> list[StoredEvent]:
        self.reads += 1
        return [event for event in self.events if event.sequence > sequence][:limit]

    async def is_completed(self, message_id: UUID) -> bool:
        return bool(self.events) and tell.shown(self.events[-1]).HasField("completed")

    async def project_events_after(self, project_id: str, position: Position, limit: int = 500) -> list[StoredEvent]:
        self.reads += 1
        shown = self.events[: len(self.events) - self.hidden]
        key = [(event.transaction_id, event.message_id, event.sequence) for event in shown]
        return [event for event, place in zip(shown, key, strict=True) if place > position][:limit]


@pytest.fixture
def book() -> Book:
    """Nothing has happened yet."""
    return Book()


async def sequences(events: AsyncIterator[DeliveryEvent]) -> list[int]:
    """Every event's sequence, to the end of the stream."""
    async with asyncio.timeout(5):
        return [event.sequence async for event in events]


@pytest.mark.parametrize("after", range(6))
async def test_a_late_watcher_reads_what_it_missed(book: Book, after: int) -> None:
    """R10, X25: after_sequence n brings n+1 to completed, nothing twice; at or past the end it brings nothing."""
    book.write(4, end=True)

    assert await sequences(watch_message(book, Inbox(), MESSAGE_ID, after)) == list(range(after + 1, 5))


async def test_a_watcher_from_far_behind_the_end_ends(book: Book) -> None:
    """R10: after_sequence past the last event of a dispatch that ended ends the stream: no wait for ever."""
    book.write(2, end=True)

    assert await sequences(watch_message(book, Inbox(), MESSAGE_ID, 99)) == []


async def test_what_was_recorded_after_the_end_is_told_and_not_waited_for(book: Book) -> None:
    """R6, R10: a late watcher gets the receipts after `completed` too; one that comes back after it gets the rest."""
    book.write(3, end=True)
    book.write(2)

    assert await sequences(watch_message(book, Inbox(), MESSAGE_ID, 0)) == [1, 2, 3, 4, 5]


async def test_live_events_need_no_reading(book: Book) -> None:
    """Events that follow the last one seen are passed on as they are handed over."""
    inbox = Inbox()
    book.write(1)
    watching = asyncio.create_task(sequences(watch_message(book, inbox, MESSAGE_ID, 0)))
    await asyncio.sleep(0)
    reads = book.reads
    inbox.put(book.write(3, end=True))

    assert await watching == [1, 2, 3, 4]
    assert book.reads == reads == 1


async def test_a_gap_is_filled_from_the_database(book: Book) -> None:
    """What another process wrote in between is read before what was handed over after it."""
    inbox = Inbox()
    book.write(1)
    watching = asyncio.create_task(sequences(watch_message(book, inbox, MESSAGE_ID, 0)))
    await asyncio.sleep(0)
    book.write(2)
    inbox.put(book.write(1, end=True))

    assert await watching == [1, 2, 3, 4]


async def test_what_was_seen_is_not_told_again(book: Book) -> None:
    """Events that are handed over and were read already are left out."""
    inbox = Inbox()
    fresh = book.write(3)
    inbox.put(fresh)
    watching = asyncio.create_task(sequences(watch_message(book, inbox, MESSAGE_ID, 0)))
    await asyncio.sleep(0)
    inbox.put(fresh + book.write(1, end=True))

    assert await watching == [1, 2, 3, 4]


async def test_polling_is_the_truth(book: Book) -> None:
    """A watcher whose process is told nothing finds the events by looking."""
    watching = asyncio.create_task(sequences(watch_message(book, Inbox(), MESSAGE_ID, 0)))
    await asyncio.sleep(0.02)
    book.write(2, end=True)

    assert await watching == [1, 2]


async def test_a_slow_watcher_loses_nothing(book: Book) -> None:
    """An inbox that overflows drops what it holds and sends the watcher to the database."""
    inbox = Inbox()
    watching = watch_message(book, inbox, MESSAGE_ID, 0)
    inbox.put(book.write(1))
    assert (await anext(watching)).sequence == 1
    inbox.put(book.write(RING))
    inbox.put(book.write(RING, end=True))

    assert await sequences(watching) == list(range(2, 2 * RING + 2))


async def test_an_inbox_holds_a_bounded_number(book: Book) -> None:
    """At most RING events wait; one too many empties it and leaves the hint."""
    inbox = Inbox()
    inbox.put(book.write(RING))
    assert len(inbox.take()) == RING
    assert not await inbox.wait(0.001)
    inbox.put(book.write(RING))
    inbox.put(book.write(1))

    assert await inbox.wait(0.001)
    assert inbox.take() == []


async def test_every_event_is_shown_with_its_place_and_time(book: Book) -> None:
    """What is told has its message, its sequence and its time, the same whether read or handed over."""
    book.write(1, end=True)

    (told,) = [event async for event in watch_message(book, Inbox(), MESSAGE_ID, 0)]

    assert (told.message_id, told.sequence) == (str(MESSAGE_ID), 1)
    assert told.time.ToDatetime(tzinfo=NOON.tzinfo) == NOON


async def test_the_hub_hands_a_transition_to_those_who_watch(book: Book) -> None:
    """Watchers of the message get its events, watchers of the project a hint, others nothing, and nobody is kept."""
    hub = EventHub()
    events = tell.numbered(1, [tell.attempt_started(an_attempt(result=None))])
    step = Transition(message_id=MESSAGE_ID, project_id=PROJECT, epoch=1, events=events)
    with (
        hub.of_message(MESSAGE_ID) as mine,
        hub.of_message(UUID(int=9)) as others,
        hub.of_project(PROJECT) as project,
        hub.of_project("elsewhere") as elsewhere,
    ):
        hub.publish(MESSAGE_ID, PROJECT, step, NOON)
        assert [event.sequence for event in mine.take()] == [2]
        assert others.take() == []
        assert await project.wait(0.001)
        assert not await elsewhere.wait(0.001)
    hub.publish(MESSAGE_ID, PROJECT, step, NOON)

    assert mine.take() == []


async def test_two_watchers_of_one_message_both_get_it(book: Book) -> None:
    """One watcher that goes away takes nothing from the other."""
    hub = EventHub()
    events = tell.numbered(0, [tell.queued(NOON)])
    step = Transition(message_id=MESSAGE_ID, project_id=PROJECT, epoch=1, events=events)
    with hub.of_message(MESSAGE_ID) as stays:
        with hub.of_message(MESSAGE_ID):
            pass
        hub.publish(MESSAGE_ID, PROJECT, step, NOON)

    assert len(stays.take()) == 1


async def test_a_project_is_watched_in_commit_order(book: Book) -> None:
    """Each event comes with the position after it; going on from that position brings exactly the rest."""
    book.write(3)
    watching = watch_project(book, Inbox(), PROJECT, (0, UUID(int=0), 0))
    seen = [await anext(watching) for _ in range(3)]
    again = watch_project(book, Inbox(), PROJECT, seen[0][1])

    assert [event.sequence for event, _ in seen] == [1, 2, 3]
    assert [(await anext(again))[0].sequence for _ in range(2)] == [2, 3]


async def test_a_project_event_that_is_not_readable_yet_comes_later(book: Book) -> None:
    """An event whose hint came before it may be read is found by looking again."""
    inbox = Inbox()
    watching = watch_project(book, inbox, PROJECT, (0, UUID(int=0), 0))
    book.write(1)
    book.hidden = 1
    first = asyncio.ensure_future(anext(watching))
    inbox.put([])
    await asyncio.sleep(0.01)
    assert not first.done()
    book.hidden = 0

    async with asyncio.timeout(5):
        assert (await first)[0].sequence == 1


async def test_an_inbox_holds_bounded_bytes(book: Book) -> None:
    """Large events overflow an inbox sooner: what waits for one watcher is bounded in bytes too."""
    inbox = Inbox()
    (small,) = book.write(1)
    large = replace(small, payload=b"x" * (RING_BYTES // 3))
    for _ in range(3):
        inbox.put([large])
    assert len(inbox.take()) == 3
    for _ in range(4):
        inbox.put([large])

    assert await inbox.wait(0.001)
    assert inbox.take() == []


async def test_a_process_that_stops_sends_watchers_of_a_message_elsewhere(book: Book) -> None:
    """What was written is told first; then the stream ends with UNAVAILABLE and the sequence to go on after."""
    hub = EventHub()
    book.write(2)
    with hub.of_message(MESSAGE_ID) as inbox:
        watching = watch_message(book, inbox, MESSAGE_ID, 0)
        assert (await anext(watching)).sequence == 1
        hub.close_projects()
        assert not inbox.closed  # the end of the message may still come
        book.write(1)
        hub.close()
        assert [(await anext(watching)).sequence for _ in range(2)] == [2, 3]
        with pytest.raises(Moved) as caught:
            await anext(watching)
    with hub.of_message(MESSAGE_ID) as late:
        assert late.closed

    assert (caught.value.code, caught.value.metadata) == (Kind.UNAVAILABLE, {"afterSequence": "3"})


async def test_a_process_that_stops_tells_the_end_it_knows(book: Book) -> None:
    """A watcher whose message has ended by then sees the end, not the stop."""
    hub = EventHub()
    with hub.of_message(MESSAGE_ID) as inbox:
        watching = asyncio.create_task(sequences(watch_message(book, inbox, MESSAGE_ID, 0)))
        await asyncio.sleep(0)
        book.write(2, end=True)
        hub.close()

        assert await watching == [1, 2]


async def test_a_process_that_stops_sends_watchers_of_a_project_elsewhere(book: Book) -> None:
    """The stream ends with UNAVAILABLE and the token to go on from, also before anything was told."""
    hub = EventHub()
    start = (7, UUID(int=0), 0)
    with hub.of_project(PROJECT) as inbox:
        watching = watch_project(book, inbox, PROJECT, start)
        first = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
        hub.close_projects()
        with pytest.raises(Moved) as caught:
            await first

    assert position_from_token(caught.value.metadata["resumeToken"]) == start


async def test_a_history_of_more_than_a_page_is_told_whole(book: Book) -> None:
    """Pages end somewhere; the history does not."""
    book.write(2 * PAGE + 1, end=True)
    book.write(PAGE)

    assert await sequences(watch_message(book, Inbox(), MESSAGE_ID, 0)) == list(range(1, 3 * PAGE + 2))
