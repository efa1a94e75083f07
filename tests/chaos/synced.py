"""An append-only file of JSON lines, on the disk before `write` returns; callers at the same time share one sync."""

import asyncio
import json
import os
from pathlib import Path


class SyncedLog:
    """One file; for one event loop, which never waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, **fields: object) -> None:
        """Append one line; it survives whatever dies once this returns."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((json.dumps(fields).encode() + b"\n", done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(done)

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await asyncio.to_thread(self._keep, b"".join(line for line, _ in batch))
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
        self._flushing = None

    def _keep(self, lines: bytes) -> None:
        os.write(self._file, lines)
        os.fdatasync(self._file)
