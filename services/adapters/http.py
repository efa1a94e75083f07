"""The template of HTTP kinds: deadline, exceptions, Retry-After, redaction, size cap, logging. Not a vendor: those
write `build` and `read`.
"""

import asyncio
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast

import httpx

from services.adapters.base import Call, EmailContent, ProviderSpec, SmsContent
from services.adapters.egress import REFUSED_TEXT, EgressDenied
from services.adapters.identity import Identity, NotSigned, not_sent
from services.adapters.mime import check_headers
from services.adapters.outcome import Outcome, Reason, Result, Verdict
from services.adapters.redaction import cleaned, redact, secret_values
from services.chassis.log import get_logger

MAX_ANSWER_BYTES = 64 * 1024
LARGE_BYTES = 256 * 1024
MAX_RETRY_AFTER = 24 * 3600.0
CONNECT_SECONDS = 5.0
USER_AGENT = "messagepipe"
NOT_CALLED = "The provider was not called"

# providers.md §0.2. Looked up along the exception's classes, most particular first; a test walks every public httpx
# exception.
EXCEPTIONS: dict[type[Exception], Verdict] = {
    httpx.ConnectTimeout: Verdict(Outcome.DEFERRED, Reason.CONNECT_TIMEOUT),
    httpx.PoolTimeout: Verdict(Outcome.DEFERRED, Reason.CONNECT_TIMEOUT),
    httpx.ConnectError: Verdict(Outcome.DEFERRED, Reason.CONNECT_FAILED),
    httpx.ProxyError: Verdict(Outcome.DEFERRED, Reason.CONNECT_FAILED),
    httpx.UnsupportedProtocol: Verdict(Outcome.DEFERRED, Reason.CONNECT_FAILED),
    httpx.LocalProtocolError: Verdict(Outcome.DEFERRED, Reason.CONNECT_FAILED),
    httpx.InvalidURL: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    httpx.WriteTimeout: Verdict(Outcome.UNKNOWN, Reason.TIMEOUT),
    httpx.ReadTimeout: Verdict(Outcome.UNKNOWN, Reason.TIMEOUT),
    httpx.TimeoutException: Verdict(Outcome.UNKNOWN, Reason.TIMEOUT),
    httpx.WriteError: Verdict(Outcome.UNKNOWN, Reason.CONNECTION_LOST),
    httpx.ReadError: Verdict(Outcome.UNKNOWN, Reason.CONNECTION_LOST),
    httpx.CloseError: Verdict(Outcome.UNKNOWN, Reason.CONNECTION_LOST),
    httpx.RemoteProtocolError: Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER),
    httpx.DecodingError: Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER),
    httpx.NetworkError: Verdict(Outcome.UNKNOWN, Reason.CONNECTION_LOST),
    httpx.ProtocolError: Verdict(Outcome.UNKNOWN, Reason.UNREADABLE_ANSWER),
    httpx.TransportError: Verdict(Outcome.UNKNOWN, Reason.CONNECTION_LOST),
    httpx.HTTPError: Verdict(Outcome.UNKNOWN, Reason.UNEXPECTED),
}

STATUSES: dict[int, Verdict] = {
    401: Verdict(Outcome.DENIED, Reason.CREDENTIALS),
    402: Verdict(Outcome.DENIED, Reason.OUT_OF_CREDIT),
    403: Verdict(Outcome.DENIED, Reason.PERMISSION),
    404: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    405: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    406: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    408: Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE),
    410: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    413: Verdict(Outcome.UNFIT, Reason.TOO_LARGE),
    415: Verdict(Outcome.DENIED, Reason.MISCONFIGURED),
    421: Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE),
    425: Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE),
    429: Verdict(Outcome.DEFERRED, Reason.RATE_LIMITED),
    503: Verdict(Outcome.DEFERRED, Reason.UNAVAILABLE),
}


