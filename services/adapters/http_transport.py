"""The transport of HTTP kinds: aiohttp behind httpx's interface, telling the truth about how far a call came. Not a
client: no cookies, proxies, redirects.

httpx-aiohttp's own mapping cannot be used for that: it calls a connection dropped *after* the request was written
`ConnectTimeout`, which would turn a possible duplicate into a safe retry
(tests/integration/adapters/test_http_transport.py).
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from services.adapters.call_watch import watched
from services.adapters.egress import Egress, EgressDenied, Progress, current_progress, tls_context

IDLE_SECONDS = (
    15.0  # before a provider drops it: a reset on a stale connection would count as unknown (design decision 5)
)
MAX_CONNECTIONS = 256
CHUNK = 256 * 1024


def build_transport(egress: Egress, *, name_threads: int = 0) -> httpx.AsyncBaseTransport:
    """A transport whose every socket was checked against `egress` at connect time; close it with aclose(). Names are
    looked up in as many threads of its own, with 0 in those that the whole process shares.
    """
    return TruthfulTransport(egress, Names(name_threads) if name_threads else None)


class Names(AbstractResolver):
    """Looks names up in threads of its own: who makes them slow on purpose keeps nobody outside waiting."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=its, proto=proto, flags=numeric)
            for its, _, proto, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class TruthfulTransport(httpx.AsyncBaseTransport):
    """Sends a request at most once. Connect* errors mean nothing was written; Read* and RemoteProtocolError mean it
    may have been.

    Obeys `extensions["timeout"]`: connect (name look-up, connection and TLS), read (between bytes) and total, in
    seconds.
    """

    def __init__(self, egress: Egress, names: Names | None = None) -> None:
        self._inner = AiohttpTransport(verify=tls_context(), client=lambda: _session(egress, names))
        self._names = names

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with watched(request.method, request.url.host, request.url.port) as call:
            try:
                response = await self._sent(request)
            except Exception as error:
                call.failed(type(error).__name__)
                raise
            call.answered(response.status_code)
            return response

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions.setdefault("timeout", {})
        limits["pool"] = limits.get("connect")  # aiohttp counts the name look-up there
        progress = Progress()
        token = current_progress.set(progress)
        try:
            async with asyncio.timeout(limits.get("total")):
                return await self._inner.handle_async_request(_in_chunks(request))
        except TimeoutError as error:
            raise _timed_out(progress) from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError, RuntimeError) as error:
            raise truth(error, progress) from error
        finally:
            current_progress.reset(token)

    async def aclose(self) -> None:
        await self._inner.aclose()
        if self._names is not None:
            await self._names.close()


class _Connector(aiohttp.TCPConnector):
    """Hands out no idle connection on which something was said meanwhile: the next request would take that for its
    answer, and a message that nobody has would count as accepted.
    """

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            # aiohttp asks this when a connection is put back, not when it is taken up again
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class _Chunks(httpx.AsyncByteStream):
    """A body in pieces: aiohttp writes one big `bytes` without giving anybody else a turn, and warns of it."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), CHUNK):
            yield bytes(self._body[start : start + CHUNK])


def _in_chunks(request: httpx.Request) -> httpx.Request:
    if len(request.content) <= CHUNK:
        return request
    # The content-length header stays, so that the body is not sent chunk-encoded.
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=_Chunks(request.content),
        extensions=request.extensions,
    )


def _timed_out(progress: Progress) -> httpx.TimeoutException:
    return httpx.ReadTimeout("no answer in time") if progress.written else httpx.ConnectTimeout("no connection in time")


def truth(error: Exception, progress: Progress) -> Exception:
    """The exception that says how far the call came; `error` is httpx's, as mapped by httpx-aiohttp, or aiohttp's
    own.
    """
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ is not None else error
    if not progress.written and progress.refused:
        return EgressDenied()
    if isinstance(cause, TimeoutError):
        return _timed_out(progress)
    text = str(cause) or type(cause).__name__
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return error
    if not progress.written:
        return httpx.ConnectError(text)
    if isinstance(cause, aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError(text)
    return httpx.ReadError(text)


async def _request_starts(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    progress = current_progress.get()
    if progress is not None:
        progress.written = True


def _session(egress: Egress, names: Names | None) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    # Fires before the first byte of the request is handed over: from there on only the provider knows.
    trace.on_request_headers_sent.append(_request_starts)
    connector = _Connector(
        ssl=tls_context(),
        limit=MAX_CONNECTIONS,
        keepalive_timeout=IDLE_SECONDS,
        socket_factory=egress.open_socket,
        ttl_dns_cache=30,
        resolver=names,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        trust_env=False,
        auto_decompress=False,
    )
