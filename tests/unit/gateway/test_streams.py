"""Shapes and frames of streams, and what a quiet one says; the rest of streaming is an integration test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from messagepipe.dispatch.v1 import delivery_event_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from starlette.datastructures import Headers

from gateway.app import codecs
from gateway.streams import Events, Shape, answer_sse, frame, resume, shape_of
from services.chassis.contract import DISPATCH_SERVICES
from services.chassis.errors import InvalidArgument

WATCH_MESSAGE = shape_of(DISPATCH_SERVICES[0].methods_by_name["WatchMessage"])
WATCH_PROJECT = shape_of(DISPATCH_SERVICES[0].methods_by_name["WatchProject"])


def an_event() -> delivery_event_pb2.DeliveryEvent:
    """An attempt that starts."""
    event = delivery_event_pb2.DeliveryEvent(message_id="m\n1", sequence=2)
    event.attempt_started.SetInParent()
    return event


class QuietCall:
    """A stream on which nothing happens until it is cancelled."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    async def read(self) -> Any:
        """The end, once cancelled."""
        await self._over.wait()
        return grpc.aio.EOF

    def cancel(self) -> None:
        """Ends it."""
        self._over.set()


class BusyCall(QuietCall):
    """A stream that is never quiet: the next answer is always there already. It stops the gateway at its third."""

    def __init__(self, stopping: asyncio.Event) -> None:
        super().__init__()
        self._stopping, self._answers = stopping, 0

    async def read(self) -> Any:
        """The next event."""
        self._answers += 1
        if self._answers == 3:
            self._stopping.set()
        return dispatch.WatchProjectResponse(event=an_event(), resume_token=str(self._answers))

    async def initial_metadata(self) -> tuple[()]:
        """Nothing of note."""
        return ()


class Listener:
    """A caller that stays, and what it was told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["asyncio.Task[bool]"]:
        """It never goes away."""
        gone = asyncio.create_task(asyncio.Event().wait())
        yield gone
        gone.cancel()

    async def start(self, status: int, headers: object) -> None:
        """The head is not looked at."""

    async def write(self, piece: bytes) -> None:
        """One more piece; a reader that keeps up."""
        self.told.append(piece)
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Nothing more comes."""


async def test_a_stream_on_which_nothing_happens_is_kept_alive():
    """Comments go out from the first quiet moment on: an idle project's stream is not cut by what stands in between."""
    events, listener = Events(QuietCall(), asyncio.Event()), Listener()
    exchange: Any = listener
    streaming = asyncio.create_task(answer_sse(exchange, events, WATCH_PROJECT, {}, again=False, heartbeat=0.01))
    async with asyncio.timeout(5):
        while listener.told.count(b": heartbeat\n\n") < 3:
            await asyncio.sleep(0.01)
    streaming.cancel()
    await events.close()


async def test_a_stream_that_is_never_quiet_is_stopped_too():
    """The stop is looked for after every event, and the last thing said is where to go on."""
    stopping, listener = asyncio.Event(), Listener()
    exchange: Any = listener
    events = Events(BusyCall(stopping), stopping)
    async with asyncio.timeout(5):
        await answer_sse(exchange, events, WATCH_PROJECT, {}, again=False)
    await events.close()

    seen = sum(piece.count(b"event: attempt_started") for piece in listener.told)
    assert 3 <= seen <= 5
    assert listener.told[-1].startswith(f"id: {seen}\nevent: error\n".encode())


def test_every_stream_of_the_contract_has_ids_and_words():
    """And those of GET can be resumed; a new stream that can not fails here."""
    for codec in codecs():
        if codec.route.rpc.server_streaming:
            shape = shape_of(codec.route.rpc)
            assert (shape.id, shape.oneof) != ("", "")
            assert shape.resume or codec.route.method == "POST"


def test_the_shapes_are_read_from_the_contract():
    """A project's events are wrapped with their resume token."""
    message = shape_of(DISPATCH_SERVICES[0].methods_by_name["WatchMessage"])
    project = shape_of(DISPATCH_SERVICES[0].methods_by_name["WatchProject"])

    assert message == Shape(id="sequence", event="", oneof="event", resume="after_sequence")
    assert project == Shape(id="resume_token", event="event", oneof="event", resume="resume_token")


def test_a_frame_is_four_lines_whatever_is_in_it():
    """Line breaks in data are escaped by JSON, those in an id dropped."""
    assert frame(WATCH_MESSAGE, an_event()) == (
        b'id: 2\nevent: attempt_started\ndata: {"messageId":"m\\n1","sequence":"2","attemptStarted":{}}\n\n'
    )
    wrapped = dispatch.WatchProjectResponse(event=an_event(), resume_token="a\nb")
    assert frame(WATCH_PROJECT, wrapped).startswith(b"id: ab\nevent: attempt_started\ndata: {")


def test_an_event_of_a_newer_service_has_no_word():
    """It is still shown."""
    assert frame(WATCH_MESSAGE, delivery_event_pb2.DeliveryEvent(sequence=1)).startswith(b"id: 1\ndata: ")


@pytest.mark.parametrize(("header", "after", "again"), [(None, 0, False), ("", 0, False), ("7", 7, True)])
def test_last_event_id_is_where_to_go_on(header: str | None, after: int, again: bool):
    """An empty one means from the beginning."""
    request = dispatch.WatchMessageRequest()

    assert resume(request, WATCH_MESSAGE, Headers({"last-event-id": header} if header is not None else {})) is again
    assert request.after_sequence == after


def test_a_query_that_resumes_counts_too():
    """Without the header."""
    assert resume(dispatch.WatchMessageRequest(after_sequence=3), WATCH_MESSAGE, Headers({}))


@pytest.mark.parametrize("value", ["x", "1.5", "99999999999999999999999"])
def test_an_id_that_is_none_of_the_stream_s_is_refused(value: str):
    """With the header's name."""
    with pytest.raises(InvalidArgument, match="Last-Event-ID"):
        resume(dispatch.WatchMessageRequest(), WATCH_MESSAGE, Headers({"last-event-id": value}))
