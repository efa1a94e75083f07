"""The migrations and the tables that the queries are written against say the same."""

from typing import Any

import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.config.store import open_engine
from services.config.tables import metadata


def differences(connection: sqlalchemy.Connection) -> list[Any]:
    """What Alembic would change so that the database had our tables, indexes and comments left aside."""
    context = MigrationContext.configure(
        connection, opts={"include_schemas": True, "version_table_schema": "config", "include_name": _ours}
    )
    found = compare_metadata(context, metadata)
    flat = [each for group in found for each in (group if isinstance(group, list) else [group])]
    return [each for each in flat if not str(each[0]).endswith(("_index", "_fk", "_comment"))]


def _ours(name: str | None, kind: str, parents: object) -> bool:
    return name == "config" if kind == "schema" else True


async def test_tables_are_what_the_migrations_make(database_url: str) -> None:
    """Every column exists with its type and nullability, and there is none that the queries do not know."""
    engine = open_engine(database_url)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_sessions_have_limits(database_url: str) -> None:
    """A connection of ours waits for no lock for ever and keeps no transaction open for ever."""
    engine = open_engine(database_url)
    async with engine.connect() as connection:
        shown = [
            (await connection.execute(sqlalchemy.text(f"SHOW {name}"))).scalar_one()
            for name in ("lock_timeout", "idle_in_transaction_session_timeout", "application_name")
        ]
    await engine.dispose()
    assert shown == ["3s", "10s", "messagepipe-config"]
