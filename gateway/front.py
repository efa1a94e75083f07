"""What happens to one request: route, token, body, call, answer. The order is the policy: what is cheap to refuse comes
first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from messagepipe.dispatch.v1 import message_pb2
from starlette.types import Receive, Scope, Send

from gateway import errors, headers, idempotency, sending, streams
from gateway.codec.well_known import dumps
from gateway.errors import Problem, Refusal
from gateway.exchange import BodyBudget, ClientGone, Exchange
from gateway.http_rule import parse
from gateway.receipts import PATH, TEMPLATE, ReceiptDoor
from gateway.router import Router
from gateway.routes import Route
from gateway.tracing import request_span
from gateway.transcode import Transcoder
from gateway.upstream import Upstream
from services.chassis.admission import Admission
from services.chassis.admission import Limits as AdmissionLimits
from services.chassis.api_keys import HEADER as API_KEY
from services.chassis.clock import Clock
from services.chassis.errors import Internal, InvalidArgument, ServiceError
from services.chassis.log import bind_contextvars, clear_contextvars, get_logger
from services.chassis.telemetry_common import HttpEnded, no_http
from services.chassis.tracing import NO_TRACES, Tracing, client_span

JSON = {"content-type": "application/json"}
# Of one process. Beyond it: 429 with Retry-After, before the token is looked at.
AT_ONCE = AdmissionLimits(calls=2000, streams=2000)

_log = get_logger()


class Verifier(Protocol):
    """Who can tell a good token from a bad one."""

    async def verify(self, token: str) -> object:
        """Raises Unauthenticated for a bad token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Something served without a token: `make` answers status, headers and body."""

    path: str
    make: Callable[[], Awaitable[tuple[int, Mapping[str, str], bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a route takes, in bytes: of JSON, and of the request that is made of it, which gRPC limits too."""

    body: int
    request: int


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """A route with everything that can be prepared before a request: `create` only where `Prefer: respond-async` is
    known.
    """

    route: Route
    codec: Transcoder
    call: Callable[..., Any]
    limits: Limits
    keys: idempotency.KeyRule
    shape: streams.Shape | None = None
    create: Callable[..., Any] | None = None


def endpoint_of(route: Route, upstream: Upstream, limits: Limits) -> Endpoint:
    """The endpoint of a route on the service that serves it."""
    codec, keys = Transcoder(route), idempotency.rule_of(route.rpc)
    if route.rpc.server_streaming:
        call: Callable[..., Any] = upstream.stream(route.rpc_path, codec.response_class)
        shape = streams.shape_of(route.rpc)
        return Endpoint(route=route, codec=codec, call=call, limits=limits, keys=keys, shape=shape)
    create = upstream.unary(sending.CREATE_PATH, message_pb2.Message) if route.rpc.name == "SendMessage" else None
    call = upstream.unary(route.rpc_path, codec.response_class)
    return Endpoint(route=route, codec=codec, call=call, limits=limits, keys=keys, create=create)


Target = Endpoint | Page | ReceiptDoor


