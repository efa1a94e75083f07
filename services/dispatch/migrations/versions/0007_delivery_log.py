"""The delivery log: indexes, and marks at every thousandth message."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes, the column and the tables; the statements stand beside this file."""
    op.execute(_LOCK)
    for statement in Path(__file__).with_suffix(".sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


# All at once and before anything is done, of what this migration and the next change: dispatchers that work meanwhile
# take them in other orders. Never waited for as long as it takes to find a deadlock, else either could be its victim.
_LOCK = """
DO $$
BEGIN
    FOR turn IN 1..1000 LOOP
        BEGIN
            SET LOCAL lock_timeout = '200ms';
            LOCK TABLE dispatch.attempts, dispatch.messages, dispatch.completions, dispatch.events, dispatch.evidence
                IN ACCESS EXCLUSIVE MODE;
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = 'the tables are in use: migrate again when long reads have ended';
END $$
"""


def downgrade() -> None:
    """Not offered: dispatchers of this version need the column."""
    raise NotImplementedError("dispatch migrations only go forward")
