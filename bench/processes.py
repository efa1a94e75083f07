"""Starting processes on chosen cores, and what /proc says of them: CPU seconds and memory. It draws no
conclusions.
"""

import asyncio
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from services.chassis.env import process_environ

ROOT = Path(__file__).resolve().parent.parent
# Variables of whoever starts us that would change what is started.
FOREIGN = ("MESSAGEPIPE_", "PG", "LC_", "PYTHON", "MALLOC_")


@contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Whatever this thread starts within the block stays on these cores; everywhere where the system cannot pin."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def started(
    command: Sequence[str], *, cores: Sequence[int], log: Path, environ: Mapping[str, str] | None = None, **more: Any
) -> asyncio.subprocess.Process:
    """A process that runs on these cores with `environ` and our PATH; what it says goes to `log`."""
    base = {name: value for name, value in process_environ().items() if not name.startswith(FOREIGN)}
    with log.open("ab") as output, on_cores(cores):
        return await asyncio.create_subprocess_exec(
            *command,
            env={**base, **(environ or {})},
            **{"cwd": ROOT, "stdin": asyncio.subprocess.DEVNULL, "stdout": output, "stderr": output, **more},
        )


def free_port() -> int:
    """A port nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that these processes and their children have used so far, ended children included."""
    used = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            times = root.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
            for child in root.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    own = child.cpu_times()
                    used += own.user + own.system
    return used


def memory_megabytes(pid: int) -> Mapping[str, float]:
    """Resident memory of a process, and its proportional share of what it shares with others (10^6 bytes)."""
    info = psutil.Process(pid).memory_full_info()
    return {"rss_mb": info.rss / 1e6, "pss_mb": getattr(info, "pss", info.rss) / 1e6}


def peak_megabytes(pid: int) -> float:
    """The most memory that was ever resident (10^6 bytes); 0 where the system does not say."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
