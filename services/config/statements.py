"""What ConfigService keeps, in PostgreSQL: one method per statement, each limited to a project. It decides nothing.

A write takes the row lock of its chain first (`lock_chain`), so writes of one project and channel take turns and never
deadlock. `projects` is which projects the caller may see; None means all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    RowMapping,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from services.adapters.base import Channel
from services.chassis.failpoints import failpoint
from services.config.api_key_statements import ApiKeyStatements
from services.config.chain import ChainKey, ChangedChain
from services.config.channel_config import ChannelConfig, KeptChannelConfig
from services.config.key_statements import KeyStatements
from services.config.project_statements import ProjectStatements
from services.config.provider import Hold, Position, Provider
from services.config.tables import chains, channel_configs, providers
from services.config.template_statements import TemplateStatements
from services.config.vault import Place, Sealed

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection

NOTIFY_CHANNEL = "messagepipe_chains"
CHANGED_OVERLAP = timedelta(seconds=30)

_ORDER = (providers.c.channel, providers.c.priority, providers.c.created_at, providers.c.id)

S = TypeVar("S", bound=Select[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptProvider:
    """A provider as it is stored: what may be shown, and its sealed secrets."""

    provider: Provider
    sealed: Sealed

    @property
    def place(self) -> Place:
        """What the secrets are bound to."""
        return place_of(self.provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChain:
    """A chain as it is stored, read in one statement."""

    version: int
    channel_config: KeptChannelConfig | None
    providers: tuple[KeptProvider, ...]


def place_of(provider: Provider) -> Place:
    """Where this version of the provider's secrets belongs."""
    return Place(project_id=provider.project_id, provider_id=provider.id, version=provider.version)


