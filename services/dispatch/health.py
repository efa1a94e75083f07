"""Which providers are passed by, and why: pure rules over marks that all workers share. Not how marks come about
(breaker.py), not where they are kept (breaker_book.py).

`DENIED` and `BREAKER_OPEN` hold until a probe succeeds or the provider's configuration changes; from `until` on, one
message at a time may probe. `COOLDOWN` holds for the time the provider asked for, `RETURNING` while a provider that
works again has as many calls as it may have. A mark with a scope, such as `country:NG`, only concerns messages in that
scope. An operator's hold wins over all of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.adapters.base import EmailContent
from services.adapters.sms.numbers import country_scope
from services.dispatch.chain import Chain, Hold, Provider
from services.dispatch.message import Message

SENDER = "sender:"


class Block(StrEnum):
    """Why a provider is passed by; the words of `ProviderSkipped.reason`."""

    DENIED = "DENIED"
    BREAKER_OPEN = "BREAKER_OPEN"
    COOLDOWN = "COOLDOWN"
    RATE_LIMITED = "RATE_LIMITED"
    RETURNING = "RETURNING"
    HELD = "HELD"


OPEN = frozenset({Block.DENIED, Block.BREAKER_OPEN})
"""The marks of an open breaker: what can be probed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Why one provider is passed by. `until` is when it may be probed, or when it ends; None: nobody knows.

    `probed_until` is set while a message probes it, `engaged` once the stream of the project has told that another
    provider carries its messages.
    """

    provider_id: str
    scope: str = ""
    config_version: int
    block: Block
    reason: str
    detail: str = ""
    until: datetime | None = None
    probed_until: datetime | None = None
    engaged: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is the mark of an open breaker."""
        return self.block in OPEN

    def holds(self, provider: Provider, now: datetime) -> bool:
        """Whether it still says something about this version of the provider at this moment."""
        return self.config_version == provider.version and (self.is_open or self.until is None or now < self.until)

    def probe_due(self, now: datetime) -> bool:
        """Whether the next message may probe it."""
        moment = self.look_again_at
        return self.is_open and moment is not None and moment <= now

    @property
    def look_again_at(self) -> datetime | None:
        """When there may be something new: the end of the probe, else of the wait; None when nobody knows."""
        if self.until is None or self.probed_until is None:
            return self.until
        return max(self.until, self.probed_until)


Marks = Mapping[str, Iterable[Mark]]
"""Every known mark by provider id."""


def blocking_mark(provider: Provider, scopes: frozenset[str], marks: Marks, now: datetime) -> Mark | None:
    """The mark that passes a provider by for a message with these scopes: the one that holds longest; None when it may
    be tried. A mark whose probe is due is told only when no other one is in the way.
    """
    if provider.hold is Hold.OUT:
        return _held_out(provider)
    if provider.hold is Hold.IN:
        return None
    holding = [mark for mark in marks.get(provider.id, ()) if mark.scope in scopes and mark.holds(provider, now)]
    return max(holding, key=lambda mark: (not mark.probe_due(now), recovery_order(mark)), default=None)


def _held_out(provider: Provider) -> Mark:
    return Mark(
        provider_id=provider.id,
        config_version=provider.version,
        block=Block.HELD,
        reason=Block.HELD,
        detail="An operator holds it out.",
    )


def recovery_order(mark: Mark) -> tuple[int, float]:
    """Sorts marks by how close to recovery their provider is, closest first: one that works again, then by time, then
    those that refuse to work for us.
    """
    moment = mark.look_again_at
    if mark.block is Block.RETURNING:
        return (0, 0.0)
    late = 2 if mark.block is Block.DENIED or moment is None else 1
    return (late, moment.timestamp() if moment else float("inf"))


def scopes_of(message: Message, chain: Chain) -> frozenset[str]:
    """Every scope that a mark may have to concern this message: all, its recipient's country, its sender.

    `sender:` alone is the provider's own sender, for a message of which neither itself nor the project names one.
    """
    if isinstance(message.content, EmailContent):
        sender = message.content.sender or chain.sender
        return frozenset({"", SENDER + getattr(sender, "email", "")})
    sender_id = message.content.sender or (chain.sender if isinstance(chain.sender, str) else "")
    return frozenset({"", SENDER + sender_id, country_scope(message.content.to)})
