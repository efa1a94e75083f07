"""What a decision depends on and what it may be, as values. How it is made is failover.py's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain, Provider
from services.dispatch.health import Marks
from services.dispatch.message import Message, State
from services.dispatch.retry import DEFAULT_BACKOFF, Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A provider that is passed by, and why; `provider` is None when a preferred one does not exist."""

    provider: Provider | None
    reason: str
    detail: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin an attempt through `provider` now; the call may take `timeout` seconds. With `probe` only if the message
    may be the one that probes it.
    """

    provider: Provider
    round: int
    timeout: float
    time_left: float
    probe: bool = False
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do for `delay` seconds; then, as things stand, `provider` is asked."""

    delay: float
    provider: Provider | None
    reason: str
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The dispatch ends in `state`; after `listen` seconds without a verdict of its provider it is looked at again."""

    state: State
    reason: str = ""
    detail: str = ""
    attempt: Attempt | None = None
    skips: tuple[Skip, ...] = ()
    listen: float | None = None


Decision = Start | Wait | Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision depends on.

    `waited` says that the wait after the last attempt is over; `fraction` in [0, 1) is the jitter of this decision;
    `at_limit` are providers that can not be called before so many seconds have passed (limits.py); `suppressed` says
    who of the recipients must not be sent to, "" as far as nobody is known to be (suppression.py).
    """

    message: Message
    history: tuple[Attempt, ...]
    chain: Chain
    marks: Marks
    now: datetime
    fraction: float
    waited: bool = False
    suppressed: str = ""
    at_limit: Mapping[str, float] = field(default_factory=dict)
    backoff: Backoff = DEFAULT_BACKOFF

    @property
    def time_left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return (self.message.deadline - self.now).total_seconds()