class Front:
    """The ASGI application. It owns nothing: channels, verifier and clock are handed in; `stopping` ends open
    streams.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        pages: Sequence[Page],
        *,
        verifier: Verifier,
        clock: Clock,
        stopping: asyncio.Event,
        budget: BodyBudget,
        requests: BodyBudget,
        receipts: ReceiptDoor | None = None,
        admission: Admission | None = None,
        ended: HttpEnded = no_http,
        tracing: Tracing = NO_TRACES,
    ) -> None:
        served: list[tuple[str, Any, Target]] = [(e.route.method, e.route.template, e) for e in endpoints]
        self._quiet = {page.path for page in pages}
        for page in pages:
            served += [(method, parse(page.path), page) for method in ("GET", "HEAD")]
        if receipts is not None:
            served.append(("POST", parse(TEMPLATE), receipts))
        self._router: Router[Target] = Router(served)
        self._verifier, self._clock, self._stopping, self._budget = verifier, clock, stopping, budget
        # A body is in memory while it is read, the request that was made of it until it is answered.
        self._requests, self._admission = requests, admission or Admission(AT_ONCE)
        self._ended, self._tracing = ended, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, always answered unless the caller is gone; one log line."""
        exchange = Exchange(scope, receive, send)
        clear_contextvars()
        if not self._tracing.on or exchange.path in self._quiet:
            await self._answer(exchange)
            return
        with request_span(self._tracing, exchange) as trace_id:
            bind_contextvars(trace_id=trace_id)
            await self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        began = self._clock.boottime()
        request_id = headers.request_id(exchange.headers)
        bind_contextvars(request_id=request_id)
        try:
            await self._serve(exchange, request_id)
        except ClientGone:
            exchange.status = errors.CLIENT_CLOSED
        finally:
            seconds = self._clock.boottime() - began
            took = round(seconds * 1000, 2)
            self._ended(exchange.method, exchange.route, exchange.status, seconds)
            line = _log.debug if exchange.route in self._quiet else _log.info
            line("http", method=exchange.method[:20], route=exchange.route, status=exchange.status, duration_ms=took)

    async def _serve(self, exchange: Exchange, request_id: str) -> None:
        codec = None
        try:
            target, variables = self._router.find(exchange.method, exchange.path)
            if isinstance(target, Page):
                exchange.route = target.path
                status, extra, body = await target.make()
                await exchange.respond(status, {headers.REQUEST_ID: request_id, **extra}, body)
            elif isinstance(target, ReceiptDoor):
                exchange.route = PATH
                with self._admission.one(stream=False):
                    await target.take(exchange, variables, request_id, self._budget)
                await exchange.respond(200, {headers.REQUEST_ID: request_id})  # Mailgun repeats after any other 2xx
            else:
                exchange.route, codec = target.route.template.text, target.codec
                with self._admission.one(stream=target.shape is not None):
                    await self._call(exchange, target, variables, request_id)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the last stop: the caller gets a sentence, the log the cause
            await self._refuse(exchange, _problem(error, request_id, codec), request_id)

    async def _call(self, exchange: Exchange, endpoint: Endpoint, variables: dict[str, str], request_id: str) -> None:
        proof = await self._proof(exchange)
        seconds = headers.timeout(exchange.headers, sending.deadline(endpoint.route.rpc))
        if exchange.has_body and not endpoint.codec.takes_body:
            raise InvalidArgument("This route takes no body.", reason="BODY_NOT_EXPECTED")
        codec = endpoint.codec
        async with exchange.json_body(endpoint.limits.body, self._budget, texts=codec.texts) as body:
            request = codec.request(variables, exchange.query(), body, exchange.media)
        endpoint.keys.put(request, exchange.headers)
        if request.ByteSize() > endpoint.limits.request:
            raise errors.request_too_large(endpoint.limits.request)
        answer = {headers.REQUEST_ID: request_id}
        with self._requests.held(request.ByteSize()), client_span(self._tracing, endpoint.route.rpc_path):
            told_of = self._tracing.hand_on(headers.metadata(exchange.headers, proof, request_id))
            told = {"timeout": seconds, "metadata": told_of}
            if endpoint.shape is not None:
                await self._stream(exchange, endpoint, endpoint.shape, request, told, answer)
            else:
                await self._unary(exchange, endpoint, request, told, answer)

    async def _proof(self, exchange: Exchange) -> tuple[str, str]:
        """Who asks, as the services are told: a token that was checked here, or an API key that they will check."""
        key = headers.api_key(exchange.headers)
        if key is not None:
            return API_KEY, key
        token = headers.bearer(exchange.headers)
        await self._verifier.verify(token)
        return headers.bearing(token)

    async def _unary(
        self, exchange: Exchange, endpoint: Endpoint, request: Message, told: dict[str, Any], answer: dict[str, str]
    ) -> None:
        if endpoint.create is not None and headers.responds_async(exchange.headers):
            created, marks = await exchange.or_gone(_ask(endpoint.create, sending.create_request(request), told))
            response: Message = sending.accepted(request, created)
            status, marks = 202, {**marks, "preference-applied": "respond-async"}
        else:
            response, marks = await exchange.or_gone(_ask(endpoint.call, request, told))
            status = sending.success_status(endpoint.route, response)
        answer = {**answer, **marks}
        if status == 204:
            await exchange.respond(status, answer)
        else:
            await exchange.respond(status, {**answer, **JSON}, endpoint.codec.answer(response))

    async def _stream(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        shape: streams.Shape,
        request: Message,
        told: dict[str, Any],
        answer: dict[str, str],
    ) -> None:
        again = streams.resume(request, shape, exchange.headers)
        events = streams.Events(endpoint.call(request, **told), self._stopping)
        try:
            if headers.wants_json(exchange.headers):
                so_far = endpoint.route.method == "GET"
                await streams.answer_json(exchange, events, shape, answer, so_far=so_far)
            else:
                # What is to be accepted first has no head before it is: an answer of 200 says that it was.
                patience = streams.FIRST_EVENT_SECONDS if endpoint.route.method == "GET" else None
                await streams.answer_sse(exchange, events, shape, answer, again=again, patience=patience)
        finally:
            await events.close()

    async def _refuse(self, exchange: Exchange, problem: Problem, request_id: str) -> None:
        if exchange.status:
            # The head is out: the only honest end is one that is seen to be broken, which uvicorn makes of a raise.
            raise ClientGone
        extra = {headers.REQUEST_ID: request_id, **JSON, **errors.headers(problem)}
        await exchange.respond(problem.status, extra, dumps(errors.body(problem)))


async def _ask(call: Callable[..., Any], request: Message, told: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """The answer, and the headers that tell what kind of answer it is."""
    asked = call(request, **told)
    return await asked, idempotency.marks(await asked.initial_metadata())


def _problem(error: Exception, request_id: str, codec: Transcoder | None) -> Problem:
    """What the caller is told of any failure, with field paths as they wrote them."""
    match error:
        case Refusal():
            return error.problem
        case ServiceError():
            return errors.of_service_error(error)
        case grpc.aio.AioRpcError():
            problem = replace(errors.of_rpc_error(error), headers=idempotency.marks(error.initial_metadata()))
            kept = [slot.name for slot in codec.variables.values()] if codec is not None else []
            return errors.relative(problem, codec.body_prefix if codec is not None else "", kept)
        case _:
            _log.error("http_crashed", exc_info=error)
            return errors.of_service_error(Internal(metadata={"requestId": request_id}))
