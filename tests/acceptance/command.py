"""The installed `messagepipe` command as tests run it: a real process, its output, its processes. No test."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.datadir import Addresses, DataDir

SCRIPT = Path(sys.executable).parent / "messagepipe"
ROOT = Path(__file__).resolve().parent.parent.parent
ANY_PORTS = ("--http-port", "0", "--config-port", "0", "--dispatch-port", "0")
START_SECONDS = 50.0


def environment(**more: str) -> dict[str, str]:
    """The environment of whoever runs the tests, without their settings of messagepipe."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESSAGEPIPE_", "NO_COLOR"))}
    return {**kept, **more}


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """One command to its end."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=dict(environ or environment()),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


class Up:
    """A running `messagepipe up`; its stdout is read as it comes."""

    def __init__(
        self, data: Path, *arguments: str, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(SCRIPT), "up", "--data-dir", str(data), *ANY_PORTS, *arguments],
            env=dict(environ or environment()),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything it has said so far."""
        return "".join(self._lines)

    @property
    def addresses(self) -> Addresses:
        """Where it serves."""
        found = DataDir(root=self.data).running()
        assert found is not None, self.output
        return found

    def until(self, text: str, seconds: float = START_SECONDS) -> "Up":
        """Wait until it has said `text`."""
        wait_for(lambda: text in self.output or self.process.poll() is not None, seconds, lambda: self.output)
        assert text in self.output, self.output
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send one signal to `up` alone."""
        self.process.send_signal(number)

    def exit_code(self, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def family(self) -> list[psutil.Process]:
        """Every process that it started, directly or not."""
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def service(self, name: str) -> psutil.Process:
        """The process of one service, found the way people do: by its command line."""
        found = [each for each in self.family() if f"messagepipe {name}" in " ".join(each.cmdline())]
        assert len(found) == 1, found
        return found[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.append(line)


@contextmanager
def running_up(data: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Up]:
    """An `up` that has ended when the block has."""
    up = Up(data, *arguments, environ=environ)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.signal(signal.SIGTERM)
        up.exit_code()


def wait_for(happened: Callable[[], bool], seconds: float, story: Callable[[], str] = str) -> None:
    """Return as soon as it happened; fail with the story when it did not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds:g} s: {story()}"
        time.sleep(0.05)


def left_over(processes: Sequence[psutil.Process]) -> list[str]:
    """Which of these still run."""
    return [f"{each.pid} {each.name()}" for each in processes if each.is_running() and _alive(each)]


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def shell_blocks(markdown: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"```sh\n(.*?)```", markdown, re.DOTALL)


def one_line(text: str) -> str:
    """The text, which must be one line."""
    assert len(text.splitlines()) == 1, text
    return text
