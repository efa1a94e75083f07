"""All ways in which we connect to an address that a project's settings name, each through its whole real stack. Not a
test.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple, Protocol

from services.adapters.base import Channel
from services.adapters.egress import Egress
from services.adapters.registry import build_adapters, kind_for
from services.adapters.sns_envelope import FetchFailed, guarded_fetch
from services.chassis.clock import SystemClock
from tests.contract.dialects import DIALECTS, SES, Dialect
from tests.contract.smtp_calls import a_call as an_smtp_call
from tests.contract.test_adapters import a_call
from tests.fakes.mail import ScriptedMailServer
from tests.fakes.vendor import Reply, VendorServer

PATIENCE = 5.0


class Told(NamedTuple):
    """All that a caller learns of one try."""

    outcome: str
    reason: str
    text: str


Try = Callable[[str, int], Awaitable[Told]]


class Listener(Protocol):
    """Who may be connected to."""

    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to be made to connect. `open` gives what tries a host and port; `host` is as settings write it, an IPv6
    address without brackets.

    `well` is the outcome when the listener was reached and behaved.
    """

    name: str
    open: Callable[[Egress], Any]  # an async context manager of Try
    listen: Callable[[str, int], Any]  # an async context manager of a Listener and its port
    well: str


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def _vendor(reply: Reply, ip: str, port: int) -> AsyncIterator[tuple[Listener, int]]:
    server = VendorServer(default=replace(reply, headers={**reply.headers, "connection": "close"}, close=True))
    await server.start(port, ip)
    try:
        yield server, server.port
    finally:
        await server.stop()


@asynccontextmanager
async def _mail_server(ip: str, port: int) -> AsyncIterator[tuple[Listener, int]]:
    server = ScriptedMailServer()
    listening = await asyncio.start_server(server.serve, ip, port)
    try:
        yield server, int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


def _sending(dialect: Dialect, settings: Callable[[str], dict[str, Any]]) -> Callable[[Egress], Any]:
    @asynccontextmanager
    async def opened(egress: Egress) -> AsyncIterator[Try]:
        adapters = build_adapters(egress, SystemClock())

        async def attempt(host: str, port: int) -> Told:
            call = a_call(replace(dialect, settings=settings), _url(host, port), timeout=PATIENCE)
            result = await adapters[dialect.channel, dialect.kind].send(call)
            return Told(str(result.outcome), result.reason, result.provider_text)

        yield attempt
        for adapter in adapters.values():
            await adapter.close()

    return opened


def _over_http(dialect: Dialect) -> Way:
    return Way(
        name=dialect.kind,
        open=_sending(dialect, lambda url: dict(dialect.settings(url))),
        listen=lambda ip, port: _vendor(dialect.accepted, ip, port),
        well="ACCEPTED",
    )


@asynccontextmanager
async def _smtp(egress: Egress) -> AsyncIterator[Try]:
    adapter, versions = build_adapters(egress, SystemClock())[Channel.EMAIL, "smtp"], count(1)

    async def attempt(host: str, port: int) -> Told:
        # another version of the settings each time: no connection is kept between two tries
        call = replace(an_smtp_call(port, timeout=PATIENCE), config={"host": host, "port": port})
        result = await adapter.send(replace(call, config_version=next(versions)))
        return Told(str(result.outcome), result.reason, result.provider_text)

    yield attempt
    await adapter.close()


@asynccontextmanager
async def _fetching(egress: Egress) -> AsyncIterator[Try]:
    """How the certificate of a receipt is fetched, and a subscription to SNS confirmed."""

    async def attempt(host: str, port: int) -> Told:
        try:
            body = await guarded_fetch(egress)(f"{_url(host, port)}/x.pem")
        except FetchFailed as failed:
            return Told("FAILED", str(failed), "")
        return Told("FETCHED", "", body.decode())

    yield attempt


def _checking(channel: Channel, kind: str, config: Callable[[str, int], dict[str, Any]]) -> Callable[[Egress], Any]:
    @asynccontextmanager
    async def opened(egress: Egress) -> AsyncIterator[Try]:
        found = kind_for(channel, kind)
        assert found is not None
        assert found.check is not None
        checker = found.check(egress, SystemClock())

        async def attempt(host: str, port: int) -> Told:
            result = await checker.check(config(host, port), timeout=PATIENCE)
            return Told(str(result.verdict), "", result.message)

        yield attempt
        await checker.close()

    return opened


def _check(dialect: Dialect) -> Way:
    """TestProvider, with a vendor that turns the credentials down."""
    return Way(
        name=f"check-{dialect.kind}",
        open=_checking(dialect.channel, dialect.kind, lambda host, port: dict(dialect.settings(_url(host, port)))),
        listen=lambda ip, port: _vendor(dialect.bad_credentials, ip, port),
        well="BAD",
    )


def _taking_a_role(url: str) -> dict[str, Any]:
    role = {"roleArn": "arn:aws:iam::123456789012:role/messagepipe", "stsEndpointUrl": url}
    return {**SES.settings("http://192.0.2.1"), **role}


SENDING = (
    *map(_over_http, DIALECTS),
    Way(name="smtp", open=_smtp, listen=_mail_server, well="ACCEPTED"),
    Way(name="fetch", open=_fetching, listen=lambda ip, port: _vendor(Reply(body=b"pem"), ip, port), well="FETCHED"),
)
"""Those whose listener can say yes."""

WAYS = (
    *SENDING,
    Way(
        name="role",
        open=_sending(SES, _taking_a_role),
        listen=lambda ip, port: _vendor(Reply(status=503), ip, port),
        well="DEFERRED",
    ),
    *map(_check, DIALECTS),
    Way(
        name="check-smtp",
        open=_checking(Channel.EMAIL, "smtp", lambda host, port: {"host": host, "port": port}),
        listen=_mail_server,
        well="GOOD",
    ),
)
