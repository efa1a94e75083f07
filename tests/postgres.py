"""A real PostgreSQL for the tests: one server per test run, one migrated template, one clone per test."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from cli.postgres import prepare_cluster
from cli.process import identity
from services.chassis.database import wait_until_reachable
from services.chassis.migrations import migrate

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "messagepipe_template"
# The column has a default for dispatchers of an older version only; whoever forgot it would fail here.
NO_ROW_WITHOUT_ITS_PROJECT = "ALTER TABLE dispatch.queue ALTER COLUMN project_id DROP DEFAULT"
SCHEMAS = ("config", "dispatch")


@contextmanager
def running_server() -> Iterator[str]:
    """A PostgreSQL in a scratch folder as a DSN; it is stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    try:
        cluster = prepare_cluster(folder / "pg", os.environ)
        program = cluster.program(log=folder / "log", environ=os.environ)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                program.command, env=dict(program.environ), stdout=log, stderr=log, **identity(program.user)
            )
        try:
            asyncio.run(wait_until_reachable(cluster.address("postgres"), timeout=30))
            yield cluster.address("postgres")
        finally:
            server.send_signal(program.soft)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def make_template(server: str) -> None:
    """Create the database that every test's database is a copy of, with all migrations applied."""

    async def build() -> None:
        await _execute(server, f"CREATE DATABASE {TEMPLATE}")
        for schema in SCHEMAS:
            scripts = ROOT / "services" / schema / "migrations"
            if scripts.is_dir():
                await migrate(with_database(server, TEMPLATE), script_location=scripts, version_schema=schema)
        await _execute(with_database(server, TEMPLATE), NO_ROW_WITHOUT_ITS_PROJECT)

    asyncio.run(build())


@asynccontextmanager
async def cloned_database(server: str) -> AsyncIterator[str]:
    """A fresh database with all migrations as a DSN; dropped afterwards, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    try:
        yield with_database(server, name)
    finally:
        await _execute(server, f"DROP DATABASE {name} WITH (FORCE)")
