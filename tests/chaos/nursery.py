"""Processes of ours that begin in a fraction of a second: forked off one that has imported everything, and has done
nothing else. For runs that kill hundreds of them; what a start from nothing is worth is seen by all the other runs.

    python -m tests.chaos.nursery

takes one start per line on stdin and tells on stdout who was born and who ended, as JSON.
"""

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from services.chassis.env import leave_forks_alone
from tests.acceptance.processes import ROOT, Process

LOOK_EVERY = 0.01
Life: TypeAlias = tuple[int, asyncio.Future[int]]
# What a child finds imported already.
BEFOREHAND = ("cli.main", "cli.serve", "services.config.app", "services.dispatch.app")


class Nursery:
    """The process that the others are forked off, as seen from the run."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def bear(
        self, arguments: list[str], environ: Mapping[str, str], log: Path
    ) -> tuple[int, asyncio.Future[int]]:
        """A new process: its id, and its return code once it has ended."""
        wish = {"arguments": arguments, "environ": dict(environ), "log": str(log)}
        async with self._one_at_a_time:
            self._writer.write(json.dumps(wish).encode() + b"\n")
            pid = await self._born.get()
        return pid, self._ends[pid]

    async def listen(self) -> None:
        """Until the nursery is gone."""
        while line := await self._reader.readline():
            told = json.loads(line)
            if "born" in told:
                self._ends[told["born"]] = asyncio.get_running_loop().create_future()
                self._born.put_nowait(told["born"])
            else:
                self._ends[told["ended"]].set_result(told["code"])


class Forked(Process):
    """As Process, of this nursery; only the way it starts is another."""

    def __init__(self, *arguments: str, environ: Mapping[str, str], log: Path, nursery: Nursery) -> None:
        super().__init__(*arguments, environ=environ, log=log)
        self._nursery = nursery
        self._life: Life | None = None

    async def start(self, **more: str) -> None:
        """Start it in a process group of its own, `more` in its environment this time."""
        environ = {"PATH": os.environ["PATH"], **self._environ, **more}
        self._life = await self._nursery.bear(list(self._arguments), environ, self._log)

    @property
    def pid(self) -> int:
        """The process as it was started last."""
        assert self._life is not None
        return self._life[0]

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._life is not None and not self._life[1].done()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing when it has ended."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self, seconds: float = 60) -> int | None:
        """Its return code once it has ended; None when it has not within `seconds`."""
        assert self._life is not None
        done, _ = await asyncio.wait([self._life[1]], timeout=seconds)
        return self._life[1].result() if done else None

    async def _end(self, number: signal.Signals) -> int:
        assert self._life is not None
        self.send(number)
        return await self._life[1]


@asynccontextmanager
async def forked(*arguments: str, environ: Mapping[str, str], log: Path, nursery: Nursery) -> AsyncIterator[Process]:
    """As processes.process, of this nursery."""
    made = Forked(*arguments, environ=environ, log=log, nursery=nursery)
    await made.start()
    try:
        yield made
    finally:
        await made.kill()


@asynccontextmanager
async def open_nursery() -> AsyncIterator[Nursery]:
    """A nursery; whoever was born in it is gone at the end of the block."""
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.nursery"),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert made.stdin is not None
    assert made.stdout is not None
    nursery = Nursery(made.stdout, made.stdin)
    listening = asyncio.create_task(nursery.listen())
    try:
        yield nursery
    finally:
        made.stdin.close()
        await made.wait()
        await listening


def main() -> None:
    """Fork for every line until stdin ends; then nobody is left behind."""
    leave_forks_alone()
    for module in BEFOREHAND:
        import_module(module)
    living: set[int] = set()
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], LOOK_EVERY)
        if ready:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                living.add(_fork(json.loads(line)))
        _bury(living)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _bury(living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        living.discard(pid)
        _tell(ended=pid, code=os.waitstatus_to_exitcode(status))


def _fork(wish: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _live(wish)
    _tell(born=pid)
    return pid


def _live(wish: Mapping[str, Any]) -> None:
    """What the child does; it never returns."""
    code = 1
    try:
        os.setsid()
        log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for at, standard in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(at, standard)
        os.environ.clear()
        os.environ.update(wish["environ"])
        code = import_module("cli.main").main(wish["arguments"])
        sys.stdout.flush()
    finally:
        os._exit(code)


def _tell(**word: int) -> None:
    os.write(1, json.dumps(word).encode() + b"\n")


if __name__ == "__main__":
    main()
