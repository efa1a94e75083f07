"""The HTTP transport against real sockets: what each failure is called, because that decides between deferred and
unknown.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.adapters.egress import Egress, EgressDenied, parse_networks
from services.adapters.http_transport import build_transport
from tests.fakes.mail import server_tls
from tests.fakes.vendor import Reply, Rude, VendorServer, refusing_port

LOOPBACK = Egress(allow=parse_networks(("127.0.0.0/8",)))


@pytest.fixture
async def transport() -> AsyncIterator[httpx.AsyncBaseTransport]:
    """A transport that may reach loopback."""
    made = build_transport(LOOPBACK)
    yield made
    await made.aclose()


@pytest.fixture
async def strict() -> AsyncIterator[httpx.AsyncBaseTransport]:
    """A transport that may reach public addresses only."""
    made = build_transport(Egress())
    yield made
    await made.aclose()


@pytest.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A test server."""
    async with VendorServer() as server:
        yield server


def a_request(
    url: str, *, connect: float = 2.0, read: float = 2.0, total: float = 3.0, body: bytes = b"{}"
) -> httpx.Request:
    """A POST with these limits, in seconds."""
    limits = {"connect": connect, "read": read, "total": total}
    return httpx.Request("POST", url, content=body, extensions={"timeout": limits})


async def test_nobody_listens(transport: httpx.AsyncBaseTransport) -> None:
    """A refused connection is a ConnectError."""
    async with refusing_port() as port:
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(a_request(f"http://127.0.0.1:{port}"))


async def test_unresolvable_host(transport: httpx.AsyncBaseTransport) -> None:
    """A name nobody knows is a ConnectError, or a ConnectTimeout where name servers are silent."""
    with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
        await transport.handle_async_request(a_request("http://nowhere.invalid"))


async def test_certificate_nobody_signed(transport: httpx.AsyncBaseTransport) -> None:
    """A certificate nobody has signed is a ConnectError: the request was not written."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=server_tls())
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(a_request(f"https://localhost:{server.sockets[0].getsockname()[1]}"))
    server.close()


async def test_handshake_that_never_ends(transport: httpx.AsyncBaseTransport) -> None:
    """A TLS handshake nobody answers is a ConnectTimeout."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    with pytest.raises(httpx.ConnectTimeout):
        await transport.handle_async_request(
            a_request(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", connect=0.2)
        )
    server.close()


@pytest.mark.parametrize("limits", [{"read": 0.2}, {"total": 0.2}])
async def test_no_answer(transport: httpx.AsyncBaseTransport, vendor: VendorServer, limits: Any) -> None:
    """Silence after the request was written is a ReadTimeout, whichever limit ran out."""
    vendor.script(Reply(rude=Rude.HANG))
    with pytest.raises(httpx.ReadTimeout):
        await transport.handle_async_request(a_request(vendor.url, **limits))


@pytest.mark.parametrize("rude", [Rude.CLOSE, Rude.RESET, Rude.CUT_HEAD])
async def test_line_lost_after_the_request(
    transport: httpx.AsyncBaseTransport, vendor: VendorServer, rude: Rude
) -> None:
    """A line lost after the request was written is a ReadError: httpx-aiohttp itself would say ConnectTimeout."""
    vendor.script(Reply(rude=rude))
    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(a_request(vendor.url))
    assert len(vendor.received) == 1


async def test_reset_while_the_body_is_written(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """A line lost in the middle of our body is a ReadError: what the server does with its part is unknown."""
    vendor.script(Reply(rude=Rude.RESET_EARLY))
    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(a_request(vendor.url, body=b"x" * 20_000_000))


async def test_large_body(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """A body of 20 MB arrives whole, with its length and not chunk-encoded."""
    body = bytes(range(256)) * 80_000
    await (await transport.handle_async_request(a_request(vendor.url, body=body))).aread()
    (received,) = vendor.received
    assert received.body == body
    assert received.headers["content-length"] == str(len(body))
    assert "transfer-encoding" not in received.headers


async def test_not_http(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """An answer that is not HTTP is a RemoteProtocolError."""
    vendor.script(Reply(rude=Rude.GARBAGE))
    with pytest.raises(httpx.RemoteProtocolError):
        await transport.handle_async_request(a_request(vendor.url))


async def test_never_sent_twice(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """A kept connection that is closed as we write to it gets the request once; the transport does not repeat it."""
    vendor.script(Reply(), Reply(rude=Rude.CLOSE), Reply())
    await (await transport.handle_async_request(a_request(vendor.url))).aread()
    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(a_request(vendor.url))
    assert (vendor.connections, len(vendor.received)) == (1, 2)


async def test_redirects_are_not_followed(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """A redirect is an answer like any other."""
    vendor.script(Reply(status=307, headers={"location": vendor.url + "/elsewhere"}))
    response = await transport.handle_async_request(a_request(vendor.url))
    assert (response.status_code, len(vendor.received)) == (307, 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "0x7f.1"])
async def test_egress(strict: httpx.AsyncBaseTransport, vendor: VendorServer, host: str) -> None:
    """A refused address is never connected to, in whichever way it is written."""
    with pytest.raises(EgressDenied):
        await strict.handle_async_request(a_request(f"http://{host}:{vendor.port}"))
    assert vendor.connections == 0


async def test_addresses_that_are_none(transport: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """An IPv4 address in an odd notation is no address and no name, allowed or not."""
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(a_request(f"http://2130706433:{vendor.port}"))


async def test_egress_tells_nothing_by_its_time(strict: httpx.AsyncBaseTransport, vendor: VendorServer) -> None:
    """A refused address is refused as fast whether somebody listens there or not: it is never tried."""
    async with refusing_port() as port:
        for target in (vendor.port, port):
            before = time.perf_counter()
            with pytest.raises(EgressDenied):
                await strict.handle_async_request(a_request(f"http://127.0.0.1:{target}"))
            assert time.perf_counter() - before < 0.5
    assert vendor.connections == 0
