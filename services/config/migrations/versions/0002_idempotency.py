"""Idempotency keys of writes, each with the answer it stands for.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the table."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not offered: without the keys, requests could be done twice."""
    raise NotImplementedError("restore a backup instead")


_STATEMENTS = (
    """
    CREATE TABLE config.idempotency_keys (
        key text COLLATE "C" NOT NULL,
        project_id text COLLATE "C" NOT NULL,
        key_id text NOT NULL,
        fingerprint bytea NOT NULL,
        answer bytea NOT NULL,
        channel text,
        chain_version bigint,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (key, project_id)
    )
    """,
    "CREATE INDEX idempotency_keys_by_age ON config.idempotency_keys (expires_at)",
    """
    COMMENT ON COLUMN config.idempotency_keys.fingerprint IS
        'HMAC-SHA-256 of the request under the vault key key_id: a plain hash of its credentials could be guessed.'
    """,
    """
    COMMENT ON COLUMN config.idempotency_keys.answer IS
        'The protobuf message that was answered, without any secret; channel and chain_version say which chain changed.'
    """,
)
