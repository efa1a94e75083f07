"""The statements about projects, within a transaction. What they mean is project_editor.py's."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import RowMapping, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from services.config.project import Project
from services.config.tables import (
    api_keys,
    channel_configs,
    gone_projects,
    idempotency_keys,
    projects,
    providers,
    template_versions,
    templates,
)

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection

GONE_AT_ONCE = 1000
# Everything that goes with its project, in this order; whoever adds a table of a project's configuration adds it here.
# The chains stay, emptied: a version that began anew would look older than what dispatchers were told.
GOES_WITH_ITS_PROJECT = (providers, channel_configs, api_keys, template_versions, templates)


class ProjectStatements:
    """One method per statement."""

    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection

    async def insert(self, project_id: str, name: str) -> Project | None:
        """The new project; None when there is one with this id."""
        values = {"id": project_id, "name": name, "created_at": func.clock_timestamp()}
        statement = upsert(projects).values(values).on_conflict_do_nothing().returning(projects)
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _project(row)

    async def ensure(self, project_id: str) -> None:
        """There is a row for the project: something is being configured in it."""
        await self.insert(project_id, project_id)

    async def find(self, project_id: str) -> Project | None:
        """The project, if there is one."""
        statement = select(projects).where(projects.c.id == project_id)
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _project(row)

    async def page(self, allowed: Sequence[str] | None, *, after: str, limit: int) -> list[Project]:
        """At most `limit` of the allowed projects (None: of all) by id, from the one behind `after`."""
        statement = select(projects).where(projects.c.id > after).order_by(projects.c.id).limit(limit)
        if allowed is not None:
            statement = statement.where(projects.c.id.in_(allowed))
        return [_project(row) for row in (await self._connection.execute(statement)).mappings()]

    async def delete(self, project_id: str) -> None:
        """The project and everything that goes with it are gone; its chains must be locked, and the roll."""
        for table in GOES_WITH_ITS_PROJECT:
            await self._connection.execute(delete(table).where(table.c.project_id == project_id))
        keys = idempotency_keys.c
        # A key that a write holds is left to that write; waiting for it here could be waiting for each other.
        mine = select(keys.key, keys.project_id).where(keys.project_id == project_id).with_for_update(skip_locked=True)
        await self._connection.execute(delete(idempotency_keys).where(tuple_(keys.key, keys.project_id).in_(mine)))
        await self._connection.execute(delete(projects).where(projects.c.id == project_id))
        gone = upsert(gone_projects).values(id=project_id, gone_at=func.clock_timestamp())
        again = gone.on_conflict_do_update(index_elements=["id"], set_={"gone_at": gone.excluded.gone_at})
        await self._connection.execute(again)

    async def gone_since(self, moment: datetime) -> list[tuple[str, datetime]]:
        """The projects that were deleted then or later, the longest gone first, at most `GONE_AT_ONCE`."""
        order = (gone_projects.c.gone_at, gone_projects.c.id)
        statement = select(gone_projects).where(gone_projects.c.gone_at >= moment).order_by(*order).limit(GONE_AT_ONCE)
        return [(row["id"], row["gone_at"]) for row in (await self._connection.execute(statement)).mappings()]


def _project(row: RowMapping) -> Project:
    return Project(id=row["id"], name=row["name"], created_at=row["created_at"])
