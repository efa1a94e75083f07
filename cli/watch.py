"""`messagepipe watch`: the events of one message, or of a whole project, as they happen. It changes nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio
from messagepipe.dispatch.v1 import dispatch_service_pb2 as api
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.dispatch.v1.message_pb2 import Message

from cli.client import Caller, open_channel, problem_of
from cli.live import show, show_among_others
from cli.terminal import Terminal

FIRST_DELAY = 0.2
LAST_DELAY = 5.0
EXPIRED_AFTER = 1.0  # seconds of a stream's life

Show = Callable[[DeliveryEvent], None]

# What a break of the line looks like.
_BREAKS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Line:
    """The line to a service that may break and come back: what a break is, and how long to wait after it.

    Waits 0.2 s, doubling to 5 s, and from the start again once something came through.
    """

    def __init__(self) -> None:
        self._breaks = 0
        self._began = 0.0

    def begins(self) -> None:
        """A call is being made."""
        self._began = asyncio.get_running_loop().time()

    def stands(self) -> None:
        """Something came through."""
        self._breaks = 0

    def broke(self, error: grpc.aio.AioRpcError) -> None:
        """Returns when a new call may help; raises Problem when the service's answer is final."""
        # A token that ended while the stream was open: the next call may carry a new one. At once means refused.
        lived = asyncio.get_running_loop().time() - self._began
        expired = error.code() is grpc.StatusCode.UNAUTHENTICATED and lived > EXPIRED_AFTER
        if not expired and error.code() not in _BREAKS:
            raise problem_of(error) from None

    async def wait(self) -> None:
        """Until the next try."""
        await asyncio.sleep(min(FIRST_DELAY * 2**self._breaks, LAST_DELAY))
        self._breaks = min(self._breaks + 1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """One message from sequence `after` on, or one project from now on."""

    message_id: str | None
    project: str | None
    after: int = 0
    as_json: bool = False


async def watch(options: WatchOptions, caller: Caller, *, terminal: Terminal) -> int:
    """Show the events of a message to its end (exit code 0), or those of a project until Ctrl-C."""
    as_json = options.as_json
    if options.message_id:
        await follow_message(
            options.message_id,
            caller,
            after=options.after,
            show_event=lambda event: show(event, terminal=terminal, as_json=as_json),
        )
    else:
        await follow_project(
            options.project or "",
            caller,
            show_event=lambda event: show_among_others(event, terminal=terminal, as_json=as_json),
        )
    return 0


async def follow_message(message_id: str, caller: Caller, *, after: int, show_event: Show) -> Message.State.ValueType:
    """Show every event after sequence `after` to the last one, none twice; answers the final state. A message that was
    retried is followed to where it ended again.

    Comes back after a break of the line, for as long as it takes. Problem when the service refuses.
    """
    line, end = Line(), Message.STATE_UNSPECIFIED
    async with open_channel(caller.target) as channel:
        stub = DispatchServiceStub(channel)
        while True:
            line.begins()
            request = api.WatchMessageRequest(message_id=message_id, after_sequence=after)
            try:
                async for event in stub.WatchMessage(request, metadata=caller.metadata()):
                    after = event.sequence
                    line.stands()
                    show_event(event)
                    end = _end_after(event, end)
                if end:
                    return end
            except grpc.aio.AioRpcError as error:
                line.broke(error)
            await line.wait()


def _end_after(event: DeliveryEvent, before: Message.State.ValueType) -> Message.State.ValueType:
    """How the message has ended once this event is told; unspecified while its dispatch goes on."""
    match event.WhichOneof("event"):
        case "completed":
            return event.completed.state
        case "ended_again":
            return event.ended_again.state
        case "retried":
            return Message.STATE_UNSPECIFIED
        case _:
            return before


async def follow_project(project: str, caller: Caller, *, show_event: Show, resume_token: str = "") -> None:
    """Show every event of a project from now on, for ever; takes up after a break where it was."""
    line = Line()
    async with open_channel(caller.target) as channel:
        stub = DispatchServiceStub(channel)
        while True:
            line.begins()
            request = api.WatchProjectRequest(project_id=project, resume_token=resume_token)
            try:
                stream = stub.WatchProject(request, metadata=caller.metadata())
                async for answer in stream:
                    resume_token = answer.resume_token
                    line.stands()
                    show_event(answer.event)
            except grpc.aio.AioRpcError as error:
                line.broke(error)
            await line.wait()
