"""Alembic's entry: runs the dispatch migrations over the connection that `migrate` holds."""

from services.chassis.migrations import run_migrations

run_migrations()
