"""A little service for these tests: one method of each shape, over plain bytes, that does what the request says."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.chassis.auth import current_principal
from services.chassis.errors import FieldViolation, InvalidArgument, NotFound, ResourceExhausted

NAME = "chassis.test.Echo"

ERRORS = {
    b"missing": NotFound("No such thing.", reason="THING_NOT_FOUND", metadata={"thingId": "t1"}),
    b"wrong": InvalidArgument(violations=[FieldViolation("a", "is required"), FieldViolation("b[2]", "is too long")]),
    b"busy": ResourceExhausted("Too much.", retry_after=2.5),
    b"huge": InvalidArgument(violations=[FieldViolation(f"items[{n}]", "is not an address") for n in range(2000)]),
}


class Echo:
    """Answers requests; remembers what its streams saw at their end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.release = asyncio.Event()
        self.many_waits = asyncio.Event()
        self.many_ended = asyncio.Event()

    async def one(self, request: bytes, context: Any) -> bytes:
        """Unary: raises, crashes, waits, aborts or answers with who asks."""
        if request in ERRORS:
            raise ERRORS[request]
        if request == b"crash":
            raise RuntimeError("no mailbox ada@example.org")
        if request == b"abort":
            await context.abort(grpc.StatusCode.ABORTED, "by hand")
        if request == b"wait":
            await self.release.wait()
        return current_principal().subject.encode() + b":" + request

    async def many(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Server streaming as a generator: three answers, then what the request says."""
        try:
            for n in range(3):
                yield current_principal().subject.encode() + b"%d" % n
            if request in ERRORS:
                raise ERRORS[request]
            if request == b"crash":
                raise RuntimeError("no mailbox ada@example.org")
            if request == b"wait":
                self.many_waits.set()
                await self.release.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        finally:
            self.ended.append("many")
            self.many_ended.set()

    async def write(self, request: bytes, context: Any) -> None:
        """Server streaming by writing to the context."""
        await context.write(b"a")
        await context.write(request)

    async def gather(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """Client streaming."""
        return b",".join([each async for each in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Both streaming."""
        async for each in requests:
            if each in ERRORS:
                raise ERRORS[each]
            yield current_principal().subject.encode() + b":" + each

    async def undeclared(self, request: bytes, context: Any) -> bytes:
        """A method nobody declared a scope for."""
        return b"never"

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the methods to a server."""
        handlers: dict[str, Any] = {
            "One": grpc.unary_unary_rpc_method_handler(self.one),
            "Many": grpc.unary_stream_rpc_method_handler(self.many),
            "Write": grpc.unary_stream_rpc_method_handler(self.write),
            "Gather": grpc.stream_unary_rpc_method_handler(self.gather),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Undeclared": grpc.unary_unary_rpc_method_handler(self.undeclared),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))


SCOPES: dict[str, str] = {f"/{NAME}/{method}": "messages:read" for method in ("One", "Many", "Write", "Gather", "Chat")}
