"""The answers of a stream on their way to its reader, and what happens when the reader stops reading. It knows no
method.

gRPC takes some kilobytes to megabytes for a reader that does not read, then `write` waits: for ever, if nobody ends it.
So a write that takes too long ends the stream; the reader takes it up again when it reads again.
"""

import asyncio
import inspect
from collections.abc import AsyncIterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from services.chassis.errors import Aborted

RETRY_SECONDS = 1.0


class StreamStalled(Aborted):
    """The reader took nothing for too long; `metadata` say from where the stream can be taken up again."""

    reason = "STREAM_STALLED"

    def __init__(self, **place: str) -> None:
        super().__init__(
            "The stream was not read for too long; take it up again.", metadata=place, retry_after=RETRY_SECONDS
        )


@contextmanager
def resumable(**place: str) -> Iterator[None]:
    """Around the `yield` of an answer: if it stalls there, the reader is told the place to go on from."""
    try:
        yield
    except StreamStalled:
        raise StreamStalled(**place) from None


async def pump(answers: Any, context: Any, stall_seconds: float) -> None:
    """Writes every answer; raises StreamStalled when one could not be written within `stall_seconds`.

    Servicers stream either way grpc.aio allows: as an async generator, or by writing to the context themselves; the
    latter look after their readers by themselves.
    """
    if inspect.isasyncgen(answers):
        async with aclosing(answers):
            async for answer in answers:
                if not await _written(answer, context, stall_seconds):
                    await answers.athrow(StreamStalled())  # the method may say where to go on
                    raise StreamStalled
    elif isinstance(answers, AsyncIterable):
        async for answer in answers:
            if not await _written(answer, context, stall_seconds):
                raise StreamStalled
    else:
        await answers


async def _written(answer: Any, context: Any, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await context.write(answer)
    except TimeoutError:
        return False
    return True
