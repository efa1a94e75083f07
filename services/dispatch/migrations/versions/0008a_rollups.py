"""Analytics: roll-ups of events by hour and by day."""

from pathlib import Path

from alembic import op

revision = "0008a"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: dispatch migrations only go forward."""
    raise NotImplementedError("dispatch migrations only go forward")
