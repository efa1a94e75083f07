"""The statements about idempotency keys, within a transaction. What they mean is key_book.py's."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.config.chain import ChangedChain
from services.config.tables import idempotency_keys as keys
from services.config.vault import Mac

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection


class KeyStatements:
    """One method per statement."""

    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection

    async def claim(self, project_id: str, key: str, mac: Mac, hours: float) -> bool:
        """Whether the key is ours: it is new, or its time is over. A key that stands is locked instead, after the
        transaction that made it has ended: so an answer that repeats it waits for the standbys as any write does.
        """
        row = {"project_id": project_id, "key": key, "key_id": mac.key_id, "fingerprint": mac.data, "answer": b""}
        over = {"channel": None, "chain_version": None, "expires_at": func.now() + timedelta(hours=hours)}
        statement = upsert(keys).values({**row, **over})
        renewed = {name: statement.excluded[name] for name in (*row, *over) if name not in ("project_id", "key")}
        claimed = statement.on_conflict_do_update(
            index_elements=[keys.c.key, keys.c.project_id], set_=renewed, where=keys.c.expires_at <= func.now()
        )
        return (await self._connection.execute(claimed.returning(keys.c.key))).first() is not None

    async def read(self, project_id: str, key: str) -> RowMapping:
        """A key that stands."""
        return (await self._connection.execute(select(keys).where(_is(project_id, key)))).mappings().one()

    async def named(self, key: str, projects: Sequence[str] | None) -> Sequence[RowMapping]:
        """The keys of this name that stand in these projects (None: in any)."""
        statement = select(keys).where(keys.c.key == key, keys.c.expires_at > func.now()).with_for_update()
        if projects is not None:
            statement = statement.where(keys.c.project_id.in_(projects))
        return (await self._connection.execute(statement.order_by(keys.c.project_id))).mappings().all()

    async def answer(self, project_id: str, key: str, answer: bytes, change: ChangedChain | None) -> None:
        """What the key stands for from the commit on."""
        values = {
            "answer": answer,
            "channel": change.key.channel.value if change is not None else None,
            "chain_version": change.version if change is not None else None,
        }
        await self._connection.execute(update(keys).where(_is(project_id, key)).values(values))

    async def sweep(self, limit: int) -> int:
        """Throw away some of the keys whose time is over, none that somebody holds; answers how many."""
        over = select(keys.c.key, keys.c.project_id).where(keys.c.expires_at <= func.now())
        some = over.order_by(keys.c.expires_at).limit(limit).with_for_update(skip_locked=True)
        statement = delete(keys).where(tuple_(keys.c.key, keys.c.project_id).in_(some)).returning(keys.c.key)
        return len((await self._connection.execute(statement)).all())


def _is(project_id: str, key: str) -> ColumnElement[bool]:
    return and_(keys.c.project_id == project_id, keys.c.key == key)
