"""What DispatchService shows when somebody reads its metrics: the queue, breakers, messages in work. What it counts as
it goes: telemetry.py.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from services.chassis.clock import Clock
from services.chassis.telemetry import Meter, Metric, MetricType, Samples
from services.dispatch.breaker import Breaker
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.ledger import Connection
from services.dispatch.queue_book import MOST_COUNTED, QueueState, look

LOOK_EVERY: Final = 5.0
MOST_BREAKERS: Final = 100

QUEUE: Final = Metric(
    name="messagepipe_queue_messages",
    type=MetricType.GAUGE,
    help="Messages whose dispatch has not ended, in the whole database, by PostgreSQL's own statistics: roughly.",
)
DUE: Final = Metric(
    name="messagepipe_queue_due_messages",
    type=MetricType.GAUGE,
    help=f"Messages that are due and that no dispatcher holds, in the whole database, counted up to {MOST_COUNTED}.",
)
OLDEST_DUE: Final = Metric(
    name="messagepipe_queue_oldest_due_seconds",
    type=MetricType.GAUGE,
    help="How long the first message that is due has been waiting for a dispatcher; 0 when none is due.",
)
IN_FLIGHT: Final = Metric(
    name="messagepipe_messages_in_flight",
    type=MetricType.GAUGE,
    help="Messages that this process works on.",
)
SETTLING: Final = Metric(
    name="messagepipe_steps_waiting",
    type=MetricType.GAUGE,
    help="Steps of messages that wait for their commit in this process.",
)
BREAKERS: Final = Metric(
    name="messagepipe_breaker_state",
    type=MetricType.GAUGE,
    help=f"1 for the state that a provider's breaker is in; of {MOST_BREAKERS} providers at most, open ones first.",
    labels=("provider_id", "kind", "channel", "state"),
)
OPEN: Final = Metric(
    name="messagepipe_breakers_open",
    type=MetricType.GAUGE,
    help="Providers whose breaker is not closed, for all or for some of their messages.",
)
SHOWN: Final = (QUEUE, DUE, OLDEST_DUE, IN_FLIGHT, SETTLING, BREAKERS, OPEN)
STATES: Final = ("closed", "returning", "probed", "open")

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


@dataclass(slots=True)
class QueueWatch:
    """The queue as it was when somebody last asked, LOOK_EVERY seconds ago or less; nothing while it can not be
    asked.
    """

    connect: Connect
    clock: Clock
    _seen: QueueState | None = None
    _seen_at: float = field(default=-math.inf)

    async def refresh(self) -> None:
        """Look again, unless that was done a moment ago."""
        now = self.clock.boottime()
        if now - self._seen_at < LOOK_EVERY:
            return
        self._seen, self._seen_at = None, now
        try:
            async with self.connect() as connection:
                self._seen = await look(connection)
        except DatabaseUnavailable:
            return

    def show(self, number: Callable[[QueueState], float]) -> Samples:
        """One number of it."""
        return () if self._seen is None else (((), number(self._seen)),)


def show_queue(meter: Meter, watch: QueueWatch) -> None:
    """Shows the queue; it is looked at only when somebody scrapes."""
    meter.before_scrape(watch.refresh)
    meter.gauge(QUEUE, lambda: watch.show(lambda queue: queue.messages))
    meter.gauge(DUE, lambda: watch.show(lambda queue: queue.due))
    meter.gauge(OLDEST_DUE, lambda: watch.show(lambda queue: queue.oldest_due))


def show_work(meter: Meter, in_flight: Callable[[], int], settling: Callable[[], int]) -> None:
    """Shows what this process has in work."""
    meter.gauge(IN_FLIGHT, lambda: (((), in_flight()),))
    meter.gauge(SETTLING, lambda: (((), settling()),))


def show_breakers(meter: Meter, known: Callable[[], Iterable[Breaker]]) -> None:
    """Shows the breakers of the providers of which something is known: of a healthy one there is none."""
    meter.gauge(BREAKERS, lambda: _breakers(known()))
    meter.gauge(OPEN, lambda: (((), sum(STATES.index(state) > 1 for state in _worst(known()).values())),))


def state_of(breaker: Breaker) -> str:
    """The word of STATES for one breaker."""
    if breaker.block is None:
        return "closed" if breaker.returned_at is None else "returning"
    return "probed" if breaker.prober else "open"


def _worst(known: Iterable[Breaker]) -> dict[tuple[str, str, str], str]:
    """One state per provider: the worst of its scopes, whose names may be a sender's and are not shown."""
    found: dict[tuple[str, str, str], str] = {}
    for breaker in known:
        key = breaker.provider_id, breaker.kind, breaker.channel.value
        found[key] = max(found.get(key, STATES[0]), state_of(breaker), key=STATES.index)
    return found


def _breakers(known: Iterable[Breaker]) -> Iterator[tuple[tuple[str, ...], float]]:
    by_state = sorted(_worst(known).items(), key=lambda item: (-STATES.index(item[1]), item[0]))
    for key, state in by_state[:MOST_BREAKERS]:
        for each in STATES:
            yield (*key, each), float(each == state)
