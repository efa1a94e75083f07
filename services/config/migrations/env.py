"""Hands Alembic the connection that chassis.database.migrate holds. It opens nothing itself."""

from services.chassis.migrations import run_migrations
from services.config.tables import metadata

run_migrations(metadata)
