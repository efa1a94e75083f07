"""The HTTP server: uvicorn with h11, opened on a port and drained. It has never heard of a route.

uvicorn sets no limit on how slowly a caller may send a request's head or read an answer, so that two thousand idle
sockets would stay for ever (slowloris). The protocol below closes both; slow bodies are exchange.py's.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.chassis.server import PortBusy

HEAD_SECONDS = 10.0
READ_SECONDS = 60.0
KEEP_ALIVE_SECONDS = 15
MAX_HEAD_BYTES = 32 * 1024
BACKLOG = 2048


class GuardedProtocol(H11Protocol):
    """One connection; cut when a head takes over 10 s to arrive or the caller reads nothing for 60 s."""

    head_seconds: float = HEAD_SECONDS
    read_seconds: float = READ_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Starts the wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Ends the wait when the head is complete; begins one when a part of the next head came."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_timer = _cancelled(self._head_timer)
        elif self._head_timer is None and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        """The caller does not read: it gets a minute."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads again."""
        super().resume_writing()
        self._read_timer = _cancelled(self._read_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing left to wait for."""
        self._head_timer, self._read_timer = _cancelled(self._head_timer), _cancelled(self._read_timer)
        super().connection_lost(exc)


class HttpServer:
    """A server that answers; `port` is the real one when 0 was asked for."""

    def __init__(self, server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        self._server, self._sockets = server, sockets
        self._drained = False
        self.port: int = sockets[0].getsockname()[1]

    async def drain(self) -> None:
        """No new connection; returns when the open requests have ended or the grace is over."""
        if not self._drained:
            self._drained = True
            await self._server.shutdown(self._sockets)


@asynccontextmanager
async def serve_http(
    app: ASGIApp, *, host: str, port: int, grace: float, protocol: type[GuardedProtocol] = GuardedProtocol
) -> AsyncIterator[HttpServer]:
    """`app` on a port for the length of the block; PortBusy, one line, when it can not listen there."""
    sockets = [_listen(host, port)]
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(grace),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        backlog=BACKLOG,
    )
    config.load()
    server = uvicorn.Server(config)
    # `serve()` would take over the process's signals, and its main loop only renews headers that are switched off.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=sockets)
    running = HttpServer(server, sockets)
    try:
        yield running
    finally:
        await running.drain()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortBusy(f"cannot listen on {host}:{port}: {_why(error)}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        what = f"cannot listen on {host}:{port}: {_why(error)}; choose another port or stop what uses it"
        raise PortBusy(what) from None
    return listener


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """What stands in the timer's place from now on: nothing."""
    if timer is not None:
        timer.cancel()
    return None
