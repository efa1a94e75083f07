"""A real local HTTP server that speaks whatever a test scripts, slow and rude on request. Not a mock: bytes go over a
socket.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self
from urllib.parse import parse_qsl

DRIP_SECONDS = 0.05


class Rude(Enum):
    """Ways not to answer."""

    HANG = "read the request and stay silent"
    CLOSE = "read the request and close"
    RESET = "read the request and reset the connection"
    RESET_EARLY = "reset after the request's head, before its body was read"
    CUT_HEAD = "close in the middle of the answer's head"
    CUT_BODY = "close in the middle of the answer's body"
    STALL_BODY = "send the head and half of the body, then stay silent"
    NO_BODY = "send the head that promises a body, then close"
    DRIP = "send the head, then the body one byte at a time, slowly"
    ENDLESS = "send the head, then the body again and again"
    GARBAGE = "answer with something that is not HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scripted answer; `rude` says how to spoil it, `delay` in seconds when."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    rude: Rude | None = None
    close: bool = False  # answer properly, then close without having said so
    raw: bytes = b""  # in place of everything else: these bytes, whatever they are

    @classmethod
    def json(cls, status: int, value: object, **more: Any) -> Self:
        """An answer with a JSON body."""
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return cls(status=status, headers=headers, body=json.dumps(value).encode(), **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Answer = Callable[[Received], Reply]


class VendorServer:
    """Listens on a port of its own. Scripted replies are given in order; after them `default`, a Reply or a function
    of the request.
    """

    def __init__(self, *, default: Reply | Answer | None = None) -> None:
        self.default: Reply | Answer = default or Reply()
        self.received: list[Received] = []
        self.connections = 0
        self.most_at_once = 0  # requests that were read and not answered
        self._answering = 0
        self._script: deque[Reply] = deque()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._talks: set[asyncio.Task[None]] = set()

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these."""
        self._script.extend(replies)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The address to point settings at."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen; the port is known afterwards."""
        self._server = await asyncio.start_server(self._begin, host, port)

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        self.drop_connections()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._server.wait_closed()

    def interject(self, reply: Reply) -> None:
        """Answer on every open connection, though nobody has asked."""
        for writer in self._writers:
            writer.write(_head(reply).encode("latin-1") + reply.body)

    def drop_connections(self) -> None:
        """Close what is open, idle connections too."""
        for writer in list(self._writers):
            writer.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio's own would complain of being cancelled while it answers slowly.
        talk = asyncio.create_task(self._serve(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the client went away: its right
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = line.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        early = self._script[0].rude if self._script else None
        if early is Rude.RESET_EARLY:
            self._script.popleft()
            _reset(writer)
            return False
        received = Received(method=method, path=path, headers=headers, body=await _body(reader, headers))
        self.received.append(received)
        reply = self._script.popleft() if self._script else self.default
        if not isinstance(reply, Reply):
            reply = reply(received)
        self._answering += 1
        self.most_at_once = max(self.most_at_once, self._answering)
        try:
            return await _answer(reader, writer, reply)
        finally:
            self._answering -= 1


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: Reply) -> bool:
    await asyncio.sleep(reply.delay)
    if reply.raw:
        writer.write(reply.raw)
        await writer.drain()
        return not reply.close
    head = _head(reply).encode("latin-1")
    match reply.rude:
        case Rude.HANG:
            await reader.read()  # until the client gives up
        case Rude.RESET:
            _reset(writer)
        case Rude.CUT_HEAD:
            writer.write(head[: len(head) // 2])
        case Rude.GARBAGE:
            writer.write(b"\x16\x03\x01 I am not HTTP at all\r\n\r\n")
        case Rude.CLOSE | Rude.RESET_EARLY:
            pass
        case None:
            writer.write(head + reply.body)
            await writer.drain()
            return not reply.close
        case spoilt:
            writer.write(head)
            await _spoil(reader, writer, spoilt, reply.body)
    return False


def _head(reply: Reply) -> str:
    endless = reply.rude is Rude.ENDLESS
    framing = {"transfer-encoding": "chunked"} if endless else {"content-length": str(len(reply.body))}
    lines = [f"{name}: {value}\r\n" for name, value in {**framing, **reply.headers}.items()]
    return f"HTTP/1.1 {reply.status} Scripted\r\n{''.join(lines)}\r\n"


async def _spoil(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude, body: bytes) -> None:
    """The body of an answer whose head was proper; what never ends does when the client goes away."""
    match rude:
        case Rude.CUT_BODY:
            writer.write(body[: len(body) // 2])
        case Rude.STALL_BODY:
            writer.write(body[: len(body) // 2])
            await reader.read()
        case Rude.DRIP:
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(DRIP_SECONDS)
        case Rude.ENDLESS:
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(body), body))
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@contextlib.asynccontextmanager
async def refusing_port() -> AsyncIterator[int]:
    """A port on which nobody listens: it was free a moment ago."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    yield port
