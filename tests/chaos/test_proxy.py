"""The fault proxy does what it says, and counts it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.proxy import Fault, FaultProxy, Plan, fault_proxy


@pytest_asyncio.fixture
async def heard() -> list[bytes]:
    """What reached the server behind the proxy."""
    return []


@pytest_asyncio.fixture
async def proxy(heard: list[bytes]) -> AsyncIterator[FaultProxy]:
    """A proxy before a server that answers every line with itself."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lines.append(task)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                heard.append(line)
                writer.write(line)
        writer.close()

    lines: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with fault_proxy(server.sockets[0].getsockname()[:2], seed=1) as made:
        yield made
    server.close()
    await asyncio.gather(*lines)


async def ask(proxy: FaultProxy, seconds: float = 5.0) -> bytes:
    """The answer to one line; b"" when the connection was cut, TimeoutError when nothing came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"hello\n")
        async with asyncio.timeout(seconds):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def test_it_passes_everything_unless_told_otherwise(proxy: FaultProxy) -> None:
    """Without a plan it is not there."""
    assert await ask(proxy) == b"hello\n"
    assert proxy.fired.total() == 0


@pytest.mark.parametrize(("fault", "arrives"), [(Fault.CUT_BEFORE, False), (Fault.CUT_AFTER, True)])
async def test_it_cuts_before_or_after_the_request(proxy, heard, fault: Fault, arrives: bool) -> None:
    """Cut before: the server never heard of it. Cut after: it did, and the answer is lost."""
    proxy.plan = Plan(fault=fault)

    assert await ask(proxy) == b""
    assert bool(heard) is arrives
    assert proxy.fired == {fault: 1}


@pytest.mark.parametrize(("fault", "arrives"), [(Fault.DROP_ANSWER, True), (Fault.BLACKHOLE, False)])
async def test_it_keeps_silent(proxy, heard, fault: Fault, arrives: bool) -> None:
    """A dropped answer and a black hole leave the caller waiting."""
    proxy.plan = Plan(fault=fault)

    with pytest.raises(TimeoutError):
        await ask(proxy, seconds=0.3)
    assert bool(heard) is arrives
    assert proxy.fired[fault] == 1


async def test_it_delays(proxy: FaultProxy) -> None:
    """Bytes come later, and they do come."""
    proxy.plan = Plan(fault=Fault.DELAY, seconds=0.1)

    assert await ask(proxy) == b"hello\n"
    assert proxy.fired[Fault.DELAY] == 2


async def test_it_cuts_what_is_open(proxy: FaultProxy) -> None:
    """Every open connection ends at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"

    assert proxy.cut() == 1
    with pytest.raises(ConnectionError):
        await reader.readexactly(1)
    writer.transport.abort()
