"""What is written about messages lies in partitions by time, the tables as they were being the first: no row is copied
but for those whose id lies ahead of time.

The first partition takes what is accepted for another day or two; by then the service has made the next ones.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# The key by which each is parted: ids carry the time (UUIDv7).
KEYS = {"messages": "id", "attempts": "message_id", "completions": "message_id", "events": "message_id"}
KEYS["evidence"] = "message_id"
OPTIONS = {"attempts": "fillfactor = 80"}
# The end of the first partition: the second midnight from now. Not behind the highest id there is: a clock may have
# been wrong, and events about a provider bear the provider's id, which is random; the first would never end.
_END = """
SELECT (lpad(to_hex((extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC') + interval '2 days')
                     * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
"""
# What lies behind that goes where such rows go from now on, and from there in its time (partition_book.sweep).
_MOVE = """
WITH moved AS (DELETE FROM dispatch.{table}_first WHERE {key} >= '{end}' RETURNING *)
INSERT INTO dispatch.{table}_rest SELECT * FROM moved
"""
_COMMENT = "SELECT coalesce(obj_description(to_regclass('dispatch.{table}'), 'pg_class'), '')"
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'dispatch' AND tablename = '{table}'"
_TABLE = """
CREATE TABLE dispatch.partitions (
    name  text PRIMARY KEY,
    lower uuid NOT NULL,
    upper uuid NOT NULL UNIQUE
);
COMMENT ON TABLE dispatch.partitions IS
    'The parts of messages, attempts, completions, events and evidence: <table>_<name> has the ids [lower, upper).';
COMMENT ON COLUMN dispatch.partitions.upper IS
    'What no partition has is in <table>_rest, so that accepting never fails.'
"""


def upgrade() -> None:
    """Each table becomes the first partition of a parted one with the same columns and indexes."""
    connection = op.get_bind()
    end = connection.exec_driver_sql(_END).scalar_one()
    for statement in _TABLE.split(";\n"):
        op.execute(statement)
    op.execute(f"INSERT INTO dispatch.partitions VALUES ('first', '{'0' * 32}', '{end}')")  # noqa: S608 - all ours
    for table, key in KEYS.items():
        _part(table, key, str(end))


def _part(table: str, key: str, end: str) -> None:
    connection = op.get_bind()
    comment = connection.exec_driver_sql(_COMMENT.format(table=table)).scalar_one()
    indexes = list(connection.exec_driver_sql(_INDEXES.format(table=table)))
    op.execute(f"ALTER TABLE dispatch.{table} RENAME TO {table}_first")
    for name, _ in indexes:
        op.execute(f"ALTER INDEX dispatch.{name} RENAME TO {name}_first")
    op.execute(
        f"CREATE TABLE dispatch.{table} (LIKE dispatch.{table}_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
        f"INCLUDING STORAGE INCLUDING COMMENTS) PARTITION BY RANGE ({key})"
    )
    for name, definition in indexes:
        if name.endswith("_pkey"):
            columns = definition[definition.rindex("(") :]
            op.execute(f"ALTER TABLE dispatch.{table} ADD CONSTRAINT {name} PRIMARY KEY {columns}")
        else:
            op.execute(definition)
    op.execute(f"CREATE TABLE dispatch.{table}_rest PARTITION OF dispatch.{table} DEFAULT")
    if table in OPTIONS:
        op.execute(f"ALTER TABLE dispatch.{table}_rest SET ({OPTIONS[table]})")
    op.execute(_MOVE.format(table=table, key=key, end=end))
    op.execute(
        f"ALTER TABLE dispatch.{table} ATTACH PARTITION dispatch.{table}_first FOR VALUES FROM (MINVALUE) TO ('{end}')"
    )
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON TABLE dispatch.{table} IS '{quoted}'")


def downgrade() -> None:
    """Not offered: dispatch migrations only go forward."""
    raise NotImplementedError("dispatch migrations only go forward")
