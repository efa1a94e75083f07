"""Stand-ins for ConfigService and DispatchService: real grpc.aio servers that answer what a test tells them and
remember what came.

They check tokens and turn errors into statuses with the chassis's own interceptor, as the real services do. They know
no rule of either service: an RPC that nobody gave an answer is UNIMPLEMENTED.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis.auth import TokenVerifier
from services.chassis.errors import Unimplemented
from services.chassis.idempotency import REPLAYED
from services.chassis.interceptors import standard_interceptors
from services.chassis.scopes import required_scope_from_options
from services.chassis.server import RunningServer, serve

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One RPC that arrived."""

    rpc: str
    request: Any
    metadata: dict[str, str]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """In a list of streamed answers: wait until the test sets `until`."""

    until: asyncio.Event


@dataclass(slots=True)
class Upstream:
    """What one stand-in answers and has been asked. An answer is a message, an error to raise, or a list of these to
    stream. The RPCs in `replays` say that they answer with what an earlier request was answered.
    """

    services: Sequence[ServiceDescriptor]
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    replays: set[str] = field(default_factory=set)
    cancelled: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    @property
    def last(self) -> Asked:
        """The newest RPC."""
        return self.asked[-1]

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the services to a server."""
        for service in self.services:
            handlers = {method.name: self._handler(method) for method in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))

    def _handler(self, method: MethodDescriptor) -> Any:
        request = GetMessageClass(method.input_type)
        codecs: dict[str, Any] = {"request_deserializer": request.FromString, "response_serializer": _serialize}
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streamer(method.name), **codecs)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streamer(method.name), **codecs)
        return grpc.unary_unary_rpc_method_handler(self._answerer(method.name), **codecs)

    def _answerer(self, rpc: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            await self._note(rpc, request, context)
            return await self._say(rpc, self.answers.get(rpc, Unimplemented(f"{rpc} has no answer here.")))

        return answer

    def _streamer(self, rpc: str) -> Any:
        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._note(rpc, request, context)
            for each in self.answers.get(rpc, [Unimplemented(f"{rpc} has no answer here.")]):
                answer = await self._say(rpc, each)
                if answer is not None:
                    yield answer

        return stream

    async def _say(self, rpc: str, answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Pause):
            try:
                await answer.until.wait()
            except asyncio.CancelledError:
                self.cancelled[rpc].set()
                raise
            return None
        return answer

    async def _note(self, rpc: str, request: Any, context: Any) -> None:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        seconds = context.time_remaining()
        self.asked.append(Asked(rpc=rpc, request=request, metadata=metadata, seconds=seconds))
        if rpc in self.replays:
            await context.send_initial_metadata(((REPLAYED, "true"),))


@asynccontextmanager
async def running_upstream(upstream: Upstream, verifier: TokenVerifier, port: int = 0) -> AsyncIterator[RunningServer]:
    """The stand-in on a port, behind the interceptors of a real service."""
    scopes = required_scope_from_options(*upstream.services)
    async with serve(
        upstream.register,
        host="127.0.0.1",
        port=port,
        names=[service.full_name for service in upstream.services],
        interceptors=standard_interceptors(verifier, scopes.get),
        max_receive_bytes=MAX_BYTES,
    ) as running:
        yield running


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
