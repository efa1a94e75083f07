"""What a credential check is and what it can say, and a kind's way of sending without delivering. Not how a kind is
asked: that is `*_check.py` beside each kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from services.adapters.outcome import Outcome, Result


class CheckVerdict(StrEnum):
    """What a check can find. BAD only when the provider itself said no: who can not be reached is not BAD."""

    GOOD = "GOOD"
    BAD = "BAD"
    CANNOT_VERIFY = "CANNOT_VERIFY"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The verdict, and why in words for a person: redacted, one line, the provider's own words in it at most 500
    characters.
    """

    verdict: CheckVerdict
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How a kind sends a message that reaches nobody: settings laid over the provider's, a recipient, a sender ("" for
    the usual one).
    """

    recipient: str
    sender: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


class Checker(Protocol):
    """The code that asks one kind's provider whether settings are good; it delivers no message."""

    async def check(self, config: Mapping[str, Any], *, timeout: float, sender: str = "") -> CheckResult:
        """Ask, within `timeout` seconds all in. `config` holds opened settings; `sender` is the project's, or "".

        Never raises but CancelledError: what nobody knows is CANNOT_VERIFY.
        """

    async def close(self) -> None:
        """Close every connection; `check` must not be called afterwards."""


def good(message: str) -> CheckResult:
    """The provider knows the credentials and lets them send."""
    return CheckResult(verdict=CheckVerdict.GOOD, message=message)


def bad(message: str) -> CheckResult:
    """The provider said no."""
    return CheckResult(verdict=CheckVerdict.BAD, message=message)


def cannot_verify(message: str) -> CheckResult:
    """Nothing that these credentials are allowed to do, or nothing that could be reached, proves them."""
    return CheckResult(verdict=CheckVerdict.CANNOT_VERIFY, message=message)


def of_send(result: Result, otherwise: CheckResult) -> CheckResult:
    """What a test message's outcome says of the credentials; `otherwise` when it says nothing of them."""
    match result.outcome:
        case Outcome.ACCEPTED:
            return good("The provider took a test message.")
        case Outcome.DENIED:
            return bad(f"The provider refused a test message: {words_of(result)}")
    return otherwise


def words_of(result: Result) -> str:
    """A result in words: its reason, and the provider's own text where there is one."""
    return f"{result.reason}: {result.provider_text}" if result.provider_text else result.reason


def notes(facts: Mapping[str, bool]) -> str:
    """The facts that hold, as further sentences of a message."""
    return "".join(f" {sentence}" for sentence, holds in facts.items() if holds)
