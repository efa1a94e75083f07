"""Whom a project does not send to any more, and what teaches it: pure. Not how the list is kept (suppression_book.py)
nor how a message to such a recipient ends (failover.py).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from services.adapters.base import Channel, EmailContent
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.receipts import Receipt, ReceiptStatus
from services.dispatch.content import Findings, mailbox, phone_number
from services.dispatch.message import Message


class Cause(StrEnum):
    """Why a recipient is on the list."""

    HARD_BOUNCE = "HARD_BOUNCE"
    COMPLAINT = "COMPLAINT"
    OPT_OUT = "OPT_OUT"
    PROVIDER_LIST = "PROVIDER_LIST"
    MANUAL = "MANUAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One recipient of one project's channel, as `normalised` writes it; `message_id` is what taught it, if one did."""

    project_id: str
    channel: Channel
    recipient: str
    reason: Cause
    message_id: UUID | None = None

    def __repr__(self) -> str:
        """Its reason only: the recipient is nobody's business in a log."""
        return f"Suppression({self.reason})"


_TAUGHT_BY = {
    ReceiptStatus.BOUNCED_HARD: Cause.HARD_BOUNCE,
    ReceiptStatus.COMPLAINED: Cause.COMPLAINT,
    ReceiptStatus.UNSUBSCRIBED: Cause.OPT_OUT,
    ReceiptStatus.SUPPRESSED: Cause.PROVIDER_LIST,
}
# RFC 3463: bad mailbox, bad system, moved, no such mailbox (RFC 7505), disabled. RECIPIENT_INVALID alone says too
# little: a provider also words it so that it did not like how an address is written.
_DEAD_MAILBOX = re.compile(r"(?<![\d.])5\.(1\.[126]|1\.10|2\.1)(?![\d.])")


def normalised(channel: Channel, recipient: str) -> str:
    """The one spelling under which a recipient stands on the list: an address in small letters as a whole, because
    hardly any mailbox tells them apart and who complained once must not get a mail for a capital; a number as it is.
    """
    # Not casefold(): it takes groß@ and gross@, or straße.de and strasse.de, for the same; they are not.
    return recipient.lower() if channel is Channel.EMAIL else recipient


def entry_of(channel: Channel, recipient: str, path: str, findings: Findings) -> str | None:
    """A recipient that somebody typed, as the list has it; None with the violation reported. The rules are those of
    messages, so what can be sent to can be put on the list.
    """
    if channel is Channel.SMS:
        return phone_number(path, recipient.strip(), findings)
    address = mailbox(path, recipient, findings)
    return None if address is None else normalised(channel, address.email)


def recipients_of(message: Message) -> tuple[tuple[Channel, str], ...]:
    """Everybody a message would reach, copies included, each once, as the list has them."""
    content = message.content
    if not isinstance(content, EmailContent):
        return ((message.channel, normalised(message.channel, content.to)),)
    everybody = (content.to, *content.cc, *content.bcc)
    return tuple(dict.fromkeys((message.channel, normalised(message.channel, each.email)) for each in everybody))


def taught_by_result(message: Message, result: Result | None) -> Suppression | None:
    """What the answer of an attempt says about its recipient for good. Of a message with copies it teaches nothing: the
    answer does not say about whom it speaks.
    """
    everybody = recipients_of(message)
    if result is None or result.outcome is not Outcome.INVALID or len(everybody) != 1:
        return None
    if result.reason == Reason.RECIPIENT_OPTED_OUT:
        cause = Cause.OPT_OUT
    elif result.reason == Reason.RECIPIENT_INVALID and _DEAD_MAILBOX.search(
        f"{result.provider_code} {result.provider_text}"
    ):
        cause = Cause.HARD_BOUNCE
    else:
        return None
    return Suppression(
        project_id=message.project_id,
        channel=message.channel,
        recipient=everybody[0][1],
        reason=cause,
        message_id=message.id,
    )


def taught_by_receipt(
    receipt: Receipt, *, message_id: UUID, project_id: str, channel: Channel, everybody: frozenset[str]
) -> Suppression | None:
    """What a receipt says about a recipient of its message for good; `everybody` as the list has them. A receipt that
    blames the route, or names somebody the message was not for, teaches nothing.
    """
    cause = _TAUGHT_BY.get(receipt.status)
    if cause is None or receipt.route_at_fault:
        return None
    named = normalised(channel, receipt.recipient)
    # A number has many spellings, and there is only one of it; a mail's copies bounce each by themselves.
    alone = len(everybody) == 1 and (channel is Channel.SMS or not named)
    recipient = next(iter(everybody)) if alone else named
    if recipient not in everybody:
        return None
    return Suppression(project_id=project_id, channel=channel, recipient=recipient, reason=cause, message_id=message_id)


def sentence(found: tuple[tuple[str, str], ...]) -> str:
    """Who of a message's recipients stand on the list and why, in words for a person."""
    who = ", ".join(f"{recipient} ({reason})" for recipient, reason in sorted(found))
    return f"Suppressed: {who}" if who else ""
