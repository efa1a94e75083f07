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

import phonenumbers

from services.adapters.base import EmailContent
from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch.chain import Chain, Provider
from services.dispatch.message import Message


class Block(StrEnum):
    """Why a provider is passed by; the words of `ProviderSkipped.reason`."""

    DENIED = "DENIED"
    COOLDOWN = "COOLDOWN"


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


def mark_from(provider: Provider, result: Result, now: datetime) -> Mark | None:
    """What a result teaches: denied opens the breaker at once, 429 with Retry-After cools down, nothing else counts
    here.
    """
    if result.outcome is Outcome.DENIED:
        block, until = Block.DENIED, None
    elif result.outcome is Outcome.DEFERRED and result.reason == Reason.RATE_LIMITED and result.retry_after:
        block, until = Block.COOLDOWN, now + timedelta(seconds=result.retry_after)
    else:
        return None
    return Mark(
        provider_id=provider.id,
        scope=result.scope,
        config_version=provider.version,
        block=block,
        reason=result.reason,
        detail=result.provider_text,
        until=until,
    )


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
    """Every scope that a mark may have to concern this message: all, its recipient's country, its sender."""
    if isinstance(message.content, EmailContent):
        sender = message.content.sender or chain.sender
        address = getattr(sender, "email", "")
        return frozenset({"", f"sender:{address}"} if address else {""})
    scopes = {""}
    country = phonenumbers.region_code_for_number(phonenumbers.parse(message.content.to))
    if country:
        scopes.add(f"country:{country}")
    sender_id = message.content.sender or (chain.sender if isinstance(chain.sender, str) else "")
    if sender_id:
        scopes.add(f"sender:{sender_id}")
    return frozenset(scopes)
