"""The HTTP server itself, spoken to over a raw socket: slow callers, ambiguous requests, bodies nobody reads."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.server import GuardedProtocol, serve_http
from services.chassis.server import PortBusy
from tests.integration.gateway.conftest import House

OK: ASGIApp = PlainTextResponse("ok")


class Hasty(GuardedProtocol):
    """The same limits, short enough for a test."""

    head_seconds = 0.3
    read_seconds = 0.3


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that says ok, with short limits."""
    async with serve_http(OK, host="127.0.0.1", port=0, grace=1, protocol=Hasty) as server:
        yield server.port


async def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Sends the pieces and answers everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_head_that_trickles_in_is_cut(port: int):
    """A byte now and then does not hold a socket for longer than the limit."""
    began = time.monotonic()
    answer = await talk(port, b"G", b"E", b"T", b" ", b"/", b" ", pause=0.1)

    assert answer == b""
    assert time.monotonic() - began < 3


async def test_a_socket_that_says_nothing_is_closed(port: int):
    """Idle connections are not free."""
    assert await talk(port) == b""


async def test_the_second_head_of_a_connection_has_the_same_limit(port: int):
    """Keep-alive is no way around it."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    began = time.monotonic()
    answer = await talk(port, request, b"GET /", pause=0.2)

    assert answer.count(b"HTTP/1.1 200") == 1
    assert time.monotonic() - began < 3


async def test_a_reader_that_does_not_read_is_cut():
    """An answer that nobody takes does not stay in memory for ever."""
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        ended.set()

    async with serve_http(app, host="127.0.0.1", port=0, grace=1, protocol=Hasty) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's transports all have it
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(ended.wait(), 10)
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Transfer-Encoding : chunked\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: +3",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 3",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    ],
)
async def test_a_request_whose_length_is_ambiguous_is_refused(house: House, head: bytes):
    """One request in, one 4xx or 5xx out, and the connection ends: nothing can be smuggled behind it."""
    request = (
        b"POST /email/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "
        + house.token.encode()
        + b"\r\n"
        + head
        + b"\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    answer = await talk(house.gateway.port, request)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert b"alive" not in answer
    assert house.dispatch.asked == []


async def test_a_large_body_is_refused_before_it_is_sent(house: House):
    """With Expect: 100-continue the caller hears 413 instead of 100."""
    head = (
        b"POST /email/send HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n"
        b"Expect: 100-continue\r\nAuthorization: Bearer " + house.token.encode() + b"\r\n\r\n"
    )
    answer = await talk(house.gateway.port, head)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


async def test_absolute_targets_are_understood(house: House):
    """A server must take them, says RFC 9112."""
    answer = await talk(house.gateway.port, b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_name_that_does_not_resolve_is_one_clear_line():
    """PortBusy, not a traceback."""
    with pytest.raises(PortBusy, match=r"cannot listen on no\.such\.host\.invalid:0"):
        async with serve_http(OK, host="no.such.host.invalid", port=0, grace=1):
            pass
