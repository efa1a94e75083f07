"""What the tests of ConfigService share: settings, tokens, callers and the errors they see. No tests."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Capabilities, Channel, ProviderSpec
from services.chassis.auth import SCOPES, AuthSettings, mint
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText
from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from services.config.app import RunningConfig, open_config
from services.config.settings import ConfigSettings

SECRET = SecretText("a secret of at least thirty-two bytes")
OLD_KEY = "old:" + base64.b64encode(b"o" * 32).decode()
NEW_KEY = "new:" + base64.b64encode(b"n" * 32).decode()
EMAIL = channel_pb2.CHANNEL_EMAIL
SMS = channel_pb2.CHANNEL_SMS
NOWHERE = "00000000-0000-4000-8000-000000000000"


def a_settings(database_url: str, *, vault_keys: str = OLD_KEY, egress_allow: tuple[str, ...] = ()) -> ConfigSettings:
    """Settings for a ConfigService on any free port that stops at once."""
    return ConfigSettings(
        database_url=SecretText(database_url),
        vault_keys=SecretText(vault_keys),
        auth=AuthSettings(jwt_secret=SECRET),
        config_port=0,
        egress_allow=egress_allow,
        drain_grace=0.2,
    )


def a_spec(
    kind: str = "acme", channel: Channel = Channel.EMAIL, schema: Mapping[str, Any] | None = None
) -> ProviderSpec:
    """A kind with a required secret, an optional one below an object, and two settings that may be shown."""
    return ProviderSpec(
        kind=kind,
        channel=channel,
        title="Acme",
        description="A vendor for tests.",
        documentation_url="https://acme.test/keys",
        config_schema=schema or ACME_SCHEMA,
        capabilities=Capabilities(receipts=True),
    )


ACME_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["apiKey"],
    "properties": {
        "apiKey": {"type": "string", "minLength": 1, "writeOnly": True},
        "signingKey": {"type": "string", "minLength": 1, "writeOnly": True},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "region": {"type": "string", "enum": ["us", "eu"]},
        "auth": {
            "type": "object",
            "additionalProperties": False,
            "required": ["user"],
            "properties": {"user": {"type": "string"}, "pass": {"type": "string", "writeOnly": True}},
        },
    },
}


def opened(
    settings: ConfigSettings, specs: Iterable[ProviderSpec] | None = None
) -> AbstractAsyncContextManager[RunningConfig]:
    """A running ConfigService, by default with kind `acme` on both channels."""
    kinds = [a_spec(), a_spec(channel=Channel.SMS)] if specs is None else specs
    return open_config(settings, specs=kinds)


def a_token(
    projects: Sequence[str] | Literal["*"] = ("shop",), scopes: Iterable[str] = SCOPES, *, ttl: float = 600
) -> str:
    """A token that the running service accepts."""
    return mint(SECRET, subject="a test", projects=projects, scopes=scopes, ttl_seconds=ttl, now=SystemClock().now())


async def eventually(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Returns once `ask` answers `wanted`; TimeoutError after 20 seconds."""
    async with asyncio.timeout(20):
        while await ask() != wanted:
            await asyncio.sleep(0.05)


class Stubs:
    """The methods of all these stubs."""

    def __init__(self, *stubs: Any) -> None:
        self._stubs = stubs

    def __getattr__(self, method: str) -> Any:
        return next(getattr(stub, method) for stub in self._stubs if hasattr(stub, method))


@dataclass(frozen=True)
class Caller:
    """A client with a token."""

    stub: Any
    metadata: tuple[tuple[str, str], ...]

    async def call(self, method: str, request: Message) -> Any:
        """The answer of one unary method."""
        return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=10)

    async def refused(self, method: str, request: Message) -> ServiceError:
        """The error that one unary method answers with; fails when it answers."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        return from_rpc_error(caught.value)

    def watch(self) -> Any:
        """A WatchChains stream."""
        return self.stub.WatchChains(metadata=self.metadata)

    async def create(self, *, project: str = "shop", channel: Any = EMAIL, **values: Any) -> provider_pb2.Provider:
        """A provider of kind `acme`, unless told otherwise."""
        request = a_creation(project=project, channel=channel, **values)
        made: provider_pb2.Provider = await self.call("CreateProvider", request)
        return made

    async def resolve(self, project: str = "shop", channel: Any = EMAIL) -> provider_pb2.Chain:
        """The chain with opened credentials."""
        request = pb2.ResolveChainRequest(project_id=project, channel=channel)
        chain: provider_pb2.Chain = await self.call("ResolveChain", request)
        return chain


def a_creation(*, project: str = "shop", channel: Any = EMAIL, **values: Any) -> pb2.CreateProviderRequest:
    """A request for a provider of kind `acme` named Acme, unless told otherwise."""
    config = a_struct(values.pop("config", {"apiKey": "canary-api-key"}))
    given = {"kind": "acme", "name": "Acme", **values}
    provider = provider_pb2.Provider(channel=channel, config=config, **given)
    return pb2.CreateProviderRequest(project_id=project, provider=provider)


def a_struct(value: Mapping[str, Any]) -> Struct:
    """A JSON object as the wire has it."""
    struct = Struct()
    struct.update(value)
    return struct


@asynccontextmanager
async def calling(
    address: str, projects: Sequence[str] | Literal["*"] = ("shop",), scopes: Iterable[str] = SCOPES
) -> AsyncIterator[Caller]:
    """A caller with a token for these projects and scopes."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(
            stub=Stubs(ConfigServiceStub(channel), ProjectServiceStub(channel)),
            metadata=(("authorization", f"Bearer {a_token(projects, scopes)}"),),
        )
