"""The partitions in the database: making, dropping, and what never had one. Which: partitions.py.

The hot path must not wait for any of this, so a lock is waited for briefly, and the next pass tries again.
"""

from datetime import datetime
from uuid import UUID

from services.dispatch.delivery_log import HIGHEST, first_id_at
from services.dispatch.ledger import Connection
from services.dispatch.partitions import Partition

# By which column each table is parted; the order in which they are locked.
KEYS = {"messages": "id", "attempts": "message_id", "completions": "message_id", "events": "message_id"}
KEYS["evidence"] = "message_id"
OPTIONS = {"attempts": "fillfactor = 80"}
SWEEP_ROWS = 1000
# Any number, as long as it is this task's alone.
LOCK = 0x7061727469746E73
_BRIEFLY = "SET LOCAL lock_timeout = '100ms'"


async def is_ours(connection: Connection) -> bool:
    """Whether this transaction is the one that may change partitions now: one dispatcher at a time does. From here on
    it waits for no lock longer than a moment.
    """
    ours: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK)
    await connection.execute(_BRIEFLY)
    return ours


async def now(connection: Connection) -> datetime:
    """The database's clock."""
    at: datetime = await connection.fetchval("SELECT now()")
    return at


async def there(connection: Connection) -> list[Partition]:
    """Every partition, oldest first; the first one begins at the lowest id."""
    rows = await connection.fetch("SELECT name, lower, upper FROM dispatch.partitions ORDER BY upper")
    return [Partition(name=row["name"], lower=row["lower"], upper=row["upper"]) for row in rows]


async def has_rows_behind(connection: Connection, upper: UUID) -> bool:
    """Whether messages at or above `upper` were written, where no partition was."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM dispatch.messages_rest WHERE id >= $1 AND id <= $2)", upper, HIGHEST
    )
    return found


async def make(connection: Connection, partition: Partition) -> None:
    """The partition exists in every table. It is made apart and then attached: nobody waits but for the moment in which
    the default one, which has few rows, is looked through for rows that belong here.
    """
    for table in KEYS:
        name = f"dispatch.{table}_{partition.name}"
        await connection.execute(f"CREATE TABLE {name} (LIKE dispatch.{table} INCLUDING ALL)")
        if table in OPTIONS:
            await connection.execute(f"ALTER TABLE {name} SET ({OPTIONS[table]})")
        await connection.execute(
            f"ALTER TABLE dispatch.{table} ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{partition.lower}') TO ('{partition.upper}')"
        )
    await connection.execute(_REMEMBER, partition.name, partition.lower, partition.upper)


async def drop(connection: Connection, partition: Partition) -> bool:
    """The partition is gone from every table, with its marks; unless a message of it is in the queue, then it stays.
    Answers which.
    """
    if await connection.fetchval(_QUEUED, partition.lower, partition.upper):
        return False
    for table in KEYS:
        await connection.execute(f"LOCK TABLE dispatch.{table} IN ACCESS EXCLUSIVE MODE")
    # Once more: whoever brought one back into the queue until now held a lock on it.
    if await connection.fetchval(_QUEUED, partition.lower, partition.upper):
        return False
    for table in KEYS:
        await connection.execute(f"DROP TABLE dispatch.{table}_{partition.name}")
    await connection.execute(_FORGET, partition.name)
    return True


async def forget_marks(connection: Connection, below: UUID) -> None:
    """Marks of messages that are gone are gone."""
    await connection.execute("DELETE FROM dispatch.log_marks WHERE message_id < $1", below)


async def sweep(connection: Connection, before: datetime) -> int:
    """Throw away some of what is older than `before` and lies in no partition of its own; answers how much."""
    swept = 0
    for table, at in WRITTEN.items():
        statement = _SWEEP.replace("{table}", table).replace("{key}", KEYS[table.removesuffix("_rest")])
        swept += len(await connection.fetch(statement.replace("{at}", at), before, SWEEP_ROWS))
    return swept + len(await connection.fetch(_SWEEP_RECEIPTS, first_id_at(before), SWEEP_ROWS))


_REMEMBER = "INSERT INTO dispatch.partitions (name, lower, upper) VALUES ($1, $2, $3)"
_FORGET = "DELETE FROM dispatch.partitions WHERE name = $1"
_QUEUED = "SELECT EXISTS (SELECT FROM dispatch.queue WHERE id >= $1 AND id < $2)"
# By the time that a row was written, not by its id: events about a provider bear the provider's. There are few rows.
WRITTEN = {
    "messages_rest": "created_at",
    "attempts_rest": "started_at",
    "completions_rest": "completed_at",
    "events_rest": "occurred_at",
    "evidence_rest": "learned_at",
}
_SWEEP = """
DELETE FROM dispatch.{table} WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM dispatch.{table} t
    WHERE t.{at} < $1 AND NOT EXISTS (SELECT FROM dispatch.queue q WHERE q.id = t.{key}) LIMIT $2
)) RETURNING 1
"""
_SWEEP_RECEIPTS = """
DELETE FROM dispatch.receipts WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM dispatch.receipts r
    WHERE r.message_id < $1 AND NOT EXISTS (SELECT FROM dispatch.queue q WHERE q.id = r.message_id) LIMIT $2
)) RETURNING 1
"""
