"""What TestProvider tries: a provider with settings that may not be stored yet, and whom to send to. Pure values and
rules; asking the provider is tester.py's work.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.adapters.base import Channel, ProviderSpec
from services.adapters.check import CheckResult, CheckVerdict, words_of
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import Kind
from services.adapters.schema import normalise
from services.chassis.errors import FieldViolation, InvalidArgument
from services.config.channel_config import ChannelConfig, address_problem
from services.config.provider import Provider, Settings, config_violations, join, merge_patch, without_blank_secrets

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller asks for beside the provider: settings to lay over the stored ones, a message to send or none."""

    patch: Settings | None = field(default=None, repr=False)
    recipient: str = field(default="", repr=False)
    sandbox_send: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One test, ready to be made. `config` holds opened settings: never log it.

    `kind` is None when no adapter is installed. A message is sent when `recipient` is set; `rehearsed`: in the
    kind's own sandbox mode.
    """

    provider: Provider
    kind: Kind | None
    config: Settings = field(repr=False)
    sender: ChannelConfig | None = None
    recipient: str = field(default="", repr=False)
    rehearsed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a test found; `result` is None when no message was sent."""

    verdict: CheckVerdict
    message: str
    recipient: str = field(default="", repr=False)
    result: Result | None = None


def make_trial(
    provider: Provider,
    opened: Settings,
    wish: Wish,
    *,
    spec: ProviderSpec | None,
    kind: Kind | None,
    sender: ChannelConfig | None,
    problems: list[FieldViolation],
) -> Trial:
    """The trial that is asked for. Raises InvalidArgument with `problems` and everything else that is wrong."""
    config = join(provider.settings, opened)
    violations = [*problems, *_recipient_violations(provider, wish, kind)]
    if spec is not None:
        patch = without_blank_secrets(spec, wish.patch or {})
        config = normalise(spec, merge_patch(config, patch))
        violations += config_violations(spec, config, "config")
    elif wish.patch is not None:
        missing = f'can not be checked, as no adapter for "{provider.kind}" is installed'
        violations.append(FieldViolation("config", missing))
    if violations:
        raise InvalidArgument(violations=violations)
    rehearsal = kind.rehearsal if kind is not None and wish.sandbox_send else None
    return Trial(
        provider=provider,
        kind=kind,
        config=config if rehearsal is None else {**config, **rehearsal.settings},
        sender=sender,
        recipient=wish.recipient if rehearsal is None else rehearsal.recipient,
        rehearsed=rehearsal is not None,
    )


def _recipient_violations(provider: Provider, wish: Wish, kind: Kind | None) -> Iterator[FieldViolation]:
    if wish.sandbox_send and wish.recipient:
        yield FieldViolation("recipient", "can not be given together with sandboxSend, which has its own")
    if wish.sandbox_send and (kind is None or kind.rehearsal is None):
        words = f'is not possible: "{provider.kind}" has no sandbox mode; name a recipient to send a real message'
        yield FieldViolation("sandboxSend", words)
    if wish.recipient and provider.channel is Channel.EMAIL and (problem := address_problem(wish.recipient)):
        yield FieldViolation("recipient", problem)
    if wish.recipient and provider.channel is Channel.SMS and not _NUMBER.fullmatch(wish.recipient):
        yield FieldViolation("recipient", "must be a phone number in E.164 form, such as +14155550100")


def without_send(check: CheckResult) -> Finding:
    """The finding when no message was sent."""
    return Finding(verdict=check.verdict, message=check.message)


def with_send(trial: Trial, check: CheckResult, result: Result) -> Finding:
    """The finding when one was: accepted proves the credentials, denied disproves them, the rest says nothing."""
    match result.outcome:
        case Outcome.ACCEPTED:
            verdict, words = CheckVerdict.GOOD, "The provider took the test message."
        case Outcome.DENIED if _counts(trial, result):
            verdict, words = CheckVerdict.BAD, f"The provider refused the test message: {words_of(result)}"
        case _:
            verdict, words = check.verdict, f"The test message was not accepted: {words_of(result)}"
    return Finding(verdict=verdict, message=f"{check.message} {words}", recipient=trial.recipient, result=result)


def _counts(trial: Trial, result: Result) -> bool:
    """A network that we refuse to enter is no word of the provider's. Twilio's test number is refused to live
    credentials: that says nothing against them.
    """
    if result.reason == Reason.EGRESS_REFUSED:
        return False
    rehearsal = trial.kind.rehearsal if trial.kind is not None and trial.rehearsed else None
    return rehearsal is None or not rehearsal.sender or result.reason == Reason.CREDENTIALS
