"""The migrations of the dispatch database while dispatchers of the version before work."""

import asyncio
import shutil
from pathlib import Path
from uuid import uuid4

import asyncpg

from cli.serve import MIGRATIONS
from services.chassis.migrations import migrate
from tests.postgres import with_database

_SETTLES = "UPDATE dispatch.completions SET state = 9 WHERE message_id = gen_random_uuid()"
_RECALLS = "SELECT FROM dispatch.messages WHERE id = gen_random_uuid()"
_WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""


async def test_migrating_and_settling_never_deadlock(postgres_server: str, tmp_path: Path) -> None:
    """A dispatcher that locks the tables in another order goes on, and then the migration does."""
    older = shutil.copytree(MIGRATIONS["dispatch"], tmp_path / "migrations")
    for newer in older.glob("versions/*.*"):
        if newer.name[:4] > "0006":
            newer.unlink()
    name = f"older_{uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_server)
    await server.execute(f"CREATE DATABASE {name}")
    dsn = with_database(postgres_server, name)
    try:
        await migrate(dsn, script_location=older, version_schema="dispatch")
        dispatcher, other = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        async with asyncio.timeout(20):
            async with dispatcher.transaction():
                await dispatcher.execute(_SETTLES)
                path = MIGRATIONS["dispatch"]
                migrating = asyncio.create_task(migrate(dsn, script_location=path, version_schema="dispatch"))
                while not await other.fetchval(_WAITS):
                    await asyncio.sleep(0.01)
                await dispatcher.execute(_RECALLS)
            await migrating
        newest = await other.fetchval("SELECT to_regclass('dispatch.partitions') IS NOT NULL")
        await dispatcher.close()
        await other.close()
    finally:
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await server.close()

    assert newest
