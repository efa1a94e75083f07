"""The log files of the processes that `up` runs: opened, kept small, read at the end. Not what is written into them."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from services.chassis.clock import Clock

MAX_LOG_BYTES = 32 * 1024 * 1024
CHECK_EVERY = 60.0  # seconds


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; its owner alone can read it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def last_line(path: Path) -> str:
    """The last line of a file that says something, at most 300 characters; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


async def keep_small(paths: Callable[[], Iterable[Path]], clock: Clock) -> None:
    """For ever: a log above 32 MiB moves to `<name>.1`, so that one process takes 64 MiB of disk at most, roughly."""
    while True:
        for path in paths():
            trim(path)
        await clock.sleep(CHECK_EVERY)


def trim(path: Path, limit: int = MAX_LOG_BYTES) -> None:
    """Set aside what a log above `limit` bytes holds. Its writer appends and goes on; a line in between may be lost."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)
