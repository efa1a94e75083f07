"""Which projects were deleted, for dispatchers to forget what they keep of their configuration.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table."""
    op.execute("CREATE TABLE config.gone_projects (id text PRIMARY KEY, gone_at timestamptz NOT NULL)")
    op.execute("CREATE INDEX gone_projects_order ON config.gone_projects (gone_at, id)")


def downgrade() -> None:
    """Drops it; what dispatchers have not forgotten by then stays."""
    op.execute("DROP TABLE config.gone_projects")
