"""What a receipt is and the seam that reads one: a provider's later word about a message it was handed. Not how any
one provider words or signs it (`*_receipts.py`, one per kind), nor what it does to a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

DETAIL_LIMIT = 500
"""Characters of the provider's own words that a receipt keeps."""


class ReceiptStatus(StrEnum):
    """What the provider says became of the message, in our words (providers.md §0.5)."""

    ACCEPTED = "ACCEPTED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    BOUNCED_HARD = "BOUNCED_HARD"
    BOUNCED_SOFT = "BOUNCED_SOFT"
    DEFERRED = "DEFERRED"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"
    COMPLAINED = "COMPLAINED"
    OPENED = "OPENED"
    CLICKED = "CLICKED"
    UNSUBSCRIBED = "UNSUBSCRIBED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRequest:
    """One call of a provider, as it came: `url` is the public one with its query, header names are in lower case."""

    url: str = field(repr=False)  # its query may hold the secret of those who can set no header
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One thing a provider says about one message.

    `provider_message_id` is the id the adapter's `Result` gave, or empty when the provider names only ours.
    `message_id` is our own id when it came along, else empty. `event_id` is the provider's own, to drop repeats, else
    empty; `counts_once`: only that id is proved and not what is said, so a repeat is refused and not just dropped.
    `route_at_fault` marks a negative receipt that another provider might not have given: a spam filter, trouble
    at the provider; never a dead mailbox. `provider_status` and `detail` (≤ 500 characters) are the provider's words.
    """

    status: ReceiptStatus
    provider_message_id: str
    message_id: str = ""
    event_id: str = ""
    counts_once: bool = False
    occurred_at: datetime | None = None
    recipient: str = field(default="", repr=False)
    route_at_fault: bool = False
    provider_status: str = ""
    detail: str = field(default="", repr=False)


class ReceiptRefused(Exception):
    """The call is not proved to be the provider's: its signature is wrong, stale, replayed or a stranger's.

    The one word is for our log; the caller is told nothing. `again` marks what is no verdict: we could not check now
    (a certificate did not load), so a 503 asks the provider to repeat it. SNS takes a 4xx for final.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        """Keep the word; it never quotes the request."""
        super().__init__(reason)
        self.reason = reason
        self.again = again


class ReceiptReader(Protocol):
    """The code that proves and reads one kind's receipts; shared by all providers of that kind."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """Verify first, then read. Empty for what is none of ours to act on: confirmations, test posts.

        `config` holds the opened settings. Raises ReceiptRefused and nothing else, whatever the body.
        """
