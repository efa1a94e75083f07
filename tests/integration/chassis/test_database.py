"""Against a real PostgreSQL: connecting, migrating side by side, and waiting."""

import asyncio
import socket
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from services.chassis.clock import SystemClock
from services.chassis.database import (
    DatabaseUnreachable,
    create_pool,
    wait_until_reachable,
)
from services.chassis.engine import create_engine
from services.chassis.migrations import migrate
from tests.postgres import with_database

ENV = """
from services.chassis.migrations import run_migrations

run_migrations()
"""

FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    op.create_table("things", sa.Column("id", sa.Text, primary_key=True), schema="chassis_test")
    op.execute("SELECT pg_sleep(0.2)")
"""

SECOND = """
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    op.execute("INSERT INTO chassis_test.things VALUES ('made once')")
"""

BROKEN = """
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    op.execute("INSERT INTO chassis_test.things VALUES ('half done')")
    op.execute("SELECT * FROM no_such_table")
"""


@pytest.fixture
async def database(postgres_server):
    """An empty database of the test's own."""
    name = f"chassis_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_server)
    await server.execute(f"CREATE DATABASE {name}")
    yield with_database(postgres_server, name)
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A migrations folder with two versions; its path holds a percent sign, which Alembic's configuration dislikes."""
    folder = tmp_path / "50% done"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "versions" / "0001_things.py").write_text(FIRST)
    (folder / "versions" / "0002_one.py").write_text(SECOND)
    return folder


async def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """What the database answers."""
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_starters_at_the_same_time_migrate_once(database, scripts):
    """Four starters at once all return, each migration ran once, and running again changes nothing."""
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(migrate(database, script_location=scripts, version_schema="chassis_test"))
    await migrate(database, script_location=scripts, version_schema="chassis_test")
    assert await rows(database, "SELECT id FROM chassis_test.things") == [("made once",)]
    assert await rows(database, "SELECT version_num FROM chassis_test.alembic_version") == [("0002",)]


async def test_a_failing_migration_leaves_nothing_behind(database, scripts):
    """A migration that fails half-way is rolled back with all that ran before it, and the next start can try again."""
    broken = scripts / "versions" / "0003_broken.py"
    broken.write_text(BROKEN)
    with pytest.raises(Exception, match="no_such_table"):
        await migrate(database, script_location=scripts, version_schema="chassis_test")
    assert await rows(database, "SELECT to_regclass('chassis_test.things')::text") == [(None,)]
    broken.unlink()
    await migrate(database, script_location=scripts, version_schema="chassis_test")
    assert await rows(database, "SELECT id FROM chassis_test.things") == [("made once",)]


async def test_a_schema_name_is_not_sql(database, scripts):
    """A schema name that is no identifier is refused."""
    with pytest.raises(ValueError, match="cannot name a schema"):
        await migrate(database, script_location=scripts, version_schema='x"; DROP TABLE y; --')


async def test_the_engine_and_the_pool_connect(database):
    """Both reach the database the DSN names, through its Unix socket or host; the pool has its session's settings."""
    engine = create_engine(database, size=2)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_database()"))).scalar_one() in database
    await engine.dispose()
    pool = await create_pool(database, size=2, settings={"application_name": "messagepipe dispatch"})
    assert (pool.get_size(), pool.get_max_size()) == (2, 2)
    assert await pool.fetchval("SHOW application_name") == "messagepipe dispatch"
    await pool.close()


async def test_a_reachable_database_is_reached(database):
    """wait_until_reachable returns when the database answers."""
    await wait_until_reachable(database, timeout=5)


async def test_waiting_ends_with_one_line():
    """When nobody listens, it gives up after the timeout with address and reason in one line, without the password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = SystemClock().boottime()
    with pytest.raises(DatabaseUnreachable) as caught:
        await wait_until_reachable(f"postgresql://ada:hush@127.0.0.1:{port}/main", timeout=0.5)
    assert str(caught.value) == f"127.0.0.1:{port}/main: connection refused (waited 0.5 s)"
    assert SystemClock().boottime() - began < 3


async def test_a_missing_database_is_said_at_once(database):
    """What waiting cannot mend is not waited for."""
    async with asyncio.timeout(5):
        with pytest.raises(DatabaseUnreachable, match='database "nowhere" does not exist'):
            await wait_until_reachable(with_database(database, "nowhere"), timeout=60)


async def test_a_database_that_comes_later_is_waited_for(database):
    """A server that refuses at first and answers later is reached."""
    ready = asyncio.Event()

    class Impatient(SystemClock):
        """Lets the database appear while we sleep."""

        async def sleep(self, seconds: float) -> None:
            ready.set()
            await super().sleep(seconds)

    source, target = await listening_proxy(database, ready)
    try:
        await wait_until_reachable(target, timeout=10, clock=Impatient())
    finally:
        source.close()
    assert ready.is_set()


async def listening_proxy(dsn: str, ready: asyncio.Event) -> tuple[asyncio.Server, str]:
    """A TCP door to the database that slams shut until `ready` is set."""
    connection = await asyncpg.connect(dsn)
    (folder,) = await connection.fetchrow("SELECT split_part(current_setting('unix_socket_directories'), ',', 1)")
    (port,) = await connection.fetchrow("SELECT current_setting('port')")
    (name,) = await connection.fetchrow("SELECT current_database()")
    await connection.close()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not ready.is_set():
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = await asyncio.start_server(door, "127.0.0.1", 0)
    where = server.sockets[0].getsockname()
    return server, f"postgresql://postgres@{where[0]}:{where[1]}/{name}?sslmode=disable"
