"""Chains for dispatchers: resolved with opened credentials, and watched with acknowledgements."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from services.config.app import RunningConfig
from tests.integration.config.service import EMAIL, SMS, Caller, a_settings, calling, opened

READY = pb2.WatchChainsRequest()


@pytest.fixture
async def dispatcher(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller with a dispatcher's token: every project, and scope `internal` alone."""
    async with calling(config.address, "*", ["internal"]) as someone:
        yield someone


async def test_chain_has_everything_a_dispatcher_needs(caller: Caller, dispatcher: Caller) -> None:
    """Enabled providers come in order with opened credentials, disabled ones without, and the sender with them."""
    await caller.create(name="second", priority=2, config={"apiKey": "k2", "auth": {"user": "u", "pass": "p"}})
    await caller.create(name="first", priority=1, config={"apiKey": "k1"})
    await caller.create(name="off", priority=0, enabled=False)
    sender = provider_pb2.ChannelConfig(channel=EMAIL, sender_email="noreply@shop.test")
    await caller.call("CreateChannelConfig", pb2.CreateChannelConfigRequest(channel_config=sender))
    chain = await dispatcher.resolve()
    assert [link.provider.name for link in chain.links] == ["off", "first", "second"]
    assert [MessageToDict(link.opened_config) for link in chain.links] == [
        {},
        {"apiKey": "k1"},
        {"apiKey": "k2", "auth": {"user": "u", "pass": "p"}},
    ]
    assert all(not link.provider.config.fields for link in chain.links)
    assert chain.channel_config.sender_email == "noreply@shop.test"
    assert chain.version == 4


async def test_nothing_configured_is_an_empty_chain(dispatcher: Caller) -> None:
    """A project nobody ever configured has a chain of version 0 without links and without a sender."""
    chain = await dispatcher.resolve("nobody")
    assert (chain.version, len(chain.links), chain.HasField("channel_config")) == (0, 0, False)


async def test_sender_without_providers_is_a_chain(caller: Caller, dispatcher: Caller) -> None:
    """A sender alone makes a chain without links."""
    sender = provider_pb2.ChannelConfig(channel=SMS, sender_id="Shop")
    await caller.call("CreateChannelConfig", pb2.CreateChannelConfigRequest(channel_config=sender))
    chain = await dispatcher.resolve(channel=SMS)
    assert (chain.version, len(chain.links), chain.channel_config.sender_id) == (1, 0, "Shop")


async def test_only_dispatchers_resolve_and_watch(config: RunningConfig) -> None:
    """Without scope `internal` nobody gets a chain or a watch."""
    async with calling(config.address, "*", ["config:read", "config:write"]) as someone:
        error = await someone.refused("ResolveChain", pb2.ResolveChainRequest(project_id="shop", channel=EMAIL))
        assert (error.reason, error.metadata) == ("SCOPE_MISSING", {"scope": "internal"})
        error = await someone.refused("GetOpenedProvider", pb2.GetOpenedProviderRequest(id="any"))
        assert error.reason == "SCOPE_MISSING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await someone.watch().read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_one_provider_opened(caller: Caller, dispatcher: Caller) -> None:
    """A dispatcher gets any provider with opened credentials by its id, a disabled one too."""
    made = await caller.create(enabled=False, config={"apiKey": "k1"})
    link = await dispatcher.call("GetOpenedProvider", pb2.GetOpenedProviderRequest(id=made.id))
    unknown = await dispatcher.refused("GetOpenedProvider", pb2.GetOpenedProviderRequest(id="nobody"))
    assert (link.provider.id, link.provider.enabled) == (made.id, False)
    assert MessageToDict(link.opened_config) == {"apiKey": "k1"}
    assert not link.provider.config.fields
    assert unknown.reason == "PROVIDER_NOT_FOUND"


async def test_first_answer_says_that_the_watch_stands(dispatcher: Caller) -> None:
    """A watch begins with an answer without changes."""
    stream = dispatcher.watch()
    answer = await stream.read()
    assert (answer.revision, list(answer.changes)) == (1, [])
    stream.cancel()


async def test_write_waits_for_the_acknowledgement(caller: Caller, dispatcher: Caller) -> None:
    """UpdateProvider answers only after the watcher has acknowledged, and at once then."""
    made = await caller.create()
    stream = dispatcher.watch()
    await stream.read()
    update = pb2.UpdateProviderRequest(provider=provider_pb2.Provider(id=made.id, enabled=False))
    writing = asyncio.create_task(caller.call("UpdateProvider", update))
    told = await stream.read()
    (change,) = told.changes
    assert (change.project_id, change.channel, change.version) == ("shop", EMAIL, 2)
    done, _ = await asyncio.wait([writing], timeout=0.3)
    assert not done
    await stream.write(pb2.WatchChainsRequest(acknowledged_revision=told.revision))
    began = time.perf_counter()
    await writing
    assert time.perf_counter() - began < 0.5
    assert not (await dispatcher.resolve()).links[0].provider.enabled
    stream.cancel()


