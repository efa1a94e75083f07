"""The gRPC channels to the two services, kept open. It knows no route and translates nothing.

Two channels each: over one, whatever does no harm twice is tried again when a replica goes away; a write without an
idempotency key goes over the other, where only reads would be (chassis/service_config.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from services.chassis.errors import Unavailable
from services.chassis.service_config import channel_options

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
HEALTH_SECONDS = 1.0

_KEY = "idempotency_key"
_HEALTH_PATH = "/grpc.health.v1.Health/Check"

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A status with many violations travels in the trailers; the default of 8 KiB would turn it into another error.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # What a stream's reader does not take is left where it is: otherwise some megabytes of each would gather here.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A process behind the gateway: the name people know it by, what it serves and the channels to it: `channel` for
    what may be tried again, `once` for what may not.
    """

    name: str
    services: Sequence[ServiceDescriptor]
    channel: grpc.aio.Channel
    once: grpc.aio.Channel

    def unary(self, path: str, response: type[Message]) -> Callable[..., grpc.aio.UnaryUnaryCall[Any, Any]]:
        """The callable of an RPC with one answer."""
        again, once = (
            channel.unary_unary(path, request_serializer=_serialize, response_deserializer=_deserializer(response))
            for channel in (self.channel, self.once)
        )
        return lambda request, **call: (again if is_repeatable(request) else once)(request, **call)

    def stream(self, path: str, response: type[Message]) -> Callable[..., grpc.aio.UnaryStreamCall[Any, Any]]:
        """The callable of an RPC that streams its answers."""
        again, once = (
            channel.unary_stream(path, request_serializer=_serialize, response_deserializer=_deserializer(response))
            for channel in (self.channel, self.once)
        )
        return lambda request, **call: (again if is_repeatable(request) else once)(request, **call)

    async def problem(self) -> str | None:
        """Why the service can not be used right now, in a few words; None when it says that it is serving."""
        check = self.unary(_HEALTH_PATH, health_pb2.HealthCheckResponse)
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except grpc.aio.AioRpcError as error:
            return "does not answer" if error.code() == grpc.StatusCode.UNAVAILABLE else "gives no health"
        return None if answer.status == health_pb2.HealthCheckResponse.SERVING else "is not serving"


@asynccontextmanager
async def open_upstream(name: str, services: Sequence[ServiceDescriptor], target: str) -> AsyncIterator[Upstream]:
    """The channels for the length of the block; they connect when first used."""
    # Not waiting: a caller over HTTP is told 503 and when to come back, instead of hanging.
    again, once = ([*_OPTIONS, *channel_options(keyed=keyed, wait_for_ready=False)] for keyed in (True, False))
    async with (
        grpc.aio.insecure_channel(target, options=again) as channel,
        grpc.aio.insecure_channel(target, options=once) as other,
    ):
        yield Upstream(name=name, services=services, channel=channel, once=other)


async def check_ready(upstreams: Sequence[Upstream]) -> None:
    """Raises Unavailable (NOT_READY) that names every service that can not be used."""
    found = await asyncio.gather(*(each.problem() for each in upstreams))
    problems = {each.name: why for each, why in zip(upstreams, found, strict=True) if why is not None}
    if problems:
        words = ", ".join(f"{name} {why}" for name, why in problems.items())
        raise Unavailable(f"Not ready: {words}.", reason="NOT_READY", metadata=problems, retry_after=1.0)


def is_repeatable(request: Message) -> bool:
    """Whether every write that a request asks for carries an idempotency key of its caller; reads need none, and are
    tried again over either channel.
    """
    asked: list[Any] = [request, *_parts(request)]
    keyed = [part for part in asked if _KEY in part.DESCRIPTOR.fields_by_name]
    return bool(keyed) and all(getattr(part, _KEY) for part in keyed)


def _parts(request: Message) -> list[Any]:
    """The message, or messages, inside a request."""
    known = request.DESCRIPTOR.fields_by_name
    one = [request.message] if "message" in known and request.HasField("message") else []  # type: ignore[attr-defined]
    return [*one, *(request.messages if "messages" in known else ())]  # type: ignore[attr-defined]


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _deserializer(response: type[Message]) -> Callable[[bytes], Message]:
    return response.FromString
