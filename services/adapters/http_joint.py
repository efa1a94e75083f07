"""The template of HTTP kinds whose API takes several messages of one content in one request. Not who goes together:
that is joint.py.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import httpx

from services.adapters.base import Call, EmailContent
from services.adapters.http import HttpAdapter, HttpKind, Now, exchange, is_large, prepared, retry_after
from services.adapters.identity import Identity
from services.adapters.mime import check_headers
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.redaction import cleaned, secret_values

# Refusals that hold for every message of a request, whoever it is to; any other may be about one of them, or about
# requests for many.
FOR_ALL = frozenset(
    {
        Reason.CREDENTIALS,
        Reason.OUT_OF_CREDIT,
        Reason.QUOTA_EXCEEDED,
        Reason.SENDER_REFUSED,
        Reason.MISCONFIGURED,
        Reason.CLOCK_SKEW,
        Reason.EGRESS_REFUSED,
    }
)

# For how long a provider that was told that it may not send many at a time is not asked to.
FORBIDDEN = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """How one vendor takes several messages of one content: how many, whom a call goes to ("": it has to go alone), the
    POST for all of them, and what its answer means for each. All three functions are pure.
    """

    most: int
    joinable: Callable[[Call], str]
    build: Callable[[Sequence[Call]], httpx.Request | Result]
    read: Callable[[httpx.Response, Sequence[Call]], Sequence[Result | None]]


class JointHttpAdapter(HttpAdapter):
    """An HttpAdapter whose vendor takes many messages in one request too."""

    def __init__(
        self,
        kind: HttpKind,
        joint: Joint,
        transport: httpx.AsyncBaseTransport,
        clock: Now,
        identity: Identity | None = None,
    ) -> None:
        super().__init__(kind, transport, clock, identity)
        self._joint = joint
        self._forbidden: dict[str, tuple[int, datetime]] = {}  # by provider: under which settings, until when

    @property
    def most_together(self) -> int:
        return self._joint.most

    def joinable(self, call: Call) -> str:
        version, until = self._forbidden.get(call.provider_id, (0, None))
        if until and version == call.config_version and self._clock.now() < until:
            return ""
        try:
            if isinstance(call.content, EmailContent):
                check_headers(call.content)
            return self._joint.joinable(call)
        except ValueError:
            return ""  # alone it becomes the outcome that says why

    async def send_together(self, calls: Sequence[Call]) -> Sequence[Result | None]:
        first, secrets = calls[0], secret_values(self.spec, calls[0].config)
        try:
            if self._identity is not None:
                signable = await self._signable(first, self._identity)
                secrets = (*secrets, *secret_values(self.spec, signable.config))
                calls = [replace(call, config=signable.config, timeout=signable.timeout) for call in calls]
            results = await self._exchanged(calls)
            if self._identity is not None and results[0] and results[0].reason == Reason.CREDENTIALS:
                results = [self._identity.refused(first.config, results[0])] * len(calls)
        except Exception as error:  # noqa: BLE001 - as in `send`: whatever nobody knows is an outcome too
            results = [self._failed(error, first, secrets)] * len(calls)
        self._log.debug(
            "provider_answered_together",
            kind=self.spec.kind,
            provider_id=first.provider_id,
            messages=len(calls),
            outcome=str(results[0].outcome) if results[0] else "",
        )
        return [result and cleaned(result, secrets) for result in results]

    async def _exchanged(self, calls: Sequence[Call]) -> Sequence[Result | None]:
        large = is_large(calls[0].content)
        request = await asyncio.to_thread(self._joint.build, calls) if large else self._joint.build(calls)
        if isinstance(request, Result):
            return [None] * len(calls)
        response = await exchange(self._transport, prepared(request), min(call.timeout for call in calls))
        now = self._clock.now()
        if not response.is_success and self._kind.read(response, calls[0]).reason == Reason.PERMISSION:
            self._forbidden[calls[0].provider_id] = (calls[0].config_version, now + FORBIDDEN)
        wait = retry_after(response, now)
        return [
            replace(result, retry_after=wait)
            if result and result.outcome is Outcome.DEFERRED and result.retry_after is None
            else result
            for result in self._joint.read(response, calls)
        ]


def same_for_each(result: Result, count: int, for_all: frozenset[Reason] = FOR_ALL) -> Sequence[Result | None]:
    """What one answer about all of `count` messages means for each; refusals but those `for_all` are tried alone.

    An id that they share is no id of any: with its number behind it, it can not be taken for another's by whoever
    matches receipts, and still be looked up at the vendor's.
    """
    if result.outcome is Outcome.ACCEPTED and result.provider_message_id:
        reference = result.provider_message_id
        return [replace(result, provider_message_id=f"{reference}#{number}") for number in range(1, count + 1)]
    refused = result.outcome in (Outcome.INVALID, Outcome.UNFIT, Outcome.DENIED)
    return [None if refused and result.reason not in for_all else result] * count
