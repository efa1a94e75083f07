"""A whole messagepipe in one process for tests: real PostgreSQL, real gRPC, the real ConfigService, scripted adapters.

async with rig(database_url) as pipe:
    await pipe.chain("A", "B", "C")
    pipe.script("A", "deferred")
    story = await pipe.send()
    assert story.calls == "A:deferred B:accepted"
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
from google.api import httpbody_pb2
from google.protobuf.struct_pb2 import Struct
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.dispatch.v1.log_service_pb2_grpc import LogServiceStub
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from services.chassis.auth import ALL, AuthSettings, mint
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText
from services.config.app import open_config
from services.config.settings import ConfigSettings
from services.dispatch.app import RunningDispatch, open_dispatch
from services.dispatch.retry import Backoff
from services.dispatch.settings import DispatchSettings
from tests.fakes.adapter import ScriptedAdapter, scripted_adapters
from tests.fakes.receipts import ScriptedReader, wire

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub classes
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub
    from messagepipe.dispatch.v1.log_service_pb2_grpc import LogServiceAsyncStub

SECRET = SecretText("a secret of the tests that is long enough")
VAULT_KEYS = SecretText("k1:" + "A" * 43 + "=")
PROJECT = "shop"
LETTERS = "ABCD"
EMAIL = channel_pb2.CHANNEL_EMAIL


def auth_settings() -> AuthSettings:
    """How every process of the rig checks tokens."""
    return AuthSettings(jwt_secret=SECRET)


def token(*projects: str, scopes: str = "config:read config:write messages:send messages:read") -> str:
    """A token for these projects; "*" alone is every one."""
    return mint(
        SECRET,
        subject="tests",
        projects=ALL if projects == (ALL,) else list(projects) or [PROJECT],
        scopes=scopes.split(),
        ttl_seconds=3600,
        now=datetime.now(UTC),
    )


def metadata(*projects: str, scopes: str | None = None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call by a caller of these projects."""
    text = token(*projects) if scopes is None else token(*projects, scopes=scopes)
    return (("authorization", f"Bearer {text}"),)


@dataclass
class Story:
    """What became of one message, read from its events."""

    events: list[DeliveryEvent]

    @property
    def calls(self) -> str:
        """The attempts in order, as the table of failover.md writes them: `A:deferred B:accepted`."""
        attempts = [event.attempt_finished.attempt for event in self.events if event.HasField("attempt_finished")]
        words = {1: "accepted", 2: "invalid", 3: "denied", 4: "unfit", 5: "deferred", 6: "unknown"}
        return " ".join(f"{attempt.provider_name}:{words[attempt.outcome]}" for attempt in attempts)

    @property
    def end(self) -> DeliveryEvent.Completed:
        """The one `completed` event."""
        (end,) = [event.completed for event in self.events if event.HasField("completed")]
        return end

    @property
    def state(self) -> str:
        """The final state as a bare word."""
        return message_pb2.Message.State.Name(self.end.state).removeprefix("STATE_")

    @property
    def message_id(self) -> str:
        """The message."""
        return self.events[0].message_id

    def skips(self) -> list[tuple[str, str]]:
        """Which providers were passed by, and why."""
        skipped = [event.provider_skipped for event in self.events if event.HasField("provider_skipped")]
        return [(skip.provider_name, skip.reason) for skip in skipped]

    def kinds(self) -> list[str]:
        """The events by their word."""
        return [str(event.WhichOneof("event")) for event in self.events]


