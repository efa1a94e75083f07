"""Spans: what is noted and what never is, whose trace it belongs to, and where it goes."""

import asyncio
import contextvars

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.env import SettingsError
from services.chassis.errors import NotFound, ServiceError
from services.chassis.tracing import CLOSE_SECONDS, NO_TRACES, Side, client_span, collector_of, open_tracing
from services.chassis.tracing_otel import OtelTraces
from tests.fakes.collector import running_collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Where the spans of a test end."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OtelTraces:
    """Notes spans in memory."""
    return OtelTraces(SimpleSpanProcessor(exporter), "tests")


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    """The one span that was noted."""
    (span,) = exporter.get_finished_spans()
    return span


def test_a_step_goes_on_in_its_callers_trace(tracing: OtelTraces, exporter: InMemorySpanExporter) -> None:
    """W3C headers name the trace and the parent; what is handed on names the span itself."""
    with tracing.span("step", Side.SERVER, {"a": 1}, tracing.come_from(TRACEPARENT, "shop=1")) as span:
        assert span.trace_id == TRACE
        handed = dict(tracing.hand_on((("authorization", "x"), ("traceparent", "old"))))
    context = only(exporter).get_span_context()
    assert context is not None
    assert handed == {
        "authorization": "x",
        "traceparent": f"00-{TRACE}-{context.span_id:016x}-01",
        "tracestate": "shop=1",
    }
    parent = only(exporter).parent
    assert parent is not None
    assert f"{parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01"]
)
def test_headers_that_name_nothing_begin_a_trace(
    tracing: OtelTraces, exporter: InMemorySpanExporter, header: str
) -> None:
    """Whatever a caller writes, the span is noted, in a trace of its own."""
    with tracing.span("step", Side.SERVER, {}, tracing.come_from(header, "")):
        pass
    assert only(exporter).parent is None


def test_no_words_of_an_error_are_noted(tracing: OtelTraces, exporter: InMemorySpanExporter) -> None:
    """An exception passes through, and neither its text nor its traceback is in the span."""
    with pytest.raises(ValueError, match="ada@example"), tracing.span("step", Side.INTERNAL, {}):
        raise ValueError("ada@example.com")
    assert "example" not in only(exporter).to_json()
    assert only(exporter).events == ()


def test_a_call_is_noted_by_its_code(tracing: OtelTraces, exporter: InMemorySpanExporter) -> None:
    """The client's side of an RPC that failed has the class of what was raised, or gRPC's code."""
    with pytest.raises(ServiceError), client_span(tracing, "/shop.v1.Shop/Buy"):
        raise NotFound("ada@example.com")
    span = only(exporter)
    assert (span.name, span.status.status_code.name) == ("shop.v1.Shop/Buy", "ERROR")
    assert dict(span.attributes or {})["rpc.method"] == "shop.v1.Shop/Buy"
    assert "example" not in span.to_json()


def test_a_trace_can_be_gone_on_from_later(tracing: OtelTraces, exporter: InMemorySpanExporter) -> None:
    """What happens after a span has ended is still a part of it, when it is told so."""
    with tracing.span("first", Side.SERVER, {}):
        context = tracing.current()

    def later() -> None:
        tracing.go_on(context)
        with tracing.span("later", Side.INTERNAL, {}):
            pass

    contextvars.Context().run(later)
    first, second = exporter.get_finished_spans()
    context = first.get_span_context()
    assert context is not None
    assert second.parent is not None
    assert second.parent.span_id == context.span_id


async def test_what_is_left_is_sent_at_the_end() -> None:
    """Closing sends the spans that still wait, to the path that OTLP has."""
    async with running_collector() as collector:
        endpoint = f"http://127.0.0.1:{collector.port}/"
        async with open_tracing(endpoint, "gateway") as tracing:
            with tracing.span("step", Side.SERVER, {"n": 3}) as span:
                span.note(messagepipe__attempt__number=2)
                span.rename("renamed")
                span.fail("DEFERRED")
    (noted,) = collector.spans
    assert (noted.service, noted.name, noted.side, noted.failed) == ("messagepipe-gateway", "renamed", "SERVER", True)
    assert noted.attributes == {"n": 3, "messagepipe.attempt.number": 2, "error.type": "DEFERRED"}


async def test_a_collector_that_hangs_holds_up_no_stop() -> None:
    """A process that stops waits CLOSE_SECONDS for the last spans, and then leaves them."""
    taken: list[asyncio.StreamWriter] = []

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    hole = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with asyncio.timeout(CLOSE_SECONDS + 1):
        async with open_tracing(f"http://127.0.0.1:{hole.sockets[0].getsockname()[1]}", "gateway") as tracing:
            with tracing.span("step", Side.SERVER, {}):
                pass
    assert taken
    for writer in taken:
        writer.close()
        await writer.wait_closed()
    hole.close()


@pytest.mark.parametrize("endpoint", ["not a url", "ftp://127.0.0.1"])
async def test_an_endpoint_that_is_none_is_said(endpoint: str) -> None:
    """Starting fails with the setting's name."""
    with pytest.raises(SettingsError, match="MESSAGEPIPE_OTLP_ENDPOINT must be"):
        async with open_tracing(endpoint, "gateway"):
            pass


async def test_without_an_endpoint_nothing_is_noted() -> None:
    """The tracer that notes nothing hands on what came."""
    async with open_tracing("", "gateway") as tracing:
        assert tracing is NO_TRACES
        with tracing.span("step", Side.SERVER, {}) as span:
            span.note(a=1)
            span.rename("b")
            span.fail("c")
        assert (span.trace_id, tracing.current(), tracing.come_from(TRACEPARENT, "")) == ("", None, None)
        assert tracing.hand_on((("traceparent", TRACEPARENT),)) == (("traceparent", TRACEPARENT),)


def test_our_own_setting_wins() -> None:
    """OpenTelemetry's variable counts where ours is not set."""
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard"}
    assert collector_of("http://ours", standard) == "http://ours"
    assert collector_of("", standard) == "http://standard"
    assert collector_of("", {}) == ""
