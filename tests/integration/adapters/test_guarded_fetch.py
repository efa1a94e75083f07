"""How certificates and confirmations are fetched, over real sockets."""

from collections.abc import AsyncIterator

import pytest

from services.adapters.egress import Egress, parse_networks
from services.adapters.sns_envelope import MAX_FETCHED_BYTES, FetchFailed, guarded_fetch
from tests.fakes.vendor import Reply, Rude, VendorServer, refusing_port

LOOPBACK = Egress(allow=parse_networks(("127.0.0.0/8",)))


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    """A server in Amazon's place."""
    async with VendorServer(default=Reply(body=b"certificate")) as listening:
        yield listening


async def test_a_body_is_fetched(server: VendorServer) -> None:
    """One GET, and the body of its 200."""
    assert await guarded_fetch(LOOPBACK)(f"{server.url}/x.pem?a=b") == b"certificate"
    assert [(request.method, request.path) for request in server.received] == [("GET", "/x.pem?a=b")]


async def test_egress_is_obeyed(server: VendorServer) -> None:
    """A name that leads to a private address is not asked."""
    with pytest.raises(FetchFailed, match="EgressDenied"):
        await guarded_fetch(Egress())(f"{server.url}/x.pem")
    assert server.received == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=302, headers={"location": "http://169.254.169.254/"}),
        Reply(status=404),
        Reply(status=500),
        Reply(body=b"x" * (MAX_FETCHED_BYTES + 1)),
        Reply(rude=Rude.CLOSE),
        Reply(rude=Rude.GARBAGE),
        Reply(body=b"certificate", rude=Rude.CUT_BODY),
    ],
)
async def test_everything_else_fails(server: VendorServer, reply: Reply) -> None:
    """Redirects are not followed, and what is no small 200 is a failure."""
    server.default = reply  # every time: aiohttp asks a GET whose connection was closed once more
    with pytest.raises(FetchFailed):
        await guarded_fetch(LOOPBACK)(f"{server.url}/x.pem")
    assert {request.path for request in server.received} == {"/x.pem"}


async def test_nobody_listens() -> None:
    """A refused connection is a failure too."""
    async with refusing_port() as port:
        with pytest.raises(FetchFailed, match="ConnectError"):
            await guarded_fetch(LOOPBACK)(f"http://127.0.0.1:{port}/x.pem")
