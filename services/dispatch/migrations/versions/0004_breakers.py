"""The breakers of providers: counted failures, probes, cool-downs, shared by every worker."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables anew; the statements stand beside this file."""
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Not offered: what is known about providers is not dropped by a migration."""
    raise NotImplementedError("dispatch migrations only go forward")
