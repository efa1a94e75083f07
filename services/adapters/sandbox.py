"""The adapter behind both sandboxes: plays scripted outcomes and keeps what it "sent" to look at. It reaches no
network and costs nothing.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.adapters.base import Call, EmailContent, ProviderSpec, SmsContent
from services.adapters.check import CheckResult, good
from services.adapters.outcome import Outcome, Reason, Result
from services.chassis.clock import Clock
from services.chassis.log import get_logger

KEPT_MESSAGES = 100  # per provider
KEPT_PROVIDERS = 1000

_WORDS: Mapping[str, Result] = {
    "accepted": Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED, provider_code="250"),
    "invalid": Result(
        outcome=Outcome.INVALID,
        reason=Reason.RECIPIENT_INVALID,
        provider_code="550",
        provider_text="sandbox: no such recipient",
    ),
    "denied": Result(
        outcome=Outcome.DENIED,
        reason=Reason.CREDENTIALS,
        provider_code="401",
        provider_text="sandbox: credentials refused",
    ),
    "unfit": Result(
        outcome=Outcome.UNFIT,
        reason=Reason.TOO_LARGE,
        provider_code="413",
        provider_text="sandbox: too large for this provider",
    ),
    "deferred": Result(
        outcome=Outcome.DEFERRED,
        reason=Reason.UNAVAILABLE,
        provider_code="503",
        provider_text="sandbox: unavailable, try later",
    ),
    "unknown": Result(
        outcome=Outcome.UNKNOWN,
        reason=Reason.CONNECTION_LOST,
        provider_text="sandbox: the line broke after the message was sent",
    ),
    "timeout": Result(outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT, provider_text="sandbox: no answer in time"),
}
WORDS = (*_WORDS, "hang", "raise")

_WORD_SCHEMA: Mapping[str, Any] = {"type": "string", "enum": list(WORDS)}
_LATENCY: Mapping[str, Any] = {
    "type": "integer",
    "minimum": 0,
    "maximum": 600_000,
    "title": "Latency",
    "description": "Milliseconds to wait before answering.",
    "examples": [50],
}
SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Sandbox",
    "description": "Plays outcomes instead of sending; needs no credentials. No receipts ever come.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "script": {
            "type": "array",
            "maxItems": 1000,
            "title": "Script",
            "description": (
                "One outcome per attempt, repeated from the start when it ends; empty means accepted. "
                "`timeout` says so after the call's "
                "time is up, `hang` never answers, `raise` breaks the adapter's promise not to raise."
            ),
            "examples": [["deferred", "accepted"], [{"outcome": "deferred", "retryAfter": 600, "latencyMs": 50}]],
            "items": {
                "if": {"type": "object"},
                "then": {
                    "additionalProperties": False,
                    "required": ["outcome"],
                    "properties": {
                        "outcome": _WORD_SCHEMA,
                        "retryAfter": {
                            "type": "number",
                            "minimum": 0,
                            "maximum": 86_400,
                            "description": "Seconds; deferred only.",
                        },
                        "latencyMs": _LATENCY,
                        "reason": {
                            "type": "string",
                            "pattern": "^[A-Z][A-Z_]{0,63}$",
                            "description": "Instead of the word's own reason.",
                        },
                        "text": {"type": "string", "maxLength": 500, "description": "The provider's words."},
                        "scope": {
                            "type": "string",
                            "maxLength": 100,
                            "pattern": "^(country|sender):.+$",
                            "description": "Narrows a denial.",
                        },
                    },
                },
                "else": _WORD_SCHEMA,
            },
        },
        "latencyMs": {**_LATENCY, "default": 0},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One message the sandbox took, for people and tests to look at."""

    message_id: str
    attempt: int
    provider_message_id: str
    content: EmailContent | SmsContent


@dataclass(slots=True)
class _Stage:
    """What the sandbox remembers of one provider: where its script stands, and what it kept."""

    config_version: int
    position: int = 0
    kept: deque[Kept] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))


