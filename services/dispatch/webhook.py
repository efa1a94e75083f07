"""What a webhook is and what becomes of a post to it: pure, over frozen values. Not how it is posted (webhook_post.py)
nor kept (webhook_book.py).
"""

import base64
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from services.dispatch.content import Findings

MAX_URL, MAX_DESCRIPTION = 2000, 200
MAX_PER_PROJECT = 20
# How long a post is tried again, and how long an endpoint may fail on end before it is switched off.
LONGEST_RETRY = timedelta(hours=72)
LONGEST_FAILURE = timedelta(days=5)
BOTH_SIGN = timedelta(hours=24)
FIRST_DELAY, LONGEST_DELAY, GROWTH = 5.0, 6 * 3600.0, 3.0
GONE = 410

TYPES = frozenset(
    """
    message.queued message.attempt_started message.attempt_finished message.provider_skipped message.failover
    message.retry_scheduled message.retried message.receipt message.sent message.delivered message.undelivered
    message.failed message.expired message.canceled message.unknown message.opened message.clicked message.complained
    message.unsubscribed provider.degraded provider.recovered provider.failover_engaged
    """.split()
)
"""Every type of event that is posted, but for `webhook.test`."""


class Disabled(StrEnum):
    """Why the service switched an endpoint off."""

    FAILED_FOR_5_DAYS = "FAILED_FOR_5_DAYS"
    GONE = "GONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """One sealed secret of an endpoint, as ConfigService's vault gave it; `version` counts an endpoint's secrets."""

    key_id: str
    data: bytes = field(repr=False)
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One endpoint; `types` empty means all. `older` signs too until `older_until`."""

    id: UUID
    project_id: str
    url: str = field(repr=False)  # people put tokens there
    description: str = ""
    types: frozenset[str] = frozenset()
    enabled: bool = True
    secret: Sealed
    older: Sealed | None = None
    older_until: datetime | None = None
    created_at: datetime
    failing_since: datetime | None = None
    last_error: str = ""
    disabled_reason: str = ""

    def signers(self, now: datetime) -> tuple[Sealed, ...]:
        """The secrets that sign at `now`, the newest first."""
        both = self.older is not None and self.older_until is not None and now < self.older_until
        return (self.secret, self.older) if both and self.older else (self.secret,)

    def wants(self, kind: str) -> bool:
        """Whether it is told events of this type."""
        return not self.types or kind in self.types


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one post: the HTTP status, 0 for none; and what went wrong, in a few words, "" for a 2xx."""

    status: int = 0
    error: str = ""

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows a post that failed: the next one after `delay` seconds, None for never; and whether the endpoint is
    switched off.
    """

    delay: float | None
    disables: Disabled | None = None


def after_failure(
    answer: Answer,
    *,
    tries: int,
    first_try_at: datetime,
    failing_since: datetime | None,
    now: datetime,
    fraction: float,
) -> Next:
    """What follows the post number `tries` of one event. Waits grow threefold from 5 s to 6 h, a quarter of jitter to
    either side; 72 h after the first it is given up; an endpoint that has failed for 5 days on end is switched off.
    """
    if answer.status == GONE:
        return Next(delay=None, disables=Disabled.GONE)
    if failing_since is not None and now - failing_since >= LONGEST_FAILURE:
        return Next(delay=None, disables=Disabled.FAILED_FOR_5_DAYS)
    delay = min(FIRST_DELAY * GROWTH ** min(tries - 1, 20), LONGEST_DELAY) * (0.75 + fraction / 2)
    late = now + timedelta(seconds=delay) - first_try_at > LONGEST_RETRY
    return Next(delay=None if late else delay)


def id_of(message_id: UUID, sequence: int) -> str:
    """The webhook-id of an event: the same for every post of it, another one for every other event."""
    return f"evt_{message_id.hex}_{sequence}"


def new_secret(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A secret as the standard writes it: whsec_ and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(random_bytes(32)).decode()


def check(
    url: str, description: str, types: Iterable[str], plain_allowed: Callable[[str], bool], path: str
) -> Findings:
    """All that is wrong with what a caller asks for; `plain_allowed` says whether http may be spoken to a host."""
    findings = Findings(path)
    if problem := _problem_of(url, plain_allowed):
        findings.add("url", problem)
    if len(description) > MAX_DESCRIPTION or "\x00" in description:
        findings.add("description", f"must be at most {MAX_DESCRIPTION} characters without NUL")
    for place, kind in enumerate(types):
        if kind not in TYPES:
            findings.add(f"types[{place}]", "is no type of event; docs/webhooks.md has them all")
    return findings


def _problem_of(url: str, plain_allowed: Callable[[str], bool]) -> str:
    if not url:
        return "is required"
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return f"must be at most {MAX_URL} printable ASCII characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if not host or parts.scheme not in ("https", "http"):
        return "must be an https URL"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must have neither user nor fragment"
    if parts.scheme == "http" and not plain_allowed(host):
        return "must be an https URL; http only where MESSAGEPIPE_EGRESS_ALLOW names the address"
    return ""
