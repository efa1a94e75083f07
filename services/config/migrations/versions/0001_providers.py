"""Providers, the senders of channels, and the version of each chain.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the three tables."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not possible: it would destroy the only copy of every credential."""
    raise NotImplementedError("restore a backup instead")


_STATEMENTS = (
    """
    CREATE TABLE config.chains (
        project_id text NOT NULL CHECK (project_id ~ '^[A-Za-z0-9_-]{1,64}$'),
        channel text NOT NULL CHECK (channel IN ('EMAIL', 'SMS')),
        version bigint NOT NULL CHECK (version >= 0),
        changed_at timestamptz NOT NULL,
        PRIMARY KEY (project_id, channel)
    )
    """,
    """
    COMMENT ON TABLE config.chains IS
        'One row per project and channel; locked by every write of that chain, so that writes take turns.'
    """,
    "CREATE INDEX chains_changed_at ON config.chains (changed_at)",
    """
    CREATE TABLE config.providers (
        id uuid PRIMARY KEY,
        project_id text NOT NULL,
        channel text NOT NULL,
        kind text NOT NULL CHECK (kind <> ''),
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
        enabled boolean NOT NULL,
        priority integer NOT NULL CHECK (priority BETWEEN 0 AND 1000000),
        settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
        sealed bytea NOT NULL,
        key_id text NOT NULL,
        version bigint NOT NULL CHECK (version >= 1),
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        FOREIGN KEY (project_id, channel) REFERENCES config.chains (project_id, channel)
    )
    """,
    "COMMENT ON COLUMN config.providers.settings IS 'Without any secret.'",
    """
    COMMENT ON COLUMN config.providers.sealed IS
        'The secrets as JSON: 96-bit nonce, then AES-256-GCM bound to project, id and version.'
    """,
    "CREATE INDEX providers_order ON config.providers (project_id, channel, priority, created_at, id)",
    "CREATE INDEX providers_key_id ON config.providers (key_id, id)",
    """
    CREATE TABLE config.channel_configs (
        project_id text NOT NULL,
        channel text NOT NULL,
        enabled boolean NOT NULL,
        sender_email text NOT NULL,
        sender_name text NOT NULL,
        sender_id text NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        PRIMARY KEY (project_id, channel),
        FOREIGN KEY (project_id, channel) REFERENCES config.chains (project_id, channel)
    )
    """,
)
