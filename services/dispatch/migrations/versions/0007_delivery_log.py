"""The delivery log: indexes, and marks at every thousandth message."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes, the column and the tables; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: dispatchers of this version need the column."""
    raise NotImplementedError("dispatch migrations only go forward")
