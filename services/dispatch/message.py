"""What a message is: its id, its states, and what its caller asked for. Not its content's rules (content.py), not its
storage.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from services.adapters.base import Channel, EmailContent, SmsContent

SHARDS = 1024
_SHARD_MASK = SHARDS - 1
_LOW = (1 << 62) - 1


class State(StrEnum):
    """Where a message is in its life; it only moves forward. The picture is in docs/life-of-a-message.md."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"


class StateCode(IntEnum):
    """The number a state has in the contract; the database holds those of the final ones."""

    QUEUED = 1
    SENDING = 2
    SENT = 3
    DELIVERED = 4
    UNDELIVERED = 5
    FAILED = 6
    EXPIRED = 7
    CANCELED = 8
    UNKNOWN = 9


class EndReason(StrEnum):
    """Why a dispatch ended as it did."""

    ALL_PROVIDERS_FAILED = "ALL_PROVIDERS_FAILED"
    NO_PROVIDER = "NO_PROVIDER"
    CHANNEL_DISABLED = "CHANNEL_DISABLED"
    PREFERRED_PROVIDER_NOT_FOUND = "PREFERRED_PROVIDER_NOT_FOUND"
    PREFERRED_PROVIDER_DISABLED = "PREFERRED_PROVIDER_DISABLED"
    REJECTED = "REJECTED"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    CANCELED_BY_CALLER = "CANCELED_BY_CALLER"
    QUARANTINED = "QUARANTINED"
    RECIPIENT_SUPPRESSED = "RECIPIENT_SUPPRESSED"


class UnknownPolicy(StrEnum):
    """What happens after an attempt whose outcome is unknown (failover.md R5)."""

    AT_LEAST_ONCE = "AT_LEAST_ONCE"
    AT_MOST_ONCE = "AT_MOST_ONCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How hard and how carefully a message is tried; `receipt_timeout` in seconds, None when silence means nothing."""

    preferred_provider: str = ""
    strict: bool = False
    max_tries: int = 1
    max_rounds: int = 1
    on_unknown: UnknownPolicy = UnknownPolicy.AT_LEAST_ONCE
    failover_on_receipt: bool = False
    receipt_timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One accepted message; it never changes. `deadline` and `created_at` are the database's time. `options` are those
    for one kind each. `send_at`, if it was ahead when it was accepted, is when it may be sent first.
    """

    id: UUID
    project_id: str
    channel: Channel
    content: EmailContent | SmsContent
    policy: Policy = Policy()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deadline: datetime
    created_at: datetime
    send_at: datetime | None = None

    def __repr__(self) -> str:
        """Its id only: the rest is nobody's business in a log."""
        return f"Message({self.id})"

    @property
    def may_begin(self) -> datetime:
        """From when on it takes time: nobody works on it before `send_at`."""
        return self.created_at if self.send_at is None else max(self.created_at, self.send_at)

    @property
    def recipient(self) -> str:
        """The address or number it goes to."""
        return self.content.to.email if isinstance(self.content, EmailContent) else self.content.to


def new_message_id(now: datetime, random_bits: Callable[[int], int] = secrets.randbits) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): sorts by time; its last ten bits are the shard, drawn at random."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    drawn = random_bits(74)  # at once: each draw asks the system
    value = milliseconds << 80 | 0x7 << 76 | drawn >> 62 << 64 | 0b10 << 62 | drawn & _LOW
    return UUID(int=value)


def shard_of(message_id: UUID) -> int:
    """The shard (0 to 1023) that a message lives in for good: the key of a future split into cells."""
    return message_id.int & _SHARD_MASK
