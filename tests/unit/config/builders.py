"""Readable defaults for the values of ConfigService; override what matters. No tests."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.adapters.base import Channel, ProviderSpec
from services.chassis.auth import ALL, Principal
from services.config.provider import Provider

ID = UUID("00000000-0000-4000-8000-00000000000a")
OTHER_ID = UUID("00000000-0000-4000-8000-00000000000b")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiKey"],
    "properties": {
        "apiKey": {"type": "string", "minLength": 1, "writeOnly": True},
        "signingKey": {"type": "string", "writeOnly": True},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "auth": {
            "type": "object",
            "additionalProperties": False,
            "required": ["user"],
            "properties": {"user": {"type": "string"}, "pass": {"type": "string", "writeOnly": True}},
        },
    },
}


def a_spec(**values: Any) -> ProviderSpec:
    """Kind `acme` for EMAIL, unless told otherwise."""
    given: dict[str, Any] = {
        "kind": "acme",
        "channel": Channel.EMAIL,
        "title": "Acme",
        "description": "A vendor.",
        "documentation_url": "",
        "config_schema": SCHEMA,
    }
    return ProviderSpec(**{**given, **values})


def a_provider(**values: Any) -> Provider:
    """Version 1 of a provider of kind `acme`, unless told otherwise."""
    given: dict[str, Any] = {
        "id": ID,
        "project_id": "shop",
        "channel": Channel.EMAIL,
        "kind": "acme",
        "name": "Acme",
        "enabled": True,
        "priority": 1,
        "settings": {},
        "version": 1,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return Provider(**{**given, **values})


def a_principal(*projects: str) -> Principal:
    """Somebody whose token names these projects; "*" is all of them."""
    named: Any = ALL if projects == ("*",) else frozenset(projects)
    return Principal(subject="x", projects=named, scopes=frozenset(), expires_at=0)
