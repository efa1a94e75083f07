"""`messagepipe deadletters`: messages that nobody took, listed and dispatched anew. One project at a time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio
from google.protobuf.json_format import MessageToDict
from messagepipe.dispatch.v1 import dispatch_service_pb2 as api
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.dispatch.v1.message_pb2 import Message

from cli.client import Caller, open_channel, problem_of
from cli.problem import Problem
from cli.story import state_word
from cli.terminal import Terminal
from services.chassis.log import neutralise

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub classes
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

STATES = {"failed": Message.STATE_FAILED, "unknown": Message.STATE_UNKNOWN}
PAGE = 100
# How long a call is repeated while the service does not answer: a retry that names its generation happens once.
PATIENCE = 30.0
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Which dead letters: of a project, in a state, for a reason ("": any), at most `limit`, the newest first."""

    project: str
    state: str = "failed"
    reason: str = ""
    limit: int = 100
    as_json: bool = False


async def show_dead_letters(letters: Letters, caller: Caller, *, terminal: Terminal) -> int:
    """One line per dead letter; changes nothing."""
    count = 0
    async with open_channel(caller.target) as channel:
        async for message in _found(DispatchServiceStub(channel), letters, caller):
            count += 1
            terminal.say(_json(message) if letters.as_json else _line(message))
    if not letters.as_json:
        terminal.say(f"{count} {letters.state}")
    return 0


async def replay(letters: Letters, caller: Caller, *, rate: float, accept_duplicates: bool, terminal: Terminal) -> int:
    """Dispatch them anew, at most `rate` a second; exit code 0 when none was refused. Safe to repeat: a message that is
    being retried already stays as it is.
    """
    if letters.state == "unknown" and not accept_duplicates:
        why = "a message that is UNKNOWN may have been taken: say --accept-duplicates if it may arrive twice"
        raise Problem(why, exit_code=2)
    retried = refused = 0
    async with open_channel(caller.target) as channel:
        stub = DispatchServiceStub(channel)
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        async for message in _found(stub, letters, caller):
            await asyncio.sleep(max(next_at - loop.time(), 0))
            next_at = max(next_at, loop.time()) + 1 / rate
            request = api.RetryMessageRequest(
                id=message.id, accept_duplicate=accept_duplicates, generation=message.generation
            )
            error = await _retry(stub, request, caller)
            retried, refused = retried + (not error), refused + bool(error)
            if letters.as_json:
                terminal.say(json.dumps({"id": message.id, "retried": not error, "error": error}))
            elif error:
                terminal.problem(f"{message.id}: {error}")
            terminal.pending(f"  {retried} retried · {refused} refused")
    if letters.as_json:
        terminal.say(json.dumps({"retried": retried, "refused": refused}))
    else:
        terminal.say(
            f"{retried} retried, {refused} refused; see them with: messagepipe watch --project {letters.project}"
        )
    return 1 if refused else 0


async def _retry(stub: "DispatchServiceAsyncStub", request: api.RetryMessageRequest, caller: Caller) -> str:
    """Why it was refused; "" when it is dispatched anew."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await stub.RetryMessage(request, metadata=caller.metadata(), timeout=10)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                        return "; ".join(problem_of(error).lines)
                    if error.code() not in _AGAIN:
                        raise problem_of(error) from None
                    await asyncio.sleep(1)
                else:
                    return ""
    except TimeoutError:
        raise Problem(f"no answer for {PATIENCE:g} s; repeat the command to go on") from None


async def _found(stub: "DispatchServiceAsyncStub", letters: Letters, caller: Caller) -> AsyncIterator[Message]:
    """The dead letters that nobody retries already."""
    left, page = letters.limit, ""
    while left > 0:
        request = api.ListMessagesRequest(
            project_id=letters.project,
            state=STATES[letters.state],
            reason=letters.reason,
            page_size=PAGE,
            page_token=page,
        )
        try:
            answer = await stub.ListMessages(request, metadata=caller.metadata())
        except grpc.aio.AioRpcError as error:
            raise problem_of(error) from None
        for message in [each for each in answer.messages if not each.retrying][:left]:
            yield message
            left -= 1
        page = answer.next_page_token
        if not page:
            return


def _line(message: Message) -> str:
    when = message.completed_at.ToDatetime().isoformat(sep=" ", timespec="seconds")
    again = f" (dispatched {message.generation} times)" if message.generation > 1 else ""
    return neutralise(f"{message.id}  {when} UTC  {state_word(message.state)}  {message.reason}{again}")


def _json(message: Message) -> str:
    told = MessageToDict(message)
    names = ("id", "channel", "reason", "generation", "createdAt", "completedAt", "tags", "metadata")
    return json.dumps({"state": state_word(message.state)} | {name: told[name] for name in names if name in told})
