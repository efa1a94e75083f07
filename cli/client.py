"""Calls to running services, for the commands that make them. Not a library for applications; they use the stubs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from cli.datadir import DataDir
from cli.problem import Problem
from cli.token import longest_ttl, mint_token, signing_secret
from services.chassis.clock import Clock
from services.chassis.status import from_rpc_error

DEFAULT_DISPATCH = "127.0.0.1:50052"
MINTED_SECONDS = 3600
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # the services' own limit is lower and theirs to enforce

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Where to call and as whom. `metadata` is made anew for each call, so that a minted token never grows old."""

    target: str
    metadata: Callable[[], Metadata]


def make_caller(
    *,
    data: DataDir,
    project: str,
    token: str | None,
    target: str | None,
    environ: Mapping[str, str],
    clock: Clock,
) -> Caller:
    """Whom --token, MESSAGEPIPE_TOKEN or the data directory stands for, towards --target or the running `up`."""
    running = data.running()
    given = token or environ.get("MESSAGEPIPE_TOKEN")
    # A data directory is there to be found: without one a missing token is a problem before anything is called.
    secret = None if given else signing_secret(data, environ)

    def metadata() -> Metadata:
        if secret is None:
            return bearer(given or "")
        ttl = longest_ttl(MINTED_SECONDS, secret, environ)
        return bearer(mint_token(secret, project=project, ttl_seconds=ttl, environ=environ, clock=clock))

    return Caller(target=target or (running.dispatch if running else DEFAULT_DISPATCH), metadata=metadata)


def bearer(token: str) -> Metadata:
    """The header that carries a token."""
    return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def open_channel(target: str, *, patience: float = 3.0) -> AsyncIterator[grpc.aio.Channel]:
    """A plaintext channel to `host:port` that stands, and connects anew within a second after a break.

    Problem when nobody answers there within `patience` seconds.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_http_proxy", 0),
    ]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        try:
            async with asyncio.timeout(patience):
                await channel.channel_ready()
        except TimeoutError:
            raise Problem(
                f"nothing answers at {target}; start it with `messagepipe up`, or name another place with --target"
            ) from None
        yield channel


def problem_of(error: grpc.aio.AioRpcError) -> Problem:
    """The failure of a call in lines for people: what was wrong and where, every violation on a line of its own."""
    known = from_rpc_error(error)
    lines = [f"{violation.field.removeprefix('message.')}: {violation.description}" for violation in known.violations]
    return Problem(*(lines or [f"{known.message} ({known.reason})" if known.reason else known.message]))
