"""What happens around every RPC, whatever it does: a log line, the token, the error. Not a place for business rules.

One gRPC interceptor runs three small stages, because every interceptor of grpc.aio costs some 30 µs per call:

    _Call.run            one line per RPC, ids bound once
      └ Admission        a deadline that can be met, and room for one more
          └ Authenticator    token and scope, or API key, and the end of either while a stream is open
              └ the request is read; then the servicer's method; what it raises becomes a status in _Call.refuse

Every method with one request is registered as if it took a stream of them, because gRPC reads a single request by
itself before anything of ours runs: so anybody, without a token, could fill the memory.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from services.chassis.admission import Admission, check_deadline
from services.chassis.auth import TokenVerifier, set_principal
from services.chassis.authenticator import ApiKeyDoor, Authenticator, RequiredScope
from services.chassis.clock import Clock
from services.chassis.errors import Internal, InvalidArgument, ServiceError
from services.chassis.log import bind_contextvars, get_logger
from services.chassis.status import to_status
from services.chassis.streaming import StreamStalled, pump
from services.chassis.telemetry_common import RpcEnded, no_rpc
from services.chassis.tracing import NO_TRACES, OUR_FAULT, Side, Tracing

Behavior = Callable[[Any, Any], Any]
Read = Callable[[], Awaitable[Any]]
if TYPE_CHECKING:  # generic in the stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext

# Their contents are public: the contract is in the repository, health says only yes or no.
OPEN_SERVICES = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)

# In place of a request that could not be read: gRPC itself would answer UNKNOWN with the decoder's words.
_UNREADABLE = object()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = get_logger()


def standard_interceptors(
    verifier: TokenVerifier,
    required_scope: RequiredScope,
    admission: Admission | None = None,
    ended: RpcEnded = no_rpc,
    api_keys: ApiKeyDoor | None = None,
    tracing: Tracing = NO_TRACES,
) -> list[grpc.aio.ServerInterceptor]:
    """What every service of ours runs behind: pass it to `serve`, which has to be given the same `admission`."""
    who = Authenticator(verifier, required_scope, api_keys)
    return [RpcInterceptor(who, verifier.clock, admission, ended, tracing)]


class RpcInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every method, unary or streaming; without an authenticator nobody is asked for a token."""

    def __init__(
        self,
        authenticator: Authenticator | None,
        clock: Clock,
        admission: Admission | None = None,
        ended: RpcEnded = no_rpc,
        tracing: Tracing = NO_TRACES,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._admission = admission or Admission()
        self._ended, self._tracing = ended, tracing
        self._wrapped: dict[str, tuple[Handler, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, wrapped once and kept."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        known = self._wrapped.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        if (
            handler is None
        ):  # gRPC itself answers UNIMPLEMENTED; nothing is kept, or made-up names would fill the memory
            return handler
        wrapped = self._wrap(method, handler)
        self._wrapped[method] = (handler, wrapped)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        is_open = method.startswith(OPEN_SERVICES)
        authenticator = None if is_open else self._authenticator
        behavior = _behavior_of(handler)
        streams = bool(handler.response_streaming)

        async def around(request: Any, context: Context) -> Any:
            call = _Call(method, context, authenticator, self._clock, self._admission, self._ended, quiet=is_open)
            read = _given(request) if handler.request_streaming else context.read
            if is_open or not self._tracing.on:
                return await call.run(behavior, read, streams=streams)
            return await call.traced(self._tracing, behavior, read, streams=streams)

        return _rebuild(handler, around)


@dataclass(slots=True)
class _Call:
    """One RPC on its way through the stages."""

    method: str
    context: Context
    authenticator: Authenticator | None
    clock: Clock
    admission: Admission
    ended: RpcEnded
    quiet: bool
    code: str = ""  # known at the end

    async def traced(self, tracing: Tracing, behavior: Behavior, read: Read, *, streams: bool) -> Any:
        """As `run`, as a span of the caller's trace."""
        told = {key: str(value) for key, value in self.context.invocation_metadata() or ()}
        parent = tracing.come_from(told.get("traceparent", ""), told.get("tracestate", ""))
        method = self.method[1:]
        with tracing.span(method, Side.SERVER, {"rpc.system.name": "grpc", "rpc.method": method}, parent) as span:
            bind_contextvars(trace_id=span.trace_id)
            try:
                return await self.run(behavior, read, streams=streams)
            finally:
                span.note(rpc__response__status_code=self.code)
                if self.code in OUR_FAULT:
                    span.fail(self.code)

    async def run(self, behavior: Behavior, read: Read, *, streams: bool) -> Any:
        began = self.clock.boottime()
        request_id = _request_id(self.context)
        bind_contextvars(request_id=request_id, method=self.method)
        code = "OK"
        try:
            check_deadline(self.context.time_remaining())
            # Health and reflection always answer: who asks how we are must not be told that we are busy.
            with contextlib.nullcontext() if self.quiet else self.admission.one(stream=streams):
                answer = await (self._stream if streams else self._unary)(behavior, read)
        except StreamStalled as error:
            code = error.code.value
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.admission.limits.parting_seconds):
                    await self.refuse(error)
            raise asyncio.CancelledError from None  # gRPC then resets the stream, without a word in the log
        except ServiceError as error:
            code = error.code.value
            await self.refuse(error)
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except grpc.aio.AbortError:  # the method answered by itself
            code = _code_set(self.context)
            raise
        except Exception as error:  # noqa: BLE001 - the last stop: the caller gets the fixed sentence, the log the cause
            code = grpc.StatusCode.INTERNAL.name
            _log.error("rpc_crashed", exc_info=error)
            await self.refuse(Internal(metadata={"requestId": request_id}))
        else:
            code = _code_set(self.context)
            return answer
        finally:
            took = self.clock.boottime() - began
            self.code = code
            self.ended(self.method, code, took)
            line = _log.debug if self.quiet else _log.info
            line("rpc", code=code, duration_ms=round(took * 1000, 2))

    async def refuse(self, error: ServiceError) -> Never:
        """Ends the RPC with the error's status."""
        await self.context.abort_with_status(rpc_status.to_status(to_status(error)))

    async def _unary(self, behavior: Behavior, read: Read) -> Any:
        if self.authenticator is not None:
            set_principal(await self.authenticator.admit(self.method, self.context.invocation_metadata() or ()))
        return await behavior(await self._request(read), self.context)

    async def _stream(self, behavior: Behavior, read: Read) -> None:
        if self.authenticator is None:
            await self._pump(behavior, read)
            return
        principal = await self.authenticator.admit(self.method, self.context.invocation_metadata() or ())
        set_principal(principal)
        async with self.authenticator.while_valid(principal):
            await self._pump(behavior, read)

    async def _pump(self, behavior: Behavior, read: Read) -> None:
        answers = behavior(await self._request(read), self.context)
        await pump(answers, self.context, self.admission.limits.stall_seconds)

    async def _request(self, read: Read) -> Any:
        request = await self.admission.read(read)
        if request is grpc.aio.EOF:
            raise InvalidArgument("The call carries no request.")
        if request is _UNREADABLE:
            raise InvalidArgument(
                "The request can not be read: it is broken protobuf, or holds text that is not UTF-8."
            )
        return request


def _behavior_of(handler: Handler) -> Behavior:
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        if (behavior := getattr(handler, kind)) is not None:
            return cast(Behavior, behavior)
    raise TypeError("the method has no behavior")


def _rebuild(handler: Handler, around: Behavior) -> Handler:
    streams = handler.response_streaming
    make = grpc.stream_stream_rpc_method_handler if streams else grpc.stream_unary_rpc_method_handler
    # A stream of requests keeps gRPC's own way: only our own services speak in streams.
    deserialize = handler.request_deserializer if handler.request_streaming else _decoder(handler.request_deserializer)
    made: Handler = make(around, deserialize, handler.response_serializer)
    return made


def _decoder(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def decode(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _UNREADABLE

    return decode


def _given(requests: Any) -> Read:
    """A stream of requests is the method's own to read."""

    async def read() -> Any:
        return requests

    return read


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id" and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return secrets.token_hex(16)


def _code_set(context: Context) -> str:
    code: object = context.code()
    if not code:  # gRPC keeps None, or 0, until a method sets one
        return grpc.StatusCode.OK.name
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((known.name for known in grpc.StatusCode if known.value[0] == code), "UNKNOWN")
