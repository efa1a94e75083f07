"""What providers tell later: receipts, and what they make of attempts and completions."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables and columns; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: what providers told is not dropped by a migration."""
    raise NotImplementedError("dispatch migrations only go forward")
