"""A TCP proxy that spoils connections, by seed and on command. It knows no protocol.

It stands between dispatch and a provider, dispatch and PostgreSQL, a client and dispatch. Every fault it plays is
counted, so that a run can assert that it had any.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CHUNK = 64 * 1024

Upstream = tuple[str, int] | Path
"""Where it leads: a host and a port, or a Unix socket."""


class Fault(StrEnum):
    """What can happen to a chunk of bytes, or to a connection."""

    PASS = "pass"
    DELAY = "delay"  # it arrives later
    CUT_BEFORE = "cut before"  # the connection is reset, and what the client just wrote goes nowhere
    CUT_AFTER = "cut after"  # the request goes through; the connection is reset before the answer does
    DROP_ANSWER = "drop answer"  # the request goes through, the answer never comes, the connection stays
    BLACKHOLE = "blackhole"  # nothing goes through either way, and nobody is told


@dataclass(slots=True)
class Plan:
    """Which fault is played, and how often: `rate` is the share of chunks that meet it; `seconds` for DELAY."""

    fault: Fault = Fault.PASS
    rate: float = 1.0
    seconds: float = 0.0


class FaultProxy:
    """Listens at `port`; `plan` may be replaced at any time and counts from the next chunk on."""

    def __init__(self, upstream: Upstream, *, seed: int) -> None:
        self.plan = Plan()
        self.fired: Counter[Fault] = Counter()
        self.port = 0
        self._upstream = upstream
        self._dice = random.Random(seed)
        self._connections: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def cut(self) -> int:
        """Reset every open connection now; answers how many there were."""
        open_ones = list(self._connections)
        for writer in open_ones:
            _reset(writer)
        self.fired[Fault.CUT_AFTER] += len(open_ones)
        return len(open_ones)

    async def close(self) -> None:
        """Reset every connection; nothing of them is left when this returns."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or a fault does."""
        task = asyncio.create_task(self._serve(client, answer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        try:
            server, request = await self._connect()
        except OSError:
            _reset(answer)
            return
        self._connections.add(answer)
        # One end closed ends both: nobody here speaks over a half-open line.
        tasks = {
            asyncio.create_task(self._pump(client, request, asked=True)),
            asyncio.create_task(self._pump(server, answer, asked=False)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Before anything that may be cancelled: no connection is left open.
            for writer in (request, answer):
                _reset(writer)
            self._connections.discard(answer)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in (request, answer):
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(str(self._upstream))
        return await asyncio.open_connection(*self._upstream)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asked: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await source.read(CHUNK):
                fault = self._met(asked=asked)
                if fault in (Fault.CUT_BEFORE, Fault.CUT_AFTER):
                    return
                if fault is Fault.BLACKHOLE:
                    await self._until_healed()
                    return
                if fault is Fault.DROP_ANSWER:
                    continue
                if fault is Fault.DELAY:
                    await asyncio.sleep(self._dice.uniform(0.5, 1.5) * self.plan.seconds)
                sink.write(chunk)
                await sink.drain()

    def _met(self, *, asked: bool) -> Fault:
        """What this chunk meets; `asked` says that it comes from the client."""
        fault = self.plan.fault
        only_requests, only_answers = fault is Fault.CUT_BEFORE, fault in (Fault.CUT_AFTER, Fault.DROP_ANSWER)
        if fault is Fault.PASS or (only_requests and not asked) or (only_answers and asked):
            return Fault.PASS
        if self._dice.random() >= self.plan.rate:
            return Fault.PASS
        self.fired[fault] += 1
        return fault

    async def _until_healed(self) -> None:
        while self.plan.fault is Fault.BLACKHOLE:
            await asyncio.sleep(0.05)


def _reset(writer: asyncio.StreamWriter) -> None:
    """The other side gets RST, not an orderly end."""
    plug = writer.get_extra_info("socket")
    if plug is not None and plug.family == socket.AF_INET and not writer.is_closing():
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def fault_proxy(upstream: Upstream, *, seed: int) -> AsyncIterator[FaultProxy]:
    """A proxy at a port of its own; everything through it is cut at the end of the block."""
    proxy = FaultProxy(upstream, seed=seed)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=1024)
    proxy.port = int(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