class Now(Protocol):
    """What an adapter needs of a clock."""

    def now(self) -> datetime:
        """The time of day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpKind:
    """One vendor: what it is, how a call becomes a POST (or a refusal on the spot), and what its answer means. Both
    functions are pure.
    """

    spec: ProviderSpec
    build: Callable[[Call], httpx.Request | Result]
    read: Callable[[httpx.Response, Call], Result]


class HttpAdapter:
    """An adapter made of a vendor's two functions and a transport; safe for any number of concurrent sends."""

    def __init__(
        self,
        kind: HttpKind,
        transport: httpx.AsyncBaseTransport,
        clock: Now,
        identity: Identity | None = None,
    ) -> None:
        self._kind, self._transport, self._clock, self._identity = kind, transport, clock, identity
        self._log = get_logger()

    @property
    def spec(self) -> ProviderSpec:
        return self._kind.spec

    async def close(self) -> None:
        await self._transport.aclose()

    async def send(self, call: Call) -> Result:
        secrets = secret_values(self.spec, call.config)
        status = 0
        try:
            given = call.config
            if self._identity is not None:
                call = await self._signable(call, self._identity)
                secrets = (*secrets, *secret_values(self.spec, call.config))
            large = is_large(call.content)
            request = await asyncio.to_thread(_built, self._kind, call) if large else _built(self._kind, call)
            if isinstance(request, Result):
                return cleaned(request, secrets)
            response = await exchange(self._transport, request, call.timeout)
            status = response.status_code
            result = self._kind.read(response, call)
            if result.outcome is Outcome.DEFERRED and result.retry_after is None:
                result = replace(result, retry_after=retry_after(response, self._clock.now()))
            if result.reason == Reason.CREDENTIALS and self._identity is not None:
                result = self._identity.refused(given, result)
        except Exception as error:  # noqa: BLE001 - an adapter never raises: whatever nobody knows is an outcome too
            result = self._failed(error, call, secrets)
        result = cleaned(result, secrets)
        # The attempt's own line tells the outcome (delivery.py); this one is for whoever looks into a provider.
        self._log.debug(
            "provider_answered",
            kind=self.spec.kind,
            provider_id=call.provider_id,
            message_id=call.message_id,
            attempt=call.attempt,
            http_status=status,
            outcome=str(result.outcome),
            reason=str(result.reason),
        )
        return result

    async def _signable(self, call: Call, identity: Identity) -> Call:
        """The call with what it is signed with, and with the time that is left of it."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + call.timeout

        async def ask(request: httpx.Request) -> httpx.Response:
            return await exchange(self._transport, prepared(request), ends - loop.time())

        try:
            async with asyncio.timeout_at(ends):
                config = await identity.resolve(call.config, ask)
        except (httpx.HTTPError, EgressDenied) as error:
            raise NotSigned(not_sent(self._failed(error, call, ()), NOT_CALLED)) from error
        except TimeoutError as error:
            late = Result(outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT, provider_text="no keys in time")
            raise NotSigned(not_sent(late, NOT_CALLED)) from error
        return replace(call, config=config, timeout=max(ends - loop.time(), 0.001))

    def _failed(self, error: Exception, call: Call, secrets: tuple[str, ...]) -> Result:
        if isinstance(error, NotSigned):
            return error.result
        if isinstance(error, EgressDenied):
            return Result(outcome=Outcome.DENIED, reason=Reason.EGRESS_REFUSED, provider_text=REFUSED_TEXT)
        verdict = verdict_of(error)
        if verdict is not None:
            return Result(
                outcome=verdict.outcome, reason=verdict.reason, provider_text=f"{type(error).__name__}: {error}"
            )
        return unexpected(error, call, secrets, self._log)


async def exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request, timeout: float) -> httpx.Response:
    """Send once and read at most MAX_ANSWER_BYTES; when the status is known, a body that breaks off is kept as far as
    it came. Raises what the transport raises.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout
    request.extensions["timeout"] = {"connect": min(CONNECT_SECONDS, timeout), "read": timeout, "total": timeout}
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        async with asyncio.timeout_at(ends):
            async for chunk in cast(httpx.AsyncByteStream, response.stream):
                body += chunk
                if len(body) >= MAX_ANSWER_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status line has arrived and decides; `read` is told to live with half a body
    finally:
        await response.aclose()
    # No content-encoding: we asked for none, and a compressed answer is not worth a decompression bomb.
    headers = [(k, v) for k, v in response.headers.raw if k.lower() not in (b"content-encoding", b"transfer-encoding")]
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(body[:MAX_ANSWER_BYTES]), request=request
    )


