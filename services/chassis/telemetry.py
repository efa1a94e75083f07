"""What a process may count: the vocabulary of metrics and who takes them. Not how they are shown
(telemetry_prometheus.py) nor which there are (telemetry_common.py, and each service's own telemetry.py).

Label values are words of ours or of the contract, so their number is bounded: never a recipient, a message, a project.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets that OpenTelemetry's conventions give to the duration of a request."""


class MetricType(StrEnum):
    """How a metric behaves: only grows, goes up and down, or is a distribution."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric as it is scraped: `name` whole, with its unit and `_total`; a histogram has `buckets`."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


Samples = Iterable[tuple[tuple[str, ...], float]]
"""What a gauge shows: label values, in the order of the metric's labels, and the number."""


class Add(Protocol):
    """A counter at hand."""

    def __call__(self, *labels: str, by: float = 1.0) -> None:
        """Adds `by` to the series of these label values; takes about a microsecond, raises nothing."""


class Observe(Protocol):
    """A histogram at hand."""

    def __call__(self, value: float, /, *labels: str) -> None:
        """One more value in the series of these label values; takes about two microseconds, raises nothing."""


class Meter(Protocol):
    """Who takes measurements. Instruments are made once, when a process is put together."""

    def counter(self, metric: Metric) -> Add:
        """The counter of this metric, at 0."""
        ...

    def histogram(self, metric: Metric) -> Observe:
        """The histogram of this metric, empty."""
        ...

    def gauge(self, metric: Metric, read: Callable[[], Samples]) -> None:
        """`read` is asked at every scrape; it looks, and neither waits nor counts."""
        ...

    def before_scrape(self, hook: Callable[[], Awaitable[None]]) -> None:
        """`hook` is awaited before gauges are read, for a moment at most; it bounds by itself what it costs."""
        ...


class Silent:
    """Takes nothing: what a process measures when nobody asked for metrics."""

    def counter(self, metric: Metric) -> Add:
        return _no_count

    def histogram(self, metric: Metric) -> Observe:
        return _no_value

    def gauge(self, metric: Metric, read: Callable[[], Samples]) -> None:
        return None

    def before_scrape(self, hook: Callable[[], Awaitable[None]]) -> None:
        return None


def _no_count(*_labels: str, by: float = 1.0) -> None:
    """Not counted."""


def _no_value(_value: float, *_labels: str) -> None:
    """Not measured."""


SILENT: Final = Silent()
