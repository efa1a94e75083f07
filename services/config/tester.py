"""Asks a provider whether its settings are good, and sends one message if that is wanted. It keeps nothing: no health,
no delivery log, no connection.
"""

import asyncio
from uuid import uuid4

from services.adapters.base import Address, Call, Channel, EmailContent, SmsContent
from services.adapters.check import CheckResult, CheckVerdict, cannot_verify
from services.adapters.egress import Egress
from services.adapters.http import unexpected
from services.adapters.http_check import failed_unexpectedly
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.redaction import secret_values
from services.adapters.registry import Kind
from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.config.trial import Finding, Trial, with_send, without_send

TEST_SECONDS = 15.0
CHECK_SHARE = 0.5  # of the time, when a message is to follow
SLACK_SECONDS = 0.5  # for a plug-in that does not keep its limit

_NO_ADAPTER = "No adapter for this kind is installed here, so nothing can be asked."
_NO_CHECK = "This kind offers nothing to ask without sending a message: name a recipient, or use its sandbox mode."

_log = get_logger()


class ProviderTester:
    """Makes trials, each with connections of its own. What opens sockets is loaded at the first one."""

    def __init__(self, egress: Egress, clock: Clock, *, seconds: float = TEST_SECONDS) -> None:
        self._egress = egress
        self._clock = clock
        self._seconds = seconds

    async def test(self, trial: Trial) -> Finding:
        """What was found, within TEST_SECONDS; a provider found BAD is sent nothing."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds
        finding = without_send(cannot_verify(_NO_ADAPTER))
        if trial.kind is not None:
            share = CHECK_SHARE if trial.recipient else 1.0
            check = await self._check(trial.kind, trial, self._seconds * share)
            finding = without_send(check)
            if trial.recipient and check.verdict is not CheckVerdict.BAD:
                finding = with_send(trial, check, await self._send(trial.kind, trial, ends - loop.time()))
        _log.info(
            "provider_tested",
            provider_id=str(trial.provider.id),
            kind=trial.provider.kind,
            verdict=str(finding.verdict),
            outcome=str(finding.result.outcome) if finding.result else "",
        )
        return finding

    async def _check(self, kind: Kind, trial: Trial, timeout: float) -> CheckResult:
        if kind.check is None:
            return cannot_verify(_NO_CHECK)
        try:
            checker = kind.check(self._egress, self._clock)
            try:
                async with asyncio.timeout(timeout + SLACK_SECONDS):
                    return await checker.check(trial.config, timeout=timeout, sender=_sender(trial))
            finally:
                await checker.close()
        except TimeoutError:
            return cannot_verify(f"No answer within {timeout:g} seconds.")
        except Exception as error:  # noqa: BLE001 - a stranger's plug-in may do anything
            return failed_unexpectedly(error, kind.spec.kind, secret_values(kind.spec, trial.config))

    async def _send(self, kind: Kind, trial: Trial, timeout: float) -> Result:
        call = a_test_call(trial, timeout)
        try:
            adapter = kind.make(self._egress, self._clock)
            try:
                async with asyncio.timeout(timeout + SLACK_SECONDS):
                    return await adapter.send(call)
            finally:
                await adapter.close()
        except TimeoutError:
            return Result(outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT, provider_text="no answer in time")
        except Exception as error:  # noqa: BLE001 - a stranger's plug-in may do anything
            return unexpected(error, call, secret_values(kind.spec, trial.config), _log)


def a_test_call(trial: Trial, timeout: float) -> Call:
    """The one message of a trial: short, plain, and says what it is."""
    return Call(
        message_id=str(uuid4()),
        attempt=1,
        content=_content(trial),
        config=trial.config,
        provider_id=str(trial.provider.id),
        config_version=trial.provider.version,
        timeout=timeout,
        time_left=timeout,  # nobody waits for an SMTP server's ten minutes here
    )


def _content(trial: Trial) -> EmailContent | SmsContent:
    sender, words = _message_sender(trial), f"This is a test of the provider {trial.provider.name!r} by MessagePipe."
    if trial.provider.channel is Channel.SMS:
        return SmsContent(sender=sender, to=trial.recipient, text=words)
    name = trial.sender.sender_name if trial.sender and sender == trial.sender.sender_email else ""
    return EmailContent(
        sender=Address(email=sender, name=name) if sender else None,
        to=Address(email=trial.recipient),
        subject="MessagePipe test",
        text=words,
    )


def _message_sender(trial: Trial) -> str:
    """The rehearsal's own sender where it has one, else the project's."""
    rehearsal = trial.kind.rehearsal if trial.kind is not None and trial.rehearsed else None
    return (rehearsal.sender if rehearsal else "") or _sender(trial)


def _sender(trial: Trial) -> str:
    """The project's sender on the provider's channel, or ""."""
    if trial.sender is None:
        return ""
    return trial.sender.sender_email if trial.provider.channel is Channel.EMAIL else trial.sender.sender_id
