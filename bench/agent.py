"""A process of the rig that does as it is told: one JSON line in, one JSON line out. Not what it does."""

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.processes import started

LINE_LIMIT = 64 * 1024 * 1024
Command = Callable[..., Awaitable[Any]]


class AgentFailed(Exception):
    """What it was told could not be done; the message is its own trace."""


class Agent:
    """The handle on one such process; one order at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, module: str, *, cores: Sequence[int], log: Path) -> "Agent":
        """`python -m module`, on these cores."""
        command = [sys.executable, "-m", module]
        pipe = asyncio.subprocess.PIPE
        return cls(await started(command, cores=cores, log=log, stdin=pipe, stdout=pipe, limit=LINE_LIMIT))

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Its answer to an order. Raises AgentFailed."""
        async with self._turn:
            if self._process.stdin is None or self._process.stdout is None:
                raise AgentFailed("it has no pipes")
            self._process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise AgentFailed(f"it ended at {command}")
        answer = json.loads(line)
        if "failed" in answer:
            raise AgentFailed(f"{command}: {answer['failed']}")
        return answer["done"]

    async def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def serve(commands: Mapping[str, Command]) -> None:
    """Follow the orders on stdin until it ends; in the process itself."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_follow(commands))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that the services use too."""
    try:
        import uvloop  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _follow(commands: Mapping[str, Command]) -> None:
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command, arguments = json.loads(line)
        try:
            answer = {"done": await commands[command](**arguments)}
        except Exception:  # noqa: BLE001 - whoever asked is told
            answer = {"failed": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