class Transaction:
    """The statements, within one transaction."""

    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection
        self.keys = KeyStatements(connection)
        self.templates = TemplateStatements(connection)
        self.projects = ProjectStatements(connection)
        self.api_keys = ApiKeyStatements(connection)

    async def ping(self) -> None:
        """One round trip."""
        await self._connection.execute(text("SELECT 1"))

    async def now(self) -> datetime:
        """The database's clock."""
        found: datetime = (await self._connection.execute(select(func.clock_timestamp()))).scalar_one()
        return found

    async def lock_chain(self, key: ChainKey) -> None:
        """From here to the end of the transaction nobody else writes to this chain; it is made when there is none."""
        values = {**_key_values(key), "version": 0, "changed_at": func.clock_timestamp()}
        await self._connection.execute(upsert(chains).values(values).on_conflict_do_nothing())
        await self._connection.execute(select(chains.c.version).where(_is_chain(chains, key)).with_for_update())

    async def bump_chain(self, key: ChainKey) -> ChangedChain:
        """The chain has its next version, and at the commit every replica gets a hint to look."""
        statement = (
            update(chains)
            .where(_is_chain(chains, key))
            .values(version=chains.c.version + 1, changed_at=func.clock_timestamp())
            .returning(chains.c.version)
        )
        version: int = (await self._connection.execute(statement)).scalar_one()
        await self.projects.ensure(key.project_id)
        await self._connection.execute(select(func.pg_notify(NOTIFY_CHANNEL, "")))
        failpoint("config.before_commit")
        return ChangedChain(key=key, version=version)

    async def find_provider(
        self, provider_id: UUID, projects: Sequence[str] | None, channel: Channel | None, *, lock: bool = False
    ) -> KeptProvider | None:
        """The provider with this id, if it is in one of `projects` and, when given, on `channel`."""
        statement = select(providers).where(providers.c.id == provider_id)
        if projects is not None:
            statement = statement.where(providers.c.project_id.in_(projects))
        if channel is not None:
            statement = statement.where(providers.c.channel == channel.value)
        row = await self._row(statement.with_for_update() if lock else statement)
        return None if row is None else _provider(row)

    async def list_providers(
        self, project_id: str, channel: Channel | None, *, after: Position | None, limit: int
    ) -> list[Provider]:
        """At most `limit` providers of the project in the order of lists, from the one behind `after`."""
        statement = _in_order(select(providers).where(providers.c.project_id == project_id)).limit(limit)
        if channel is not None:
            statement = statement.where(providers.c.channel == channel.value)
        if after is not None:
            values = [literal(value, column.type) for value, column in zip(after, _ORDER, strict=True)]
            statement = statement.where(tuple_(*_ORDER) > tuple_(*values))
        return [_provider(row).provider for row in await self._rows(statement)]

    async def providers_of(self, key: ChainKey) -> list[KeptProvider]:
        """Every provider of the chain in order."""
        statement = _in_order(select(providers).where(_is_chain(providers, key)))
        return [_provider(row) for row in await self._rows(statement)]

    async def count(self, key: ChainKey) -> tuple[int, int | None]:
        """How many providers the chain has, and their highest priority."""
        statement = select(func.count(), func.max(providers.c.priority)).where(_is_chain(providers, key))
        count, highest = (await self._connection.execute(statement)).one()
        return count, highest

    async def insert_provider(self, values: dict[str, Any], sealed: Sealed) -> Provider:
        """The new provider with the database's times."""
        now = func.clock_timestamp()
        row = {**values, **_sealed_values(sealed), "created_at": now, "updated_at": now}
        statement = insert(providers).values(row).returning(providers)
        return _provider(await self._one(statement)).provider

    async def update_provider(self, provider: Provider, sealed: Sealed, *, was: int) -> Provider | None:
        """The provider's changeable values and version written, only if its version still `was`; None otherwise."""
        statement = (
            update(providers)
            .where(providers.c.id == provider.id, providers.c.project_id == provider.project_id)
            .where(providers.c.version == was)
            .values(
                name=provider.name,
                enabled=provider.enabled,
                priority=provider.priority,
                hold=provider.hold.value,
                settings=dict(provider.settings),
                version=provider.version,
                updated_at=func.clock_timestamp(),
                **_sealed_values(sealed),
            )
            .returning(providers)
        )
        row = await self._row(statement)
        return None if row is None else _provider(row).provider

    async def delete_provider(self, provider: Provider) -> None:
        """The provider and its secrets are gone."""
        mine = (providers.c.id == provider.id, providers.c.project_id == provider.project_id)
        await self._connection.execute(delete(providers).where(*mine))

    async def channel_config(self, key: ChainKey) -> KeptChannelConfig | None:
        """The sender of this project and channel, if one was set."""
        statement = select(channel_configs).where(_is_chain(channel_configs, key))
        row = await self._row(statement)
        return None if row is None else _channel_config(row)

    async def insert_channel_config(self, config: ChannelConfig) -> KeptChannelConfig | None:
        """The new sender; None when there is one already."""
        now = func.clock_timestamp()
        row = {"project_id": config.project_id, "channel": config.channel.value, **_sender_values(config)}
        statement = upsert(channel_configs).values({**row, "created_at": now, "updated_at": now})
        made = await self._row(statement.on_conflict_do_nothing().returning(channel_configs))
        return None if made is None else _channel_config(made)

    async def update_channel_config(self, config: ChannelConfig) -> KeptChannelConfig:
        """The sender with new values; it must exist."""
        statement = (
            update(channel_configs)
            .where(_is_chain(channel_configs, ChainKey(config.project_id, config.channel)))
            .values(**_sender_values(config), updated_at=func.clock_timestamp())
            .returning(channel_configs)
        )
        return _channel_config(await self._one(statement))

    async def chain(self, key: ChainKey) -> KeptChain:
        """Version, sender and all providers of the chain as of one moment: a single statement."""
        joined = chains.outerjoin(channel_configs, _same_chain(channel_configs)).outerjoin(
            providers, _same_chain(providers)
        )
        statement = select(chains, channel_configs, providers).select_from(joined).where(_is_chain(chains, key))
        rows = await self._rows(_in_order(statement))
        if not rows:
            return KeptChain(version=0, channel_config=None, providers=())
        first = rows[0]
        has_sender = first[channel_configs.c.project_id] is not None
        return KeptChain(
            version=first[chains.c.version],
            channel_config=_channel_config(rows[0]) if has_sender else None,
            providers=tuple(_provider(row) for row in rows if row[providers.c.id] is not None),
        )

    async def changed_chains(self, since: datetime) -> list[ChangedChain]:
        """Every chain changed after `since`, or up to CHANGED_OVERLAP before it, as its commit may have come later."""
        statement = select(chains.c.project_id, chains.c.channel, chains.c.version)
        statement = statement.where(chains.c.changed_at > since - CHANGED_OVERLAP, chains.c.version > 0)
        rows = await self._connection.execute(statement)
        return [ChangedChain(key=ChainKey(row.project_id, Channel(row.channel)), version=row.version) for row in rows]

    async def one_per_key(self) -> list[KeptProvider]:
        """For each key id that any row names, one provider sealed with it."""
        statement = select(providers).ext(distinct_on(providers.c.key_id)).order_by(providers.c.key_id, providers.c.id)
        return [_provider(row) for row in await self._rows(statement)]

    async def sealed_otherwise(self, key_id: str, *, after: UUID | None, limit: int) -> list[KeptProvider]:
        """At most `limit` providers of any project that are sealed with another key, by id, from behind `after`."""
        statement = select(providers).where(providers.c.key_id != key_id).order_by(providers.c.id).limit(limit)
        if after is not None:
            statement = statement.where(providers.c.id > after)
        return [_provider(row) for row in await self._rows(statement)]

    async def reseal(self, kept: KeptProvider, sealed: Sealed) -> bool:
        """The same secrets under another key, only if nobody has written the provider meanwhile."""
        statement = (
            update(providers)
            .where(providers.c.id == kept.provider.id, providers.c.project_id == kept.provider.project_id)
            .where(providers.c.version == kept.provider.version, providers.c.key_id == kept.sealed.key_id)
            .values(**_sealed_values(sealed))
            .returning(providers.c.id)
        )
        return await self._row(statement) is not None

    async def _rows(self, statement: Executable) -> Sequence[RowMapping]:
        return (await self._connection.execute(statement)).mappings().all()

    async def _row(self, statement: Executable) -> RowMapping | None:
        return (await self._connection.execute(statement)).mappings().one_or_none()

    async def _one(self, statement: Executable) -> RowMapping:
        return (await self._connection.execute(statement)).mappings().one()


