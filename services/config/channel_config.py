"""A project's sender on one channel, and the channel's switch: pure values and rules. Not a provider's own sender."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from email_validator import EmailNotValidError, validate_email

from services.adapters.base import Channel
from services.chassis.errors import FieldViolation
from services.config.provider import has_control_characters

MAX_SENDER_NAME_CHARS = 100

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{3,11}")
_SENDER_ID_RULE = (
    "must be a phone number in E.164 form, such as +14155550100, or a name of 3 to 11 letters, digits or spaces with "
    "at least one letter"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """The sender and the switch: `sender_email` and `sender_name` for EMAIL, `sender_id` for SMS; "" means none."""

    project_id: str
    channel: Channel
    enabled: bool = True
    sender_email: str = ""
    sender_name: str = ""
    sender_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChannelConfig:
    """A channel config as it is stored, with the database's times."""

    value: ChannelConfig
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderChange:
    """New values; None leaves a value as it is, "" removes one."""

    enabled: bool | None = None
    sender_email: str | None = None
    sender_name: str | None = None
    sender_id: str | None = None


def changed(config: ChannelConfig, change: SenderChange) -> ChannelConfig:
    """`config` with every value that `change` names."""
    return replace(
        config,
        enabled=config.enabled if change.enabled is None else change.enabled,
        sender_email=config.sender_email if change.sender_email is None else change.sender_email,
        sender_name=config.sender_name if change.sender_name is None else change.sender_name,
        sender_id=config.sender_id if change.sender_id is None else change.sender_id,
    )


def violations(config: ChannelConfig, path: str) -> list[FieldViolation]:
    """Everything wrong with a channel config; paths are JSON names below `path`."""
    rules = _email_violations if config.channel is Channel.EMAIL else _sms_violations
    return [FieldViolation(f"{path}.{name}", words) for name, words in rules(config)]


def _email_violations(config: ChannelConfig) -> Iterator[tuple[str, str]]:
    if not config.sender_email:
        yield "senderEmail", "is required"
    elif problem := address_problem(config.sender_email):
        yield "senderEmail", problem
    if len(config.sender_name) > MAX_SENDER_NAME_CHARS:
        yield "senderName", f"must be at most {MAX_SENDER_NAME_CHARS} characters long"
    if has_control_characters(config.sender_name):
        yield "senderName", "must not contain control characters or line breaks"
    if config.sender_id:
        yield "senderId", "belongs to SMS; leave it out for EMAIL"


def _sms_violations(config: ChannelConfig) -> Iterator[tuple[str, str]]:
    if config.sender_email:
        yield "senderEmail", "belongs to EMAIL; leave it out for SMS"
    if config.sender_name:
        yield "senderName", "belongs to EMAIL; leave it out for SMS"
    if config.sender_id and not (_NUMBER.fullmatch(config.sender_id) or _SENDER_NAME.fullmatch(config.sender_id)):
        yield "senderId", _SENDER_ID_RULE


def address_problem(address: str) -> str | None:
    """What is wrong with an email address; None when nothing is."""
    try:
        # Names under .test are for people who try things out; nobody is asked whether a domain exists.
        validate_email(address, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        return f"is not an email address: {error}"
    return None
