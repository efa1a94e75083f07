"""What an operator wants of a provider, whatever its health is.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; a constant default rewrites no table."""
    op.execute(
        "ALTER TABLE config.providers ADD COLUMN hold text NOT NULL DEFAULT 'AUTOMATIC'"
        " CHECK (hold IN ('AUTOMATIC', 'OUT', 'IN'))"
    )


def downgrade() -> None:
    """Not possible: an operator's word would be lost."""
    raise NotImplementedError("restore a backup instead")
