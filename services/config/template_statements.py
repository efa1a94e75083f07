"""What ConfigService keeps of templates: one method per statement, each limited to projects. It decides nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, literal, select, tuple_, update

from services.config.tables import template_versions as versions
from services.config.tables import templates
from services.config.template import (
    PARTS,
    Content,
    Template,
    TemplateDraft,
    TemplatePosition,
    TemplateType,
)

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncConnection

_ORDER = (templates.c.created_at, templates.c.id)
_CONTENT = tuple(versions.c[name] for name in PARTS)


class TemplateStatements:
    """One method per statement."""

    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection

    async def lock_project(self, project_id: str) -> None:
        """From here to the end of the transaction nobody else adds a template to this project."""
        key = func.hashtextextended(f"templates of {project_id}", 0)
        await self._connection.execute(select(func.pg_advisory_xact_lock(key)))

    async def count(self, project_id: str, type_: TemplateType) -> int:
        """How many templates of this type the project has."""
        mine = and_(templates.c.project_id == project_id, templates.c.type == type_.value)
        found: int = (await self._connection.execute(select(func.count()).where(mine))).scalar_one()
        return found

    async def find(
        self,
        template_id: UUID,
        projects: Sequence[str] | None,
        type_: TemplateType | None = None,
        *,
        version: int | None = None,
        lock: bool = False,
    ) -> Template | None:
        """The template with its content, now or in a version, if it is in one of `projects` and of `type_`."""
        mine = [templates.c.id == template_id]
        if projects is not None:
            mine.append(templates.c.project_id.in_(projects))
        if type_ is not None:
            mine.append(templates.c.type == type_.value)
        if lock:
            # On its own and first: who waits for the lock in the join would look for the new version in the old rows.
            await self._connection.execute(select(templates.c.id).where(*mine).with_for_update())
        wanted = literal(version) if version is not None else templates.c.version
        columns = (*templates.c, versions.c.version.label("content_version"), versions.c.variables, *_CONTENT)
        joined = templates.join(versions, versions.c.template_id == templates.c.id)
        this = (versions.c.version == wanted, versions.c.project_id == templates.c.project_id)
        statement = select(*columns).select_from(joined).where(*mine, *this)
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        return None if row is None else _template(row, whole=True)

    async def list(
        self, project_id: str, type_: TemplateType | None, *, after: TemplatePosition | None, limit: int
    ) -> list[Template]:
        """At most `limit` templates of the project without content, from the one behind `after`."""
        current = and_(versions.c.template_id == templates.c.id, versions.c.version == templates.c.version)
        columns = (*templates.c, versions.c.version.label("content_version"), versions.c.variables)
        statement = select(*columns).select_from(templates.join(versions, current))
        statement = statement.where(templates.c.project_id == project_id, versions.c.project_id == project_id)
        if type_ is not None:
            statement = statement.where(templates.c.type == type_.value)
        if after is not None:
            values = [literal(value, column.type) for value, column in zip(after, _ORDER, strict=True)]
            statement = statement.where(tuple_(*_ORDER) > tuple_(*values))
        rows = await self._connection.execute(statement.order_by(*_ORDER).limit(limit))
        return [_template(row, whole=False) for row in rows.mappings()]

    async def insert(self, template_id: UUID, draft: TemplateDraft) -> Template:
        """The new template with the database's times, and its version 1."""
        # One moment for all of it: two calls of the clock would differ.
        moment = (await self._connection.execute(select(func.clock_timestamp()))).scalar_one()
        made = Template(
            id=template_id,
            project_id=draft.project_id,
            type=draft.type,
            name=draft.name,
            version=1,
            variables=draft.variables,
            created_at=moment,
            updated_at=moment,
        )
        row = {column.name: getattr(made, column.name) for column in templates.c}
        await self._connection.execute(insert(templates).values({**row, "type": made.type.value}))
        await self._add_version(made, draft.content)
        return made

    async def update(self, template: Template, content: Content, *, new_version: bool) -> Template:
        """The name and, with `new_version`, the content as the template's version; its row is locked."""
        statement = (
            update(templates)
            .where(_is(template))
            .values(name=template.name, version=template.version, updated_at=func.clock_timestamp())
            .returning(templates.c.updated_at)
        )
        moment = (await self._connection.execute(statement)).scalar_one()
        written = replace(template, updated_at=moment, content=None)
        if new_version:
            await self._add_version(written, content)
        return written

    async def delete(self, template: Template) -> None:
        """The template and all its versions are gone."""
        await self._connection.execute(delete(templates).where(_is(template)))

    async def _add_version(self, template: Template, content: Content) -> None:
        values = {
            "template_id": template.id,
            "version": template.version,
            "project_id": template.project_id,
            "variables": list(template.variables),
            "created_at": template.updated_at,
            **{name: getattr(content, name) for name in PARTS},
        }
        await self._connection.execute(insert(versions).values(values))


def _is(template: Template) -> ColumnElement[bool]:
    return and_(templates.c.id == template.id, templates.c.project_id == template.project_id)


def _template(row: RowMapping, *, whole: bool) -> Template:
    return Template(
        id=row["id"],
        project_id=row["project_id"],
        type=TemplateType(row["type"]),
        name=row["name"],
        version=row["content_version"],
        variables=tuple(row["variables"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        content=Content(**{name: row[name] for name in PARTS}) if whole else None,
    )
