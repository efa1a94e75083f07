"""A running gateway with stand-ins behind it, and a caller in front."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.app import RunningGateway, open_gateway
from gateway.settings import GatewaySettings
from services.chassis.auth import SCOPES, AuthSettings, TokenVerifier, mint
from services.chassis.clock import SystemClock
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.env import SecretText
from tests.fakes.upstreams import Upstream, running_upstream

AUTH = AuthSettings(jwt_secret=SecretText("a-secret-of-the-tests-32-bytes-long"))


@dataclass(slots=True, kw_only=True)
class House:
    """The gateway of one test, with its two stand-ins and a client that has a good token."""

    gateway: RunningGateway
    config: Upstream
    dispatch: Upstream
    client: httpx.AsyncClient
    token: str

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.gateway.port}"


def a_token(*scopes: str, age: float = 0.0) -> str:
    """A token of the tests' issuer for project `demo`, good for 10 min from `age` seconds ago."""
    assert AUTH.jwt_secret is not None
    now = SystemClock().now() - timedelta(seconds=age)
    return mint(
        AUTH.jwt_secret, subject="test", projects=["demo"], scopes=scopes or SCOPES[:4], ttl_seconds=600, now=now
    )


def a_free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings(config_port: int, dispatch_port: int) -> GatewaySettings:
    """Settings of a gateway on any free port."""
    return GatewaySettings(
        http_port=0,
        config_target=f"127.0.0.1:{config_port}",
        dispatch_target=f"127.0.0.1:{dispatch_port}",
        max_message_bytes=1024 * 1024,
        drain_grace=2.0,
        auth=AUTH,
    )


@asynccontextmanager
async def a_house(**options: Any) -> AsyncIterator[House]:
    """A gateway on a free port, its stand-ins running."""
    config, dispatch, token = Upstream(CONFIG_SERVICES), Upstream(DISPATCH_SERVICES), a_token()
    verifier = TokenVerifier(AUTH)
    async with (
        running_upstream(config, verifier) as config_server,
        running_upstream(dispatch, verifier) as dispatch_server,
        open_gateway(settings(config_server.port, dispatch_server.port), **options) as gateway,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{gateway.port}",
            headers={"authorization": f"Bearer {token}"},
            timeout=20,
            trust_env=False,
        ) as client,
    ):
        yield House(gateway=gateway, config=config, dispatch=dispatch, client=client, token=token)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A gateway with the limits that it has anywhere."""
    async with a_house() as made:
        yield made
