"""Templates and the versions of their content.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the two tables."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not possible: it would destroy the only copy of every template."""
    raise NotImplementedError("restore a backup instead")


_STATEMENTS = (
    """
    CREATE TABLE config.templates (
        id uuid PRIMARY KEY,
        project_id text NOT NULL CHECK (project_id ~ '^[A-Za-z0-9_-]{1,64}$'),
        type text NOT NULL CHECK (type IN ('EMAIL', 'MESSAGE', 'SMS')),
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
        version bigint NOT NULL CHECK (version >= 1),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        UNIQUE (id, project_id)
    )
    """,
    "COMMENT ON COLUMN config.templates.version IS 'The current one of its template_versions.'",
    "CREATE INDEX templates_order ON config.templates (project_id, created_at, id)",
    """
    CREATE TABLE config.template_versions (
        template_id uuid NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        project_id text NOT NULL,
        subject text,
        html text,
        text text,
        body text,
        variables text[] NOT NULL,
        created_at timestamptz NOT NULL,
        PRIMARY KEY (template_id, version),
        FOREIGN KEY (template_id, project_id) REFERENCES config.templates (id, project_id) ON DELETE CASCADE
    )
    """,
    """
    COMMENT ON TABLE config.template_versions IS
        'The content of a template, version by version: rows are added, never changed, and go with their template.'
    """,
)
