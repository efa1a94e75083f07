"""Every write of a template: one transaction, with its idempotency key. It knows no wire.

Content is parsed before the transaction where it is whole, and in it where it is laid over what is stored; nothing that
does not parse is ever stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

from services.chassis.errors import FieldViolation
from services.config.errors import TemplateNotFound, TooManyTemplates
from services.config.idempotency import Once, Replay
from services.config.key_book import KeyBook
from services.config.provider import parse_id
from services.config.statements import Transaction
from services.config.store import Store
from services.config.template import (
    MAX_TEMPLATES,
    Content,
    Template,
    TemplateChange,
    TemplateDraft,
    TemplateType,
    changed_content,
    identity_violations,
)
from services.config.template_requests import checked, refuse

Projects = Sequence[str] | None
T = TypeVar("T")


class TemplateEditor:
    """Changes templates; when a method returns, the change is durable."""

    def __init__(self, store: Store, keys: KeyBook) -> None:
        self._store = store
        self._keys = keys

    async def create(self, draft: TemplateDraft, once: Once | None = None) -> Template | Replay:
        """The new template; `draft` was checked. Raises TooManyTemplates."""

        async def work(transaction: Transaction) -> Template:
            # Two at a time could otherwise both count one below the limit.
            await transaction.templates.lock_project(draft.project_id)
            if await transaction.templates.count(draft.project_id, draft.type) >= MAX_TEMPLATES:
                raise TooManyTemplates(MAX_TEMPLATES)
            return await transaction.templates.insert(uuid4(), draft)

        async with self._store.transaction() as transaction:
            return await self._once(transaction, work, once, draft.project_id, (draft.project_id,))

    async def update(
        self,
        template_id: str,
        change: TemplateChange,
        problems: Sequence[FieldViolation],
        projects: Projects,
        once: Once | None = None,
    ) -> Template | Replay:
        """The template with `change` applied. Raises TemplateNotFound, then InvalidArgument with everything."""

        async def work(transaction: Transaction) -> Template:
            kept = await _find(transaction, template_id, projects, change.type, lock=True)
            before = kept.content or Content()
            content = changed_content(before, change)
            variables, more = kept.variables, list[FieldViolation]()
            if content != before:
                variables, more = await asyncio.to_thread(checked, kept.type, content)
            refuse([*problems, *identity_violations(kept, change), *more])
            name = kept.name if change.name is None else change.name
            if content == before and name == kept.name:
                return replace(kept, content=None)
            version = kept.version + (content != before)
            after = replace(kept, name=name, version=version, variables=variables)
            return await transaction.templates.update(after, content, new_version=content != before)

        async with self._store.transaction() as transaction:
            project = await _project(transaction, template_id, projects, change.type) if once is not None else None
            return await self._once(transaction, work, once, project, projects)

    async def delete(
        self, template_id: str, projects: Projects, type_: TemplateType | None, once: Once | None = None
    ) -> Replay | None:
        """The template and all its versions are gone. Raises TemplateNotFound."""

        async def work(transaction: Transaction) -> None:
            await transaction.templates.delete(await _find(transaction, template_id, projects, type_, lock=True))

        async with self._store.transaction() as transaction:
            project = await _project(transaction, template_id, projects, type_) if once is not None else None
            return await self._once(transaction, work, once, project, projects)

    async def _once(
        self,
        transaction: Transaction,
        work: Callable[[Transaction], Awaitable[T]],
        once: Once | None,
        project_id: str | None,
        projects: Projects,
    ) -> T | Replay:
        """The work, unless an earlier write with the same key has done it; the key's row is locked before any other."""
        if once is None:
            return await work(transaction)
        replay = await self._keys.claim(transaction, once, project_id, projects)
        if replay is not None:
            return replay
        made = await work(transaction)
        if project_id is not None:
            await self._keys.keep(transaction, once, project_id, made, None)
        return made


async def _find(
    transaction: Transaction, template_id: str, projects: Projects, type_: TemplateType | None, *, lock: bool
) -> Template:
    known = parse_id(template_id)
    found = None if known is None else await transaction.templates.find(known, projects, type_, lock=lock)
    if found is None:
        raise TemplateNotFound(template_id)
    return found


async def _project(
    transaction: Transaction, template_id: str, projects: Projects, type_: TemplateType | None
) -> str | None:
    try:
        return (await _find(transaction, template_id, projects, type_, lock=False)).project_id
    except TemplateNotFound:
        return None