@dataclass
class Pipe:
    """A running messagepipe and the hands to use it."""

    config: "ConfigServiceAsyncStub"
    messages: "DispatchServiceAsyncStub"
    log: "LogServiceAsyncStub"
    adapters: Mapping[str, ScriptedAdapter]
    dispatch: RunningDispatch
    config_address: str
    reader: ScriptedReader
    ids: dict[str, str] = field(default_factory=dict)

    async def chain(
        self,
        *names: str,
        timeouts: Mapping[str, float] | None = None,
        limits: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Configure these providers in this order, each of the kind of the same letter."""
        for priority, name in enumerate(names):
            config = struct(timeoutSeconds=(timeouts or {}).get(name, 10), **(limits or {}).get(name, {}))
            provider = provider_pb2.Provider(
                channel=EMAIL, kind=name.lower(), name=name, priority=priority, config=config, enabled=True
            )
            request = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
            created = await self.config.CreateProvider(request, metadata=metadata())
            self.ids[name] = created.id

    async def change(self, provider_name: str, **fields: Any) -> None:
        """Change a provider: enabled, priority, name."""
        provider = provider_pb2.Provider(id=self.ids[provider_name], **fields)
        await self.config.UpdateProvider(
            config_service_pb2.UpdateProviderRequest(provider=provider), metadata=metadata()
        )

    def script(self, name: str, *outcomes: Any) -> None:
        """What the provider answers, in order, the last for ever."""
        self.adapters[name].script(*outcomes)

    def spec(self, **fields: Any) -> message_pb2.MessageSpec:
        """A message that is fine, with these fields on top."""
        given = {"to": "ada@example.com", "subject": "Hello", "text": "Hello, Ada.", "sender": "shop@example.com"}
        return message_pb2.MessageSpec(project_id=PROJECT, channel=EMAIL, **{**given, **fields})

    async def send(self, **fields: Any) -> Story:
        """One message, to its end."""
        request = dispatch_service_pb2.DispatchMessageRequest(message=self.spec(**fields))
        call = self.messages.DispatchMessage(request, metadata=metadata())
        return Story([event async for event in call])

    async def create(self, **fields: Any) -> message_pb2.Message:
        """One message, accepted."""
        request = dispatch_service_pb2.CreateMessageRequest(message=self.spec(**fields))
        return await self.messages.CreateMessage(request, metadata=metadata())

    async def receipt(self, name: str, *told: Mapping[str, Any], **signature: str) -> None:
        """What a provider sends us: receipts as tests/fakes/receipts.py has them."""
        request = dispatch_service_pb2.ReceiveReceiptRequest(
            kind=name.lower(),
            provider_id=self.ids[name],
            body=httpbody_pb2.HttpBody(data=wire(*told)),
            headers={"x-signature": signature.get("signature", "good")},
            url="http://localhost/receipts",
        )
        await self.messages.ReceiveReceipt(request, metadata=metadata(scopes="internal"))

    async def becomes(self, message_id: str, state: str) -> message_pb2.Message:
        """The message once it is in a state."""
        wanted = message_pb2.Message.State.Value(f"STATE_{state}")
        seen = [await self.get(message_id)]

        async def there() -> bool:
            seen.append(await self.get(message_id))
            return seen[-1].state == wanted

        await eventually(there)
        return seen[-1]

    async def watch(self, message_id: str, after: int = 0) -> Story:
        """A message's events from `after` to its end."""
        request = dispatch_service_pb2.WatchMessageRequest(message_id=message_id, after_sequence=after)
        return Story([event async for event in self.messages.WatchMessage(request, metadata=metadata())])

    async def get(self, message_id: str) -> message_pb2.Message:
        """The message as it is now."""
        request = dispatch_service_pb2.GetMessageRequest(id=message_id)
        return await self.messages.GetMessage(request, metadata=metadata())


@asynccontextmanager
async def rig(
    database_url: str, *, lease_seconds: float = 30.0, backoff: Backoff | None = None, **settings: Any
) -> AsyncIterator[Pipe]:
    """A messagepipe on this database, ready; stopped at the end of the block."""
    adapters = scripted_adapters(LETTERS, SystemClock())
    async with AsyncExitStack() as stack:
        config = await stack.enter_async_context(open_config_for_tests(database_url, adapters))
        dispatch_settings = DispatchSettings(
            database_url=SecretText(database_url),
            auth=auth_settings(),
            dispatch_port=0,
            config_target=config.address,
            lease_seconds=lease_seconds,
            drain_grace=2.0,
            **settings,
        )
        by_kind = {(Channel.EMAIL, adapter.spec.kind): adapter for adapter in adapters.values()}
        reader = ScriptedReader()
        readers = dict.fromkeys(by_kind, reader)
        dispatch = await stack.enter_async_context(
            open_dispatch(dispatch_settings, adapters=by_kind, readers=readers, backoff=backoff)
        )
        config_channel = await stack.enter_async_context(grpc.aio.insecure_channel(config.address))
        dispatch_channel = await stack.enter_async_context(grpc.aio.insecure_channel(dispatch.address))
        yield Pipe(
            config=ConfigServiceStub(config_channel),
            messages=DispatchServiceStub(dispatch_channel),
            log=LogServiceStub(dispatch_channel),
            adapters=adapters,
            dispatch=dispatch,
            config_address=config.address,
            reader=reader,
        )


def open_config_for_tests(database_url: str, adapters: Mapping[str, ScriptedAdapter]) -> Any:
    """The real ConfigService, for the kinds of the scripted adapters."""
    settings = ConfigSettings(
        database_url=SecretText(database_url),
        vault_keys=VAULT_KEYS,
        auth=auth_settings(),
        config_port=0,
        drain_grace=0.2,
    )
    return open_config(settings, specs=[adapter.spec for adapter in adapters.values()])


def struct(**members: Any) -> Struct:
    """A JSON object as the contract carries it."""
    made = Struct()
    made.update(members)
    return made


async def eventually(condition: Any, *, seconds: float = 10.0) -> None:
    """Returns when `condition()` is true, or its awaited answer is; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.01)
