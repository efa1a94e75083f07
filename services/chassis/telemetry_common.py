"""What any process of ours counts, whatever it serves: requests, batches, waits for connections. Not what a service
alone knows of.
"""

from collections.abc import Callable
from typing import Final

from services.chassis.admission import Admission
from services.chassis.telemetry import SECONDS, SILENT, Meter, Metric, MetricType

RPC_DURATION: Final = Metric(
    name="rpc_server_call_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="How long gRPC calls took until their answer, or their stream, had ended.",
    labels=("rpc_method", "rpc_response_status_code"),
    buckets=SECONDS,
)
HTTP_DURATION: Final = Metric(
    name="http_server_request_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="How long HTTP requests took until their answer, or their stream, had ended.",
    labels=("http_request_method", "http_route", "http_response_status_code"),
    buckets=SECONDS,
)
UNDER_WAY: Final = Metric(
    name="messagepipe_requests_under_way",
    type=MetricType.GAUGE,
    help="Requests that were let in and have not ended: calls with one answer, and open streams.",
    labels=("type",),
)
BATCH_ROWS: Final = Metric(
    name="messagepipe_batch_rows",
    type=MetricType.HISTOGRAM,
    help="How many rows shared one commit.",
    labels=("batch",),
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
BATCH_WAIT: Final = Metric(
    name="messagepipe_batch_wait_seconds",
    type=MetricType.HISTOGRAM,
    help="How long the first row of a batch waited for its commit to begin.",
    labels=("batch",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
BATCH_DURATION: Final = Metric(
    name="messagepipe_batch_duration_seconds",
    type=MetricType.HISTOGRAM,
    help="How long the commit of a batch took.",
    labels=("batch",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
POOL_WAIT: Final = Metric(
    name="messagepipe_database_connection_wait_seconds",
    type=MetricType.HISTOGRAM,
    help="How long a database connection of the pool was waited for.",
    buckets=(0.0001, 0.001, 0.01, 0.1, 1.0, 10.0),
)

COMMON: Final = (RPC_DURATION, HTTP_DURATION, UNDER_WAY, BATCH_ROWS, BATCH_WAIT, BATCH_DURATION, POOL_WAIT)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

RpcEnded = Callable[[str, str, float], None]
"""Told of each RPC: its method with the leading slash, the name of its code, its seconds."""
Flushed = Callable[[str, int, float, float], None]
"""Told of each batch: its name, its rows, how long the first waited, how long the commit took, both in seconds."""


HttpEnded = Callable[[str, str, int, float], None]
"""Told of each HTTP request: its method, the template of its route, its status, its seconds."""


def no_http(_method: str, _route: str, _status: int, _seconds: float) -> None:
    """Nobody counts HTTP requests."""


def no_rpc(_method: str, _code: str, _seconds: float) -> None:
    """Nobody counts RPCs."""


def no_batch(_name: str, _rows: int, _waited: float, _took: float) -> None:
    """Nobody counts batches."""


def rpc_counter(meter: Meter = SILENT) -> RpcEnded:
    """Counts RPCs by method and code. Methods are those that a server has handlers of, so they are bounded."""
    observe = meter.histogram(RPC_DURATION)

    def ended(method: str, code: str, seconds: float) -> None:
        observe(seconds, method[1:], code)

    return ended


def http_counter(meter: Meter = SILENT) -> HttpEnded:
    """Counts HTTP requests by method, template of the route and status; an unknown method is `_OTHER`, as the
    conventions have it.
    """
    observe = meter.histogram(HTTP_DURATION)

    def ended(method: str, route: str, status: int, seconds: float) -> None:
        observe(seconds, method if method in METHODS else "_OTHER", route, str(status))

    return ended


def batch_counter(meter: Meter = SILENT) -> Flushed:
    """Counts batches by name."""
    rows, wait, duration = (meter.histogram(each) for each in (BATCH_ROWS, BATCH_WAIT, BATCH_DURATION))

    def flushed(name: str, size: int, waited: float, took: float) -> None:
        rows(size, name)
        wait(waited, name)
        duration(took, name)

    return flushed


def show_admission(meter: Meter, admission: Admission) -> None:
    """Shows what a door has let in."""
    meter.gauge(UNDER_WAY, lambda: ((("call",), admission.calls), (("stream",), admission.streams)))
