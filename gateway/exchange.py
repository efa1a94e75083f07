"""One HTTP request and its answer over ASGI: bodies within limits, callers that go away, answers in pieces. It knows no
route.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from gateway import errors
from gateway.headers import ALWAYS
from services.chassis.admission import overloaded
from services.chassis.errors import InvalidArgument

BODY_SECONDS = 60.0
LINGER_SECONDS = 2.0
LINGER_BYTES = 8 * 1024 * 1024
MAX_QUERY_PARAMETERS = 200

T = TypeVar("T")


class ClientGone(Exception):
    """The caller closed the connection; nobody is left to answer."""


class BodyBudget:
    """Bytes of bodies in memory over all requests; over `limit` a request is shed rather than the process lost."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    def take(self, size: int) -> None:
        """Counts `size` more bytes, or raises ResourceExhausted (OVERLOADED)."""
        if self._used + size > self._limit:
            raise overloaded("Too many large bodies at once; try again.")
        self._used += size

    def give_back(self, size: int) -> None:
        """Those bytes are free again."""
        self._used -= size

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """`size` bytes for as long as the block."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)


class Exchange:
    """A request as its handler sees it. One answer at most: `status` is its status, 0 before; `route` is for logs."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.path = _origin_form(scope["raw_path"].decode("ascii", "replace"))
        self.status = 0
        self.route = ""
        self._body_read = not self.has_body

    @property
    def scheme(self) -> str:
        """`http` or `https`, as this process was called."""
        return str(self._scope["scheme"])

    @property
    def target(self) -> str:
        """The path and query as they were sent, nothing decoded."""
        query = self._scope["query_string"].decode("ascii", "replace")
        return f"{self.path}?{query}" if query else self.path

    @property
    def has_body(self) -> bool:
        """Whether the request announces a body that is not empty."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0").strip("0") != ""

    @property
    def media(self) -> str:
        """The body's type without parameters, such as `text/html`; JSON where none is said."""
        return self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()

    def query(self) -> list[tuple[str, str]]:
        """The query parameters in order; InvalidArgument when they can not be read."""
        raw = self._scope["query_string"].decode("ascii", "replace")
        try:
            return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PARAMETERS)
        except UnicodeDecodeError:
            raise InvalidArgument("The query is not UTF-8.") from None
        except ValueError:
            raise InvalidArgument(f"The query has more than {MAX_QUERY_PARAMETERS} parameters.") from None

    @asynccontextmanager
    async def json_body(
        self, limit: int, budget: BodyBudget, seconds: float = BODY_SECONDS, *, texts: Collection[str] = ()
    ) -> AsyncIterator[bytes]:
        """The JSON body, or one of the types in `texts`; b"" for none. Refused before it is read where its headers
        suffice, and in its middle otherwise.
        """
        self._check_length()
        if self.has_body:
            _check_content_type(self.headers, ("application/json", *texts))
        async with self.body(limit, budget, seconds) as body:
            yield body

    @asynccontextmanager
    async def body(self, limit: int, budget: BodyBudget, seconds: float = BODY_SECONDS) -> AsyncIterator[bytes]:
        """The body as it came, whatever its type, b"" for none; within the same limits."""
        self._check_length()
        if int(self.headers.get("content-length", "0")) > limit:
            raise errors.too_large(limit)
        taken = 0
        try:
            body = bytearray()
            async for piece in self._pieces(seconds):
                if taken + len(piece) > limit:
                    raise errors.too_large(limit)
                budget.take(len(piece))
                taken += len(piece)
                body += piece
            yield bytes(body)
        finally:
            budget.give_back(taken)

    def _check_length(self) -> None:
        if "transfer-encoding" in self.headers and "content-length" in self.headers:
            raise errors.ambiguous_length()

    async def or_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` answers; when the caller goes away first, `work` is cancelled and ClientGone raised."""
        async with self.watching() as gone:
            task = asyncio.ensure_future(work)
            try:
                await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    raise ClientGone
                return task.result()
            finally:
                task.cancel()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["asyncio.Task[None]"]:
        """A task that is done when the caller has gone away; only after the body was read."""
        gone = asyncio.create_task(self._wait_gone())
        try:
            yield gone
        finally:
            gone.cancel()

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """The whole answer. A body that was not read is skipped for a moment, so that the caller can read why."""
        if self._body_read:
            await self.start(status, {**headers, "content-length": str(len(body))})
            await self._send({"type": "http.response.body", "body": body})
            return
        await self.start(status, {**headers, "content-length": str(len(body)), "connection": "close"})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        await self._linger()
        await self._send({"type": "http.response.body", "body": b""})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of an answer whose body comes in pieces."""
        self.status = status
        pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in {**ALWAYS, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, piece: bytes) -> None:
        """One piece of the body; waits while the caller reads slowly."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self) -> None:
        """The end of the body."""
        await self._send({"type": "http.response.body", "body": b""})

    async def _pieces(self, seconds: float) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(seconds):
                while not self._body_read:
                    message = await self._next()
                    self._body_read = not message.get("more_body", False)
                    yield message.get("body", b"")
        except TimeoutError:
            raise errors.body_too_slow(seconds) from None

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    async def _wait_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _linger(self) -> None:
        # Closing on a caller that still writes resets the connection, and the reset can overtake the answer.
        skipped = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._body_read and skipped < LINGER_BYTES:
                    message = await self._next()
                    skipped += len(message.get("body", b""))
                    self._body_read = not message.get("more_body", False)
        except (TimeoutError, ClientGone):
            return


def _origin_form(target: str) -> str:
    # A server must take the absolute form too (RFC 9112 §3.2.2).
    return target if target.startswith("/") else urlsplit(target).path


def _check_content_type(headers: Headers, taken: Sequence[str]) -> None:
    given = headers.get("content-type", "")
    kind, _, rest = given.lower().partition(";")
    charset = rest.strip().removeprefix("charset=").strip('"')
    if kind.strip() not in taken or charset not in ("", "utf-8"):
        raise errors.wrong_content_type(given, taken)
    coding = headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise errors.wrong_content_type(f"Content-Encoding: {coding}", taken)
