"""Every write about projects and API keys: one transaction, then the word of whoever has to know. It knows no wire."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from services.adapters.base import Channel
from services.chassis.api_keys import hash_of, new_key, prefix_of
from services.chassis.log import get_logger
from services.config.api_key_feed import ApiKeyFeed
from services.config.chain import ChainKey, ChangedChain, ChangeHub
from services.config.errors import (
    ApiKeyNotFound,
    ConfirmationNeeded,
    ProjectAlreadyExists,
    ProjectNotFound,
    TooManyApiKeys,
)
from services.config.project import MAX_API_KEYS, ApiKey, ApiKeyChange, Project, changed
from services.config.provider import parse_id
from services.config.statements import Transaction
from services.config.store import Store

_log = get_logger()


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new API key; `text` is the key itself, never to be logged or kept."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"MadeKey({self.key.id})"


class ProjectEditor:
    """Changes projects and API keys; when a method returns, the change is durable and everybody connected was told."""

    def __init__(self, store: Store, hub: ChangeHub, feed: ApiKeyFeed) -> None:
        self._store, self._hub, self._feed = store, hub, feed

    async def create(self, project_id: str, name: str) -> Project:
        """The new project, its id made up if none is given. Raises ProjectAlreadyExists."""
        async with self._store.transaction() as transaction:
            made = await transaction.projects.insert(project_id or str(uuid4()), name)
        if made is None:
            raise ProjectAlreadyExists(project_id)
        return made

    async def delete(self, project_id: str, confirm: str) -> None:
        """The project is gone with all its configuration. Raises ProjectNotFound, ConfirmationNeeded."""
        async with self._store.transaction() as transaction:
            chains = [ChainKey(project_id, channel) for channel in Channel]
            await _check(transaction, project_id, confirm)  # or anybody could make rows for projects that are none
            for key in chains:
                await transaction.lock_chain(key)
            await transaction.api_keys.lock_roll()
            await _check(transaction, project_id, confirm)
            changes = [await transaction.bump_chain(key) for key in chains]
            await transaction.projects.delete(project_id)
            version = await transaction.api_keys.bump_roll()
        await asyncio.gather(self._announce(changes), self._settle(version, project_id))

    async def create_key(self, project_id: str, name: str) -> MadeKey:
        """The new key, which works from now on. Raises TooManyApiKeys."""
        text = new_key()
        hashed = hash_of(self._feed.secret, text)
        async with self._store.transaction() as transaction:
            await transaction.api_keys.lock_roll()
            await transaction.projects.ensure(project_id)
            if await transaction.api_keys.count(project_id) >= MAX_API_KEYS:
                raise TooManyApiKeys(MAX_API_KEYS)
            made = await transaction.api_keys.insert(
                uuid4(), project_id, name=name, prefix=prefix_of(text), hashed=hashed
            )
            version = await transaction.api_keys.bump_roll()
        await self._settle(version, project_id)
        return MadeKey(made, text)

    async def update_key(self, project_id: str, key_id: str, change: ApiKeyChange) -> ApiKey:
        """The key with the change; one that was deactivated works nowhere any more. Raises ApiKeyNotFound."""
        async with self._store.transaction() as transaction:
            # The version as it is, too, is waited for: who deactivated the key before may not have been answered yet.
            version = await transaction.api_keys.lock_roll()
            kept = await _find(transaction, project_id, key_id)
            after = changed(kept, change)
            if after != kept:
                await transaction.api_keys.update(after)
            if after.is_active != kept.is_active:
                version = await transaction.api_keys.bump_roll()
        await self._settle(version, project_id)
        return after

    async def delete_key(self, project_id: str, key_id: str) -> None:
        """The key is gone and works nowhere any more. Raises ApiKeyNotFound."""
        async with self._store.transaction() as transaction:
            await transaction.api_keys.lock_roll()
            await transaction.api_keys.delete(await _find(transaction, project_id, key_id))
            version = await transaction.api_keys.bump_roll()
        await self._settle(version, project_id)

    async def record_uses(self, uses: dict[UUID, datetime], projects: Sequence[str] | None) -> None:
        """When these keys were used is written down, to the minute."""
        if uses:
            async with self._store.transaction() as transaction:
                await transaction.api_keys.record_uses(uses, projects)

    async def _announce(self, changes: Sequence[ChangedChain]) -> None:
        for change in changes:
            self._hub.tell(change)
        for change in changes:
            if not await self._hub.settle(change.key):
                _log.warning("chain_change_not_acknowledged", project=change.key.project_id, channel=change.key.channel)

    async def _settle(self, version: int, project_id: str) -> None:
        if not await self._feed.settle(version):
            _log.warning("api_key_change_not_acknowledged", project=project_id)


async def _check(transaction: Transaction, project_id: str, confirm: str) -> None:
    project = await transaction.projects.find(project_id)
    if project is None:
        raise ProjectNotFound
    if confirm != project.name:
        raise ConfirmationNeeded(project.name)


async def _find(transaction: Transaction, project_id: str, key_id: str) -> ApiKey:
    known = parse_id(key_id)
    kept = None if known is None else await transaction.api_keys.find(project_id, known)
    if kept is None:
        raise ApiKeyNotFound(key_id)
    return kept
