"""Migrations over a database that has been in use: what was there is there afterwards."""

import shutil
from pathlib import Path

import asyncpg

import services.config
from services.chassis.migrations import migrate

SCRIPTS = Path(services.config.__file__).parent / "migrations"


async def test_projects_that_were_configured_get_their_row(database_url: str, tmp_path: Path) -> None:
    """Whoever upgrades finds every project in the list, called by its id, since its first change that is known."""
    before = shutil.copytree(SCRIPTS, tmp_path / "before", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (before / "versions").glob("0*.py"):
        if path.name >= "0004":
            path.unlink()
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("DROP SCHEMA config CASCADE")
        await migrate(database_url, script_location=before, version_schema="config")
        await connection.execute(
            "INSERT INTO config.chains VALUES ('shop', 'SMS', 3, '2026-01-02T00:00Z'),"
            " ('shop', 'EMAIL', 1, '2026-01-01T00:00Z'), ('web', 'SMS', 0, '2026-01-03T00:00Z')"
        )
        await migrate(database_url, script_location=SCRIPTS, version_schema="config")
        rows = await connection.fetch("SELECT id, name, created_at::date::text FROM config.projects ORDER BY id")
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [("shop", "shop", "2026-01-01"), ("web", "web", "2026-01-03")]
