"""`watch` and `send` over a line that breaks: a real gRPC server that says what it is told."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as api
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import (
    DispatchServiceServicer,
    add_DispatchServiceServicer_to_server,
)
from messagepipe.dispatch.v1.message_pb2 import Message, MessageSpec

from cli.client import Caller, bearer
from cli.problem import Problem
from cli.send import follow_dispatch
from cli.terminal import Terminal
from cli.watch import follow_message, follow_project

EVENTS = [
    DeliveryEvent(message_id="m", sequence=1, queued=DeliveryEvent.Queued()),
    DeliveryEvent(message_id="m", sequence=2, attempt_started=DeliveryEvent.AttemptStarted()),
    DeliveryEvent(message_id="m", sequence=3, attempt_finished=DeliveryEvent.AttemptFinished()),
    DeliveryEvent(message_id="m", sequence=4, completed=DeliveryEvent.Completed(state=Message.STATE_SENT)),
]


class Rude(DispatchServiceServicer):
    """Gives `per_call` events of the list from where it is asked to, then breaks the line; counts what it is asked."""

    def __init__(self, per_call: int, refusal: grpc.StatusCode | None = None) -> None:
        self.per_call = per_call
        self.refusal = refusal
        self.accepted = 0
        self.asked: list[Any] = []

    async def DispatchMessage(self, request: Any, context: Any) -> AsyncIterator[DeliveryEvent]:  # noqa: N802 - gRPC's name
        self.accepted += 1
        async for event in self._some(0, context):
            yield event

    async def WatchMessage(self, request: Any, context: Any) -> AsyncIterator[DeliveryEvent]:  # noqa: N802 - gRPC's name
        self.asked.append(request.after_sequence)
        async for event in self._some(request.after_sequence, context):
            yield event

    async def WatchProject(self, request: Any, context: Any) -> AsyncIterator[api.WatchProjectResponse]:  # noqa: N802 - gRPC's name
        self.asked.append(request.resume_token)
        seen = int(request.resume_token or 0)
        if seen >= len(EVENTS):
            await context.abort(grpc.StatusCode.NOT_FOUND, "enough")
        async for event in self._some(seen, context):
            yield api.WatchProjectResponse(event=event, resume_token=str(event.sequence))

    async def _some(self, after: int, context: Any) -> AsyncIterator[DeliveryEvent]:
        if self.refusal is not None:
            await context.abort(self.refusal, "refused")
        for event in EVENTS[after : after + self.per_call]:
            yield event
        if after + self.per_call < len(EVENTS):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")


def a_rude_one(per_call: int, refusal: grpc.StatusCode | None = None) -> Rude:
    """The methods it lacks answer UNIMPLEMENTED, as the generated servicer has them."""
    return Rude(per_call, refusal)  # type: ignore[abstract] # only the stubs call them abstract


@asynccontextmanager
async def serving(servicer: Rude) -> AsyncIterator[Caller]:
    """The servicer behind a real port."""
    server = grpc.aio.server()
    add_DispatchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield Caller(target=f"127.0.0.1:{port}", metadata=lambda: bearer("t"))
    finally:
        await server.stop(None)


async def test_a_broken_watch_goes_on_where_it_was() -> None:
    """Every event once and in order, over as many calls as it takes, each asking for what is missing."""
    rude, seen = a_rude_one(per_call=1), []
    async with serving(rude) as caller:
        state = await follow_message("m", caller, after=0, show_event=lambda event: seen.append(event.sequence))

    assert state == Message.STATE_SENT
    assert seen == [1, 2, 3, 4]
    assert rude.asked == [0, 1, 2, 3]


async def test_a_broken_project_watch_goes_on_by_its_resume_token() -> None:
    """The token of the last event seen is given back after a break."""
    rude, seen = a_rude_one(per_call=3), []
    async with serving(rude) as caller:
        with pytest.raises(Problem):
            await follow_project("p", caller, show_event=lambda event: seen.append(event.sequence))

    assert seen == [1, 2, 3, 4]
    assert rude.asked == ["", "3", "4"]


async def test_a_broken_send_is_never_sent_again() -> None:
    """Once the message was accepted the rest is watched; the terminal shows the end of it."""
    rude, out = a_rude_one(per_call=1), io.StringIO()
    async with serving(rude) as caller:
        state = await follow_dispatch(MessageSpec(), caller, terminal=Terminal(out, io.StringIO(), {}))

    assert state == Message.STATE_SENT
    assert rude.accepted == 1
    assert rude.asked == [1, 2, 3]
    assert "SENT" in out.getvalue()


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED]
)
async def test_a_refusal_is_final(code: grpc.StatusCode) -> None:
    """What asking again can not change is asked once."""
    rude = a_rude_one(per_call=1, refusal=code)
    async with serving(rude) as caller:
        with pytest.raises(Problem):
            await follow_message("m", caller, after=0, show_event=print)

    assert len(rude.asked) == 1


async def test_nobody_there_is_one_clear_line() -> None:
    """A target that nobody serves is named, with what to do."""
    caller = Caller(target="127.0.0.1:1", metadata=lambda: bearer("t"))
    with pytest.raises(Problem, match=r"nothing answers at 127\.0\.0\.1:1; start it with `messagepipe up`"):
        await follow_message("m", caller, after=0, show_event=print)
