"""What this machine manages without any durability: four bare loops, in a process of their own. The client stack is the
one of our adapters; nothing is stored, checked or decided.

(a) unary gRPC in, one HTTP call out · (b) the HTTP client stack alone · (c) aiohttp alone · (d) aiosmtplib on kept
connections.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiohttp
import aiosmtplib
import grpc
import httpx
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from bench.agent import serve
from bench.content import SENDER, TEXT, provider_request
from bench.load import closed
from services.adapters.egress import Egress, parse_networks
from services.adapters.http import exchange, prepared
from services.adapters.http_transport import MAX_CONNECTIONS, build_transport

TIMEOUT = 30.0
PATH = "/v3/mail/send"
HEADERS = {"authorization": "Bearer SG.test", "content-type": "application/json"}


class HttpStack:
    """The client stack of our adapters, with nothing above it."""

    def __init__(self, port: int) -> None:
        self._transport = build_transport(Egress(allow=parse_networks(("127.0.0.0/8",))))
        self._url = f"http://127.0.0.1:{port}{PATH}"
        self._body = provider_request()

    async def post(self) -> int:
        """One request out and its answer in."""
        request = prepared(httpx.Request("POST", self._url, headers=HEADERS, content=self._body))
        answer = await exchange(self._transport, request, TIMEOUT)
        return int(answer.status_code < 300)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._transport.aclose()


def _relay(stack: HttpStack) -> grpc.GenericRpcHandler:
    """CreateMessage, answered when the provider has answered."""

    async def create(request: dispatch_service_pb2.CreateMessageRequest, _context: object) -> message_pb2.Message:
        await stack.post()
        return message_pb2.Message(project_id=request.message.project_id, recipient=request.message.to)

    handler = grpc.unary_unary_rpc_method_handler(
        create,
        request_deserializer=dispatch_service_pb2.CreateMessageRequest.FromString,
        response_serializer=message_pb2.Message.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("messagepipe.dispatch.v1.DispatchService", {"CreateMessage": handler})


class Limits:
    """The orders of this process."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def relay(self, port: int) -> int:
        """Limit (a): serves CreateMessage from now on, calling the provider at `port`; answers its own port."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        stack = HttpStack(port)
        server.add_generic_rpc_handlers((_relay(stack),))
        own = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._stack.push_async_callback(stack.close)
        self._stack.push_async_callback(server.stop, 0)
        return own

    async def http_stack(self, port: int, in_flight: int, seconds: float) -> Mapping[str, float]:
        """Limit (b)."""
        stack = HttpStack(port)
        try:
            return await closed(stack.post, in_flight=in_flight, seconds=seconds)
        finally:
            await stack.close()

    async def raw_aiohttp(self, port: int, in_flight: int, seconds: float) -> Mapping[str, float]:
        """Limit (c)."""
        body, url = provider_request(), f"http://127.0.0.1:{port}{PATH}"
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

            async def post() -> int:
                async with session.post(url, data=body, headers=HEADERS) as answer:
                    await answer.read()
                    return int(answer.status < 300)

            return await closed(post, in_flight=in_flight, seconds=seconds)

    async def smtp(self, port: int, in_flight: int, seconds: float) -> Mapping[str, float]:
        """Limit (d): as many connections as calls, each kept for all of its mails."""
        idle: asyncio.LifoQueue[aiosmtplib.SMTP] = asyncio.LifoQueue()
        clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) for _ in range(in_flight)]
        for client in clients:
            await client.connect()
            idle.put_nowait(client)

        async def send() -> int:
            client = idle.get_nowait()
            try:
                await client.sendmail(SENDER, ["ada@example.com"], _mail())
            finally:
                idle.put_nowait(client)
            return 1

        try:
            return await closed(send, in_flight=in_flight, seconds=seconds)
        finally:
            for client in clients:
                client.close()


def _mail() -> bytes:
    """A mail is built per message there too: it is part of any loop that sends mails."""
    mail = EmailMessage(policy=SMTP)
    mail["from"], mail["to"], mail["subject"] = SENDER, "ada@example.com", "Your parcel"
    mail["date"] = format_datetime(datetime.now(UTC))
    mail.set_content(TEXT)
    return mail.as_bytes()


def main() -> None:
    """Follow orders until stdin ends."""
    limits = Limits()
    serve(
        {"relay": limits.relay, "http_stack": limits.http_stack, "raw_aiohttp": limits.raw_aiohttp, "smtp": limits.smtp}
    )


if __name__ == "__main__":
    main()
