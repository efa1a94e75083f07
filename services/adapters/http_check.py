"""The template of credential checks over HTTP: deadline, exceptions, size cap, redaction. Not a vendor: those write one
`probe` each.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import httpx

from services.adapters.base import ProviderSpec
from services.adapters.check import CheckResult, bad, cannot_verify
from services.adapters.egress import REFUSED_TEXT, EgressDenied
from services.adapters.http import exchange, json_object, prepared
from services.adapters.identity import Ask, Identity, NotSigned
from services.adapters.outcome import Outcome
from services.adapters.redaction import MAX_TEXT, clean, redact, secret_values
from services.chassis.log import get_logger

MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is to be checked: opened settings, the project's sender or "", and the time for signatures."""

    config: Mapping[str, Any] = field(repr=False)
    sender: str = ""
    now: datetime


Probe = Callable[[Ask, Check], Awaitable[CheckResult]]


class _Now(Protocol):
    def now(self) -> datetime: ...


class HttpChecker:
    """A checker made of a vendor's probe and a transport. Unlike an adapter it may GET: asking twice does no harm."""

    def __init__(
        self,
        spec: ProviderSpec,
        probe: Probe,
        transport: httpx.AsyncBaseTransport,
        clock: _Now,
        identity: Identity | None = None,
    ) -> None:
        self._spec, self._probe, self._transport, self._clock, self._identity = spec, probe, transport, clock, identity

    async def close(self) -> None:
        await self._transport.aclose()

    async def check(self, config: Mapping[str, Any], *, timeout: float, sender: str = "") -> CheckResult:
        secrets = secret_values(self._spec, config)
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout

        async def ask(request: httpx.Request) -> httpx.Response:
            left = ends - loop.time()
            if left <= 0:
                raise httpx.ReadTimeout("no answer in time")
            return await exchange(self._transport, prepared(request), left)

        try:
            if self._identity is not None:
                config = await self._identity.resolve(config, ask)
                secrets = (*secrets, *secret_values(self._spec, config))
            found = await self._probe(ask, Check(config=config, sender=sender, now=self._clock.now()))
        except NotSigned as error:
            verdict = bad if error.result.outcome is Outcome.DENIED else cannot_verify
            found = verdict(error.result.provider_text)
        except EgressDenied:
            found = cannot_verify(REFUSED_TEXT)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            found = cannot_verify(f"The provider could not be asked: {type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - a checker never raises: what nobody knows is a verdict too
            found = failed_unexpectedly(error, self._spec.kind, secrets)
        return replace(found, message=clean(found.message, secrets, MAX_MESSAGE))


def failed_unexpectedly(error: Exception, kind: str, secrets: tuple[str, ...]) -> CheckResult:
    """What an exception nobody knows becomes: CANNOT_VERIFY, told to the operators with its redacted trace."""
    trace = redact("".join(traceback.format_exception(error)), secrets)
    get_logger().error("check_failed_unexpectedly", kind=kind, trace=trace)
    return cannot_verify(f"The check itself failed: {type(error).__name__}")


def said(response: httpx.Response, text: str = "") -> str:
    """What the provider answered, for a person: its status and its words (`text`, else the body's own)."""
    body = json_object(response)
    words = str(text or body.get("message") or response.text)[:MAX_TEXT]
    return f"HTTP {response.status_code}: {words}" if words.strip() else f"HTTP {response.status_code}"


def unclear(response: httpx.Response, text: str = "") -> CheckResult:
    """An answer that says nothing of the credentials: a busy provider, a wrong address, somebody else's page."""
    return cannot_verify(f"The answer does not tell whether the credentials are good: {said(response, text)}")


def refused(response: httpx.Response, text: str = "") -> CheckResult:
    """An answer by which the provider turns the credentials down."""
    return bad(f"The provider refuses the credentials: {said(response, text)}")
