"""Every write: one transaction that takes the chain and changes it; then every watcher's word. It knows no wire.

A write that changes nothing writes nothing. Secrets are sealed anew with every version.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import uuid4

from services.adapters.base import Channel, ProviderSpec
from services.adapters.schema import normalise
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.failpoints import failpoint
from services.chassis.log import get_logger
from services.config import channel_config
from services.config.chain import ChainKey, ChangedChain, ChangeHub
from services.config.channel_config import ChannelConfig, KeptChannelConfig, SenderChange
from services.config.errors import (
    ChannelConfigAlreadyExists,
    ChannelConfigNotFound,
    DatabaseUnavailable,
    ProviderNotFound,
    TooManyProviders,
)
from services.config.idempotency import Once, Replay
from services.config.key_book import KeyBook
from services.config.kinds import Kinds
from services.config.provider import (
    MAX_PROVIDERS,
    Change,
    Draft,
    Provider,
    config_violations,
    identity_violations,
    join,
    merge_patch,
    name_violations,
    next_priority,
    order_violations,
    parse_id,
    priority_violations,
    split,
    without_blank_secrets,
)
from services.config.statements import KeptProvider, Transaction, place_of
from services.config.store import Store
from services.config.vault import Place, Vault

Projects = Sequence[str] | None
T = TypeVar("T")
# What a write answers, and the chain that it changed.
Made = tuple[T, ChangedChain | None]

_log = get_logger()


@dataclass(frozen=True, slots=True)
class In:
    """A write in a project that is known."""

    project_id: str

    @property
    def projects(self) -> Projects:
        """That one."""
        return (self.project_id,)

    async def project(self, _transaction: Transaction) -> str | None:
        """That one."""
        return self.project_id


@dataclass(frozen=True, slots=True)
class Of:
    """A write to a provider, in whichever of these projects it is."""

    provider_id: str
    projects: Projects
    channel: Channel | None

    async def project(self, transaction: Transaction) -> str | None:
        """The provider's; None when there is none, or none any more."""
        known = parse_id(self.provider_id)
        seen = None if known is None else await transaction.find_provider(known, self.projects, self.channel)
        return None if seen is None else seen.provider.project_id


