"""Which providers are passed by, and why: pure rules over marks that all workers share. Not where marks are kept
(store.py).

A mark is what one attempt taught about a provider. `DENIED` holds until the provider's configuration changes;
`COOLDOWN` holds for the time the provider asked for. A mark with a scope, such as `country:NG`, only concerns
messages in that scope.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.adapters.base import EmailContent
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.sms.numbers import country_scope
from services.dispatch.chain import Chain, Provider
from services.dispatch.message import Message

SENDER = "sender:"


class Block(StrEnum):
    """Why a provider is passed by; the words of `ProviderSkipped.reason`."""

    DENIED = "DENIED"
    COOLDOWN = "COOLDOWN"
    RATE_LIMITED = "RATE_LIMITED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one attempt taught about one provider. `until` None: no end in sight but a change of its configuration."""

    provider_id: str
    scope: str = ""
    config_version: int
    block: Block
    reason: str
    detail: str = ""
    until: datetime | None = None

    def holds(self, provider: Provider, now: datetime) -> bool:
        """Whether it still says something about this version of the provider at this moment."""
        return self.config_version == provider.version and (self.until is None or now < self.until)


Marks = Mapping[str, Iterable[Mark]]
"""Every known mark by provider id."""


def mark_from(provider: Provider, result: Result, now: datetime, scopes: frozenset[str]) -> Mark | None:
    """What a result teaches: denied opens the breaker at once, 429 with Retry-After cools down, nothing else counts
    here. `scopes` are those of the message (`scopes_of`).
    """
    if result.outcome is Outcome.DENIED:
        block, until = Block.DENIED, None
    elif result.outcome is Outcome.DEFERRED and result.reason == Reason.RATE_LIMITED and result.retry_after:
        block, until = Block.COOLDOWN, now + timedelta(seconds=result.retry_after)
    else:
        return None
    return Mark(
        provider_id=provider.id,
        scope=_told_by(result.scope, scopes),
        config_version=provider.version,
        block=block,
        reason=result.reason,
        detail=result.provider_text,
        until=until,
    )


def _told_by(scope: str, scopes: frozenset[str]) -> str:
    """A denied sender in the words of `scopes_of`: the adapter names the one it used, in the spelling of its wire."""
    if not scope.startswith(SENDER):
        return scope
    return next((known for known in scopes if known.startswith(SENDER)), scope)


def blocking_mark(provider: Provider, scopes: frozenset[str], marks: Marks, now: datetime) -> Mark | None:
    """The mark that passes a provider by for a message with these scopes: the one that holds longest; None when it may
    be tried.
    """
    holding = [mark for mark in marks.get(provider.id, ()) if mark.scope in scopes and mark.holds(provider, now)]
    return max(holding, key=recovery_order, default=None)


def recovery_order(mark: Mark) -> tuple[bool, float]:
    """Sorts marks by how close to recovery their provider is, closest first."""
    return (mark.until is None, mark.until.timestamp() if mark.until else 0.0)


def scopes_of(message: Message, chain: Chain) -> frozenset[str]:
    """Every scope that a mark may have to concern this message: all, its recipient's country, its sender.

    `sender:` alone is the provider's own sender, for a message of which neither itself nor the project names one.
    """
    if isinstance(message.content, EmailContent):
        sender = message.content.sender or chain.sender
        return frozenset({"", SENDER + getattr(sender, "email", "")})
    sender_id = message.content.sender or (chain.sender if isinstance(chain.sender, str) else "")
    return frozenset({"", SENDER + sender_id, country_scope(message.content.to)})
