"""Metrics: what the Prometheus meter shows, what it refuses to become, and what nobody pays who did not ask."""

import asyncio
import subprocess
import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.chassis.admission import Waits
from services.chassis.batcher import MicroBatcher
from services.chassis.server import PortBusy
from services.chassis.telemetry import SILENT, Metric, MetricType
from services.chassis.telemetry_common import RPC_DURATION, batch_counter, http_counter, rpc_counter
from services.chassis.telemetry_prometheus import MOST_SERIES, PrometheusMeter
from services.chassis.telemetry_server import open_metrics
from tests.fakes.clock import FakeClock
from tests.unit.chassis.sink import Sink

COUNTER = Metric(name="house_things_total", type=MetricType.COUNTER, help="Things.", labels=("kind",))
GAUGE = Metric(name="house_level", type=MetricType.GAUGE, help="A level.", labels=("room",))
SECONDS = Metric(name="house_seconds", type=MetricType.HISTOGRAM, help="Seconds.", labels=("kind",), buckets=(1.0, 2.0))

Samples = dict[tuple[str, ...], float]


async def shown(meter: PrometheusMeter) -> Samples:
    """Every sample of a scrape, by its name and its label values, sorted by the labels' names."""
    text = (await meter.scrape()).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_counter_adds_up_by_its_labels() -> None:
    """Each combination of label values is a number of its own, from 0."""
    meter = PrometheusMeter()
    add = meter.counter(COUNTER)
    add("a")
    add("a", by=2)
    add("b", by=0)
    samples = await shown(meter)
    assert (samples["house_things_total", "a"], samples["house_things_total", "b"]) == (3, 0)


async def test_a_histogram_counts_by_its_buckets() -> None:
    """A value counts in every bucket that it fits in, and in the sum."""
    meter = PrometheusMeter()
    observe = meter.histogram(SECONDS)
    observe(0.5, "a")
    observe(1.5, "a")
    samples = await shown(meter)
    assert samples["house_seconds_bucket", "a", "1.0"] == 1
    assert samples["house_seconds_bucket", "a", "2.0"] == 2
    assert samples["house_seconds_sum", "a"] == 2.0


async def test_a_gauge_is_asked_at_the_scrape() -> None:
    """What a gauge shows is what is so at that moment, after the hooks have run."""
    meter = PrometheusMeter()
    level = [1.0]

    async def refresh() -> None:
        level[0] = 7.0

    meter.gauge(GAUGE, lambda: ((("hall",), level[0]),))
    meter.before_scrape(refresh)
    assert (await shown(meter))["house_level", "hall"] == 7.0


async def test_a_hook_that_fails_costs_only_itself() -> None:
    """The rest is shown when one thing can not be asked."""
    meter = PrometheusMeter()

    async def fails() -> None:
        raise OSError("away")

    meter.before_scrape(fails)
    meter.counter(COUNTER)("a")
    assert (await shown(meter))["house_things_total", "a"] == 1


async def test_series_are_bounded() -> None:
    """Labels that are not as few as they should be end in one series and not in the memory."""
    meter = PrometheusMeter()
    add = meter.counter(COUNTER)
    for number in range(MOST_SERIES + 50):
        add(str(number))
    samples = await shown(meter)
    assert sum(name == "house_things_total" for name, *_ in samples) == MOST_SERIES + 1
    assert samples["house_things_total", "other"] == 50


async def test_rpcs_and_http_requests_are_named_as_the_conventions_say() -> None:
    """No leading slash in a method, `_OTHER` for a method that nobody knows."""
    meter = PrometheusMeter()
    rpc_counter(meter)("/shop.v1.Shop/Buy", "OK", 0.02)
    http_counter(meter)("BREW", "/pot", 405, 0.01)
    samples = await shown(meter)
    assert samples["rpc_server_call_duration_seconds_count", "shop.v1.Shop/Buy", "OK"] == 1
    assert samples["http_server_request_duration_seconds_count", "_OTHER", "405", "/pot"] == 1


