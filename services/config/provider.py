"""What a provider is and which values it may have: pure values and rules. It knows no database, no key and no wire."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from services.adapters.base import Channel, ProviderSpec, secret_paths
from services.adapters.schema import settings_errors
from services.chassis.errors import FieldViolation

MAX_NAME_CHARS = 100
MAX_PRIORITY = 1_000_000
MAX_CONFIG_BYTES = 64 * 1024
MAX_PROVIDERS = 100
MAX_SETTING_NAME_CHARS = 200

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Settings = Mapping[str, Any]


class Hold(StrEnum):
    """What an operator wants of a provider, whatever its health is; the words of the contract."""

    AUTOMATIC = "AUTOMATIC"
    OUT = "OUT"
    IN = "IN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One configured account. `settings` never holds a secret; `version` starts at 1 and grows with every change."""

    id: UUID
    project_id: str
    channel: Channel
    kind: str
    name: str
    enabled: bool
    priority: int
    settings: Settings
    version: int
    created_at: datetime
    updated_at: datetime
    hold: Hold = Hold.AUTOMATIC


class Position(NamedTuple):
    """A provider's place in the order in which providers are listed and tried."""

    channel: str
    priority: int
    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A provider somebody asks for. `config` still holds its secrets: never log one."""

    project_id: str
    channel: Channel
    kind: str
    name: str
    enabled: bool = True
    priority: int | None = None
    hold: Hold = Hold.AUTOMATIC
    config: Settings

    def __repr__(self) -> str:
        return f"Draft(project_id={self.project_id!r}, channel={self.channel}, kind={self.kind!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New values for a provider; None leaves one as it is. `config` is a merge patch (RFC 7396) and may hold secrets.

    `project_id`, `channel` and `kind` are what the caller believes; they can not change.
    """

    project_id: str | None = None
    channel: Channel | None = None
    kind: str | None = None
    name: str | None = None
    enabled: bool | None = None
    priority: int | None = None
    hold: Hold | None = None
    config: Settings | None = None

    def __repr__(self) -> str:
        return "Change(…)"


def parse_id(text: str) -> UUID | None:
    """The id in its canonical form of 36 characters, upper or lower case; None for anything else."""
    return UUID(text) if _UUID.fullmatch(text) else None


def merge_patch(target: Settings, patch: Settings) -> dict[str, Any]:
    """`target` with `patch` applied as RFC 7396 says: null removes, objects merge, everything else replaces."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def without_blank_secrets(spec: ProviderSpec, patch: Settings) -> dict[str, Any]:
    """`patch` with `""` for an optional secret turned into null: a form sends an empty field to mean "none"."""
    cleaned = dict(patch)
    for path in secret_paths(spec):
        if not _is_required(spec.config_schema, path):
            cleaned = _replaced(cleaned, path, blank="", by=None)
    return cleaned


def split(spec: ProviderSpec, config: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """`config` as (what may be shown, the secrets), both in the shape of the whole; `join` puts them together again."""
    shown, secrets = dict(config), dict[str, Any]()
    for path in secret_paths(spec):
        shown, secrets = _move(shown, secrets, path)
    return shown, secrets


def join(shown: Settings, secrets: Settings) -> dict[str, Any]:
    """The whole settings again. Never log the answer."""
    whole = dict(shown)
    for name, value in secrets.items():
        below = whole.get(name)
        whole[name] = join(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return whole


def name_violations(name: str, path: str) -> Iterator[FieldViolation]:
    """What is wrong with a display name."""
    if not name.strip():
        yield FieldViolation(path, "is required")
    elif len(name) > MAX_NAME_CHARS:
        yield FieldViolation(path, f"must be at most {MAX_NAME_CHARS} characters long")
    if has_control_characters(name):
        yield FieldViolation(path, "must not contain control characters or line breaks")


def priority_violations(priority: int, path: str) -> Iterator[FieldViolation]:
    """What is wrong with a priority."""
    if not 0 <= priority <= MAX_PRIORITY:
        yield FieldViolation(path, f"must be between 0 and {MAX_PRIORITY}")


def config_violations(spec: ProviderSpec, config: Settings, path: str) -> list[FieldViolation]:
    """Everything wrong with whole settings: size, names, and the kind's schema. Values are never repeated."""
    if config_bytes(config) > MAX_CONFIG_BYTES:
        return [FieldViolation(path, f"must be at most {MAX_CONFIG_BYTES} bytes as JSON")]
    if any(has_control_characters(name) or len(name) > MAX_SETTING_NAME_CHARS for name in _names(config)):
        return [FieldViolation(path, "has a member whose name holds control characters or is too long")]
    return [FieldViolation(f"{path}.{at}" if at else path, words) for at, words in settings_errors(spec, config)]


def config_bytes(config: Settings) -> int:
    """The size of settings as compact JSON in UTF-8."""
    return len(json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def identity_violations(provider: Provider, change: Change, path: str) -> Iterator[FieldViolation]:
    """A violation for each of project and kind that the caller believes to be something else."""
    if change.project_id not in (None, provider.project_id):
        yield FieldViolation(f"{path}.projectId", "can not change")
    if change.kind not in (None, provider.kind):
        words = f'can not change from "{provider.kind}": create another provider instead'
        yield FieldViolation(f"{path}.provider", words)


def next_priority(highest: int | None) -> int:
    """The priority of a provider that did not ask for one: after all others; ties go by creation time."""
    return min((highest or 0) + 1, MAX_PRIORITY)


def order_violations(present: Sequence[UUID], asked: Sequence[str], path: str) -> list[FieldViolation]:
    """What is wrong with a new order: every provider must be named exactly once, and nothing else."""
    violations: list[FieldViolation] = []
    missing = dict.fromkeys(present)
    for index, text in enumerate(asked):
        known = parse_id(text)
        if known in missing:
            del missing[known]
        elif known in present:
            violations.append(FieldViolation(f"{path}[{index}]", "is named twice"))
        else:
            violations.append(FieldViolation(f"{path}[{index}]", "is not a provider of this project and channel"))
    return violations + [FieldViolation(path, f"does not name the provider {each}") for each in missing]


def has_control_characters(text: str) -> bool:
    """Whether the text holds a control character or a line or paragraph separator."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in text)


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield name
            yield from _names(below)
    elif isinstance(value, list):
        for below in value:
            yield from _names(below)


def _is_required(schema: Mapping[str, Any], path: Sequence[str]) -> bool:
    for name in path[:-1]:
        schema = schema.get("properties", {}).get(name, {})
    return path[-1] in schema.get("required", ())


def _replaced(config: Settings, path: Sequence[str], *, blank: object, by: object) -> dict[str, Any]:
    name, *rest = path
    below = config.get(name)
    if not rest:
        return {**config, name: by} if name in config and below == blank else dict(config)
    return {**config, name: _replaced(below, rest, blank=blank, by=by)} if isinstance(below, Mapping) else dict(config)


def _move(shown: Settings, secrets: Settings, path: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    name, *rest = path
    left, moved = dict(shown), dict(secrets)
    if name not in left:
        return left, moved
    if not rest:
        moved[name] = left.pop(name)
    elif isinstance(left[name], Mapping):
        left[name], below = _move(left[name], moved.get(name, {}), rest)
        if below:
            moved[name] = below
    return left, moved
