"""What a project and its API keys are, and which values they may have: pure values and rules."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.chassis.auth import PROJECT_ID
from services.chassis.errors import FieldViolation
from services.config.provider import name_violations

MAX_API_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The frame around one application's configuration and messages."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of an API key, never the key itself."""

    id: UUID
    project_id: str
    name: str
    prefix: str
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyChange:
    """New values for an API key; None leaves one as it is."""

    name: str | None = None
    is_active: bool | None = None


def changed(key: ApiKey, change: ApiKeyChange) -> ApiKey:
    """The key with the change applied."""
    return replace(
        key,
        name=key.name if change.name is None else change.name,
        is_active=key.is_active if change.is_active is None else change.is_active,
    )


def project_violations(project_id: str, name: str) -> Iterator[FieldViolation]:
    """What is wrong with a project somebody asks for; an empty id means any."""
    yield from name_violations(name, "name")
    if project_id and not PROJECT_ID.match(project_id):
        yield FieldViolation("id", "must be 1 to 64 of the characters A-Z a-z 0-9 _ -")


def change_violations(change: ApiKeyChange) -> Iterator[FieldViolation]:
    """What is wrong with a change somebody asks for."""
    if change.name is not None:
        yield from name_violations(change.name, "name")
