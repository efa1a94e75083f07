"""The methods of ConfigService, one short function each: read the request, do it, answer. Rules live elsewhere."""

# ruff: noqa: N802 - methods have the contract's names

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2, provider_schema_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceServicer

from services.adapters.base import Channel
from services.adapters.registry import Kind
from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.idempotency import REPLAYED
from services.chassis.validation import require_valid
from services.config import requests
from services.config.chain import Chain, ChainKey, ChangeHub, Link, Watcher
from services.config.convert import (
    announcement_message,
    chain_message,
    channel_config_message,
    finding_message,
    link_message,
    provider_message,
    schema_message,
    without_secrets,
)
from services.config.editor import Editor
from services.config.errors import ChannelConfigNotFound, ProviderNotFound
from services.config.idempotency import Replay, once_of
from services.config.key_book import KeyBook
from services.config.kinds import Kinds
from services.config.provider import Provider, join, parse_id
from services.config.statements import KeptProvider
from services.config.store import Store
from services.config.tester import ProviderTester
from services.config.trial import make_trial
from services.config.vault import Vault

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
M = TypeVar("M", bound=Message)
FindKind = Callable[[Channel, str], Kind | None]


class Answer(Generic[T, M]):
    """How one write is answered: with what it made, or once more with what an earlier one was answered.

    A stored answer is shown through `again`: what today's schema calls a secret may not have been one then.
    """

    def __init__(
        self, message: type[M], show: Callable[[T], M], context: Context, again: Callable[[M], M] | None = None
    ) -> None:
        self._message = message
        self._show = show
        self._context = context
        self._again = again

    def write_down(self, made: T) -> bytes:
        """The answer as it is kept."""
        return self._show(made).SerializeToString()

    async def of(self, made: T | Replay) -> M:
        """The answer, marked when it is an earlier one."""
        if not isinstance(made, Replay):
            return self._show(made)
        await self._context.send_initial_metadata(((REPLAYED, "true"),))
        message = self._message.FromString(made.answer)
        return message if self._again is None else self._again(message)


