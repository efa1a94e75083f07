"""No secret shows in what our own values say of themselves: every one of them that lives while both services work is
asked for its repr and str, over and over.
"""

import asyncio
import dataclasses
import gc
import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
from google.api import httpbody_pb2
from messagepipe.config.v1 import config_service_pb2 as config_pb
from messagepipe.config.v1 import provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch_pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

import services
from services.adapters.base import Channel
from services.chassis.env import SecretText
from services.config.app import open_config
from services.config.settings import ConfigSettings
from services.dispatch.app import open_dispatch
from services.dispatch.settings import DispatchSettings
from tests.acceptance.canaries import ACCOUNTS, MARK, Account, leaks
from tests.acceptance.leaky_vendors import HONEST, Leaky, leaky
from tests.acceptance.provocations import CHANNELS, RECIPIENTS
from tests.integration.rig import VAULT_KEYS, Story, auth_settings, metadata, struct

pytestmark = pytest.mark.timeout(120)

# What must have been caught alive, or the watch proves nothing.
EXPECTED = frozenset(
    "Attempt Call Chain Change Check Draft Message OpenedProvider Place Provider ReceiptRequest Result Sealed Trial "
    "Wish".split()
)
LOOPBACK = ("127.0.0.0/8",)

# Fields that hold any JSON and are shown, each with the reason why no secret is in it.
SHOWN = {
    "base.ProviderSpec.config_schema": "a schema, no settings",
    "base.ProviderSpec.options_schema": "a schema, no settings",
    "helpers.Helper.make": "a function",
    "check.Rehearsal.settings": "constants of the kind",
    "schema._Fault.schema": "a schema, no settings",
    "schema._Fault.wanted": "out of the schema",
    "provider.Provider.settings": "what is left when the secrets are taken out",
}


@dataclass
class Watch:
    """Looks at everything alive that is ours: what said a secret, and which types were there."""

    found: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)

    async def forever(self) -> None:
        """Looks at what is new whenever the services wait for something."""
        while True:
            self.look()
            gc.freeze()  # what was looked at is passed by the next time
            await asyncio.sleep(0)

    def look(self) -> None:
        """Looks at everything that is not frozen."""
        for value in gc.get_objects():
            kind = type(value)
            if str(kind.__module__).startswith("services.") or (
                issubclass(kind, Exception) and kind is not AssertionError
            ):
                self.types.add(kind.__name__)
                self.found |= {f"{kind.__module__}.{kind.__name__}: {leak}" for leak in leaks(said_by(value))}


def said_by(value: object) -> str:
    """Its repr and str; asyncpg's exceptions have no str without an argument."""
    return repr(value) if isinstance(value, Exception) and not value.args else f"{value!r} {value}"


@dataclass
class Inside:
    """Both services in this process."""

    config: Any
    messages: Any


@asynccontextmanager
async def both_services(database_url: str) -> AsyncIterator[Inside]:
    """ConfigService and DispatchService with every built-in kind, allowed to reach loopback."""
    url, auth = SecretText(database_url), auth_settings()
    config_settings = ConfigSettings(
        database_url=url, auth=auth, vault_keys=VAULT_KEYS, config_port=0, egress_allow=LOOPBACK, drain_grace=0.2
    )
    async with open_config(config_settings) as config:
        settings = DispatchSettings(
            database_url=url,
            auth=auth,
            dispatch_port=0,
            config_target=config.address,
            egress_allow=LOOPBACK,
            drain_grace=1.0,
        )
        async with (
            open_dispatch(settings) as dispatch,
            grpc.aio.insecure_channel(config.address) as to_config,
            grpc.aio.insecure_channel(dispatch.address) as to_dispatch,
        ):
            yield Inside(config=ConfigServiceStub(to_config), messages=DispatchServiceStub(to_dispatch))