def prepared(request: httpx.Request) -> httpx.Request:
    """The request as all of ours go out: body read, no compressed answers, our name on it."""
    request.read()
    request.headers["accept-encoding"] = "identity"
    request.headers.setdefault("user-agent", USER_AGENT)
    return request


def _built(kind: HttpKind, call: Call) -> httpx.Request | Result:
    try:
        if isinstance(call.content, EmailContent):
            check_headers(call.content)
        request = kind.build(call)
    except ValueError as error:
        # Nothing was sent: what a header or address cannot carry is this message's fault here, not the provider's.
        return Result(
            outcome=Outcome.UNFIT,
            reason=Reason.REQUEST_REFUSED,
            provider_text=f"The request could not be built: {error}",
        )
    if isinstance(request, Result):
        return request
    if request.method != "POST":
        raise AssertionError("an adapter may only POST: aiohttp sends idempotent methods again by itself")
    return prepared(request)


def is_large(content: EmailContent | SmsContent) -> bool:
    """Whether encoding this content takes so long that it belongs into a thread: about 50 ms per megabyte."""
    return isinstance(content, EmailContent) and sum(len(part.content) for part in content.attachments) > LARGE_BYTES


def verdict_of(error: Exception) -> Verdict | None:
    """What a transport's exception means, by the nearest of its classes in EXCEPTIONS; None when nobody knows it."""
    return next((EXCEPTIONS[kind] for kind in type(error).__mro__ if kind in EXCEPTIONS), None)


def by_status(status: int) -> Verdict:
    """What an HTTP status means when the vendor's own code says nothing more (providers.md §0.2)."""
    if status in STATUSES:
        return STATUSES[status]
    if 200 <= status < 300:
        return Verdict(Outcome.ACCEPTED, Reason.ACCEPTED)
    if 300 <= status < 400:
        return Verdict(Outcome.DENIED, Reason.MISCONFIGURED)  # never followed: it would carry credentials elsewhere
    if 400 <= status < 500:
        return Verdict(Outcome.UNFIT, Reason.REQUEST_REFUSED)
    return Verdict(Outcome.UNKNOWN, Reason.SERVER_ERROR)


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; empty when the body is none, so that a vendor's reader needs no try."""
    try:
        value = response.json()
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def retry_after(response: httpx.Response, now: datetime) -> float | None:
    """Seconds to wait by Retry-After (seconds or HTTP date, RFC 9110 §10.2.3), else on a 429 by X-RateLimit-Reset
    (Unix time); at most 24 h.
    """
    raw = response.headers.get("retry-after", "").strip()
    seconds = _seconds(raw)
    if seconds is None and raw:
        try:
            when = parsedate_to_datetime(raw)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError):
            seconds = None
    if seconds is None and response.status_code == 429:
        reset = _seconds(response.headers.get("x-ratelimit-reset", "").strip())
        # Some send the seconds left instead of the time of day.
        seconds = None if reset is None else reset - now.timestamp() if reset > 10**9 else reset
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text, re.ASCII) else None


def unexpected(error: Exception, call: Call, secrets: tuple[str, ...], log: Any) -> Result:
    """What an exception nobody knows becomes: UNKNOWN, told to the operators with its redacted trace."""
    log.error(
        "adapter_failed_unexpectedly",
        provider_id=call.provider_id,
        message_id=call.message_id,
        attempt=call.attempt,
        trace=redact("".join(traceback.format_exception(error)), secrets),
    )
    return Result(outcome=Outcome.UNKNOWN, reason=Reason.UNEXPECTED, provider_text=type(error).__name__)
