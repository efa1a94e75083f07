"""Against a real PostgreSQL: an unsafe database is refused, and sessions of ours are durable whatever its defaults."""

import asyncpg
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from services.chassis.database import DatabaseUnreachable, connect, create_pool
from services.chassis.durability import Durability, UnsafeDatabase, check_durability, require_durability
from services.chassis.engine import create_engine

COMMIT = "SHOW synchronous_commit"


async def by_default(dsn: str, assignment: str) -> None:
    """Change a default of the database."""
    connection = await asyncpg.connect(dsn)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET {assignment}")
    await connection.close()


async def test_a_durable_server_is_not_refused(database_url):
    """The server of the tests keeps what it acknowledges."""
    assert await check_durability(database_url) == Durability(weaknesses=(), standbys="")
    await require_durability(database_url, allow_unsafe=False)


async def test_an_unsafe_default_is_refused(database_url):
    """synchronous_commit turned off for the database is named, with its value and what to do, in one line."""
    await by_default(database_url, "synchronous_commit = off")
    with pytest.raises(UnsafeDatabase, match=r"synchronous_commit=off by the server, database or role; .*=true$"):
        await require_durability(database_url, allow_unsafe=False)


async def test_an_unsafe_default_can_be_allowed(database_url):
    """Then it is said in the log, every time."""
    await by_default(database_url, "synchronous_commit = off")
    with capture_logs() as logs:
        await require_durability(database_url, allow_unsafe=True)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("unsafe_durability_allowed", "warning")
    assert line["settings"] == ["synchronous_commit=off by the server, database or role"]


async def test_a_database_that_does_not_answer_is_no_safe_one(database_url):
    """Who can not be asked is not trusted."""
    with pytest.raises(DatabaseUnreachable, match="no_such_database"):
        await require_durability(database_url.replace("test_", "no_such_database_"), allow_unsafe=True)


@pytest.mark.parametrize(
    ("default", "pinned"), [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply",) * 2]
)
async def test_our_sessions_are_pinned(database_url, default, pinned):
    """Sessions of every kind commit durably: `on`, or what is stronger by default; and they hear warnings."""
    await by_default(database_url, f"synchronous_commit = {default}")
    await by_default(database_url, "client_min_messages = error")
    connection = await connect(database_url)
    pool = await create_pool(database_url, size=2)
    engine = create_engine(database_url, size=1)
    async with engine.connect() as sqlalchemy:
        of_engine = (await sqlalchemy.execute(text(COMMIT))).scalar_one()
    assert {await connection.fetchval(COMMIT), await pool.fetchval(COMMIT), of_engine} == {pinned}
    assert await connection.fetchval("SHOW client_min_messages") == "warning"
    await connection.close()
    await pool.close()
    await engine.dispose()
