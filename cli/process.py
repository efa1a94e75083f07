"""One child process kept alive: started, restarted with backoff, stopped. Not what it runs, nor in which order."""

import asyncio
import contextlib
import ctypes
import errno
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cli.duration import show_duration
from cli.logs import last_line, open_log
from cli.problem import Problem
from services.chassis.clock import Clock

FIRST_DELAY = 0.2
LAST_DELAY = 5.0
HEALTHY_AFTER = 10.0  # seconds of life after which the next death counts as the first again

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>, Linux only


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `log` takes its output (None: it shares ours), `user` is who runs it (None: us).

    `soft` asks it to finish what it does, `hard` to end at once; it gets `grace` seconds between the two.
    `retry_start`: a first start that fails is tried again like a later one; otherwise it is final.
    `whole_group`: signals go to whatever it started as well. When all is stopped, `head_start` is how long it is waited
    for before the next one is asked (None: until it has ended); a `foundation` is asked when all others have ended.
    """

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    log: Path | None
    user: str | None = None
    soft: signal.Signals = signal.SIGTERM
    hard: signal.Signals = signal.SIGKILL
    grace: float = 20.0
    retry_start: bool = False
    whole_group: bool = True
    head_start: float | None = None
    foundation: bool = False


class Child:
    """A running Program: when it ends without having been stopped it is started again, saying so in one line."""

    def __init__(self, program: Program, *, clock: Clock, say: Callable[[str], None]) -> None:
        self.program = program
        self.failed = False  # it ended before it was `settled`, and is not started again
        self.restarts = 0
        self._clock = clock
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._settled = program.retry_start
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def keep_alive(self) -> None:
        """Run the program until `stop`; returns when its process has ended for good."""
        delay = 0.0
        try:
            while not self._stopping.is_set():
                started = self._clock.boottime()
                code = await self._run_once()
                if self._stopping.is_set():
                    break
                if not self._settled:
                    self.failed = True
                    break
                lived = self._clock.boottime() - started
                delay = next_delay(delay, lived)
                self.restarts += 1
                self._say(
                    f"{self.program.name} {ended(code)} after {show_duration(lived)}; "
                    f"starting it again in {show_duration(delay)}"
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
        finally:
            self._over.set()

    def settle(self) -> None:
        """It did start well: from now on its end is an accident."""
        self._settled = True

    async def stop(self) -> None:
        """The program has ended when this returns: asked first, ended by force after its grace."""
        self._stopping.set()
        self.send(self.program.soft)
        try:
            async with asyncio.timeout(self.program.grace):
                await self._over.wait()
        except TimeoutError:
            self._say(
                f"{self.program.name} did not stop within {show_duration(self.program.grace)}; ending it by force"
            )
            self.kill()
            await self._over.wait()

    def kill(self) -> None:
        """End the process now, without asking, and do not start it again."""
        self._stopping.set()
        self.send(self.program.hard)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, which leads its own group; nothing happens when it has ended."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if self.program.whole_group else os.kill)(self.pid, number)

    def last_words(self) -> str:
        """The last line of its log, at most 300 characters; empty when there is none."""
        return last_line(self.program.log) if self.program.log else ""

    async def _run_once(self) -> int:
        output = open_log(self.program.log) if self.program.log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=dict(self.program.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A terminal's Ctrl-C reaches its whole foreground group: only `up` may hear it; it stops all in order.
                process_group=0,
                preexec_fn=_die_with(os.getpid(), self.program.soft),
                **identity(self.program.user),
            )
        except (OSError, subprocess.SubprocessError) as error:
            # A child that dies while it reports why it could not be executed leaves half a report: ask the file itself.
            number = getattr(error, "errno", None) or _why_not_executable(self.program.command[0])
            reason = os.strerror(number).lower() if number else str(error)
            raise Problem(f"{self.program.name} can not be started: {self.program.command[0]}: {reason}") from None
        finally:
            if output is not None:
                os.close(output)
        if self._stopping.is_set():  # asked to stop while it was being started
            self.send(self.program.soft)
        return await self._process.wait()


class Identity(TypedDict):
    """The arguments of subprocess that say who runs a process."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


def identity(user: str | None) -> Identity:
    """Somebody else with none of our groups, or (None) ourselves."""
    if user is None:
        return Identity(user=None, group=None, extra_groups=None)
    entry = pwd.getpwnam(user)
    return Identity(user=entry.pw_uid, group=entry.pw_gid, extra_groups=[])


def next_delay(previous: float, lived: float) -> float:
    """Seconds to wait before the next start: 0.2 s, doubling to 5 s, and 0.2 s again after 10 s of life."""
    if previous == 0 or lived >= HEALTHY_AFTER:
        return FIRST_DELAY
    return min(previous * 2, LAST_DELAY)


def ended(code: int) -> str:
    """How a process ended, in words, from its return code (negative: the signal that ended it)."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None] | None:
    """What a child does before it becomes the program: asks the kernel to be told when we die (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing may be loaded

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return arm


def _why_not_executable(path: str) -> int | None:
    """The error number of what keeps a file from being executed; None when nothing seems to."""
    if not Path(path).exists():
        return errno.ENOENT
    return None if os.access(path, os.X_OK) else errno.EACCES
