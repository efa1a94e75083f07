"""Readable defaults for the values of DispatchService; override what matters. No tests."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Address, Channel, EmailContent, SmsContent
from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain, Provider
from services.dispatch.health import Block, Mark
from services.dispatch.message import Message, Policy, UnknownPolicy

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MESSAGE_ID = UUID("019b7760-0000-7000-8000-000000000001")
PROJECT = "shop"
REASONS = {
    Outcome.ACCEPTED: Reason.ACCEPTED,
    Outcome.INVALID: Reason.RECIPIENT_INVALID,
    Outcome.DENIED: Reason.CREDENTIALS,
    Outcome.UNFIT: Reason.TOO_LARGE,
    Outcome.DEFERRED: Reason.UNAVAILABLE,
    Outcome.UNKNOWN: Reason.TIMEOUT,
}


def seconds(count: float) -> timedelta:
    """A length of time."""
    return timedelta(seconds=count)


def an_email(**values: Any) -> EmailContent:
    """A short email to Ada."""
    given: dict[str, Any] = {
        "sender": Address(email="shop@example.com"),
        "to": Address(email="ada@example.com"),
        "subject": "Hello",
        "text": "Hello, Ada.",
    }
    return EmailContent(**{**given, **values})


def an_sms(**values: Any) -> SmsContent:
    """A short text message to a number in Nigeria."""
    given: dict[str, Any] = {"sender": "Shop", "to": "+2348031234567", "text": "Hello, Ada."}
    return SmsContent(**{**given, **values})


def a_message(**values: Any) -> Message:
    """An email accepted at noon with an hour to live; fields of Policy may be given directly."""
    names = [name.name for name in fields(Policy) if name.name in values]
    policy = Policy(**{name: values.pop(name) for name in names})
    given: dict[str, Any] = {
        "id": MESSAGE_ID,
        "project_id": PROJECT,
        "channel": Channel.EMAIL,
        "content": an_email(),
        "policy": policy,
        "deadline": NOON + timedelta(hours=1),
        "created_at": NOON,
    }
    return Message(**{**given, **values})


def at_most_once(**values: Any) -> Message:
    """A message that must never arrive twice."""
    return a_message(**{"on_unknown": UnknownPolicy.AT_MOST_ONCE, **values})


def a_provider(name: str = "A", **values: Any) -> Provider:
    """A healthy provider: id and kind are its name in lower case; `timeout` in seconds may be given directly."""
    config = {"timeoutSeconds": values.pop("timeout")} if "timeout" in values else {}
    given: dict[str, Any] = {"id": name.lower(), "kind": name.lower(), "name": name, "config": config}
    return Provider(**{**given, **values})


def a_chain(*providers: Provider | str, **values: Any) -> Chain:
    """These providers in this order, A > B > C unless given; a text stands for the provider of that name."""
    links = tuple(a_provider(each) if isinstance(each, str) else each for each in providers or "ABC")
    given: dict[str, Any] = {"project_id": PROJECT, "channel": Channel.EMAIL, "version": 1, "providers": links}
    return Chain(**{**given, **values})


def a_result(outcome: Outcome | str = Outcome.ACCEPTED, **values: Any) -> Result:
    """What a provider may have answered; the outcome may be a word in lower case."""
    known = Outcome(outcome.upper())
    return Result(**{"outcome": known, "reason": REASONS[known], **values})


def throttled(after: float) -> Result:
    """A 429 that asks to wait `after` seconds."""
    return a_result("deferred", reason=Reason.RATE_LIMITED, provider_code="429", retry_after=after)


def an_attempt(provider: Provider | str = "A", result: Result | str | None = "accepted", **values: Any) -> Attempt:
    """The first attempt of a message; `result` None leaves it open."""
    made = a_provider(provider) if isinstance(provider, str) else provider
    given: dict[str, Any] = {
        "number": 1,
        "round": 1,
        "provider_id": made.id,
        "kind": made.kind,
        "provider_name": made.name,
        "epoch": 1,
        "result": a_result(result) if isinstance(result, str) else result,
    }
    return Attempt(**{**given, **values})


def a_history(*steps: tuple[Provider | str, Result | str], rounds: tuple[int, ...] = ()) -> tuple[Attempt, ...]:
    """Attempts in order, numbered from 1, all of round 1 unless `rounds` says otherwise."""
    return tuple(
        an_attempt(provider, result, number=place + 1, round=rounds[place] if rounds else 1)
        for place, (provider, result) in enumerate(steps)
    )


def a_mark(provider: Provider | str = "A", **values: Any) -> Mark:
    """A denial of the provider as it is now, with no end in sight."""
    made = a_provider(provider) if isinstance(provider, str) else provider
    given: dict[str, Any] = {
        "provider_id": made.id,
        "config_version": made.version,
        "block": Block.DENIED,
        "reason": Reason.CREDENTIALS,
    }
    return Mark(**{**given, **values})


def a_cooldown(provider: Provider | str = "A", *, ends_in: float = 600, **values: Any) -> Mark:
    """A cool-down that began some time ago and ends `ends_in` seconds after noon."""
    until = NOON + timedelta(seconds=ends_in)
    return a_mark(provider, block=Block.COOLDOWN, reason=Reason.RATE_LIMITED, until=until, **values)


def marks_of(*marks: Mark) -> Mapping[str, tuple[Mark, ...]]:
    """These marks by provider id."""
    return {mark.provider_id: tuple(m for m in marks if m.provider_id == mark.provider_id) for mark in marks}


def a_spec(**values: Any) -> message_pb2.MessageSpec:
    """What a caller writes for a short email to Ada."""
    given: dict[str, Any] = {
        "channel": channel_pb2.CHANNEL_EMAIL,
        "to": "ada@example.com",
        "subject": "Hello",
        "text": "Hello, Ada.",
        "sender": "shop@example.com",
    }
    return message_pb2.MessageSpec(**{**given, **values})