async def test_a_watch_tells_of_no_other_project(config: RunningConfig, caller: Caller) -> None:
    """A token for one project hears of that project's chains alone, and holds nobody up."""
    async with calling(config.address, ["other"], ["internal"]) as someone:
        stream = someone.watch()
        await stream.read()
        writing = asyncio.create_task(caller.create())
        told = await stream.read()
        assert list(told.changes) == []
        await stream.write(pb2.WatchChainsRequest(acknowledged_revision=told.revision))
        await writing
        stream.cancel()


async def test_write_waits_one_second_for_a_silent_watcher(caller: Caller, dispatcher: Caller) -> None:
    """A watcher that never acknowledges holds a write up for a second and no longer."""
    stream = dispatcher.watch()
    await stream.read()
    began = time.perf_counter()
    await caller.create()
    assert 0.9 < time.perf_counter() - began < 3
    stream.cancel()


async def test_write_waits_for_every_watcher(caller: Caller, dispatcher: Caller) -> None:
    """Two watchers: the word of one is not enough."""
    streams = [dispatcher.watch(), dispatcher.watch()]
    for stream in streams:
        await stream.read()
    writing = asyncio.create_task(caller.create())
    answers = [await stream.read() for stream in streams]
    await streams[0].write(pb2.WatchChainsRequest(acknowledged_revision=answers[0].revision))
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    await streams[1].write(pb2.WatchChainsRequest(acknowledged_revision=answers[1].revision))
    await asyncio.wait_for(writing, 0.5)
    for stream in streams:
        stream.cancel()


async def test_watcher_that_leaves_is_not_waited_for(caller: Caller, dispatcher: Caller) -> None:
    """A cancelled watch holds nobody up."""
    stream = dispatcher.watch()
    await stream.read()
    writing = asyncio.create_task(caller.create())
    await stream.read()
    stream.cancel()
    await asyncio.wait_for(writing, 0.8)


async def test_every_kind_of_write_is_told(caller: Caller, dispatcher: Caller) -> None:
    """Creating, changing, ordering, deleting providers, setting and changing the sender each raise the version."""
    stream = dispatcher.watch()
    await stream.read()
    ids: list[str] = []

    async def write() -> None:
        ids.extend([(await caller.create()).id, (await caller.create()).id])
        order = pb2.ReorderProvidersRequest(channel=EMAIL, provider_ids=list(reversed(ids)))
        await caller.call("ReorderProviders", order)
        changed = provider_pb2.Provider(id=ids[0], name="x")
        await caller.call("UpdateProvider", pb2.UpdateProviderRequest(provider=changed))
        await caller.call("DeleteProvider", pb2.DeleteProviderRequest(id=ids[0]))
        sender = provider_pb2.ChannelConfig(channel=EMAIL, sender_email="a@shop.test")
        await caller.call("CreateChannelConfig", pb2.CreateChannelConfigRequest(channel_config=sender))
        sender = provider_pb2.ChannelConfig(channel=EMAIL, enabled=False)
        await caller.call("UpdateChannelConfig", pb2.UpdateChannelConfigRequest(channel_config=sender))

    writing = asyncio.create_task(write())
    versions: list[int] = []
    while len(versions) < 7:
        told = await asyncio.wait_for(stream.read(), 5)
        versions += [change.version for change in told.changes]
        await stream.write(pb2.WatchChainsRequest(acknowledged_revision=told.revision))
    await writing
    assert versions == [1, 2, 3, 4, 5, 6, 7]
    stream.cancel()


async def test_watchers_of_another_replica_are_told(database_url: str) -> None:
    """A write at one replica reaches the watchers of another within two seconds."""
    async with (
        opened(a_settings(database_url)) as one,
        opened(a_settings(database_url)) as other,
        calling(one.address) as writer,
        calling(other.address, "*", ["internal"]) as dispatcher,
    ):
        stream = dispatcher.watch()
        await stream.read()
        await writer.create()
        told = await asyncio.wait_for(stream.read(), 2)
        assert [change.project_id for change in told.changes] == ["shop"]
        stream.cancel()


async def test_draining_lets_watchers_go(config: RunningConfig, dispatcher: Caller) -> None:
    """A watch ends with the service and does not hold up its stop."""
    stream = dispatcher.watch()
    await stream.read()
    await asyncio.wait_for(config.drain(), 2)
    assert await stream.read() is grpc.aio.EOF
