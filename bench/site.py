"""The messagepipe that is measured: ConfigService, dispatchers and the gateway as processes of their own, as
`messagepipe …` starts them, with their logs at the level they have in production.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.type.v1 import channel_pb2

from bench.processes import free_port, started
from services.chassis.auth import SCOPES, mint
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

SECRET = SecretText("a secret of the bench that is long enough")
VAULT_KEYS = "k1:" + "A" * 43 + "="
_AWS = {"accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "made/up", "region": "eu-west-1"}
# What each kind needs beside its address.
_CONFIGS: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "sendgrid": ("EMAIL", "baseUrl", {"apiKey": "SG.test"}),
    "mailgun": ("EMAIL", "baseUrl", {"apiKey": "key-test", "domain": "mg.example.com"}),
    "ses": ("EMAIL", "endpointUrl", _AWS),
    "twilio": (
        "SMS",
        "baseUrl",
        {"accountSid": "AC" + "0" * 32, "authToken": "made-up", "fromNumber": "+15005550006"},
    ),
    "sns": ("SMS", "endpointUrl", _AWS),
    "smtp": ("EMAIL", "", {"host": "127.0.0.1", "requireTls": False}),
}


def token() -> str:
    """One that may do everything in every project, for a day."""
    return mint(SECRET, subject="bench", projects="*", scopes=SCOPES, ttl_seconds=86000, now=SystemClock().now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process of ours that serves: `target` is host:port, `took` the seconds from its start to that."""

    name: str
    target: str
    process: asyncio.subprocess.Process
    took: float

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid


class Site:
    """Starts services on one database. `folder` gets their logs."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._folder = folder
        self._environ = {
            "DATABASE_URL": dsn,
            "JWT_SECRET": SECRET.reveal(),
            "VAULT_KEYS": VAULT_KEYS,
            "EGRESS_ALLOW": "127.0.0.0/8",
            "DRAIN_GRACE": "5",
        }
        self.config_target = ""

    def on(self, dsn: str) -> "Site":
        """The same with another database; its ConfigService stays."""
        other = Site(dsn, self._folder)
        other.config_target = self.config_target
        return other

    @asynccontextmanager
    async def service(
        self, name: str, settings: Mapping[str, str] | None = None, *, cores: Sequence[int]
    ) -> AsyncIterator[Service]:
        """config, dispatch or gateway, on these cores, until the end of the block."""
        port = free_port()
        own = {"gateway": "HTTP_PORT"}.get(name, f"{name.upper()}_PORT")
        given = {
            **self._environ,
            own: str(port),
            "CONFIG_TARGET": self.config_target or "127.0.0.1:1",
            **(settings or {}),
        }
        began = time.monotonic()
        process = await started(
            [sys.executable, "-m", "cli.main", name],
            cores=cores,
            log=self._folder / f"{name}.log",
            environ={f"MESSAGEPIPE_{key}": value for key, value in given.items()},
        )
        try:
            target = f"127.0.0.1:{port}"
            await (_until_listening(port) if name == "gateway" else _until_serving(target))
            if name == "config":
                self.config_target = target
            yield Service(name=name, target=target, process=process, took=time.monotonic() - began)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def add_provider(self, project: str, kind: str, port: int, *, priority: int = 1, **more: object) -> str:
        """A provider of this kind at a port of this machine; answers its id."""
        channel, address, fixed = _CONFIGS[kind]
        where: Mapping[str, object] = {address: f"http://127.0.0.1:{port}"} if address else {"port": port}
        config = Struct()
        values: dict[str, Any] = {**fixed, **where, **more}
        config.update(values)
        provider = provider_pb2.Provider(
            channel=channel_pb2.Channel.Value(f"CHANNEL_{channel}"),
            kind=kind,
            name=f"{kind} {priority}",
            priority=priority,
            config=config,
        )
        async with grpc.aio.insecure_channel(self.config_target) as line:
            stub: ConfigServiceAsyncStub = ConfigServiceStub(line)
            request = config_service_pb2.CreateProviderRequest(project_id=project, provider=provider)
            made = await stub.CreateProvider(request, metadata=(("authorization", f"Bearer {token()}"),))
        return str(made.id)


async def _until_serving(target: str, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds), grpc.aio.insecure_channel(target, options=_QUICK) as line:
        stub: Any = health_pb2_grpc.HealthStub(line)  # its type stubs know only the blocking one
        while True:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            except grpc.aio.AioRpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(0.02)


_QUICK = [
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 20),
]


async def _until_listening(port: int, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return
