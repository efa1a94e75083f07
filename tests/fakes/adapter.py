"""An adapter that plays a list of outcomes and remembers what it was asked. It keeps an adapter's promise: no call
outlives its limit.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.adapters.base import Call, Capabilities, Channel, ProviderSpec
from services.adapters.outcome import Outcome, Reason, Result
from services.chassis.clock import Clock

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "timeoutSeconds": {"type": "number", "exclusiveMinimum": 0},
        "ratePerSecond": {"type": "number", "exclusiveMinimum": 0},
        "maxConcurrency": {"type": "integer", "minimum": 1},
        "apiKey": {"type": "string", "writeOnly": True},
    },
    "additionalProperties": False,
}
REASONS = {
    "accepted": Reason.ACCEPTED,
    "invalid": Reason.RECIPIENT_INVALID,
    "denied": Reason.CREDENTIALS,
    "unfit": Reason.TOO_LARGE,
    "deferred": Reason.UNAVAILABLE,
    "unknown": Reason.TIMEOUT,
}


@dataclass
class ScriptedAdapter:
    """Plays words (`accepted` … `unknown`), `hang`, an exception, a Result, or an asyncio.Event to wait for before
    accepting.
    """

    spec: ProviderSpec
    clock: Clock
    calls: list[Call] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    open_calls: int = 0
    most_open: int = 0
    _script: list[object] = field(default_factory=lambda: ["accepted"])

    def script(self, *steps: object) -> None:
        """What it answers from now on, in order; the last for ever."""
        self._script = list(steps)

    async def send(self, call: Call) -> Result:
        """Play the next step, which takes at least `seconds`."""
        self.calls.append(call)
        self.times.append(self.clock.boottime())
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        try:
            if self.seconds:
                await self.clock.sleep(self.seconds)
            return await self._play(call)
        finally:
            self.open_calls -= 1

    async def _play(self, call: Call) -> Result:
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Result):
            return step
        if isinstance(step, asyncio.Event):
            await step.wait()
            step = "accepted"
        if step == "hang":
            return await self._hang(call)
        word = str(step)
        reference = f"{self.spec.kind}-{len(self.calls)}" if word == "accepted" else ""
        text = "" if word == "accepted" else f"{self.spec.title} says {word}"
        return Result(
            outcome=Outcome(word.upper()), reason=REASONS[word], provider_text=text, provider_message_id=reference
        )

    async def _hang(self, call: Call) -> Result:
        try:
            async with asyncio.timeout(call.timeout):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        return Result(outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT, provider_text="no answer in time")

    async def close(self) -> None:
        """Nothing is open."""


def scripted_adapters(letters: str, clock: Clock, *, idempotent: str = "D") -> Mapping[str, ScriptedAdapter]:
    """One adapter per letter; the kind is the letter in lower case."""
    return {
        letter: ScriptedAdapter(
            spec=ProviderSpec(
                kind=letter.lower(),
                channel=Channel.EMAIL,
                title=f"Provider {letter}",
                description="Plays a script.",
                documentation_url="",
                config_schema=SCHEMA,
                capabilities=Capabilities(idempotency_key=letter in idempotent),
            ),
            clock=clock,
        )
        for letter in letters
    }
