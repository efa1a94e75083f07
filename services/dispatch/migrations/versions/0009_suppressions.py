"""Whom a project does not send to any more."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: dispatchers of this version need the table."""
    raise NotImplementedError("dispatch migrations only go forward")
