"""PostgreSQL: addresses, connections, pools. It knows no table, no SQLAlchemy (engine.py) and no migrations
(migrations.py), and not whether the server can be trusted: durability.py.

An address (DSN) is a libpq URI (PostgreSQL manual §34.1.1.2): several hosts, a Unix socket as `?host=/folder`,
`?target_session_attrs=` and `?sslmode=` work. asyncpg reads it everywhere, also under SQLAlchemy. Every connection is
made by `connect`, so all of it holds for each. Without `target_session_attrs`, only a server that takes writes will do.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import asyncpg

from services.chassis.clock import Clock, SystemClock
from services.chassis.connection import FINAL, GuardedConnection, Host, open_connection
from services.chassis.env import SecretText

Dsn = str | SecretText

SCHEMES = ("postgresql", "postgres")
# On this side: a server that froze, or whose standby is away, answers nothing, and no setting of its own ends a COMMIT
# that waits. What was cut off may have been written.
STATEMENT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 1.0


class DatabaseUnreachable(Exception):
    """No connection could be made; the message is one line with the address and the reason, never the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A checked DSN. `shown` may be printed, `secret` goes to the driver; `writable`: a standby will not do."""

    secret: SecretText
    shown: str
    database: str
    hosts: tuple[Host, ...]
    writable: bool


def parse_dsn(dsn: Dsn) -> Address:
    """The checked address; ValueError says what is wrong with it, without repeating it."""
    url = dsn.reveal() if isinstance(dsn, SecretText) else dsn
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("the database URL cannot be read; write postgresql://user:password@host:5432/name") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("the database URL must begin with postgresql://")
    if not _hosts(parts, query):
        raise ValueError("the database URL names no host; write one before the /, or ?host=/folder for a Unix socket")
    hosts = _each_host(parts, query)
    database = unquote(parts.path.lstrip("/")) or query.get("dbname", query.get("database", ""))
    if not database:
        raise ValueError("the database URL names no database; write it after the /, as in …:5432/messagepipe")
    return Address(
        secret=SecretText(url),
        shown=f"{_hosts(parts, query)}/{database}",
        database=database,
        hosts=hosts,
        writable="target_session_attrs" not in query,
    )


async def connect(
    dsn: Dsn, settings: Mapping[str, str] | None = None, *, statement_seconds: float | None = None
) -> GuardedConnection:
    """A connection of one's own, to be closed by the caller; the driver's errors come out as they are. A statement that
    takes longer than `statement_seconds` raises TimeoutError, and nobody knows what became of it.
    """
    address = parse_dsn(dsn)
    return await open_connection(
        address.secret.reveal(),
        address.hosts,
        writable=address.writable,
        settings=settings,
        statement_seconds=statement_seconds,
    )


async def create_pool(
    dsn: Dsn,
    *,
    size: int,
    settings: Mapping[str, str] | None = None,
    statement_seconds: float | None = STATEMENT_SECONDS,
) -> "asyncpg.Pool[asyncpg.Record]":
    """A pool of exactly `size` connections, each with `settings` (such as application_name) for its session.

    A connection comes back as it was left: nothing of the session is reset, so nobody may change it (SET, LISTEN).
    Lost connections are made anew when they are needed, to whichever host takes writes then. Use it with `acquired`.
    """
    address = parse_dsn(dsn)

    async def one_more(*_dsn: object, **_pool_settings: object) -> GuardedConnection:
        return await connect(address.secret, settings, statement_seconds=statement_seconds)

    return await asyncpg.create_pool(
        connect=one_more, connection_class=GuardedConnection, min_size=size, max_size=size, reset=_leave_as_it_is
    )


@asynccontextmanager
async def acquired(pool: "asyncpg.Pool[asyncpg.Record]") -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the pool. One whose server has become read-only is not given out again, nor its sisters."""
    async with pool.acquire() as connection:
        try:
            yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            await pool.expire_connections()
            raise


async def _leave_as_it_is(connection: object) -> None:
    """asyncpg's own reset is one more round trip for every statement."""


async def wait_until_reachable(dsn: Dsn, *, timeout: float, clock: Clock | None = None) -> None:
    """Returns once a query is answered; DatabaseUnreachable after `timeout` seconds, or at once if waiting is vain."""
    address = parse_dsn(dsn)
    clock = clock or SystemClock()
    reason = "no answer"
    pause = FIRST_RETRY_SECONDS
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    return await _ask(address.secret)
                except FINAL as error:
                    raise DatabaseUnreachable(f"{address.shown}: {_one_line(error)}") from None
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                    reason = _one_line(error)
                await clock.sleep(pause)
                pause = min(pause * 2, LAST_RETRY_SECONDS)
    except TimeoutError:
        raise DatabaseUnreachable(f"{address.shown}: {reason} (waited {timeout:g} s)") from None


@asynccontextmanager
async def _connected(dsn: Dsn) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _ask(secret: SecretText) -> None:
    async with _connected(secret) as connection:
        await connection.execute("SELECT 1")


def _hosts(parts: SplitResult, query: Mapping[str, str]) -> str:
    return query.get("host") or parts.netloc.rpartition("@")[2]


def _each_host(parts: SplitResult, query: Mapping[str, str]) -> tuple[Host, ...]:
    """Host and port of each server, in order; a `?port=` is for all of them, or one for each."""
    pairs = [_host_port(host) for host in _hosts(parts, query).split(",")]
    ports = [port for port in query.get("port", "").split(",") if port]
    if len(ports) > 1 and len(ports) != len(pairs):
        raise ValueError("the database URL must have one port, or as many as hosts")
    texts = [port or (ports[place % len(ports)] if ports else "") for place, (_, port) in enumerate(pairs)]
    if not all(text.isdigit() or not text for text in texts):
        raise ValueError("the database URL has a port that is not a number")
    # What came as a parameter is decoded already.
    names = [name if query.get("host") else unquote(name) for name, _ in pairs]
    names = [name.removeprefix("[").removesuffix("]") for name in names]
    return tuple((name, int(text) if text else None) for name, text in zip(names, texts, strict=True))


def _host_port(host: str) -> tuple[str, str]:
    whole = host.endswith("]") or host.startswith("/")  # an address without a port, a socket's folder
    name, _, port = (host, "", "") if whole else host.rpartition(":")
    return (name, port) if name else (port, "")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return " ".join(str(error).split()) or type(error).__name__