class Editor:
    """Changes providers and senders; when a method returns, the change is durable and every watcher was told."""

    def __init__(self, store: Store, vault: Vault, kinds: Kinds, hub: ChangeHub, keys: KeyBook) -> None:
        self._keys = keys
        self._store = store
        self._vault = vault
        self._kinds = kinds
        self._hub = hub

    async def create(self, draft: Draft, once: Once | None = None) -> Provider | Replay:
        """The new provider; `draft` was checked. Raises TooManyProviders."""
        key = ChainKey(draft.project_id, draft.channel)
        spec = self._kinds.find(draft.channel, draft.kind)
        shown, secrets = split(spec, draft.config) if spec is not None else ({}, dict(draft.config))

        async def work(transaction: Transaction) -> Made[Provider]:
            await transaction.lock_chain(key)
            count, highest = await transaction.count(key)
            if count >= MAX_PROVIDERS:
                raise TooManyProviders(MAX_PROVIDERS)
            place = Place(project_id=draft.project_id, provider_id=uuid4(), version=1)
            values = {
                "id": place.provider_id,
                "project_id": draft.project_id,
                "channel": draft.channel.value,
                "kind": draft.kind,
                "name": draft.name,
                "enabled": draft.enabled,
                "priority": next_priority(highest) if draft.priority is None else draft.priority,
                "settings": shown,
                "hold": draft.hold.value,
                "version": place.version,
            }
            made = await transaction.insert_provider(values, self._vault.seal(secrets, place))
            return made, await transaction.bump_chain(key)

        return await self._write_once(work, once, In(draft.project_id))

    async def update(
        self,
        provider_id: str,
        change: Change,
        problems: Sequence[FieldViolation],
        projects: Projects,
        once: Once | None = None,
    ) -> Provider | Replay:
        """The provider with `change` applied; `problems` are what was wrong with the request already.

        Raises ProviderNotFound first, then InvalidArgument with everything at once.
        """

        async def work(transaction: Transaction) -> Made[Provider]:
            kept, key = await self._take(transaction, provider_id, projects, change.channel)
            opened = self._vault.open(kept.sealed, kept.place)
            spec = self._kinds.find(kept.provider.channel, kept.provider.kind)
            after, secrets, wrong = changed_provider(kept.provider, opened, spec, change)
            if violations := [*problems, *wrong]:
                raise InvalidArgument(violations=violations)
            if _same(after, kept.provider) and _json(secrets) == _json(opened):
                return kept.provider, None
            written = await self._write(transaction, kept, after, secrets)
            return written, await transaction.bump_chain(key)

        return await self._write_once(work, once, Of(provider_id, projects, change.channel))

    async def delete(
        self, provider_id: str, projects: Projects, channel: Channel | None, once: Once | None = None
    ) -> Replay | None:
        """The provider and its credentials are gone. Raises ProviderNotFound."""

        async def work(transaction: Transaction) -> Made[None]:
            kept, key = await self._take(transaction, provider_id, projects, channel)
            await transaction.delete_provider(kept.provider)
            return None, await transaction.bump_chain(key)

        return await self._write_once(work, once, Of(provider_id, projects, channel))

    async def reorder(
        self, key: ChainKey, provider_ids: Sequence[str], once: Once | None = None
    ) -> list[Provider] | Replay:
        """The chain's providers with priorities 1, 2, 3 …; raises InvalidArgument unless each is named exactly once."""

        async def work(transaction: Transaction) -> Made[list[Provider]]:
            await transaction.lock_chain(key)
            present = {kept.provider.id: kept for kept in await transaction.providers_of(key)}
            if violations := order_violations(list(present), provider_ids, "providerIds"):
                raise InvalidArgument(violations=violations)
            ordered = [present[found] for text in provider_ids if (found := parse_id(text)) is not None]
            written = [await self._place(transaction, kept, priority) for priority, kept in enumerate(ordered, start=1)]
            if written == [kept.provider for kept in ordered]:
                return written, None
            return written, await transaction.bump_chain(key)

        return await self._write_once(work, once, In(key.project_id))

    async def create_sender(self, config: ChannelConfig, once: Once | None = None) -> KeptChannelConfig | Replay:
        """The new sender; `config` was checked. Raises ChannelConfigAlreadyExists."""
        key = ChainKey(config.project_id, config.channel)

        async def work(transaction: Transaction) -> Made[KeptChannelConfig]:
            await transaction.lock_chain(key)
            made = await transaction.insert_channel_config(config)
            if made is None:
                raise ChannelConfigAlreadyExists(config.channel)
            return made, await transaction.bump_chain(key)

        return await self._write_once(work, once, In(key.project_id))

    async def update_sender(
        self, key: ChainKey, change: SenderChange, problems: Sequence[FieldViolation], once: Once | None = None
    ) -> KeptChannelConfig | Replay:
        """The sender with `change` applied. Raises ChannelConfigNotFound, then InvalidArgument with everything."""

        async def work(transaction: Transaction) -> Made[KeptChannelConfig]:
            await transaction.lock_chain(key)
            kept = await transaction.channel_config(key)
            if kept is None:
                raise ChannelConfigNotFound(key.channel)
            after = channel_config.changed(kept.value, change)
            if violations := [*problems, *channel_config.violations(after, "channelConfig")]:
                raise InvalidArgument(violations=violations)
            if after == kept.value:
                return kept, None
            written = await transaction.update_channel_config(after)
            return written, await transaction.bump_chain(key)

        return await self._write_once(work, once, In(key.project_id))

    async def _write_once(
        self, work: Callable[[Transaction], Awaitable[Made[T]]], once: Once | None, whose: In | Of
    ) -> T | Replay:
        """The work in one transaction with its key, unless an earlier one has done it; then every watcher's word."""
        async with self._store.transaction() as transaction:
            made, change = await self._made_once(transaction, work, once, whose)
        if change is not None:
            await self._announce(change)
        return made

    async def _made_once(
        self,
        transaction: Transaction,
        work: Callable[[Transaction], Awaitable[Made[T]]],
        once: Once | None,
        whose: In | Of,
    ) -> Made[T | Replay]:
        if once is None:
            return await work(transaction)
        project_id = await whose.project(transaction)
        replay = await self._keys.claim(transaction, once, project_id, whose.projects)
        if replay is not None:
            # Told once more: the first one may not have been answered yet, and this answer promises the same.
            return replay, replay.change
        made, change = await work(transaction)
        if project_id is not None:
            await self._keys.keep(transaction, once, project_id, made, change)
        return made, change

    async def _take(
        self, transaction: Transaction, provider_id: str, projects: Projects, channel: Channel | None
    ) -> tuple[KeptProvider, ChainKey]:
        """The provider, its chain and itself locked; raises ProviderNotFound."""
        known = parse_id(provider_id)
        seen = None if known is None else await transaction.find_provider(known, projects, channel)
        if known is None or seen is None:
            raise ProviderNotFound(provider_id)
        key = ChainKey(seen.provider.project_id, seen.provider.channel)
        await transaction.lock_chain(key)
        kept = await transaction.find_provider(known, projects, channel, lock=True)
        if kept is None:
            raise ProviderNotFound(provider_id)
        return kept, key

    async def _place(self, transaction: Transaction, kept: KeptProvider, priority: int) -> Provider:
        if kept.provider.priority == priority:
            return kept.provider
        secrets = self._vault.open(kept.sealed, kept.place)
        return await self._write(transaction, kept, replace(kept.provider, priority=priority), secrets)

    async def _write(
        self, transaction: Transaction, kept: KeptProvider, after: Provider, secrets: dict[str, Any]
    ) -> Provider:
        """The next version of the provider, sealed anew, only over the version that was read."""
        was = kept.provider.version
        following = replace(after, version=was + 1)
        sealed = self._vault.seal(secrets, place_of(following))
        written = await transaction.update_provider(following, sealed, was=was)
        if written is None:  # the row lock excludes it; should it be lost one day, nothing may be overwritten
            raise DatabaseUnavailable
        return written

    async def _announce(self, change: ChangedChain) -> None:
        failpoint("config.committed")
        self._hub.tell(change)
        if not await self._hub.settle(change.key):
            _log.warning("chain_change_not_acknowledged", project=change.key.project_id, channel=change.key.channel)
        failpoint("config.acknowledged")


