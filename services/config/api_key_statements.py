"""The statements about API keys, within a transaction. What they mean is project_editor.py's and api_key_secret.py's.

A write that changes which keys work takes the row lock of the roll first (`lock_roll`), so such writes take turns,
their versions come in the order of their commits, and they never deadlock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import DateTime, RowMapping, Uuid, column, delete, func, insert, or_, select, update, values
from sqlalchemy.dialects.postgresql import insert as upsert

from services.config.project import ApiKey
from services.config.tables import api_key_roll as roll
from services.config.tables import api_keys as keys
from services.config.vault import Sealed

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection

NOTIFY_CHANNEL = "messagepipe_api_keys"
# A key's last use is written at most once a minute, whoever tells of it.
USES_APART = timedelta(seconds=60)

_SHOWN = [each for each in keys.c if each.name != "hash"]


class ApiKeyStatements:
    """One method per statement."""

    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection

    async def lock_roll(self) -> int:
        """From here to the end of the transaction nobody else changes which keys work; answers the roll's version."""
        version: int = (await self._connection.execute(select(roll.c.version).with_for_update())).scalar_one()
        return version

    async def bump_roll(self) -> int:
        """The roll has its next version, and at the commit every replica gets a hint to look."""
        statement = update(roll).values(version=roll.c.version + 1).returning(roll.c.version)
        version: int = (await self._connection.execute(statement)).scalar_one()
        await self._connection.execute(select(func.pg_notify(NOTIFY_CHANNEL, "")))
        return version

    async def sealed_secret(self) -> Sealed | None:
        """The secret of all keys' hashes, if one was made."""
        row = (await self._connection.execute(select(roll.c.sealed, roll.c.key_id))).one_or_none()
        return None if row is None else Sealed(key_id=row.key_id, data=row.sealed)

    async def insert_secret(self, sealed: Sealed) -> None:
        """The secret, unless another replica was quicker."""
        first = {"only_one": True, "version": 1, "sealed": sealed.data, "key_id": sealed.key_id}
        await self._connection.execute(upsert(roll).values(first).on_conflict_do_nothing())

    async def reseal_secret(self, sealed: Sealed, *, was: str) -> None:
        """The same secret under another vault key, unless another replica was quicker."""
        statement = update(roll).where(roll.c.key_id == was).values(sealed=sealed.data, key_id=sealed.key_id)
        await self._connection.execute(statement)

    async def count(self, project_id: str) -> int:
        """How many keys the project has."""
        statement = select(func.count()).select_from(keys).where(keys.c.project_id == project_id)
        found: int = (await self._connection.execute(statement)).scalar_one()
        return found

    async def insert(self, key_id: UUID, project_id: str, *, name: str, prefix: str, hashed: bytes) -> ApiKey:
        """The new key, active."""
        row = {"id": key_id, "project_id": project_id, "name": name, "prefix": prefix, "hash": hashed}
        made = {**row, "is_active": True, "created_at": func.clock_timestamp()}
        statement = insert(keys).values(made).returning(*_SHOWN)
        return _api_key((await self._connection.execute(statement)).mappings().one())

    async def of_project(self, project_id: str) -> list[ApiKey]:
        """The project's keys, oldest first."""
        statement = select(*_SHOWN).where(keys.c.project_id == project_id).order_by(keys.c.created_at, keys.c.id)
        return [_api_key(row) for row in (await self._connection.execute(statement)).mappings()]

    async def find(self, project_id: str, key_id: UUID) -> ApiKey | None:
        """The project's key with this id, locked."""
        statement = select(*_SHOWN).where(keys.c.id == key_id, keys.c.project_id == project_id).with_for_update()
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _api_key(row)

    async def update(self, key: ApiKey) -> None:
        """The key's changeable values written."""
        statement = update(keys).where(keys.c.id == key.id, keys.c.project_id == key.project_id)
        await self._connection.execute(statement.values(name=key.name, is_active=key.is_active))

    async def delete(self, key: ApiKey) -> None:
        """The key is gone."""
        await self._connection.execute(delete(keys).where(keys.c.id == key.id, keys.c.project_id == key.project_id))

    async def record_uses(self, uses: Mapping[UUID, datetime], projects: Sequence[str] | None) -> None:
        """The uses of keys of these projects (None: of any), each unless one of the minute before is there already."""
        table = values(column("id", Uuid), column("used_at", DateTime(timezone=True)), name="uses")
        told = table.data(list(uses.items()))
        news = or_(keys.c.last_used_at.is_(None), keys.c.last_used_at <= told.c.used_at - USES_APART)
        mine = select(keys.c.id).where(keys.c.id.in_(list(uses)))
        if projects is not None:
            mine = mine.where(keys.c.project_id.in_(projects))
        # In order, so that two dispatchers that tell of the same keys do not wait for each other.
        locked = mine.order_by(keys.c.id).with_for_update().cte("locked")
        statement = update(keys).where(keys.c.id == locked.c.id, keys.c.id == told.c.id, news)
        await self._connection.execute(
            statement.values(last_used_at=func.least(told.c.used_at, func.clock_timestamp()))
        )


def _api_key(row: RowMapping) -> ApiKey:
    return ApiKey(**{each.name: row[each.name] for each in _SHOWN})
