"""Trials made with scripted checkers and adapters: limits, strangers' plug-ins, what is sent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog

from services.adapters.base import Address, Channel, EmailContent, SmsContent
from services.adapters.check import CheckResult, CheckVerdict, Rehearsal, bad, cannot_verify, good
from services.adapters.egress import Egress
from services.adapters.outcome import Outcome
from services.adapters.registry import Kind
from services.chassis.clock import SystemClock
from services.config.channel_config import ChannelConfig
from services.config.tester import ProviderTester, a_test_call
from services.config.trial import Finding, Trial
from tests.fakes.adapter import ScriptedAdapter
from tests.unit.config.builders import a_provider, a_spec

SENDER = ChannelConfig(project_id="shop", channel=Channel.EMAIL, sender_email="shop@example.com", sender_name="Shop")


@dataclass
class ScriptedChecker:
    """Answers, raises or hangs as told; remembers what it was asked."""

    answer: CheckResult | Exception | None = field(default_factory=lambda: good("Known."))
    asked: list[tuple[Mapping[str, Any], float, str]] = field(default_factory=list)
    closed: int = 0

    async def check(self, config: Mapping[str, Any], *, timeout: float, sender: str = "") -> CheckResult:
        """As told; None hangs."""
        self.asked.append((config, timeout, sender))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def close(self) -> None:
        """Count it."""
        self.closed += 1


@dataclass
class Stage:
    """A kind made of a scripted checker and adapter."""

    checker: ScriptedChecker = field(default_factory=ScriptedChecker)
    adapter: ScriptedAdapter = field(default_factory=lambda: ScriptedAdapter(a_spec(), SystemClock()))

    @property
    def kind(self) -> Kind:
        """Kind `acme`."""
        return Kind(spec=a_spec(), make=lambda *_: self.adapter, check=lambda *_: self.checker)

    def trial(self, **values: Any) -> Trial:
        """A trial of that kind, without a message unless told otherwise."""
        given: dict[str, Any] = {"provider": a_provider(), "kind": self.kind, "config": {"apiKey": "sekrit"}}
        return Trial(**{**given, **values})


async def finding_of(trial: Trial, *, seconds: float = 5.0) -> Finding:
    """What the tester finds."""
    return await ProviderTester(Egress(), SystemClock(), seconds=seconds).test(trial)


async def test_a_check_alone() -> None:
    """Without a recipient the check has all the time, gets settings and the project's sender, and nothing is sent."""
    stage = Stage()
    finding = await finding_of(stage.trial(sender=SENDER))
    assert (finding.verdict, finding.message, finding.result) == (CheckVerdict.GOOD, "Known.", None)
    assert stage.checker.asked == [({"apiKey": "sekrit"}, 5.0, "shop@example.com")]
    assert (stage.checker.closed, stage.adapter.calls) == (1, [])


async def test_a_message_after_the_check() -> None:
    """With a recipient one message follows, within the time that is left, and its outcome is told."""
    stage = Stage(checker=ScriptedChecker(cannot_verify("Unsure.")))
    finding = await finding_of(stage.trial(recipient="ada@example.com", sender=SENDER))
    (call,) = stage.adapter.calls
    assert (finding.verdict, finding.recipient) == (CheckVerdict.GOOD, "ada@example.com")
    assert finding.result is not None
    assert finding.result.provider_message_id == "acme-1"
    assert isinstance(call.content, EmailContent)
    assert call.content.sender == Address(email="shop@example.com", name="Shop")
    assert stage.checker.asked[0][1] == 2.5
    assert 4 < call.timeout == call.time_left <= 5


async def test_nothing_is_sent_with_bad_settings() -> None:
    """A provider that refuses the settings is not sent a message."""
    stage = Stage(checker=ScriptedChecker(bad("No.")))
    finding = await finding_of(stage.trial(recipient="ada@example.com"))
    assert (finding.verdict, finding.result, stage.adapter.calls) == (CheckVerdict.BAD, None, [])


async def test_a_checker_and_an_adapter_without_end() -> None:
    """A plug-in that ignores its limits is cut off soon after them; what it was sent may have gone out."""
    stage = Stage(checker=ScriptedChecker(None))
    stage.adapter.script(asyncio.Event())
    async with asyncio.timeout(4):
        finding = await finding_of(stage.trial(recipient="ada@example.com"), seconds=0.2)
    assert finding.verdict is CheckVerdict.CANNOT_VERIFY
    assert "No answer within 0.1 seconds" in finding.message
    assert finding.result is not None
    assert finding.result.outcome is Outcome.UNKNOWN


async def test_plug_ins_that_raise() -> None:
    """An exception is CANNOT_VERIFY, or an unknown outcome; the secret in it reaches neither answer nor log."""
    stage = Stage(checker=ScriptedChecker(RuntimeError("sekrit")))
    stage.adapter.script(RuntimeError("sekrit too"))
    with structlog.testing.capture_logs() as logs:
        finding = await finding_of(stage.trial(recipient="ada@example.com"))
    assert finding.verdict is CheckVerdict.CANNOT_VERIFY
    assert finding.result is not None
    assert finding.result.outcome is Outcome.UNKNOWN
    assert {"check_failed_unexpectedly", "adapter_failed_unexpectedly"} <= {each["event"] for each in logs}
    assert "sekrit" not in repr((finding, logs))


async def test_a_kind_without_a_check_or_without_an_adapter() -> None:
    """A kind that offers nothing to ask is CANNOT_VERIFY and says what else to do; an unknown kind says so."""
    stage = Stage()
    found = await finding_of(stage.trial(kind=replace(stage.kind, check=None)))
    assert (found.verdict, "name a recipient" in found.message) == (CheckVerdict.CANNOT_VERIFY, True)
    found = await finding_of(stage.trial(kind=None, recipient="ada@example.com"))
    assert (found.verdict, found.result) == (CheckVerdict.CANNOT_VERIFY, None)


async def test_the_log_names_no_person() -> None:
    """One line with the provider's id, verdict and outcome; no recipient, sender or setting."""
    with structlog.testing.capture_logs() as logs:
        await finding_of(Stage().trial(recipient="ada@example.com", sender=SENDER))
    (line,) = [each for each in logs if each["event"] == "provider_tested"]
    assert (line["verdict"], line["outcome"], line["provider_id"]) == ("GOOD", "ACCEPTED", str(a_provider().id))
    assert not [word for word in ("ada@", "shop@", "sekrit") if word in repr(logs)]


@pytest.mark.parametrize(("rehearsed", "sender"), [(True, "+15005550006"), (False, "Shop")])
def test_the_sender_of_a_test_message(rehearsed: bool, sender: str) -> None:
    """A rehearsal's own sender wins over the project's; a real message is from the project."""
    kind = replace(Stage().kind, rehearsal=Rehearsal(recipient="+14155550100", sender="+15005550006"))
    project = ChannelConfig(project_id="shop", channel=Channel.SMS, sender_id="Shop")
    provider = a_provider(channel=Channel.SMS)
    trial = Trial(
        provider=provider, kind=kind, config={}, sender=project, recipient="+14155550100", rehearsed=rehearsed
    )
    content = a_test_call(trial, 5).content
    assert isinstance(content, SmsContent)
    assert content.sender == sender
