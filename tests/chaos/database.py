"""A PostgreSQL of one run, stopped and killed as the run likes. tests/postgres.py has the peaceful one."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from cli.postgres import DATABASE, Cluster, ensure_database, prepare_cluster
from cli.process import identity
from cli.serve import MIGRATIONS
from services.chassis.database import DatabaseUnreachable, wait_until_reachable
from services.chassis.env import SecretText
from services.chassis.migrations import migrate

SOCKET = ".s.PGSQL.5432"
DURABLE: Mapping[str, str] = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


class Database:
    """One cluster in a folder. `dsn` leads to it directly; a proxy may stand before `socket`."""

    def __init__(self, cluster: Cluster, log: Path, options: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._log = log
        self._options = {**DURABLE, **options}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Our database in it, over its socket."""
        return self._cluster.dsn

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._cluster.folder / SOCKET

    def dsn_through(self, port: int) -> str:
        """Our database behind a proxy at this port."""
        return f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}?sslmode=disable"

    async def start(self) -> None:
        """It answers when this returns, after whatever recovery it needs."""
        for _ in range(50):
            self._server = self._launched()
            try:
                await self._until_reachable()
            except ChildProcessError:
                await asyncio.sleep(0.2)  # the memory of the killed one is still held for a moment
            else:
                return
        raise AssertionError(self._log.read_text()[-2000:])

    def _launched(self) -> "subprocess.Popen[bytes]":
        program = self._cluster.program(log=self._log, environ=os.environ)
        options = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*program.command, *options],
                env=dict(program.environ),
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity(program.user),
            )

    async def _until_reachable(self) -> None:
        server = self._server
        assert server is not None
        waiting = asyncio.create_task(wait_until_reachable(self._cluster.address("postgres"), timeout=60))
        try:
            while not waiting.done():
                if server.poll() is not None:
                    raise ChildProcessError
                await asyncio.wait([waiting], timeout=0.05)
            waiting.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def make_ours(self) -> None:
        """Our database and every migration."""
        await ensure_database(self._cluster)
        for schema, scripts in MIGRATIONS.items():
            await migrate(SecretText(self.dsn), script_location=scripts, version_schema=schema)

    async def stop_immediately(self) -> None:
        """`pg_ctl stop -m immediate`: no checkpoint, recovery at the next start."""
        await self._end(signal.SIGQUIT)

    async def power_cut(self) -> None:
        """SIGKILL to every process of it at the same moment: what was only in its memory is gone."""
        assert self._server is not None
        postmaster = psutil.Process(self._server.pid)
        # The postmaster first stands still, so that it can start nobody while the others go.
        postmaster.suspend()
        family = postmaster.children(recursive=True)
        for process in (postmaster, *family):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await asyncio.to_thread(self._server.wait, 30)
        await asyncio.to_thread(psutil.wait_procs, family, timeout=30)

    async def is_running(self) -> bool:
        """Whether it answers."""
        try:
            await wait_until_reachable(self._cluster.address("postgres"), timeout=5)
        except DatabaseUnreachable:
            return False
        return self._server is not None and self._server.poll() is None

    async def stop(self) -> None:
        """A proper end; nothing when it has ended already."""
        if self._server is not None and self._server.poll() is None:
            await self._end(signal.SIGINT)

    async def _end(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)
        await asyncio.to_thread(self._server.wait, 60)


@asynccontextmanager
async def database(options: Mapping[str, str] | None = None, *, folder: Path | None = None) -> AsyncIterator[Database]:
    """A running, migrated database in a scratch folder (or in `folder`), removed afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    try:
        cluster = await asyncio.to_thread(prepare_cluster, (folder or scratch) / "pg", os.environ)
        made = Database(cluster, scratch / "log", options or {})
        try:
            await made.start()
            await made.make_ours()
            yield made
        finally:
            await made.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
