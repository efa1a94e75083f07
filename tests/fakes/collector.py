"""A collector of traces: takes OTLP over HTTP on a real socket and keeps every span. No test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One span as it came."""

    service: str
    span: WireSpan

    @property
    def name(self) -> str:
        """What it was called."""
        return str(self.span.name)

    @property
    def side(self) -> str:
        """SERVER, CLIENT or INTERNAL."""
        return WireSpan.SpanKind.Name(self.span.kind).removeprefix("SPAN_KIND_")

    @property
    def trace(self) -> str:
        """The trace, in hex."""
        return str(self.span.trace_id.hex())

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return bool(self.span.status.code == 2)

    @property
    def attributes(self) -> dict[str, str | int]:
        """What was noted, by name."""
        return {
            each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
            for each in self.span.attributes
        }


@dataclass
class Collector:
    """What came; `raw` is every request as bytes, whole."""

    port: int = 0
    raw: bytes = b""
    spans: list[Noted] = field(default_factory=list)

    def trace_of(self, trace: str) -> list[Noted]:
        """The spans of one trace, in the order of their beginning."""
        found = [each for each in self.spans if each.trace == trace]
        return sorted(found, key=lambda each: each.span.start_time_unix_nano)

    def parent(self, child: Noted) -> Noted | None:
        """The span that it was a part of; None when nobody sent that one."""
        found = [each for each in self.spans if each.span.span_id == child.span.parent_span_id]
        return found[0] if found else None

    async def take(self, request: web.Request) -> web.Response:
        """One export."""
        body = await request.read()
        self.raw += body
        export = ExportTraceServiceRequest.FromString(body)
        for resource in export.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans += [
                Noted(service=about["service.name"], span=span)
                for scope in resource.scope_spans
                for span in scope.spans
            ]
        return web.Response()


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.port = runner.addresses[0][1]
    try:
        yield collector
        await asyncio.sleep(0)
    finally:
        await runner.cleanup()
