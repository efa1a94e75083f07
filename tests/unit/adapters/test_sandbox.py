"""The sandboxes: scripts, magic recipients, what they keep."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.adapters.base import Address, Call, EmailContent, SmsContent
from services.adapters.email import sandbox as email_sandbox
from services.adapters.outcome import Outcome, Reason
from services.adapters.sandbox import KEPT_MESSAGES, WORDS, SandboxAdapter
from services.adapters.schema import settings_errors
from services.adapters.sms import sandbox as sms_sandbox
from services.chassis.clock import SystemClock


def an_adapter() -> SandboxAdapter:
    """An email sandbox."""
    return SandboxAdapter(email_sandbox.SPEC, email_sandbox.by_recipient, SystemClock())


def a_call(to: str = "ada@example.com", *, timeout: float = 1.0, **config: Any) -> Call:
    """A call to this recipient with these settings."""
    return Call(
        message_id="m1",
        attempt=1,
        content=EmailContent(to=Address(email=to), subject="s", text="t"),
        config=config,
        provider_id="p1",
        config_version=1,
        timeout=timeout,
        time_left=60,
    )


async def test_accepts_by_default() -> None:
    """Without a script everything is accepted, with an id, and kept to look at."""
    adapter = an_adapter()
    result = await adapter.send(a_call())
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "sandbox-m1-1")
    (kept,) = adapter.kept("p1")
    assert (kept.message_id, kept.content) == ("m1", a_call().content)
    assert adapter.kept("p2") == ()


async def test_script_repeats() -> None:
    """A script is played from its start again when it ends, each provider at its own pace, and anew after its
    settings change.
    """
    adapter, call = an_adapter(), a_call(script=["deferred", "accepted"])
    played = [(await adapter.send(call)).outcome for _ in range(3)]
    assert played == [Outcome.DEFERRED, Outcome.ACCEPTED, Outcome.DEFERRED]
    assert (await adapter.send(replace(call, provider_id="p2"))).outcome is Outcome.DEFERRED
    assert (await adapter.send(replace(call, config_version=2))).outcome is Outcome.DEFERRED


@pytest.mark.parametrize("word", ["accepted", "invalid", "denied", "unfit", "deferred", "unknown"])
async def test_words_and_recipients(word: str) -> None:
    """Every outcome has a word for scripts and a recipient; the recipient wins."""
    assert (await an_adapter().send(a_call(script=[word]))).outcome.lower() == word
    assert (await an_adapter().send(a_call(f"{word}@sandbox.test", script=["hang"]))).outcome.lower() == word
    assert (await an_adapter().send(a_call(f"{word}+tag@Sandbox.Test"))).outcome.lower() == word


async def test_objects() -> None:
    """A step may be an object with a delay, a wait, a reason and words of its own."""
    step = {"outcome": "deferred", "retryAfter": 600, "latencyMs": 1, "reason": "RATE_LIMITED", "text": "slow down"}
    result = await an_adapter().send(a_call(script=[step]))
    assert (result.outcome, result.retry_after, result.reason, result.provider_text) == (
        Outcome.DEFERRED,
        600,
        "RATE_LIMITED",
        "slow down",
    )


@pytest.mark.parametrize("config", [{"script": ["timeout"]}, {"script": ["accepted"], "latencyMs": 500}])
async def test_timeout(config: dict[str, Any]) -> None:
    """A timeout, or a wait longer than the call may take, is unknown after the call's time and keeps nothing."""
    adapter = an_adapter()
    loop = asyncio.get_running_loop()
    before = loop.time()
    result = await adapter.send(a_call(timeout=0.05, **config))
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, Reason.TIMEOUT)
    assert 0.04 < loop.time() - before < 0.4
    assert adapter.kept("p1") == ()


async def test_hang_and_raise() -> None:
    """`hang` never answers and `raise` raises, so that the dispatcher's own guards can be tried."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(an_adapter().send(a_call(script=["hang"], timeout=0.01)), 0.1)
    with pytest.raises(RuntimeError):
        await an_adapter().send(a_call(script=["raise"]))


async def test_keeps_a_bounded_number() -> None:
    """Only the last messages are kept."""
    adapter = an_adapter()
    for number in range(KEPT_MESSAGES + 5):
        await adapter.send(replace(a_call(), message_id=f"m{number}"))
    kept = adapter.kept("p1")
    assert (len(kept), kept[0].message_id) == (KEPT_MESSAGES, "m5")


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ({"script": [*WORDS, {"outcome": "deferred", "retryAfter": 600}], "latencyMs": 5}, []),
        ({"script": ["acepted"]}, ["script[0]"]),
        ({"script": [{"retryAfter": 1}]}, ["script[0].outcome"]),
        ({"script": [{"outcome": "deferred", "retry": 1}]}, ["script[0].retry"]),
        ({"script": "accepted"}, ["script"]),
    ],
)
def test_settings(config: dict[str, Any], paths: list[str]) -> None:
    """Scripts are checked step by step."""
    assert [path for path, _ in settings_errors(email_sandbox.SPEC, config)] == paths


@pytest.mark.parametrize(
    ("number", "outcome", "code"),
    [
        ("+15005550001", Outcome.INVALID, "21211"),
        ("+15005550002", Outcome.DENIED, "21612"),
        ("+15005550003", Outcome.DENIED, "21408"),
        ("+15005550004", Outcome.INVALID, "21610"),
        ("+15005550005", Outcome.DEFERRED, "503"),
        ("+15005550007", Outcome.UNKNOWN, ""),
        ("+15005550008", Outcome.UNFIT, "413"),
        ("+15005550009", Outcome.INVALID, "21614"),
        ("+14155550100", Outcome.ACCEPTED, "250"),
    ],
)
async def test_magic_numbers(number: str, outcome: Outcome, code: str) -> None:
    """Twilio's magic numbers mean here what they mean there, and a few more stand for the other outcomes."""
    adapter = SandboxAdapter(sms_sandbox.SPEC, sms_sandbox.by_recipient, SystemClock())
    result = await adapter.send(replace(a_call(), content=SmsContent(to=number, text="hi")))
    assert (result.outcome, result.provider_code) == (outcome, code)
