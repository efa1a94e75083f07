"""Migrations with Alembic: a schema is made, or brought to its newest version. Only who migrates imports this."""

import hashlib
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.pool import NullPool

from services.chassis.database import Dsn
from services.chassis.engine import create_engine


async def migrate(dsn: Dsn, *, script_location: Path, version_schema: str) -> None:
    """The schema exists and every migration in `script_location` is applied; starters at the same time take turns.

    All migrations run in one transaction: they are applied together or not at all. The folder's env.py is
    `run_migrations(metadata)`.
    """
    engine = create_engine(dsn, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            # Held to the end of this transaction, so that it cannot outlive a crash.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _lock_key(version_schema)})
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{_identifier(version_schema)}"'))
            await connection.run_sync(_upgrade, script_location, version_schema)
    finally:
        await engine.dispose()


def run_migrations(metadata: MetaData | None = None) -> None:
    """For a migrations folder's env.py: applies the migrations over the connection that `migrate` holds."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        target_metadata=metadata,
        version_table_schema=attributes["version_schema"],
        include_schemas=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def newest_of(script_location: Path) -> set[str]:
    """The versions that `migrate` would bring a schema to: one, unless somebody forgot to put migrations in a line."""
    return set(ScriptDirectory.from_config(_config(script_location)).get_heads())


def _upgrade(connection: Connection, script_location: Path, version_schema: str) -> None:
    config = _config(script_location)
    config.attributes["connection"] = connection
    config.attributes["version_schema"] = version_schema
    command.upgrade(config, "head")


def _config(script_location: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(script_location.resolve()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _lock_key(version_schema: str) -> int:
    digest = hashlib.sha256(f"messagepipe migrate {version_schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _identifier(name: str) -> str:
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot name a schema")
    return name
