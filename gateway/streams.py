"""Server streams as HTTP: Server-Sent Events (WHATWG HTML §9.2), or one JSON document of what there is so far.

An event is `id:` the sequence or resume token, `event:` the word of the oneof such as `attempt_started`, `data:` the
event as JSON. After `Last-Event-ID` the stream goes on where it broke off; a stream with nothing left to say then
answers 204, which tells a browser to stop asking. An RPC that fails after the stream began ends it with an `error`
event that carries the error body.

As JSON (`Accept: application/json`): `{"events": […], "lastEventId": "…"}`. A watch has no mode "so far", so a GET
collects until the RPC ends or nothing new came for 200 ms (1 s before the first event); a POST collects to the end of
the dispatch.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from starlette.datastructures import Headers

from gateway import errors, idempotency
from gateway.codec.well_known import dumps
from gateway.descriptors import message_of, type_of
from gateway.exchange import ClientGone, Exchange
from gateway.transcode import WRITERS
from services.chassis.errors import FieldViolation, InvalidArgument, Unavailable

HEARTBEAT_SECONDS = 15.0
FIRST_EVENT_SECONDS = 0.5
COLLECT_FIRST_SECONDS = 1.0
COLLECT_SILENCE_SECONDS = 0.2

_RESUME_FIELDS = ("after_sequence", "resume_token")
_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
_NO_LINE_BREAKS = str.maketrans({"\r": None, "\n": None, "\0": None})
_QUIET: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where a streamed type keeps its id and its event: `event` is "" when it is the event itself."""

    id: str
    event: str
    oneof: str
    resume: str

    def id_of(self, response: Message) -> str:
        """The SSE id; "" for none."""
        return str(getattr(response, self.id)).translate(_NO_LINE_BREAKS) if self.id else ""

    def event_of(self, response: Message) -> Message:
        """The event itself, without the wrapping that carries its resume token."""
        event: Message = getattr(response, self.event) if self.event else response
        return event


def shape_of(rpc: MethodDescriptor) -> Shape:
    """The shape of an RPC's stream, read from its descriptors."""
    response = rpc.output_type
    inner = [field for field in response.fields if _holds_event(field)]
    event = inner[0] if inner and not response.oneofs else None
    oneofs = (message_of(event) if event is not None else response).oneofs
    ids = [name for name in ("resume_token", "sequence") if name in response.fields_by_name]
    resume = [name for name in _RESUME_FIELDS if name in rpc.input_type.fields_by_name]
    return Shape(
        id=ids[0] if ids else "",
        event=event.name if event is not None else "",
        oneof=oneofs[0].name if oneofs else "",
        resume=resume[0] if resume else "",
    )


def resume(request: Message, shape: Shape, headers: Headers) -> bool:
    """Puts Last-Event-ID into the request, over what the query said; answers whether this takes up an earlier
    stream.
    """
    last = headers.get("last-event-id")
    if not shape.resume or last is None or last == "":
        return bool(shape.resume and getattr(request, shape.resume))
    try:
        field = type_of(request).fields_by_name[shape.resume]
        setattr(request, shape.resume, last if field.type == FieldDescriptor.TYPE_STRING else int(last))
    except ValueError:
        what = "must be the id of an event of this stream"
        raise InvalidArgument(violations=[FieldViolation("Last-Event-ID", what)]) from None
    return True


def frame(shape: Shape, response: Message) -> bytes:
    """One event as SSE."""
    event = shape.event_of(response)
    word = event.WhichOneof(shape.oneof) if shape.oneof else None
    lines = [f"id: {shape.id_of(response)}\n" if shape.id else "", f"event: {word}\n" if word else ""]
    return "".join(lines).encode() + b"data: " + dumps(_write(event)) + b"\n\n"


