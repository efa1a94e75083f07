"""Spans noted with OpenTelemetry and sent over OTLP. Loaded only by a process that was given a place for them.

Sampling, batching, headers and resource attributes follow the OTEL_* variables of OpenTelemetry's own SDK.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.chassis.tracing import Attributes, Metadata, Side, Span, TraceContext

# A collector that does not answer must not hold up a process that stops.
EXPORT_SECONDS: Final = 5
_HEADERS: Final = ("traceparent", "tracestate")
_KINDS: Final = {
    Side.SERVER: trace.SpanKind.SERVER,
    Side.CLIENT: trace.SpanKind.CLIENT,
    Side.INTERNAL: trace.SpanKind.INTERNAL,
}
_WIRE: Final = TraceContextTextMapPropagator()


class OtelTraces:
    """Notes spans; `close` sends what is left."""

    on: Final = True

    def __init__(self, processor: SpanProcessor, service: str) -> None:
        resource = Resource.create({"service.name": f"messagepipe-{service}", "service.namespace": "messagepipe"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("messagepipe")

    @classmethod
    def to(cls, endpoint: str, service: str) -> "OtelTraces":
        """Those that go to a collector; nothing waits for it, and what it does not take is dropped."""
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        return cls(BatchSpanProcessor(exporter), service)

    def close(self) -> None:
        """Sends what is left, for some seconds at most."""
        self._provider.shutdown()

    @contextmanager
    def span(self, name: str, side: Side, attributes: Attributes, parent: TraceContext | None = None) -> Iterator[Span]:
        # Exceptions are not recorded: their texts may hold what users wrote.
        with self._tracer.start_as_current_span(
            name,
            context=parent if isinstance(parent, Context) else None,
            kind=_KINDS[side],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _Open(span)

    def come_from(self, traceparent: str, tracestate: str) -> TraceContext | None:
        if not traceparent:
            return None
        return _WIRE.extract({"traceparent": traceparent, "tracestate": tracestate}, context=Context())

    def current(self) -> TraceContext | None:
        return get_current()

    def go_on(self, context: TraceContext | None) -> None:
        if isinstance(context, Context):
            attach(context)

    def hand_on(self, metadata: Metadata) -> Metadata:
        told: dict[str, str] = {}
        _WIRE.inject(told)
        return (*(pair for pair in metadata if pair[0] not in _HEADERS), *told.items())


class _Open:
    """A span of OpenTelemetry's that is under way."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def note(self, **attributes: str | int) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(trace.StatusCode.ERROR)
