"""What a call is signed with, where the settings alone do not say it: the seam. How AWS does it is aws_identity.py."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import httpx

from services.adapters.outcome import Outcome, Reason, Result

Ask = Callable[[httpx.Request], Awaitable[httpx.Response]]


class NotSigned(Exception):
    """There is nothing to sign with, so nothing was sent; `result` says why."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.provider_text)
        self.result = result


class Identity(Protocol):
    """Finds what a provider's calls are signed with; safe for any number of concurrent calls."""

    async def resolve(self, config: Mapping[str, Any], ask: Ask) -> Mapping[str, Any]:
        """The settings with everything a request needs. Raises NotSigned, and what `ask` raises."""

    def refused(self, config: Mapping[str, Any], result: Result) -> Result:
        """What a refusal of the credentials means, now that the kept ones for these settings are forgotten."""


def not_sent(result: Result, words: str) -> Result:
    """What failed before the provider was called, told as such: nothing about the message is unknown then."""
    told = replace(result, provider_text=f"{words}: {result.provider_text}", provider_message_id="")
    match result.outcome:
        case Outcome.DENIED | Outcome.DEFERRED:
            return told
        case Outcome.UNFIT | Outcome.INVALID:
            return replace(told, outcome=Outcome.DENIED, reason=Reason.MISCONFIGURED)
        case _:
            return replace(told, outcome=Outcome.DEFERRED, reason=Reason.UNAVAILABLE)
