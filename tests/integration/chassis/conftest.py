"""A running server with the Echo service behind the standard interceptors, and tokens for it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from services.chassis import log
from services.chassis.auth import AuthSettings, TokenVerifier, mint
from services.chassis.env import SecretText
from services.chassis.interceptors import standard_interceptors
from services.chassis.server import RunningServer, serve
from tests.integration.chassis import echo

SECRET = SecretText("0123456789abcdef0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The server, the service in it, a channel to it, and headers with a token."""

    server: RunningServer
    service: echo.Echo
    channel: grpc.aio.Channel
    token: Callable[..., str]

    def headers(self, **token: Any) -> tuple[tuple[str, str], ...]:
        """The metadata of a caller."""
        return (("authorization", f"Bearer {self.token(**token)}"),)

    def unary(self, method: str = "One") -> Any:
        """A unary method."""
        return self.channel.unary_unary(f"/{echo.NAME}/{method}")

    def stream(self, method: str = "Many") -> Any:
        """A server-streaming method."""
        return self.channel.unary_stream(f"/{echo.NAME}/{method}")


def a_token(*, ttl: float = 60, scopes: tuple[str, ...] = ("messages:read",), subject: str = "ada") -> str:
    """A token for the rig."""
    now = datetime.now(UTC)
    return mint(SECRET, subject=subject, projects="*", scopes=scopes, ttl_seconds=ttl, now=now)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A fresh server on a free port. Its tokens have no leeway, so that they end when they say."""
    log.configure(service="echo", json=True)
    service = echo.Echo()
    verifier = TokenVerifier(AuthSettings(jwt_secret=SECRET, jwt_leeway=0.0))
    async with (
        serve(
            service.register,
            host="127.0.0.1",
            port=0,
            names=[echo.NAME],
            interceptors=standard_interceptors(verifier, echo.SCOPES.get),
        ) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Rig(server=server, service=service, channel=channel, token=a_token)
