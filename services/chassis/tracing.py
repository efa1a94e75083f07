"""Traces: where a request went and how long each part of it took. The vocabulary, and the tracer that notes nothing;
the one that does is tracing_otel.py.

No span holds a recipient, a content, a name or a secret: attributes are words of ours, ids and numbers, and exceptions
are not recorded.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from services.chassis.env import SettingsError, is_base_url

Attributes = Mapping[str, str | int]
Metadata = tuple[tuple[str, str], ...]
"""As gRPC carries it: names in lower case."""
TraceContext = object
"""A span as the parent of others, also of later ones; for this process alone. What it is only its tracer knows."""

# Codes of gRPC that are a server's fault (semantic conventions of RPC spans); the others are their caller's.
OUR_FAULT: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
STANDARD_VARIABLE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
CLOSE_SECONDS: Final = 3.0


class Side(StrEnum):
    """Which side of a call a span is."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    INTERNAL = "INTERNAL"


class Span(Protocol):
    """A part of a trace that is under way."""

    @property
    def trace_id(self) -> str:
        """The trace, 32 hex digits; "" when nothing is noted."""
        ...

    def note(self, **attributes: str | int) -> None:
        """Attributes that are known only now; `__` in a name stands for a dot."""
        ...

    def rename(self, name: str) -> None:
        """Its name, where that is known only now."""
        ...

    def fail(self, error: str) -> None:
        """It failed; `error` is a word of ours or the class of an exception, never its text."""
        ...


class Tracing(Protocol):
    """Who notes spans."""

    @property
    def on(self) -> bool:
        """Whether anything is noted at all."""
        ...

    def span(
        self, name: str, side: Side, attributes: Attributes, parent: TraceContext | None = None
    ) -> AbstractContextManager[Span]:
        """A span for the length of the block, below `parent`, else below the span that this task is in."""
        ...

    def come_from(self, traceparent: str, tracestate: str) -> TraceContext | None:
        """The span that a caller's W3C headers name; None when there are none."""
        ...

    def current(self) -> TraceContext | None:
        """The span that this task is in."""
        ...

    def go_on(self, context: TraceContext | None) -> None:
        """From here on this task is in that span; its context variables are its own."""
        ...

    def hand_on(self, metadata: Metadata) -> Metadata:
        """The metadata of a call of ours, with W3C headers for the span that this task is in."""
        ...


@dataclass(frozen=True, slots=True)
class _NoSpan:
    trace_id: str = ""

    def note(self, **attributes: str | int) -> None:
        return None

    def rename(self, name: str) -> None:
        return None

    def fail(self, error: str) -> None:
        return None


_NOTHING: Final = contextlib.nullcontext(_NoSpan())


@dataclass(frozen=True, slots=True)
class NoTraces:
    """Notes nothing, and hands on what came."""

    on: bool = False

    def span(
        self, name: str, side: Side, attributes: Attributes, parent: TraceContext | None = None
    ) -> AbstractContextManager[Span]:
        return _NOTHING

    def come_from(self, traceparent: str, tracestate: str) -> TraceContext | None:
        return None

    def current(self) -> TraceContext | None:
        return None

    def go_on(self, context: TraceContext | None) -> None:
        return None

    def hand_on(self, metadata: Metadata) -> Metadata:
        return metadata


NO_TRACES: Final = NoTraces()


def collector_of(given: str, environ: Mapping[str, str]) -> str:
    """Where spans go: as our own setting has it, else as OpenTelemetry's standard variable; "" for nowhere."""
    return given or environ.get(STANDARD_VARIABLE, "")


@asynccontextmanager
async def open_tracing(endpoint: str, service: str) -> AsyncIterator[Tracing]:
    """Who notes the spans of a process for the length of the block: NO_TRACES without an endpoint, else they go to
    `endpoint`/v1/traces over OTLP. Raises SettingsError where the library for that is not installed.
    """
    if not endpoint:
        yield NO_TRACES
        return
    if not is_base_url(endpoint):
        raise SettingsError(["MESSAGEPIPE_OTLP_ENDPOINT must be such as http://127.0.0.1:4318, without a query"])
    try:
        from services.chassis.tracing_otel import OtelTraces  # only who is asked pays for it
    except ModuleNotFoundError as error:
        missing = f"MESSAGEPIPE_OTLP_ENDPOINT needs `pip install messagepipe[otel]`: there is no {error.name}"
        raise SettingsError([missing]) from None
    traces = OtelTraces.to(endpoint, service)
    try:
        yield traces
    finally:
        # Beside the event loop, and not for long: a collector that does not answer is nobody's reason to stay.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(traces.close), CLOSE_SECONDS)


@contextmanager
def client_span(tracing: Tracing, path: str) -> Iterator[Span]:
    """A call of ours to the gRPC method `path`; an error of gRPC's is noted by its code."""
    method = path.lstrip("/")
    with tracing.span(method, Side.CLIENT, {"rpc.system.name": "grpc", "rpc.method": method}) as span:
        try:
            yield span
        except Exception as error:
            code = getattr(error, "code", None)
            span.fail(_name_of(code()) if callable(code) else type(error).__name__)
            raise


def _name_of(code: object) -> str:
    return str(getattr(code, "name", code))