class SandboxAdapter:
    """Plays, in this order: what the recipient stands for, the provider's script, accepted. Positions live in this
    process only.
    """

    def __init__(self, spec: ProviderSpec, by_recipient: Callable[[str], Result | str | None], clock: Clock) -> None:
        self._spec, self._by_recipient, self._clock = spec, by_recipient, clock
        self._stages: OrderedDict[str, _Stage] = OrderedDict()
        self._log = get_logger()

    @property
    def spec(self) -> ProviderSpec:
        return self._spec

    async def close(self) -> None:
        self._stages.clear()

    def kept(self, provider_id: str) -> tuple[Kept, ...]:
        """The last messages this provider took, oldest first; at most KEPT_MESSAGES."""
        stage = self._stages.get(provider_id)
        return tuple(stage.kept) if stage else ()

    async def send(self, call: Call) -> Result:
        """Play one outcome. Raises only when the script says `raise`."""
        stage = self._stage(call)
        result, latency = self._next(stage, call)
        if result == "hang":
            await asyncio.Event().wait()
        if result == "raise":
            raise RuntimeError("sandbox: scripted to raise")
        if isinstance(result, str):
            raise ValueError(f"sandbox: {result!r} is not a word of the script")
        if result.reason == Reason.TIMEOUT or latency >= call.timeout:
            await self._clock.sleep(call.timeout)
            return _WORDS["timeout"]
        if latency:
            await self._clock.sleep(latency)
        return self._keep(stage, call, result) if result.outcome is Outcome.ACCEPTED else result

    def _stage(self, call: Call) -> _Stage:
        stage = self._stages.pop(call.provider_id, None) or _Stage(call.config_version)
        if stage.config_version != call.config_version:
            stage.config_version, stage.position = call.config_version, 0
        self._stages[call.provider_id] = stage
        while len(self._stages) > KEPT_PROVIDERS:
            self._stages.popitem(last=False)
        return stage

    def _next(self, stage: _Stage, call: Call) -> tuple[Result | str, float]:
        latency = float(call.config.get("latencyMs") or 0) / 1000
        to = call.content.to
        scripted = self._by_recipient(to.email if not isinstance(to, str) else to)
        if scripted is not None:
            return _WORDS.get(scripted, scripted) if isinstance(scripted, str) else scripted, latency
        script = call.config.get("script") or ["accepted"]
        step = script[stage.position % len(script)]
        stage.position += 1
        if isinstance(step, str):
            return _WORDS.get(step, step), latency
        return _from_object(step), float(step.get("latencyMs", latency * 1000)) / 1000

    def _keep(self, stage: _Stage, call: Call, result: Result) -> Result:
        result = replace(result, provider_message_id=f"sandbox-{call.message_id}-{call.attempt}")
        stage.kept.append(
            Kept(
                message_id=call.message_id,
                attempt=call.attempt,
                provider_message_id=result.provider_message_id,
                content=call.content,
            )
        )
        self._log.info(
            "sandbox_message_kept", provider_id=call.provider_id, message_id=call.message_id, attempt=call.attempt
        )
        return result


class SandboxChecker:
    """The checker of both sandboxes: there is nothing to check."""

    async def check(self, config: Mapping[str, Any], *, timeout: float, sender: str = "") -> CheckResult:
        """GOOD, always."""
        del config, timeout, sender
        return good("The sandbox plays outcomes and needs no credentials.")

    async def close(self) -> None:
        """Nothing is open."""


def _from_object(step: Mapping[str, Any]) -> Result | str:
    word = str(step["outcome"])
    result = _WORDS.get(word)
    if result is None:
        return word
    retry = step.get("retryAfter")
    return replace(
        result,
        reason=str(step.get("reason", result.reason)),
        provider_text=str(step.get("text", result.provider_text)),
        retry_after=float(retry) if retry is not None and result.outcome is Outcome.DEFERRED else None,
        scope=str(step.get("scope", "")),
    )
