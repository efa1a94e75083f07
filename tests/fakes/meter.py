"""A meter that remembers what it was told. No test."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.chassis.telemetry import Add, Metric, Observe, Samples


@dataclass
class MemoryMeter:
    """Counts by `name label label`, observations by the same."""

    counts: Counter[str] = field(default_factory=Counter)
    values: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    gauges: dict[str, Callable[[], Samples]] = field(default_factory=dict)

    def counter(self, metric: Metric) -> Add:
        def add(*labels: str, by: float = 1.0) -> None:
            assert len(labels) == len(metric.labels)
            self.counts[" ".join((metric.name, *labels))] += int(by)

        return add

    def histogram(self, metric: Metric) -> Observe:
        def observe(value: float, /, *labels: str) -> None:
            assert len(labels) == len(metric.labels)
            self.values[" ".join((metric.name, *labels))].append(value)

        return observe

    def gauge(self, metric: Metric, read: Callable[[], Samples]) -> None:
        self.gauges[metric.name] = read

    def before_scrape(self, hook: Callable[[], Awaitable[None]]) -> None:
        return None

    @property
    def counted(self) -> dict[str, int]:
        """What is not 0, without our common prefix and ending."""
        return {
            name.replace("messagepipe_", "").replace("_total", ""): count
            for name, count in self.counts.items()
            if count
        }
