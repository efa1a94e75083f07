"""Who works: the dispatchers that live. And what becomes of messages that nobody survives: strikes, retries."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, the columns and the indexes; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: what was retried is not forgotten by a migration."""
    raise NotImplementedError("dispatch migrations only go forward")
