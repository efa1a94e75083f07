"""A program kept alive: real processes, real signals."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.house import House, open_house
from cli.problem import Problem
from cli.process import Program
from services.chassis.clock import SystemClock

QUIET = "import signal; signal.pause()"
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    signal.pause()
"""
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic(), flush=True), sys.exit()))
print("up", flush=True)
while True:
    signal.pause()
"""
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    "print(child.pid, flush=True); child.wait()"
)


def a_program(code: str, log: Path, *, grace: float = 5.0) -> Program:
    """A Python one-liner."""
    return Program(name="worker", command=(sys.executable, "-c", code), environ=dict(os.environ), log=log, grace=grace)


@asynccontextmanager
async def a_house() -> AsyncIterator[tuple[House, list[str]]]:
    """A house, and what it said."""
    said: list[str] = []
    async with open_house(clock=SystemClock(), say=said.append) as house:
        yield house, said


async def until(happened: object, seconds: float = 20.0) -> None:
    """Wait until the callable says so."""
    async with asyncio.timeout(seconds):
        while not happened():  # type: ignore[operator]
            await asyncio.sleep(0.02)


async def test_a_program_that_dies_is_started_again(tmp_path: Path) -> None:
    """It gets a new process, and one line says how the old one ended."""
    async with a_house() as (house, said):
        child = house.start(a_program(QUIET, tmp_path / "log"))
        await until(lambda: child.pid)
        house.settle()
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in (None, first))

    assert len(said) == 1
    assert said[0].startswith("worker was ended by SIGKILL after ")
    assert said[0].endswith("starting it again in 200 ms")
    assert child.pid is None


async def test_a_program_that_can_not_start_is_not_started_again(tmp_path: Path) -> None:
    """Before everything stands a death is final, and its last words are kept."""
    async with a_house() as (house, said):
        child = house.start(a_program("raise SystemExit('port 8080 is taken')", tmp_path / "log"))
        await until(lambda: child.failed)

        assert child.last_words() == "port 8080 is taken"
    assert said == []


async def test_a_program_that_does_not_exist_is_a_problem(tmp_path: Path) -> None:
    """What can not be executed is one clear line, not a traceback."""
    program = Program(name="worker", command=("/nowhere/python",), environ={}, log=tmp_path / "log")

    async def run() -> None:
        async with a_house() as (house, _):
            house.start(program)
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    problem = caught.value.exceptions[0]

    assert isinstance(problem, Problem)
    assert str(problem) == "worker can not be started: /nowhere/python: no such file or directory"


async def test_the_last_started_is_the_first_to_stop(tmp_path: Path) -> None:
    """Whoever stands on another one ends before it."""
    logs = [tmp_path / name for name in ("database", "service")]
    async with a_house() as (house, _):
        for log in logs:
            house.start(a_program(POLITE, log))
        await until(lambda: all(log.exists() and "up" in log.read_text() for log in logs))
    order = sorted((log.name for log in logs), key=lambda name: float((tmp_path / name).read_text().split()[-1]))

    assert order == ["service", "database"]


async def test_a_stubborn_program_is_ended_by_force(tmp_path: Path) -> None:
    """Who ignores the request is ended after its grace, and that is said."""
    log = tmp_path / "log"
    async with a_house() as (house, said):
        house.start(a_program(STUBBORN, log, grace=0.3))
        await until(lambda: log.exists() and "deaf" in log.read_text())
        began = time.monotonic()

    assert 0.3 <= time.monotonic() - began < 5
    assert said == ["worker did not stop within 300 ms; ending it by force"]


async def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    """A signal goes to the whole group, so that no grandchild is left."""
    log = tmp_path / "log"
    async with a_house() as (house, _):
        house.start(a_program(PARENT, log))
        await until(lambda: log.exists() and log.read_text().strip())
        grandchild = int(log.read_text())

    await until(lambda: not running(grandchild))


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_who_hangs_is_not_waited_for_longer_than_its_head_start(tmp_path: Path) -> None:
    """The next one is asked meanwhile; the foundation only when nobody stands on it any more."""

    def program(name: str, code: str, **more: Any) -> Program:
        return replace(a_program(code, tmp_path / name, grace=2.0), name=name, **more)

    async with a_house() as (house, said):
        ground = house.start(program("ground", POLITE, foundation=True))
        middle = house.start(program("middle", POLITE))
        top = house.start(program("top", STUBBORN, head_start=0.2))
        await until(lambda: top.last_words() == "deaf" and middle.last_words() == ground.last_words() == "up")
        began = time.monotonic()
        await house.stop()

    asked = {name: float((tmp_path / name).read_text().split()[-1]) - began for name in ("middle", "ground")}
    assert 0.2 <= asked["middle"] < 1.5
    assert asked["ground"] >= 2.0
    assert said == ["top did not stop within 2 s; ending it by force"]
