"""One attempt as a value: recorded before the wire, closed by its result. Not how it is made (delivery.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.adapters.outcome import Outcome, Result
from services.adapters.receipts import ReceiptStatus
from services.dispatch.chain import Provider

LEASE_LOST = "LEASE_LOST"
"""Reason of an attempt that was open when its dispatcher's lease ran out: it may or may not have reached the provider.
"""
NOT_SENT = Result(outcome=Outcome.DEFERRED, reason=LEASE_LOST, provider_text="Nothing was sent.")
"""The result of an attempt whose own dispatcher saw before the first byte that its lease was over."""
CUT = Result(
    outcome=Outcome.UNKNOWN,
    reason=LEASE_LOST,
    provider_text="The call was cut off: its dispatcher could not renew its lease.",
)
"""The result of a call that was cut because its lease came to an end: nobody knows how far it got."""
LONGEST_RETRY_AFTER = 24 * 3600.0
REFUSALS = frozenset(
    {ReceiptStatus.BOUNCED_HARD, ReceiptStatus.BOUNCED_SOFT, ReceiptStatus.FAILED, ReceiptStatus.SUPPRESSED}
)
"""The receipts that say: it did not arrive and will not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one message through one provider; open while `result` is None. Numbers count from 1, rounds too.

    `receipt` is how far the message came by what the provider told later; `route_at_fault` goes with a refusal.
    """

    number: int
    round: int
    provider_id: str
    kind: str
    provider_name: str
    epoch: int
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Result | None = None
    latency: float | None = None
    receipt: ReceiptStatus | None = None
    route_at_fault: bool = False
    receipt_at: datetime | None = None

    def finished(self, result: Result, *, latency: float | None) -> "Attempt":
        """The same attempt with what came of it; `latency` in seconds, None when nobody measured it."""
        return replace(self, result=result, latency=latency)

    @property
    def outcome(self) -> Outcome | None:
        """What its answer means; None while it is open."""
        return None if self.result is None else self.result.outcome

    @property
    def delivered(self) -> bool:
        """Whether a receipt says that it arrived."""
        return self.receipt is ReceiptStatus.DELIVERED

    @property
    def refused(self) -> bool:
        """Whether a receipt says that it did not arrive and will not."""
        return self.receipt in REFUSALS

    @property
    def doubtful(self) -> bool:
        """Whether nobody knows if the provider took it: an unknown outcome that no receipt has cleared up."""
        return self.outcome is Outcome.UNKNOWN and not self.refused

    @property
    def counts(self) -> bool:
        """Whether it is one of the tries that a provider gets: one of which nothing was sent is not."""
        return self.result is None or (self.result.outcome, self.result.reason) != (NOT_SENT.outcome, NOT_SENT.reason)


def begin(provider: Provider, history: Sequence[Attempt], *, round_number: int, epoch: int) -> Attempt:
    """The next attempt of a message, through `provider`, still open."""
    return Attempt(
        number=len(history) + 1,
        round=round_number,
        provider_id=provider.id,
        kind=provider.kind,
        provider_name=provider.name,
        epoch=epoch,
    )


def interrupted(attempt: Attempt) -> Attempt:
    """An attempt whose dispatcher went away: nobody knows whether the provider took it (failover.md R11)."""
    lost = Result(
        outcome=Outcome.UNKNOWN,
        reason=LEASE_LOST,
        provider_text="The dispatcher went away before it recorded an answer.",
    )
    return attempt.finished(lost, latency=None)


def storable(result: Result) -> Result:
    """The result with texts that any database takes and any screen can show, whatever the provider or a plug-in put in:
    no NUL, no half characters, bounded lengths, and a Retry-After that is a time to come.
    """
    return replace(
        result,
        reason=_clean(result.reason, 64),
        provider_code=_clean(result.provider_code, 100),
        provider_text=_clean(result.provider_text, 500),
        provider_message_id=_clean(result.provider_message_id, 500),
        scope=_clean(result.scope, 200),
        retry_after=_bounded(result.retry_after),
    )


def _clean(text: str, limit: int) -> str:
    return str(text).replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()[:limit]


def _bounded(seconds: float | None) -> float | None:
    # NaN compares false with everything: what is no number of seconds counts as not said.
    return min(seconds, LONGEST_RETRY_AFTER) if seconds is not None and seconds >= 0 else None
