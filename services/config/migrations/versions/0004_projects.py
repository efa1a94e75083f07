"""Projects and their API keys.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables; every project that has something configured gets its row, called by its id."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Not possible: no API key could ever work again."""
    raise NotImplementedError("restore a backup instead")


_STATEMENTS = (
    """
    CREATE TABLE config.projects (
        id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
        created_at timestamptz NOT NULL
    )
    """,
    """
    COMMENT ON TABLE config.projects IS
        'Made by CreateProject, or by the first thing configured in a project; tokens, not rows, say who may do what.'
    """,
    """
    INSERT INTO config.projects (id, name, created_at)
    SELECT project_id, project_id, min(changed_at) FROM config.chains GROUP BY project_id
    """,
    """
    CREATE TABLE config.api_keys (
        id uuid PRIMARY KEY,
        project_id text COLLATE "C" NOT NULL,
        name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
        prefix text NOT NULL,
        hash bytea NOT NULL CHECK (octet_length(hash) = 32),
        is_active boolean NOT NULL,
        created_at timestamptz NOT NULL,
        last_used_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX api_keys_hash ON config.api_keys (hash)",
    "CREATE INDEX api_keys_of_project ON config.api_keys (project_id, created_at, id)",
    "COMMENT ON COLUMN config.api_keys.hash IS 'HMAC-SHA-256 of the key under the secret of config.api_key_roll.'",
    """
    CREATE TABLE config.api_key_roll (
        only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
        version bigint NOT NULL,
        sealed bytea NOT NULL,
        key_id text NOT NULL
    )
    """,
    """
    COMMENT ON TABLE config.api_key_roll IS
        'One row: locked by every write that changes which keys work, so versions come in the order of the commits.'
    """,
    """
    COMMENT ON COLUMN config.api_key_roll.sealed IS
        'The secret of all keys'' hashes, random, sealed as providers'' credentials are; so vault keys can be rotated.'
    """,
)