def _in_order(statement: S) -> S:
    return statement.order_by(*_ORDER)


def _is_chain(table: Table, key: ChainKey) -> ColumnElement[bool]:
    return and_(table.c.project_id == key.project_id, table.c.channel == key.channel.value)


def _same_chain(table: Table) -> ColumnElement[bool]:
    return and_(table.c.project_id == chains.c.project_id, table.c.channel == chains.c.channel)


def _key_values(key: ChainKey) -> dict[str, Any]:
    return {"project_id": key.project_id, "channel": key.channel.value}


def _sealed_values(sealed: Sealed) -> dict[str, Any]:
    return {"sealed": sealed.data, "key_id": sealed.key_id}


def _sender_values(config: ChannelConfig) -> dict[str, Any]:
    return {
        "enabled": config.enabled,
        "sender_email": config.sender_email,
        "sender_name": config.sender_name,
        "sender_id": config.sender_id,
    }


def _provider(row: RowMapping) -> KeptProvider:
    value = {column.name: row[column] for column in providers.c}
    sealed = Sealed(key_id=value.pop("key_id"), data=value.pop("sealed"))
    return KeptProvider(provider=Provider(**_worded(value)), sealed=sealed)


def _worded(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "channel": Channel(value["channel"]), "hold": Hold(value["hold"])}


def _channel_config(row: RowMapping) -> KeptChannelConfig:
    value = {column.name: row[column] for column in channel_configs.c}
    times = {name: value.pop(name) for name in ("created_at", "updated_at")}
    return KeptChannelConfig(value=ChannelConfig(**{**value, "channel": Channel(value["channel"])}), **times)
