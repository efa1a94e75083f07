"""Services as processes of their own, started, killed and started again by a test."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

COMMAND = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).resolve().parent.parent.parent


class Process:
    """One `messagepipe …` process; its output goes to `log`."""

    def __init__(self, *arguments: str, environ: Mapping[str, str], log: Path) -> None:
        self._arguments = arguments
        self._environ = environ
        self._log = log
        self._running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it in a process group of its own."""
        with self._log.open("ab") as output:
            self._running = await asyncio.create_subprocess_exec(
                *COMMAND,
                *self._arguments,
                env={"PATH": os.environ["PATH"], **self._environ},
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """SIGKILL: no time for last words."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; answers the exit code."""
        return await self._end(signal.SIGTERM)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._running is not None
        return self._running.pid

    def send_signal(self, number: int) -> None:
        """Send a signal and go on."""
        assert self._running is not None
        self._running.send_signal(number)

    async def ended(self) -> int:
        """The exit code, once it has ended."""
        assert self._running is not None
        return await self._running.wait()

    async def _end(self, number: signal.Signals) -> int:
        assert self._running is not None
        if self._running.returncode is None:
            self._running.send_signal(number)
        return await self._running.wait()

    def output(self) -> str:
        """Everything it has said so far."""
        return self._log.read_text()


@asynccontextmanager
async def process(*arguments: str, environ: Mapping[str, str], log: Path) -> AsyncIterator[Process]:
    """A started process, killed at the end of the block if it is still there."""
    made = Process(*arguments, environ=environ, log=log)
    await made.start()
    try:
        yield made
    finally:
        await made.kill()


def free_port() -> int:
    """A port nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_serving(target: str, *, seconds: float = 30.0) -> None:
    """Returns when the service at `target` says SERVING."""
    async with asyncio.timeout(seconds), grpc.aio.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs know only the blocking one
        while True:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            except grpc.aio.AioRpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(0.05)
