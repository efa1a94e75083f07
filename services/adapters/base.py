"""The values every adapter takes and gives, and the seam itself. Not how a provider is spoken to: that is one file
per kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from services.adapters.outcome import Outcome, Reason, Result, Verdict

__all__ = [
    "Adapter",
    "Address",
    "Attachment",
    "Call",
    "Capabilities",
    "Channel",
    "EmailContent",
    "JointAdapter",
    "Outcome",
    "ProviderSpec",
    "Reason",
    "Result",
    "SmsContent",
    "Verdict",
    "secret_paths",
]


class Channel(StrEnum):
    """What a message travels over."""

    EMAIL = "EMAIL"
    SMS = "SMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One mailbox: `email` in addr-spec form (RFC 5322 §3.4.1), `name` as people read it."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of an email; shown inline where the HTML says `cid:<content_id>` when `content_id` is set."""

    filename: str
    content_type: str
    content: bytes
    content_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailContent:
    """One email. `sender` is the message's own, which must be expressed; None lets `Call.project_sender` or the
    settings name one.
    """

    sender: Address | None = None
    to: Address
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: Address | None = None
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsContent:
    """One text message. `to` is E.164; an empty `sender` lets `Call.project_sender` or the settings name one.

    `validity` is how many seconds the provider may try to reach the phone once it took the text; None: what is left
    until the deadline, where the kind can be told so.
    """

    sender: str = ""
    to: str
    text: str
    validity: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One attempt handed to an adapter.

    `timeout` is the seconds this call may take, all in. `time_left` is the seconds until the message's deadline: SMTP
    may use up to 600 s of it after the final dot (RFC 5321 §4.5.3.2.6), SMS hands it on as validity. `config` holds
    opened settings: never log it. `project_sender` is whom the project's messages are from unless they say otherwise.
    `options` are the message's own for this kind, checked by its `options_schema`. `receipts_url` is the public
    address of this provider's receipts, "" where the service does not know its own. `together` is the same for all
    calls of one bulk request, which may go to the provider as one (joint.py); "" for any other.
    """

    message_id: str
    attempt: int
    content: EmailContent | SmsContent
    config: Mapping[str, Any]
    provider_id: str
    config_version: int
    timeout: float
    time_left: float
    project_sender: Address | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    receipts_url: str = ""
    together: str = ""

    def __repr__(self) -> str:
        """Name the attempt only: content and settings are nobody's business in a log."""
        return f"Call(message_id={self.message_id!r}, attempt={self.attempt}, provider_id={self.provider_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a kind can do beyond sending; the feature matrix is drawn from this."""

    receipts: bool = False
    idempotency_key: bool = False
    lookup: bool = False
    validity: bool = False
    attachments: bool = False
    inline_attachments: bool = False
    cc_bcc: bool = False
    custom_headers: bool = False
    tags: bool = False
    metadata: bool = False


# A kind that has nothing of its own to offer a message.
NO_OPTIONS: Mapping[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """What a kind is, for people and for forms: `config_schema` is JSON Schema 2020-12 with `writeOnly` on secrets.

    `options_schema` is the same for what a message may say to this kind alone (`providerOptions.<kind>`), in the
    provider's own names. `limits` are what is checked before the wire, in words, by field of the message.
    `verdict_seconds` is how long beyond `Call.timeout` a call may take once all was handed over: an SMTP server's
    time after the final dot. It never outlasts the message's deadline.
    """

    kind: str
    channel: Channel
    title: str
    description: str
    documentation_url: str
    config_schema: Mapping[str, Any]
    options_schema: Mapping[str, Any] = field(default_factory=lambda: NO_OPTIONS)
    limits: Mapping[str, str] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    verdict_seconds: float = 0.0


class Adapter(Protocol):
    """The code that speaks one kind's API; shared by all providers of that kind, which differ in `Call.config`."""

    @property
    def spec(self) -> ProviderSpec:
        """What this kind is."""

    async def send(self, call: Call) -> Result:
        """Try once and say what the answer means. Never raises but CancelledError: what nobody knows is
        UNKNOWN/UNEXPECTED.
        """

    async def close(self) -> None:
        """Close every kept connection; `send` must not be called afterwards."""


@runtime_checkable
class JointAdapter(Protocol):
    """What an adapter has beside `send` when its provider takes several messages of one content in one call."""

    @property
    def most_together(self) -> int:
        """How many messages one call may carry."""

    def joinable(self, call: Call) -> str:
        """Whom it goes to, as the provider tells the recipients of one call apart; "" when it has to go alone."""

    async def send_together(self, calls: Sequence[Call]) -> Sequence[Result | None]:
        """Try once, in one call, and say for each, in order, what the answer means; None: surely not accepted, and
        alone it may fare better. `calls` differ in whom they go to, and in whose they are. Raises as `send` does.
        """


def secret_paths(spec: ProviderSpec) -> tuple[tuple[str, ...], ...]:
    """Every path of the settings that is a secret (`writeOnly`), outermost key first."""
    return tuple(_write_only(spec.config_schema, ()))


def _write_only(schema: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if schema.get("writeOnly"):
        return [path]
    found: list[tuple[str, ...]] = []
    for name, part in schema.get("properties", {}).items():
        found += _write_only(part, (*path, name))
    return found
