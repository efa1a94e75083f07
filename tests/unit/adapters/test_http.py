"""The HTTP template's pure parts, and the template over a transport handed in."""

import inspect
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import structlog

from services.adapters.base import Call, Channel, ProviderSpec, SmsContent
from services.adapters.http import (
    EXCEPTIONS,
    HttpAdapter,
    HttpKind,
    by_status,
    json_object,
    retry_after,
    verdict_of,
)
from services.adapters.outcome import Outcome, Reason, Result

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Not of one exchange: httpx raises these for a client, a cookie jar or a stream used wrongly.
NOT_FROM_A_TRANSPORT = {
    "CookieConflict",
    "HTTPStatusError",
    "StreamError",
    "StreamConsumed",
    "StreamClosed",
    "ResponseNotRead",
    "RequestNotRead",
}


def every_public_exception() -> list[type[Exception]]:
    """All exceptions httpx names that one exchange may raise."""
    found = [value for value in vars(httpx).values() if inspect.isclass(value) and issubclass(value, Exception)]
    return [error for error in found if error.__name__ not in NOT_FROM_A_TRANSPORT]


@pytest.mark.parametrize("error", every_public_exception(), ids=lambda error: error.__name__)
def test_every_exception_has_an_outcome(error: type[Exception]) -> None:
    """Every exception a transport may raise has an outcome, and connecting ones alone are deferred."""
    verdict = verdict_of(error("x"))
    assert verdict is not None
    nothing_sent = {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "LocalProtocolError",
    }
    assert (verdict.outcome is Outcome.DEFERRED) is (error.__name__ in nothing_sent)


def test_only_known_exceptions_are_listed() -> None:
    """The table holds nothing httpx does not have."""
    assert set(EXCEPTIONS) <= {value for value in vars(httpx).values() if inspect.isclass(value)}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.ACCEPTED), (202, Outcome.ACCEPTED), (301, Outcome.DENIED), (400, Outcome.UNFIT),
        (401, Outcome.DENIED),
        (402, Outcome.DENIED), (403, Outcome.DENIED), (404, Outcome.DENIED), (408, Outcome.DEFERRED),
        (413, Outcome.UNFIT),
        (422, Outcome.UNFIT), (425, Outcome.DEFERRED), (429, Outcome.DEFERRED), (500, Outcome.UNKNOWN),
        (501, Outcome.UNKNOWN),
        (502, Outcome.UNKNOWN), (503, Outcome.DEFERRED), (504, Outcome.UNKNOWN), (520, Outcome.UNKNOWN),
        (999, Outcome.UNKNOWN),
    ],
)  # fmt: skip
def test_default_by_status(status: int, outcome: Outcome) -> None:
    """A status alone decides as providers.md §0.2 says."""
    assert by_status(status).outcome is outcome


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "120"}, 120),
        (503, {"retry-after": "1.5"}, 1.5),
        (429, {"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60),
        (429, {"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0),
        (429, {"retry-after": "-5"}, None),
        (429, {"retry-after": "soon"}, None),
        (429, {"retry-after": "999999999"}, 86400),
        (429, {"retry-after": "٣"}, None),
        (429, {"x-ratelimit-reset": "1767225690"}, 90),
        (429, {"x-ratelimit-reset": "30"}, 30),
        (503, {"x-ratelimit-reset": "30"}, None),
        (429, {"retry-after": "7", "x-ratelimit-reset": "30"}, 7),
        (429, {}, None),
    ],
)
def test_retry_after(status: int, headers: dict[str, str], seconds: float | None) -> None:
    """The delay is read from each form a provider may use; nonsense is no delay."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert retry_after(httpx.Response(status, headers=encoded), NOW) == seconds


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_json_object_of_anything(body: bytes) -> None:
    """What is no JSON object is an empty one."""
    assert json_object(httpx.Response(200, content=body)) == {}


class Frozen:
    """A clock that stands still."""

    def now(self) -> datetime:
        """The same time always."""
        return NOW


SPEC = ProviderSpec(
    kind="k",
    channel=Channel.SMS,
    title="",
    description="",
    documentation_url="",
    config_schema={"properties": {"key": {"writeOnly": True}, "auth": {"properties": {"pass": {"writeOnly": True}}}}},
)


def an_adapter(*, build: Any = None, read: Any = None, handle: Any = None) -> HttpAdapter:
    """The template with these parts; the others behave."""
    kind = HttpKind(
        spec=SPEC,
        build=build or (lambda call: httpx.Request("POST", "http://vendor.test/send", json={})),
        read=read or (lambda response, call: Result(outcome=Outcome.ACCEPTED, reason="ACCEPTED")),
    )
    return HttpAdapter(kind, httpx.MockTransport(handle or (lambda request: httpx.Response(200))), Frozen())


CALL = Call(
    message_id="m1",
    attempt=1,
    content=SmsContent(to="+14155550100", text="hello"),
    config={"key": "sekrit"},
    provider_id="p1",
    config_version=1,
    timeout=1,
    time_left=60,
)


def explode(*_: object) -> Any:
    """Fail in a way nobody foresaw, with a secret in the words."""
    raise KeyError("sekrit")


@pytest.mark.parametrize("broken", [{"build": explode}, {"read": explode}, {"handle": explode}])
async def test_nothing_escapes(broken: dict[str, Any]) -> None:
    """An exception nobody knows becomes UNKNOWN/UNEXPECTED and is logged with a redacted trace (failover.md X11)."""
    with structlog.testing.capture_logs() as logs:
        result = await an_adapter(**broken).send(CALL)
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, Reason.UNEXPECTED)
    (entry,) = [entry for entry in logs if entry["event"] == "adapter_failed_unexpectedly"]
    assert "Traceback" in entry["trace"]
    assert "sekrit" not in repr(logs)


async def test_refusal_on_the_spot() -> None:
    """A vendor may refuse before anything is sent."""
    refusal = Result(outcome=Outcome.UNFIT, reason=Reason.TOO_LARGE)
    assert await an_adapter(build=lambda call: refusal, handle=explode).send(CALL) == refusal


async def test_only_post() -> None:
    """A request that the transport might repeat by itself is never sent."""
    result = await an_adapter(build=lambda call: httpx.Request("PUT", "http://vendor.test"), handle=explode).send(CALL)
    assert result.reason == Reason.UNEXPECTED


async def test_time_limits_are_passed_on() -> None:
    """The transport is told the call's limits: connecting gets at most five seconds."""
    seen: list[dict[str, float]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200)

    await an_adapter(handle=handle).send(CALL)
    assert seen == [{"connect": 1, "read": 1, "total": 1}]
