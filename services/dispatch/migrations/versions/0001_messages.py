"""The tables of DispatchService."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table of the schema `dispatch`; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: accepted messages are not dropped by a migration."""
    raise NotImplementedError("dispatch migrations only go forward")
