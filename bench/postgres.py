"""The PostgreSQL of a run: the embedded one in a scratch folder, durable as it comes (fsync, full_page_writes and
synchronous_commit on), migrated. And what is asked of it directly.
"""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.processes import started
from cli.postgres import DATABASE, ensure_database, prepare_cluster
from cli.process import identity
from cli.serve import MIGRATIONS
from services.chassis.database import wait_until_reachable
from services.chassis.env import SecretText, process_environ
from services.chassis.migrations import migrate

SHOWN = (
    "server_version fsync full_page_writes synchronous_commit wal_sync_method shared_buffers max_wal_size "
    "checkpoint_timeout max_connections autovacuum"
).split()
HOT_TABLES = (
    "messages, queue, attempts, completions, events, evidence, provider_health, provider_limits, provider_slots, "
    "idempotency_keys, receipts, log_marks, log_heads, rollups, rollup_cursors"
)
# Ids as the service makes them: UUIDv7, the shard (here at random) in the last ten bits.
_COPY = """
CREATE TEMP TABLE fresh ON COMMIT DROP AS
    SELECT place, uuidv7() AS id FROM generate_series(1, {count}) AS place;
INSERT INTO dispatch.messages (id, project_id, channel, recipient, spec, labels, deadline)
    SELECT f.id, m.project_id, m.channel, m.recipient, m.spec, m.labels, now() + interval '1 day'
    FROM dispatch.messages m, fresh f WHERE m.id = '{model}';
"""
_READY = """
INSERT INTO dispatch.queue (id, due_at, worker, epoch, claims, project_id)
    SELECT f.id, now() + interval '{due_in} seconds', NULL, 0, 0, m.project_id
    FROM dispatch.messages m, fresh f WHERE m.id = '{model}';
INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
    SELECT f.id, e.sequence, e.project_id, e.payload
    FROM dispatch.events e, fresh f WHERE e.message_id = '{model}' AND e.sequence = 1;
"""
_ENDED = """
INSERT INTO dispatch.attempts (message_id, number, round, epoch, provider_id, kind, provider_name, chain_version,
        finished_at, outcome, reason, provider_code, provider_text, provider_message_id, latency)
    SELECT f.id, a.number, a.round, a.epoch, a.provider_id, a.kind, a.provider_name, a.chain_version,
        now(), a.outcome, a.reason, a.provider_code, a.provider_text, 'old-' || f.place || '-' || f.id, a.latency
    FROM dispatch.attempts a, fresh f WHERE a.message_id = '{model}';
INSERT INTO dispatch.completions (message_id, state, reason, provider_id, kind, possible_duplicate, epoch)
    SELECT f.id, c.state, c.reason, c.provider_id, c.kind, c.possible_duplicate, c.epoch
    FROM dispatch.completions c, fresh f WHERE c.message_id = '{model}';
INSERT INTO dispatch.events (message_id, sequence, project_id, payload)
    SELECT f.id, e.sequence, e.project_id, e.payload
    FROM dispatch.events e, fresh f WHERE e.message_id = '{model}';
"""


class Postgres:
    """One running server; `pid` is its first process."""

    def __init__(self, dsn: str, pid: int, log: Path) -> None:
        self.dsn, self.pid, self._log = dsn, pid, log

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of one statement."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        finally:
            await connection.close()
        return rows

    async def run(self, *statements: str) -> None:
        """Each outside of any transaction of ours."""
        connection = await asyncpg.connect(self.dsn)
        try:
            for statement in statements:
                await connection.execute(statement, timeout=1800)
        finally:
            await connection.close()

    async def settings(self) -> Mapping[str, str]:
        """What durability and speed depend on."""
        rows = await self.fetch("SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name", SHOWN)
        return {row["name"]: row["value"] for row in rows}

    @asynccontextmanager
    async def another(self, name: str) -> AsyncIterator["Postgres"]:
        """A second database of the same server for dispatchers, migrated and empty, dropped afterwards."""
        dsn = self.dsn.replace(f"/{DATABASE}?", f"/{name}?")
        await self.run(f"CREATE DATABASE {name}")
        try:
            await migrate(SecretText(dsn), script_location=MIGRATIONS["dispatch"], version_schema="dispatch")
            yield Postgres(dsn, self.pid, self._log)
        finally:
            await self.run(f"DROP DATABASE {name} WITH (FORCE)")

    async def empty(self) -> None:
        """No message is left, and nothing known about providers."""
        tables = ", ".join(f"dispatch.{name.strip()}" for name in HOT_TABLES.split(","))
        await self.run(f"TRUNCATE {tables}", "CHECKPOINT")

    async def drained(self, seconds: float) -> None:
        """Returns when no message is in the queue; TimeoutError when that takes longer."""
        connection = await asyncpg.connect(self.dsn)
        try:
            async with asyncio.timeout(seconds):
                while await connection.fetchval("SELECT EXISTS (SELECT FROM dispatch.queue)"):
                    await connection.execute("SELECT pg_sleep(0.05)")
        finally:
            await connection.close()

    async def copy(self, model: str, count: int, *, ended: bool, due_in: float = 0.0) -> None:
        """`count` messages as the service writes them, after the model of one that it wrote: ended like it, or as they
        are when they have just been accepted and wait for `due_in` seconds.
        """
        for start in range(0, count, 100_000):
            many = min(100_000, count - start)
            text = (_COPY + (_ENDED if ended else _READY)).format(model=model, count=many, due_in=due_in)
            await self.run(f"BEGIN; {text} COMMIT")
        await self.run("VACUUM ANALYZE", "CHECKPOINT")

    async def log_statements(self, *, on: bool) -> None:
        """Whether every statement of a session that begins from now on gets a line in the log, with the name of who
        sent it.
        """
        # The server's own command line says `none`, and only what is set for a database or a role outdoes that.
        await self.run(
            f"ALTER DATABASE {DATABASE} SET log_statement = '{'all' if on else 'none'}'",
            f"ALTER SYSTEM SET log_line_prefix = '{'@%a@ ' if on else ''}'",
            "SELECT pg_reload_conf()",
        )

    def statements(self) -> int:
        """How many statements dispatchers have sent so far, as the log has it; BEGIN and COMMIT among them."""
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            return sum(is_statement(line) for line in lines)


def is_statement(line: str) -> bool:
    """Whether this line of the log is the first one of a statement by a dispatcher."""
    return line.startswith("@messagepipe dispatch") and ("LOG:  execute " in line or "LOG:  statement: " in line)


@asynccontextmanager
async def open_postgres(cores: Sequence[int]) -> AsyncIterator[Postgres]:
    """A running, migrated database on these cores, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mp-bench-"))
    environ = process_environ()
    server: asyncio.subprocess.Process | None = None
    try:
        cluster = await asyncio.to_thread(prepare_cluster, folder / "pg", environ)
        log = folder / "log"
        program = cluster.program(log=log, environ=environ)
        # process.identity() says as whom, where we are root.
        more: dict[str, Any] = {"start_new_session": True, "cwd": "/", **identity(program.user)}
        server = await started(program.command, cores=cores, log=log, environ=program.environ, **more)
        await wait_until_reachable(cluster.address("postgres"), timeout=60)
        await ensure_database(cluster)
        for schema, scripts in MIGRATIONS.items():
            await migrate(SecretText(cluster.dsn), script_location=scripts, version_schema=schema)
        yield Postgres(cluster.dsn, server.pid, log)
    finally:
        if server is not None and server.returncode is None:
            server.send_signal(signal.SIGINT)
            await server.wait()
        shutil.rmtree(folder, ignore_errors=True)
