"""A project's providers in order, as the dispatcher knows them. Not where they come from (config_client.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.adapters.base import Address, Channel

DEFAULT_TIMEOUT = 10.0


class Hold(StrEnum):
    """What an operator wants of a provider, whatever its health is: it decides, never tried, always tried."""

    AUTOMATIC = "AUTOMATIC"
    OUT = "OUT"
    IN = "IN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One configured account with opened settings; `version` grows with every change of it."""

    id: str
    kind: str
    name: str
    enabled: bool = True
    version: int = 1
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    idempotent: bool = False
    hold: Hold = Hold.AUTOMATIC

    @property
    def startable(self) -> bool:
        """Whether any attempt may be started through it at all: enabled, and not held out by an operator."""
        return self.enabled and self.hold is not Hold.OUT

    @property
    def timeout(self) -> float:
        """How long one call to it may take, in seconds: its `timeoutSeconds`, else 10."""
        return float(self.config.get("timeoutSeconds", DEFAULT_TIMEOUT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The ordered providers of a project's channel, disabled ones among them; `version` 0 means nothing was
    configured.
    """

    project_id: str
    channel: Channel
    version: int = 0
    enabled: bool = True
    sender: Address | str | None = None
    providers: tuple[Provider, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedProvider:
    """A provider with opened settings, whether or not it is enabled."""

    id: str
    channel: Channel
    kind: str
    config: Mapping[str, Any] = field(repr=False)