class ConfigServicer(ConfigServiceServicer):
    """ConfigService behind the interceptor, which has checked token and scope; errors are raised as ServiceError."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        kinds: Kinds,
        hub: ChangeHub,
        keys: KeyBook,
        *,
        tester: ProviderTester,
        find_kind: FindKind,
    ) -> None:
        self._store = store
        self._tester = tester
        self._find_kind = find_kind
        self._vault = vault
        self._kinds = kinds
        self._hub = hub
        self._editor = Editor(store, vault, kinds, hub, keys)

    async def ListProviderSchemas(
        self, request: pb2.ListProviderSchemasRequest, context: Context
    ) -> pb2.ListProviderSchemasResponse:
        """Every kind with its schema, by channel, then kind."""
        specs = self._kinds.all(requests.optional_channel(request.channel))
        return pb2.ListProviderSchemasResponse(schemas=[schema_message(spec) for spec in specs])

    async def GetProviderSchema(
        self, request: pb2.GetProviderSchemaRequest, context: Context
    ) -> provider_schema_pb2.ProviderSchema:
        """The schema of one kind."""
        require_valid(request)
        spec = self._kinds.only(requests.optional_channel(request.channel), request.kind)
        if spec is None:
            violation = FieldViolation("channel", "is required, as several channels have this kind")
            raise InvalidArgument(violations=[violation])
        return schema_message(spec)

    async def CreateProvider(self, request: pb2.CreateProviderRequest, context: Context) -> provider_pb2.Provider:
        """The new provider, without its secrets."""
        draft = requests.read_draft(current_principal(), request, self._kinds)
        answer = Answer(provider_pb2.Provider, self._shown, context, self._shown_again)
        return await answer.of(await self._editor.create(draft, once_of(request, answer.write_down)))

    async def GetProvider(self, request: pb2.GetProviderRequest, context: Context) -> provider_pb2.Provider:
        """One provider, without its secrets."""
        require_valid(request)
        channel = requests.optional_channel(request.channel)
        return provider_message((await self._find(request.id, channel)).provider, self._kinds)

    async def ListProviders(self, request: pb2.ListProvidersRequest, context: Context) -> pb2.ListProvidersResponse:
        """A page of a project's providers in the order in which they are tried."""
        asked = requests.read_page(current_principal(), request)
        size = asked.page.size
        async with self._store.transaction() as transaction:
            found = await transaction.list_providers(asked.project_id, asked.channel, after=asked.after, limit=size + 1)
        answer = pb2.ListProvidersResponse(providers=[provider_message(each, self._kinds) for each in found[:size]])
        if len(found) > size:
            last = found[size - 1]
            answer.next_page_token = asked.page.next_token(
                last.channel.value, last.priority, last.created_at.isoformat(), str(last.id)
            )
        return answer

    async def UpdateProvider(self, request: pb2.UpdateProviderRequest, context: Context) -> provider_pb2.Provider:
        """The provider with its new values, without its secrets."""
        change, problems = requests.read_change(request)
        projects = current_principal().project_filter()
        answer = Answer(provider_pb2.Provider, self._shown, context, self._shown_again)
        once = once_of(request, answer.write_down)
        return await answer.of(await self._editor.update(request.provider.id, change, problems, projects, once))

    async def DeleteProvider(self, request: pb2.DeleteProviderRequest, context: Context) -> Empty:
        """Nothing, once the provider is gone."""
        channel = requests.read_deletion(request)
        answer: Answer[None, Empty] = Answer(Empty, lambda _: Empty(), context)
        once = once_of(request, answer.write_down)
        return await answer.of(
            await self._editor.delete(request.id, current_principal().project_filter(), channel, once)
        )

    async def ReorderProviders(
        self, request: pb2.ReorderProvidersRequest, context: Context
    ) -> pb2.ReorderProvidersResponse:
        """The providers in their new order."""
        key = requests.read_key(current_principal(), request)
        answer = Answer(pb2.ReorderProvidersResponse, self._in_order, context, self._in_order_again)
        once = once_of(request, answer.write_down)
        return await answer.of(await self._editor.reorder(key, request.provider_ids, once))

    async def TestProvider(self, request: pb2.TestProviderRequest, context: Context) -> pb2.TestProviderResponse:
        """What the provider itself says of the settings, stored or not yet stored; nothing is kept of it."""
        require_valid(request)
        channel, wish, problems = requests.read_wish(current_principal(), request)
        kept = await self._find(request.id, channel)
        provider = kept.provider
        async with self._store.transaction() as transaction:
            sender = await transaction.channel_config(ChainKey(provider.project_id, provider.channel))
        trial = make_trial(
            provider,
            self._vault.open(kept.sealed, kept.place),
            wish,
            spec=self._kinds.find(provider.channel, provider.kind),
            kind=self._find_kind(provider.channel, provider.kind),
            sender=sender.value if sender is not None else None,
            problems=problems,
        )
        return finding_message(await self._tester.test(trial))

    async def GetChannelConfig(
        self, request: pb2.GetChannelConfigRequest, context: Context
    ) -> provider_pb2.ChannelConfig:
        """The project's sender on one channel."""
        key = requests.read_key(current_principal(), request)
        async with self._store.transaction() as transaction:
            kept = await transaction.channel_config(key)
        if kept is None:
            raise ChannelConfigNotFound(key.channel)
        return channel_config_message(kept)

    async def CreateChannelConfig(
        self, request: pb2.CreateChannelConfigRequest, context: Context
    ) -> provider_pb2.ChannelConfig:
        """The new sender."""
        config = requests.read_sender(current_principal(), request)
        answer = Answer(provider_pb2.ChannelConfig, channel_config_message, context)
        return await answer.of(await self._editor.create_sender(config, once_of(request, answer.write_down)))

    async def UpdateChannelConfig(
        self, request: pb2.UpdateChannelConfigRequest, context: Context
    ) -> provider_pb2.ChannelConfig:
        """The sender with its new values."""
        key, change, problems = requests.read_sender_change(current_principal(), request)
        answer = Answer(provider_pb2.ChannelConfig, channel_config_message, context)
        once = once_of(request, answer.write_down)
        return await answer.of(await self._editor.update_sender(key, change, problems, once))

    async def ResolveChain(self, request: pb2.ResolveChainRequest, context: Context) -> provider_pb2.Chain:
        """The chain with opened credentials; the scope `internal` was checked before."""
        key = requests.read_key(current_principal(), request)
        async with self._store.transaction() as transaction:
            kept = await transaction.chain(key)
        links = tuple(self._link(each) for each in kept.providers)
        return chain_message(
            Chain(key=ChainKey(*key), version=kept.version, channel_config=kept.channel_config, links=links)
        )

    async def GetOpenedProvider(
        self, request: pb2.GetOpenedProviderRequest, context: Context
    ) -> provider_pb2.Chain.Link:
        """One provider with opened credentials; the scope `internal` was checked before."""
        kept = await self._find(request.id, None)
        secrets = self._vault.open(kept.sealed, kept.place)
        return link_message(Link(provider=kept.provider, opened=join(kept.provider.settings, secrets)))

    async def WatchChains(
        self, request_iterator: AsyncIterator[pb2.WatchChainsRequest], context: Context
    ) -> AsyncIterator[pb2.WatchChainsResponse]:
        """Every change of a chain of the token's projects, until the caller falls silent or the service drains."""
        allowed = current_principal().may_use
        with self._hub.watch() as watcher:
            # A task of its own and no TaskGroup: a generator must not yield inside one.
            words = asyncio.create_task(_hear(request_iterator, watcher), name="watcher's words")
            try:
                async for announcement in watcher.announcements():
                    seen = tuple(each for each in announcement.changes if allowed(each.key.project_id))
                    yield announcement_message(replace(announcement, changes=seen))
            finally:
                words.cancel()
                await asyncio.wait([words])

    def _shown(self, provider: Provider) -> provider_pb2.Provider:
        return provider_message(provider, self._kinds)

    def _in_order(self, providers: list[Provider]) -> pb2.ReorderProvidersResponse:
        return pb2.ReorderProvidersResponse(providers=[self._shown(each) for each in providers])

    def _shown_again(self, answer: provider_pb2.Provider) -> provider_pb2.Provider:
        return without_secrets(answer, self._kinds)

    def _in_order_again(self, answer: pb2.ReorderProvidersResponse) -> pb2.ReorderProvidersResponse:
        return pb2.ReorderProvidersResponse(providers=[self._shown_again(each) for each in answer.providers])

    async def _find(self, provider_id: str, channel: Channel | None) -> KeptProvider:
        known = parse_id(provider_id)
        if known is not None:
            async with self._store.transaction() as transaction:
                kept = await transaction.find_provider(known, current_principal().project_filter(), channel)
            if kept is not None:
                return kept
        raise ProviderNotFound(provider_id)

    def _link(self, kept: KeptProvider) -> Link:
        if not kept.provider.enabled:
            return Link(provider=kept.provider, opened={})
        secrets = self._vault.open(kept.sealed, kept.place)
        return Link(provider=kept.provider, opened=join(kept.provider.settings, secrets))


async def _hear(words: AsyncIterator[pb2.WatchChainsRequest], watcher: Watcher) -> None:
    """Takes every acknowledgement until the caller has no more words; then nobody waits for it any longer."""
    try:
        async for word in words:
            watcher.acknowledge(word.acknowledged_revision)
    finally:
        watcher.let_go()
