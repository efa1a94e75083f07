"""Fair turns between projects, and what providers allow: rates and concurrent calls, shared by every dispatcher."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: dispatchers of this version need the columns."""
    raise NotImplementedError("dispatch migrations only go forward")