class Events:
    """The answers of a streaming call; reading can be given up after a while and taken up again without a loss."""

    def __init__(self, call: Any, stopping: asyncio.Event) -> None:
        self._call = call
        self._stop = asyncio.create_task(stopping.wait())
        self._pending: asyncio.Task[Any] | None = None

    @property
    def stopping(self) -> bool:
        """Whether the gateway is being stopped."""
        return self._stop.done()

    async def next(self, seconds: float | None, gone: "asyncio.Task[None]") -> Any:
        """The next answer, grpc.aio.EOF at the end, or _QUIET; ClientGone when nobody listens any more."""
        task = self._pending or asyncio.create_task(self._call.read())
        self._pending = task
        others = {gone} if self._stop.done() else {gone, self._stop}
        await asyncio.wait({task, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            self._pending = None
            return task.result()
        if gone.done():
            raise ClientGone
        return _QUIET

    async def marks(self, response: Any) -> dict[str, str]:
        """The headers that tell what kind of answer it is, once `response`, or the end, has come."""
        return {} if response is _QUIET else idempotency.marks(await self._call.initial_metadata())

    async def close(self) -> None:
        """Cancels the RPC; what it would still have answered is dropped."""
        self._call.cancel()
        self._stop.cancel()
        waiting = [self._stop] if self._pending is None else [self._stop, self._pending]
        await asyncio.gather(*waiting, return_exceptions=True)


async def answer_sse(
    exchange: Exchange,
    events: Events,
    shape: Shape,
    headers: Mapping[str, str],
    *,
    again: bool,
    patience: float | None = FIRST_EVENT_SECONDS,
    heartbeat: float = HEARTBEAT_SECONDS,
) -> None:
    """Streams to the end of the RPC; an error before the first event is raised, so that it becomes an HTTP status. The
    head goes out with the first event or after `patience` seconds; None waits for the event however long it takes.

    A comment goes out whenever nothing happened for `heartbeat` seconds, so that nothing in between cuts the line.
    """
    async with exchange.watching() as gone:
        first = await events.next(patience, gone)
        if first is grpc.aio.EOF and again:
            await exchange.respond(204, headers)
            return
        await exchange.start(200, {**headers, **await events.marks(first), **_HEADERS})
        await exchange.write(b"retry: 1000\n\n")
        stream = _Stream(exchange, shape)
        try:
            await stream.pump(events, first, gone, heartbeat)
        except grpc.aio.AioRpcError as error:
            await stream.end(errors.of_rpc_error(error))
        await exchange.finish()


async def answer_json(
    exchange: Exchange, events: Events, shape: Shape, headers: Mapping[str, str], *, so_far: bool
) -> None:
    """The events as one document."""
    found, last = [], ""
    async with exchange.watching() as gone:
        wait = COLLECT_FIRST_SECONDS if so_far else None
        while (response := await events.next(wait, gone)) not in (grpc.aio.EOF, _QUIET):
            found.append(_write(shape.event_of(response)))
            last = shape.id_of(response)
            wait = COLLECT_SILENCE_SECONDS if so_far else None
        if response is _QUIET and events.stopping:
            raise _stopped()
        told = {**headers, **await events.marks(response), "content-type": "application/json"}
    await exchange.respond(200, told, dumps({"events": found, "lastEventId": last}))


class _Stream:
    """One answer as SSE; knows the id to go on from."""

    def __init__(self, exchange: Exchange, shape: Shape) -> None:
        self._exchange, self._shape = exchange, shape
        self._last = ""

    async def pump(self, events: Events, first: Any, gone: "asyncio.Task[None]", heartbeat: float) -> None:
        """Every event until the RPC ends or the gateway stops."""
        response = first
        while response is not grpc.aio.EOF:
            if response is not _QUIET:
                await self._exchange.write(frame(self._shape, response))
                self._last = self._shape.id_of(response)
            elif not events.stopping:
                await self._exchange.write(b": heartbeat\n\n")
            if events.stopping:
                await self.end(errors.of_service_error(_stopped()))
                return
            response = await events.next(heartbeat, gone)

    async def end(self, problem: errors.Problem) -> None:
        """Why the stream ends here, under the id of its last event: so whoever only keeps ids knows where to go on."""
        place = f"id: {self._last}\n" if self._last else ""
        await self._exchange.write(
            f"{place}event: error\n".encode() + b"data: " + dumps(errors.body(problem)) + b"\n\n"
        )


def _stopped() -> Unavailable:
    return Unavailable(
        "The gateway is being restarted; take the stream up again.", reason="SHUTTING_DOWN", retry_after=1.0
    )


def _write(event: Message) -> Any:
    return WRITERS.of(type_of(event))(event)


def _holds_event(field: FieldDescriptor) -> bool:
    inner: Descriptor | None = field.message_type
    return inner is not None and not field.is_repeated and bool(inner.oneofs)
