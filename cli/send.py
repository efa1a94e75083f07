"""`messagepipe send`: hand in one message and see every attempt until the end. Not a bulk sender."""

from dataclasses import dataclass
from functools import partial

import grpc.aio
from messagepipe.dispatch.v1 import dispatch_service_pb2 as api
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.dispatch.v1.message_pb2 import Message, MessageSpec
from messagepipe.type.v1 import channel_pb2

from cli.client import Caller, open_channel, problem_of
from cli.live import show
from cli.problem import Problem
from cli.terminal import Terminal
from cli.watch import follow_message

CHANNELS = {"email": channel_pb2.CHANNEL_EMAIL, "sms": channel_pb2.CHANNEL_SMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """One message as the command line has it; the service checks what it holds."""

    project: str
    channel: str
    to: str
    subject: str = ""
    text: str = ""
    html: str = ""
    sender: str = ""
    prefer: str = ""
    as_json: bool = False


def spec_of(options: SendOptions) -> MessageSpec:
    """The same as the contract has it."""
    return MessageSpec(
        project_id=options.project,
        channel=CHANNELS[options.channel],
        to=options.to,
        subject=options.subject,
        text=options.text,
        html=options.html,
        sender=options.sender,
        preferred_provider=options.prefer,
    )


async def send(options: SendOptions, caller: Caller, *, terminal: Terminal) -> int:
    """Exit code 0 when a provider took it (SENT), 1 when none did or nobody knows."""
    state = await follow_dispatch(spec_of(options), caller, terminal=terminal, as_json=options.as_json)
    return 0 if state == Message.STATE_SENT else 1


async def follow_dispatch(
    spec: MessageSpec, caller: Caller, *, terminal: Terminal, as_json: bool = False
) -> Message.State.ValueType:
    """Hand in a message, show its events, answer its final state.

    When the stream breaks after the message was accepted, it is watched from there on, never sent again.
    """
    seen: DeliveryEvent | None = None
    async with open_channel(caller.target) as channel:
        stub = DispatchServiceStub(channel)
        stream = stub.DispatchMessage(api.DispatchMessageRequest(message=spec), metadata=caller.metadata())
        try:
            async for event in stream:
                seen = event
                show(event, terminal=terminal, as_json=as_json)
                if event.HasField("completed"):
                    return event.completed.state
        except grpc.aio.AioRpcError as error:
            if seen is None:
                raise problem_of(error) from None
    if seen is None:
        raise Problem("the service ended the stream without a word; nobody knows whether the message was accepted")
    show_event = partial(show, terminal=terminal, as_json=as_json)
    return await follow_message(seen.message_id, caller, after=seen.sequence, show_event=show_event)
