"""The six outcomes of an attempt and the closed vocabulary of reasons. Not what happens next: that is failover's
decision.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What one attempt's answer means (failover.md §1); each has exactly one next step."""

    ACCEPTED = "ACCEPTED"
    INVALID = "INVALID"
    DENIED = "DENIED"
    UNFIT = "UNFIT"
    DEFERRED = "DEFERRED"
    UNKNOWN = "UNKNOWN"


class Reason(StrEnum):
    """Short constants that say why. Adapters of third parties may use words of their own: `Result.reason` is a
    string.
    """

    ACCEPTED = "ACCEPTED"
    # invalid: no provider would take it
    RECIPIENT_INVALID = "RECIPIENT_INVALID"
    RECIPIENT_OPTED_OUT = "RECIPIENT_OPTED_OUT"
    CONTENT_INVALID = "CONTENT_INVALID"
    CONTENT_REFUSED = "CONTENT_REFUSED"
    # denied: this provider will not work for us now
    CREDENTIALS = "CREDENTIALS"
    PERMISSION = "PERMISSION"
    ACCOUNT_SUSPENDED = "ACCOUNT_SUSPENDED"
    TRIAL_ACCOUNT = "TRIAL_ACCOUNT"
    OUT_OF_CREDIT = "OUT_OF_CREDIT"
    SENDER_REFUSED = "SENDER_REFUSED"
    REGION_REFUSED = "REGION_REFUSED"
    RELAY_REFUSED = "RELAY_REFUSED"
    REPUTATION = "REPUTATION"
    MISCONFIGURED = "MISCONFIGURED"
    CLOCK_SKEW = "CLOCK_SKEW"
    TLS_REQUIRED = "TLS_REQUIRED"
    TLS_FAILED = "TLS_FAILED"
    EGRESS_REFUSED = "EGRESS_REFUSED"
    # unfit: this message does not fit this provider
    SENDER_MISSING = "SENDER_MISSING"
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY_RECIPIENTS = "TOO_MANY_RECIPIENTS"
    FEATURE_UNSUPPORTED = "FEATURE_UNSUPPORTED"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    # deferred: surely not accepted
    RATE_LIMITED = "RATE_LIMITED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
    CONNECT_FAILED = "CONNECT_FAILED"
    CONNECT_TIMEOUT = "CONNECT_TIMEOUT"
    RECIPIENT_UNAVAILABLE = "RECIPIENT_UNAVAILABLE"
    TEMPORARY_REFUSAL = "TEMPORARY_REFUSAL"
    # unknown: may have been accepted
    TIMEOUT = "TIMEOUT"
    CONNECTION_LOST = "CONNECTION_LOST"
    SERVER_ERROR = "SERVER_ERROR"
    UNREADABLE_ANSWER = "UNREADABLE_ANSWER"
    UNEXPECTED = "UNEXPECTED"


class Verdict(NamedTuple):
    """One row of a kind's table of codes: what the provider's code means here. `scope` is "" or the word before the
    colon of Result.scope.
    """

    outcome: Outcome
    reason: Reason
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one attempt's answer means, with the provider's own words kept.

    `provider_text` is redacted and at most 500 characters. `retry_after` is in seconds.
    `scope` narrows a denial to one combination: "" for all, "country:NG", "sender:+15005550006".
    """

    outcome: Outcome
    reason: str
    provider_code: str = ""
    provider_text: str = ""
    provider_message_id: str = ""
    retry_after: float | None = None
    scope: str = ""


def unfit(reason: Reason, field: str, words: str) -> Result:
    """The message does not fit the provider, and its `field`, in its JSON name, is why."""
    return Result(outcome=Outcome.UNFIT, reason=reason, provider_text=f"{field}: {words}")


def invalid_content(field: str, words: str) -> Result:
    """No provider would take this message, and `field` of it is why."""
    return Result(outcome=Outcome.INVALID, reason=Reason.CONTENT_INVALID, provider_text=f"{field}: {words}")
