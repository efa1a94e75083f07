"""The spans of a message's life: accepted, attempted, called. What belongs in them, and what does not: no recipient, no
content, no provider's words.

The trace context stays with the lease in the process that accepted the message, and is not stored: a dispatcher that
takes it over begins a trace of its own, found by the message's id.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from services.adapters.call_watch import Watched, current_watch
from services.adapters.outcome import Outcome, Result
from services.chassis.log import bind_contextvars
from services.chassis.tracing import Side, Span, Tracing
from services.dispatch.attempt import Attempt
from services.dispatch.message import Message

_OURS = "messagepipe"


def accept_span(tracing: Tracing, messages: int) -> AbstractContextManager[Span]:
    """The span from checked to durable, of one message or of many at once."""
    return tracing.span(f"{_OURS}.accept", Side.INTERNAL, {f"{_OURS}.messages": messages})


class AttemptSpan:
    """An attempt that is under way; None: nobody notes it."""

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def ended(self, result: Result) -> None:
        """What came of it; only an accepted message is no error."""
        if self._span is None:
            return
        self._span.note(messagepipe__attempt__outcome=result.outcome.value, messagepipe__attempt__reason=result.reason)
        if result.outcome is not Outcome.ACCEPTED:
            self._span.fail(result.outcome.value)


_UNNOTED: AbstractContextManager[AttemptSpan] = nullcontext(AttemptSpan())


def attempt_span(tracing: Tracing, message: Message, attempt: Attempt) -> AbstractContextManager[AttemptSpan]:
    """One attempt from its first byte to its answer; calls over HTTP become spans below it."""
    return _noted(tracing, message, attempt) if tracing.on else _UNNOTED


@contextmanager
def _noted(tracing: Tracing, message: Message, attempt: Attempt) -> Iterator[AttemptSpan]:
    attributes = {
        f"{_OURS}.message.id": str(message.id),
        f"{_OURS}.project.id": message.project_id,
        f"{_OURS}.channel": message.channel.value,
        f"{_OURS}.attempt.number": attempt.number,
        f"{_OURS}.provider.id": attempt.provider_id,
        f"{_OURS}.provider.kind": attempt.kind,
    }
    with tracing.span(f"{_OURS}.attempt {attempt.kind}", Side.INTERNAL, attributes) as span:
        # The delivery has a context of its own: what it logs from here on names the trace.
        bind_contextvars(trace_id=span.trace_id)
        token = current_watch.set(lambda *call: _call_span(tracing, *call))
        try:
            yield AttemptSpan(span)
        finally:
            current_watch.reset(token)


@contextmanager
def _call_span(tracing: Tracing, method: str, host: str, port: int | None) -> Iterator[Watched]:
    """One HTTP request. Its path is left out: it holds account ids at some vendors."""
    attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
    if port is not None:
        attributes["server.port"] = port
    with tracing.span(method, Side.CLIENT, attributes) as span:
        yield _Call(span)


class _Call:
    def __init__(self, span: Span) -> None:
        self._span = span

    def answered(self, status: int) -> None:
        self._span.note(http__response__status_code=status)
        if status >= 400:
            self._span.fail(str(status))

    def failed(self, kind: str) -> None:
        self._span.fail(kind)
