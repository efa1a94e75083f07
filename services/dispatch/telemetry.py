"""What DispatchService counts about the life of a message. It takes values and knows no database; gauges.py reads the
rest.
"""

from datetime import datetime
from typing import Final

from services.adapters.base import Channel
from services.adapters.outcome import Outcome
from services.chassis.telemetry import SILENT, Meter, Metric, MetricType
from services.dispatch.message import Message, State

ACCEPTED: Final = Metric(
    name="messagepipe_messages_accepted_total",
    type=MetricType.COUNTER,
    help="Messages made durable; repeats of an idempotency key are not counted again.",
    labels=("channel",),
)
COMPLETED: Final = Metric(
    name="messagepipe_messages_completed_total",
    type=MetricType.COUNTER,
    help="Dispatches that ended, by the state they ended in; again after a retry.",
    labels=("channel", "state"),
)
TIME_TO_END: Final = Metric(
    name="messagepipe_message_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="From the moment a message was accepted, or the later one of its sendAt, to the end of its first dispatch.",
    labels=("channel", "state"),
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
ATTEMPTS: Final = Metric(
    name="messagepipe_attempts_total",
    type=MetricType.COUNTER,
    help="Attempts that ended, by kind of provider and outcome; one whose dispatcher died is UNKNOWN.",
    labels=("kind", "channel", "outcome"),
)
ATTEMPT_DURATION: Final = Metric(
    name="messagepipe_attempt_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="How long calls to providers took.",
    labels=("kind", "channel"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
FAILOVERS: Final = Metric(
    name="messagepipe_failovers_total",
    type=MetricType.COUNTER,
    help="How often another provider was tried, by the kind that was left and what came of it there.",
    labels=("channel", "kind", "outcome"),
)
TAKEN_OUT: Final = Metric(
    name="messagepipe_messages_taken_out_total",
    type=MetricType.COUNTER,
    help="Messages ended unread: QUARANTINED, because dispatchers died of them, or REJECTED by newer rules.",
    labels=("reason",),
)
RESCUED: Final = Metric(
    name="messagepipe_leases_rescued_total",
    type=MetricType.COUNTER,
    help="Messages taken over whose lease had run out: their dispatcher died or was away.",
)
LOST: Final = Metric(
    name="messagepipe_leases_lost_total",
    type=MetricType.COUNTER,
    help="Messages that this process worked on and had to leave to another.",
)

LIFE: Final = (ACCEPTED, COMPLETED, TIME_TO_END, ATTEMPTS, ATTEMPT_DURATION, FAILOVERS, TAKEN_OUT, RESCUED, LOST)


class Telemetry:
    """Counts the steps of messages' lives: a microsecond or two each, nothing but words of ours in the labels."""

    def __init__(self, meter: Meter = SILENT) -> None:
        self._accepted, self._completed = meter.counter(ACCEPTED), meter.counter(COMPLETED)
        self._attempts, self._failovers = meter.counter(ATTEMPTS), meter.counter(FAILOVERS)
        self._taken_out = meter.counter(TAKEN_OUT)
        self._rescued, self._lost = meter.counter(RESCUED), meter.counter(LOST)
        self._time_to_end, self._latency = meter.histogram(TIME_TO_END), meter.histogram(ATTEMPT_DURATION)
        for add in (self._rescued, self._lost):
            add(by=0)  # a series that is there from the start can be seen to rise

    def accepted(self, channel: Channel) -> None:
        """A message became durable."""
        self._accepted(channel)

    def attempted(self, kind: str, channel: Channel, outcome: Outcome, latency: float | None) -> None:
        """An attempt ended; `latency` in seconds, None when nothing was sent."""
        self._attempts(kind, channel, outcome)
        if latency is not None:
            self._latency(latency, kind, channel)

    def failed_over(self, channel: Channel, kind: str, outcome: Outcome | None) -> None:
        """Another provider is tried after one of this kind."""
        self._failovers(channel, kind, "" if outcome is None else outcome)

    def ended(self, message: Message, state: State, at: datetime | None) -> None:
        """A dispatch ended; `at` is when, by the database's clock, where it was the first of its message."""
        self._completed(message.channel, state)
        if at is not None:
            self._time_to_end((at - message.may_begin).total_seconds(), message.channel, state)

    def canceled(self, channel: Channel) -> None:
        """Its caller ended a message."""
        self._completed(channel, State.CANCELED)

    def taken_out(self, reason: str) -> None:
        """A message was ended without being read: nobody survives it, or nobody may send it any more."""
        self._taken_out(reason)

    def rescued(self) -> None:
        """A message was taken over whose lease had run out."""
        self._rescued()

    def lost(self) -> None:
        """Somebody else has a message that this process worked on."""
        self._lost()


UNCOUNTED: Final = Telemetry()
"""For who is handed nobody to count."""
