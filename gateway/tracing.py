"""The span of one HTTP request. Its path, query and headers are left out: they hold ids, tokens and users' words."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.exchange import Exchange
from services.chassis.telemetry_common import METHODS
from services.chassis.tracing import Side, Tracing


@contextmanager
def request_span(tracing: Tracing, exchange: Exchange) -> Iterator[str]:
    """The span of a request in its caller's trace; answers the trace's id. Named by the route, which is known at the
    end; only what is our fault is an error.
    """
    method = exchange.method if exchange.method in METHODS else "_OTHER"
    parent = tracing.come_from(exchange.headers.get("traceparent", ""), exchange.headers.get("tracestate", ""))
    with tracing.span(method, Side.SERVER, {"http.request.method": method}, parent) as span:
        try:
            yield span.trace_id
        finally:
            if exchange.route:
                span.rename(f"{method} {exchange.route}")
                span.note(http__route=exchange.route)
            span.note(http__response__status_code=exchange.status)
            if exchange.status >= 500:
                span.fail(str(exchange.status))
