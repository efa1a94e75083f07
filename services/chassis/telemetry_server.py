"""Where metrics are read: GET /metrics on a port of its own. No other route, no token, and off unless a port is named.

Its own port, on loopback by default, because metrics tell how much goes through whom: that is the operator's, and
neither callers' nor the world's. Its own few lines of HTTP, because two of the three processes have no HTTP server.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.chassis.server import PortBusy
from services.chassis.telemetry import SILENT, Meter

HEAD_BYTES, HEAD_SECONDS, WRITE_SECONDS = 8 * 1024, 5.0, 10.0
# Scrapers come one at a time; more at once than this are turned away.
AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenMetrics:
    """The meter of a process, and the port it is read at; None when there is none."""

    meter: Meter = SILENT
    port: int | None = None


@asynccontextmanager
async def open_metrics(host: str, port: int | None) -> AsyncIterator[OpenMetrics]:
    """A meter for the length of the block, read at `http://host:port/metrics`; 0 takes any free port, None measures
    nothing. Raises PortBusy.
    """
    if port is None:
        yield OpenMetrics()
        return
    from services.chassis.telemetry_prometheus import PrometheusMeter  # only who is asked pays for it

    meter = PrometheusMeter()
    server = await _listen(_Door(meter.scrape, meter.content_type), host, port)
    try:
        yield OpenMetrics(meter=meter, port=server.sockets[0].getsockname()[1])
    finally:
        server.close()  # not waited for: who is connected and says nothing must not hold up a stop


async def _listen(door: "_Door", host: str, port: int) -> asyncio.Server:
    try:
        return await asyncio.start_server(door.answer, host, port, limit=HEAD_BYTES, backlog=AT_ONCE)
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)  # asyncio's own words repeat the address
        raise PortBusy(f"cannot listen on {host}:{port} for metrics: {why}; choose another port") from None


class _Door:
    """One request per connection, and few at a time."""

    def __init__(self, scrape: Callable[[], Awaitable[bytes]], content_type: str) -> None:
        self._scrape, self._content_type = scrape, content_type
        self._open = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(HEAD_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._response(head))
                async with asyncio.timeout(WRITE_SECONDS):
                    await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    async def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if self._open > AT_ONCE:
            return _http("503 Service Unavailable", b"too many scrapes at once\n")
        if path != b"/metrics":
            return _http("404 Not Found", b"metrics are at /metrics\n")
        if method not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", b"GET only\n")
        body = await self._scrape()
        answer = _http("200 OK", body, self._content_type)
        return answer if method == b"GET" else answer[: -len(body)]


def _http(status: str, body: bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    return (
        f"{head}cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n".encode() + body
    )