async def test_nothing_alive_says_a_secret(database_url: str) -> None:
    """While providers are made, changed, tested, sent through, quoted by and reported from, no value of ours and no
    exception says a secret.
    """
    watch = Watch()
    gc.freeze()
    try:
        async with both_services(database_url) as inside, asyncio.TaskGroup() as group:
            watching = group.create_task(watch.forever())
            for account in ACCOUNTS:
                async with leaky(account) as vendor:
                    await use(inside, account, vendor)
            watching.cancel()
            gc.unfreeze()
            watch.look()  # once more at all of it, as it is in the end
    finally:
        gc.unfreeze()

    assert watch.found == set()
    assert watch.types >= EXPECTED


async def use(inside: Inside, account: Account, vendor: Leaky) -> None:
    """One account's life: a chain of a vendor that quotes and an honest one, tests, a message, and a receipt."""
    who, channel = metadata(account.name), CHANNELS[account.channel]
    made = []
    for style in ("json-slashes", HONEST):
        provider = provider_pb2.Provider(
            channel=channel, kind=account.kind, name=style, config=struct(**account.settings(vendor.addresses[style]))
        )
        request = config_pb.CreateProviderRequest(provider=provider)
        made.append(await inside.config.CreateProvider(request, metadata=who))
    settings = struct(**account.settings(vendor.addresses[HONEST]))
    changed = provider_pb2.Provider(id=made[1].id, config=settings)
    await inside.config.UpdateProvider(config_pb.UpdateProviderRequest(provider=changed), metadata=who)
    for provider in made:
        test = config_pb.TestProviderRequest(id=provider.id, config=settings, recipient=RECIPIENTS[account.channel])
        await inside.config.TestProvider(test, metadata=who)

    spec = message_pb2.MessageSpec(channel=channel, to=RECIPIENTS[account.channel], text="Hello")
    if account.channel is Channel.EMAIL:
        spec.MergeFrom(message_pb2.MessageSpec(subject="Hello", sender="shop@example.com"))
    call = inside.messages.DispatchMessage(dispatch_pb.DispatchMessageRequest(message=spec), metadata=who)
    assert Story([event async for event in call]).state == "SENT"

    secrets = urlencode({".".join(path): value for path, value in account.planted.items()})
    receipt = dispatch_pb.ReceiveReceiptRequest(
        kind=account.kind,
        provider_id=made[1].id,
        body=httpbody_pb2.HttpBody(data=secrets.encode()),
        headers={"x-termii-signature": next(iter(account.planted.values()))},
        url=f"https://hooks.example.com/receipts/{account.kind}/{made[1].id}?{secrets}",
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await inside.messages.ReceiveReceipt(receipt, metadata=metadata(account.name, scopes="internal"))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_no_field_that_may_hold_settings_is_shown() -> None:
    """A value of ours that may hold any JSON keeps it out of its repr, or has a reason above why it need not."""
    shown = {
        f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}.{name}"
        for kind, name in fields_of_json()
        if MARK in repr(with_a_secret(kind, name))
    }
    assert shown == set(SHOWN)


def fields_of_json() -> Iterator[tuple[type, str]]:
    """Every field of a dataclass of the services that may hold any JSON."""
    for found in pkgutil.walk_packages(services.__path__, "services."):
        if ".migrations" in found.name:
            continue
        module = importlib.import_module(found.name)
        for kind in vars(module).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == found.name:
                yield from ((kind, each.name) for each in dataclasses.fields(kind) if "typing.Any" in repr(each.type))


def with_a_secret(kind: type, name: str) -> object:
    """A value of this type with a secret in one field and something harmless in the others."""
    value: Any = object.__new__(kind)
    for each in dataclasses.fields(value):
        object.__setattr__(value, each.name, {"apiKey": MARK} if each.name == name else _Harmless())
    return value


class _Harmless:
    """Has every attribute, and says nothing."""

    def __getattr__(self, name: str) -> str:
        return name
