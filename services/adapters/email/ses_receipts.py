"""Amazon SES's events through SNS: event publishing and the older identity notifications (providers.md §3.5). Not the
envelope around them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.adapters.receipt_tools import STATUS_LIMIT, Meaning, from_iso, json_value, member, members, text, words
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus
from services.adapters.sns_envelope import Fetch, SnsGate
from services.chassis.clock import Clock

# providers.md §3.5; Bounce and Complaint are read further.
EVENTS: Mapping[str, Meaning] = {
    "Send": Meaning(ReceiptStatus.SENT),
    "Delivery": Meaning(ReceiptStatus.DELIVERED),
    "Complaint": Meaning(ReceiptStatus.COMPLAINED),
    "Reject": Meaning(ReceiptStatus.FAILED),  # a virus in it: no other provider's business
    "Open": Meaning(ReceiptStatus.OPENED),
    "Click": Meaning(ReceiptStatus.CLICKED),
    "Rendering Failure": Meaning(ReceiptStatus.FAILED, route_at_fault=True),
    "DeliveryDelay": Meaning(ReceiptStatus.DEFERRED),
    "Subscription": Meaning(ReceiptStatus.UNSUBSCRIBED),
}
# By bounceType and bounceSubType; "" is any other sub type.
BOUNCES: Mapping[tuple[str, str], Meaning] = {
    ("Permanent", "General"): Meaning(ReceiptStatus.BOUNCED_HARD),
    ("Permanent", "NoEmail"): Meaning(ReceiptStatus.BOUNCED_HARD),
    ("Permanent", "Suppressed"): Meaning(ReceiptStatus.SUPPRESSED),
    ("Permanent", "OnAccountSuppressionList"): Meaning(ReceiptStatus.SUPPRESSED),
    ("Permanent", ""): Meaning(ReceiptStatus.BOUNCED_HARD),
    ("Transient", "General"): Meaning(ReceiptStatus.BOUNCED_SOFT),
    ("Transient", "MailboxFull"): Meaning(ReceiptStatus.BOUNCED_SOFT),
    ("Transient", "MessageTooLarge"): Meaning(ReceiptStatus.BOUNCED_SOFT),
    ("Transient", "ContentRejected"): Meaning(ReceiptStatus.BOUNCED_SOFT, route_at_fault=True),
    ("Transient", "AttachmentRejected"): Meaning(ReceiptStatus.BOUNCED_SOFT, route_at_fault=True),
    ("Transient", ""): Meaning(ReceiptStatus.BOUNCED_SOFT),
    ("Undetermined", ""): Meaning(ReceiptStatus.BOUNCED_SOFT),
}
# Where each event keeps its own object, and the recipients in it.
OBJECTS: Mapping[str, tuple[str, str]] = {
    "Send": ("send", ""),
    "Delivery": ("delivery", "recipients"),
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", ""),  # complainedRecipients is a guess by domain
    "Reject": ("reject", ""),
    "Open": ("open", ""),
    "Click": ("click", ""),
    "Rendering Failure": ("failure", ""),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    "Subscription": ("subscription", ""),
}
# words of the event's own object, in the order in which they are kept
_STATUS_WORDS = ("bounceType", "bounceSubType", "complaintFeedbackType", "complaintSubType", "delayType")
_DETAIL_WORDS = ("smtpResponse", "reason", "errorMessage", "link")


class SesReceipts:
    """Reads SES's events out of envelopes that Amazon signed for one of the provider's own topics."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        """`fetch` loads certificates and confirms subscriptions."""
        self._gate = SnsGate(fetch, clock)

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """One receipt per recipient the event names; none for a confirmation or SES's own test message."""
        topics = [topic for topic in members(config.get("snsTopicArns")) if isinstance(topic, str)]
        if not topics:
            raise ReceiptRefused("no_topics")  # any account's topic carries a valid signature of Amazon
        notification = await self._gate.open(request, topics)
        if notification is None:
            return ()
        return tuple(_receipts(json_value(notification.message), text(notification.message_id, 128)))


def _receipts(event: Any, notification_id: str) -> Iterator[Receipt]:
    name = text(member(event, "eventType") or member(event, "notificationType"))
    part, recipients = OBJECTS.get(name, ("", ""))
    own = member(event, part)
    meaning = _meaning(name, own)
    if meaning is None:
        return
    mail = member(event, "mail")
    listed = members(member(own, recipients)) if recipients else ()
    for index, recipient in enumerate(listed or _only(members(member(mail, "destination")))):
        yield Receipt(
            status=meaning.status,
            provider_message_id=text(member(mail, "messageId")),
            message_id=_our_id(mail),
            event_id=f"{notification_id}:{index}",
            occurred_at=_moment(own, mail),
            recipient=text(recipient, 320) or text(member(recipient, "emailAddress"), 320),
            route_at_fault=meaning.route_at_fault or _refused_by_policy(meaning, recipient),
            provider_status=_joined(name, *(member(own, word) for word in _STATUS_WORDS)),
            detail=words(
                member(recipient, "status"),
                member(recipient, "diagnosticCode"),
                *(member(own, word) for word in _DETAIL_WORDS),
            ),
        )


def _refused_by_policy(meaning: Meaning, recipient: Any) -> bool:
    """Whether the bounce's enhanced code is about how the mail came (RFC 3463 §3.8): a filter, not a dead mailbox."""
    bounced = meaning.status in (ReceiptStatus.BOUNCED_HARD, ReceiptStatus.BOUNCED_SOFT)
    return bounced and text(member(recipient, "status")).startswith("5.7.")


def _only(destinations: tuple[Any, ...]) -> tuple[Any, ...]:
    """The one destination; of several, nobody knows which one opened the mail."""
    return destinations if len(destinations) == 1 else ("",)


def _joined(*values: Any) -> str:
    return " ".join(filter(None, (text(value, STATUS_LIMIT) for value in values)))[:STATUS_LIMIT]


def _meaning(name: str, own: Any) -> Meaning | None:
    if name == "Bounce":
        kind, sub_type = text(member(own, "bounceType")), text(member(own, "bounceSubType"))
        unknown = Meaning(ReceiptStatus.BOUNCED_SOFT)
        return BOUNCES.get((kind, sub_type)) or BOUNCES.get((kind, ""), unknown)
    if name == "Complaint" and member(own, "complaintFeedbackType") == "not-spam":
        return None  # the opposite of a complaint
    if name == "Complaint" and member(own, "complaintSubType") == "OnAccountSuppressionList":
        return Meaning(ReceiptStatus.SUPPRESSED)  # SES did not try to send it (API reference, Complaint)
    return EVENTS.get(name)


def _moment(own: Any, mail: Any) -> Any:
    return from_iso(member(own, "timestamp")) or from_iso(member(mail, "timestamp"))


def _our_id(mail: Any) -> str:
    """From our tag; else, identity notifications carry none, from the Message-ID that we gave the mail."""
    tagged = members(member(mail, "tags", "messagepipe_id"))
    if tagged:
        return text(tagged[0])
    for header in members(member(mail, "headers")):
        if text(member(header, "name")).casefold() == "message-id":
            found = re.fullmatch(r"<([0-9a-f-]{36})@[^<>\s]+>", text(member(header, "value"), 512))
            return found[1] if found else ""
    return ""