async def test_batches_are_measured() -> None:
    """A flush tells its rows, and how long the first of them waited."""
    meter, sink = PrometheusMeter(), Sink()
    batcher = MicroBatcher(sink.flush, name="accept", max_rows=3)
    batcher.measured_by(batch_counter(meter))
    await asyncio.gather(*map(batcher.submit, range(3)))
    samples = await shown(meter)
    assert samples["messagepipe_batch_rows_sum", "accept"] == 3
    assert samples["messagepipe_batch_rows_count", "accept"] == 1
    assert samples["messagepipe_batch_wait_seconds_count", "accept"] == 1
    assert samples["messagepipe_batch_duration_seconds_count", "accept"] == 1


async def test_waits_are_measured_until_they_are_over() -> None:
    """Each wait is told once, with its length, whether it brought something or not."""
    clock, told = FakeClock(), list[float]()
    waits = Waits(clock)
    waits.measured_by(told.append)
    with waits.one() as served:
        clock.advance(2.0)
        served()
        clock.advance(5.0)
    with waits.one():
        clock.advance(1.0)
    assert told == [2.0, 1.0]


async def test_metrics_are_at_one_path() -> None:
    """GET /metrics answers them; other paths and methods are refused, and nonsense is hung up on."""
    async with open_metrics("127.0.0.1", 0) as metrics:
        rpc_counter(metrics.meter)("/shop.v1.Shop/Buy", "OK", 0.02)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics.port}", trust_env=False) as http:
            answer = await http.get("/metrics")
            head = await http.head("/metrics?name[]=x")
            codes = [(await http.get("/")).status_code, (await http.post("/metrics")).status_code]
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert f"{RPC_DURATION.name}_count" in answer.text
        assert "process_resident_memory_bytes" in answer.text
        assert (head.status_code, head.content) == (200, b"")
        assert codes == [404, 405]
        reader, writer = await asyncio.open_connection("127.0.0.1", metrics.port)
        writer.write(b"x" * 20_000)
        with pytest.raises(OSError):  # noqa: PT012 - whichever of the two notices first
            await writer.drain()
            assert await reader.read() == b""
            raise ConnectionResetError
        writer.close()


async def test_who_says_nothing_holds_nothing_up() -> None:
    """A connection that never asks does not keep the process from stopping, nor others from reading."""
    async with asyncio.timeout(2.0):
        async with open_metrics("127.0.0.1", 0) as metrics:
            _, writer = await asyncio.open_connection("127.0.0.1", metrics.port)
            async with httpx.AsyncClient(trust_env=False) as http:
                assert (await http.get(f"http://127.0.0.1:{metrics.port}/metrics")).status_code == 200
    writer.close()


async def test_a_port_that_is_taken_is_said() -> None:
    """Starting fails in plain words."""
    async with open_metrics("127.0.0.1", 0) as metrics:
        with pytest.raises(PortBusy, match="for metrics: address already in use"):
            async with open_metrics("127.0.0.1", metrics.port):
                pass


async def test_nothing_is_measured_without_a_port() -> None:
    """Without a port there is the meter that takes nothing."""
    async with open_metrics("127.0.0.1", None) as metrics:
        assert (metrics.meter, metrics.port) == (SILENT, None)
        metrics.meter.counter(COUNTER)("a", by=2)
        metrics.meter.histogram(SECONDS)(1.0, "a")


@pytest.fixture(scope="module")
def loaded() -> str:
    """The modules that a process with all three services in it has loaded."""
    code = "import gateway.app, services.config.app, services.dispatch.app, sys; print(*sorted(sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("library", ["prometheus_client", "opentelemetry", "requests"])
def test_who_did_not_ask_loads_nothing(loaded: str, library: str) -> None:
    """A process without a port for metrics, and without a place for traces, has their libraries not in memory."""
    assert library not in loaded.split()