def changed_provider(
    provider: Provider, opened: dict[str, Any], spec: ProviderSpec | None, change: Change
) -> tuple[Provider, dict[str, Any], list[FieldViolation]]:
    """The provider and its secrets after `change`, and everything wrong with that. The version stays as it is."""
    violations = list(identity_violations(provider, change, "provider"))
    if change.name is not None:
        violations += name_violations(change.name, "provider.name")
    if change.priority is not None:
        violations += priority_violations(change.priority, "provider.priority")
    shown, secrets = dict(provider.settings), opened
    if change.config is not None and spec is None:
        missing = f'can not be checked, as no adapter for "{provider.kind}" is installed'
        violations.append(FieldViolation("provider.config", missing))
    elif change.config is not None and spec is not None:
        whole = join(provider.settings, opened)
        config = normalise(spec, merge_patch(whole, without_blank_secrets(spec, change.config)))
        violations += config_violations(spec, config, "provider.config")
        shown, secrets = split(spec, config)
    after = replace(
        provider,
        name=provider.name if change.name is None else change.name,
        enabled=provider.enabled if change.enabled is None else change.enabled,
        priority=provider.priority if change.priority is None else change.priority,
        hold=provider.hold if change.hold is None else change.hold,
        settings=shown,
    )
    return after, secrets, violations


def _same(one: Provider, other: Provider) -> bool:
    return replace(one, settings={}) == replace(other, settings={}) and _json(one.settings) == _json(other.settings)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # tells true from 1, which Python's == does not
