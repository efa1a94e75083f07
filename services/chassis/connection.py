"""One connection to PostgreSQL: to the host that takes writes, pinned to durable commits, honest about them. No pool.

A commit that waits for a standby can be cancelled (pg_cancel_backend, a pooler): the server then answers success with
the WARNING "committed locally, but might not have been replicated" (syncrep.c, SyncRepWaitForLSN). Here that is an
error. A wait that ends with the connection is one anyway.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import asyncpg

Host = tuple[str, int | None]  # a name, an address or a socket's folder, and the port if one was given

CONNECT_TIMEOUT_SECONDS = 5.0
# Of several hosts, one whose machine is gone answers nothing at all: it must not use up the others' time.
ONE_OF_SEVERAL_SECONDS = 2.0

# How soon the kernel gives up a peer whose machine is gone: idle ones by keepalive, ones that owe us by the other.
_IDLE_SECONDS, _PROBE_SECONDS, _PROBES = 5, 2, 3
_UNANSWERED_MILLISECONDS = 10_000

# At least `on`: a weaker default is not ours to take over, the stronger one is (manual §19.5.1). And the warning that
# a commit was not replicated must get here, whatever the role's client_min_messages.
_PIN = """
SELECT set_config('client_min_messages', 'warning', false),
       CASE WHEN current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply'
            ELSE set_config('synchronous_commit', 'on', false) END
"""
# What neither waiting nor another host can mend (libpq asks no further one after these either).
FINAL = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)
_NEXT_HOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class NoWritableServer(ConnectionError):
    """None of the hosts takes writes now: away, starting, or a standby; the message says which is which."""


class CommitNotReplicated(asyncpg.QueryCanceledError):  # type: ignore[misc] # asyncpg ships no types
    """The commit's wait for a standby was cancelled. It stands on the primary alone: nobody may be told that it is
    durable.
    """


class GuardedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg ships no types
    """A connection whose statements raise CommitNotReplicated instead of returning, where the server only warns.

    Every method that can commit by itself is guarded, COMMIT among them; prepared statements and COPY are not: run
    them in a transaction.
    """

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().execute, *args, **kwargs)

    async def executemany(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().executemany, *args, **kwargs)

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().fetch, *args, **kwargs)

    async def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().fetchmany, *args, **kwargs)

    async def fetchrow(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().fetchrow, *args, **kwargs)

    async def fetchval(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guarded(super().fetchval, *args, **kwargs)

    async def _guarded(self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        warned: list[str] = []

        def listen(_connection: object, message: Any) -> None:
            if is_unreplicated(message):
                warned.append(message.message)

        # The warning is on the wire before the end of its statement, and asyncpg schedules listeners in that order: it
        # is heard before `method` returns. Taken off again, because the pool wants connections without listeners.
        self.add_log_listener(listen)
        try:
            answer = await method(*args, **kwargs)
        finally:
            self.remove_log_listener(listen)
        if warned:
            raise CommitNotReplicated(warned[0])
        return answer


def is_unreplicated(message: Any) -> bool:
    """Whether a server's message says that a commit did not wait for its standbys.

    By the function that says it, as words are translated (lc_messages); by the words where something between us and
    the server has dropped that field.
    """
    by_function = message.server_source_function == "SyncRepWaitForLSN"
    return by_function or "synchronous replication" in (message.message or "")


async def open_connection(
    url: str,
    hosts: Sequence[Host],
    *,
    writable: bool,
    settings: Mapping[str, str] | None = None,
    statement_seconds: float | None = None,
) -> GuardedConnection:
    """A connection to the first of `hosts` that will have us; `writable`: to one that takes writes, no standby.

    Raises NoWritableServer when several were asked, or the only one is a standby; else the driver's error as it is.
    """
    refusals: list[str] = []
    for host, port in hosts:
        try:
            return await _open_one(
                url,
                seconds=ONE_OF_SEVERAL_SECONDS if len(hosts) > 1 else CONNECT_TIMEOUT_SECONDS,
                host=host,
                port=port,
                target_session_attrs="read-write" if writable else None,
                server_settings=dict(settings or {}),
                command_timeout=statement_seconds,
            )
        except FINAL:
            raise
        except asyncpg.TargetServerAttributeNotMatched:
            refusals.append(f"{_shown(host, port)} is no primary")
        except _NEXT_HOST as error:
            if len(hosts) == 1:
                raise
            refusals.append(f"{_shown(host, port)} {str(error) or 'does not answer'}")
    raise NoWritableServer("no server that takes writes: " + "; ".join(" ".join(each.split()) for each in refusals))


async def _open_one(url: str, *, seconds: float, **arguments: Any) -> GuardedConnection:
    connection: GuardedConnection = await asyncpg.connect(
        url, timeout=seconds, connection_class=GuardedConnection, **arguments
    )
    try:
        _notice_silence(connection)
        async with asyncio.timeout(seconds):
            await connection.execute(_PIN)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _notice_silence(connection: Any) -> None:
    """A peer whose machine is gone says no goodbye: have the kernel end the connection within about ten seconds."""
    # Private, and the only way to the socket: asyncpg takes no socket options.
    sock = connection._transport.get_extra_info("socket")  # noqa: SLF001
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {
        "TCP_KEEPIDLE": _IDLE_SECONDS,
        "TCP_KEEPINTVL": _PROBE_SECONDS,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": _UNANSWERED_MILLISECONDS,
    }
    for name, value in values.items():
        if (option := getattr(socket, name, None)) is not None:  # Linux has all four, others some
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _shown(host: str, port: int | None) -> str:
    return host if port is None else f"{host}:{port}"
