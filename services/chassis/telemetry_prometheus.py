"""Metrics as Prometheus reads them. Loaded only by a process that was given a port for them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sized
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from services.chassis.log import get_logger
from services.chassis.telemetry import Add, Metric, Observe, Samples

# Far above what bounded labels make; a mistake in them must cost a scrape's worth and not the memory.
MOST_SERIES: Final = 1000
REST: Final = "other"
HOOK_SECONDS: Final = 2.0

_log = get_logger()


class PrometheusMeter:
    """Keeps everything that one process counts; shows it with `scrape`. For one event loop."""

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # one more series beside each, which nobody asks for
        # One for each metric: a scrape is written piece by piece, and the messages have their turn in between.
        self._registries: list[CollectorRegistry] = []
        self._hooks: list[Callable[[], Awaitable[None]]] = []
        ProcessCollector(registry=self._registry())

    def _registry(self) -> CollectorRegistry:
        self._registries.append(CollectorRegistry(auto_describe=False))
        return self._registries[-1]

    def counter(self, metric: Metric) -> Add:
        family = Counter(metric.name, metric.help, metric.labels, registry=self._registry())
        series: dict[tuple[str, ...], Counter] = {}

        def add(*labels: str, by: float = 1.0) -> None:
            child = series.get(labels)
            if child is None:
                child = series[_kept(labels, series)] = family.labels(*_kept(labels, series)) if labels else family
            child.inc(by)

        return add

    def histogram(self, metric: Metric) -> Observe:
        family = Histogram(metric.name, metric.help, metric.labels, registry=self._registry(), buckets=metric.buckets)
        series: dict[tuple[str, ...], Histogram] = {}

        def observe(value: float, *labels: str) -> None:
            child = series.get(labels)
            if child is None:
                child = series[_kept(labels, series)] = family.labels(*_kept(labels, series)) if labels else family
            child.observe(value)

        return observe

    def gauge(self, metric: Metric, read: Callable[[], Samples]) -> None:
        self._registry().register(_Gauge(metric, read))

    def before_scrape(self, hook: Callable[[], Awaitable[None]]) -> None:
        self._hooks.append(hook)

    async def scrape(self) -> bytes:
        """Everything, in Prometheus' text format."""
        for hook in self._hooks:
            try:
                async with asyncio.timeout(HOOK_SECONDS):
                    await hook()
            except Exception as error:  # noqa: BLE001 - what can not be asked now is missing; the rest is shown
                _log.warning("metric_not_read", cause=type(error).__name__)
        pieces = []
        for registry in self._registries:
            pieces.append(generate_latest(registry))
            await asyncio.sleep(0)
        return b"".join(pieces)


class _Gauge:
    """Numbers that are looked up when somebody asks."""

    def __init__(self, metric: Metric, read: Callable[[], Samples]) -> None:
        self._metric, self._read = metric, read

    def collect(self) -> Iterator[Family]:
        family = GaugeMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        with contextlib.suppress(LookupError):  # a series that is gone while it is shown
            for labels, value in self._read():
                family.add_metric(labels, value)
        yield family


def _kept(labels: tuple[str, ...], series: Sized) -> tuple[str, ...]:
    return labels if len(series) < MOST_SERIES else (REST,) * len(labels)
