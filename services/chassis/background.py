"""Work that goes on for as long as a process serves. Not a scheduler: each piece of work loops by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.chassis import log

_log = log.get_logger()


class BackgroundFailed(Exception):
    """A piece of work that should have gone on for ever has ended; the message is one line."""


@asynccontextmanager
async def background(run: Callable[[], Awaitable[None]], stop: asyncio.Event) -> AsyncIterator[None]:
    """`run` goes on for as long as the block; an error that ends it is a fault: logged, `stop` set, raised at the
    end.
    """

    async def watched() -> None:
        try:
            await run()
        except Exception as error:
            _log.error("background_work_ended", exc_info=error)
            stop.set()
            raise

    task = asyncio.create_task(watched())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise BackgroundFailed(f"background work ended with {type(error).__name__}; the log says more") from error
