"""SendGrid's Event Webhook: its ECDSA signature and its events (providers.md §1.5). Not its Inbound Parse or OAuth."""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from services.adapters.receipt_tools import (
    STATUS_LIMIT,
    Meaning,
    check_fresh,
    from_unix,
    json_value,
    max_age_of,
    members,
    secrets_of,
    strict_base64,
    text,
    words,
)
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

# providers.md §1.5. group_resubscribe and account_status_change say nothing about a message.
EVENTS: Mapping[str, Meaning] = {
    "processed": Meaning(ReceiptStatus.ACCEPTED),
    "deferred": Meaning(ReceiptStatus.DEFERRED),
    "delivered": Meaning(ReceiptStatus.DELIVERED),
    "open": Meaning(ReceiptStatus.OPENED),
    "click": Meaning(ReceiptStatus.CLICKED),
    "spamreport": Meaning(ReceiptStatus.COMPLAINED),
    "unsubscribe": Meaning(ReceiptStatus.UNSUBSCRIBED),
    "group_unsubscribe": Meaning(ReceiptStatus.UNSUBSCRIBED),
}
BOUNCES: Mapping[str, ReceiptStatus] = {
    "bounce": ReceiptStatus.BOUNCED_HARD,
    "blocked": ReceiptStatus.BOUNCED_SOFT,
}
# Whether a `bounce_classification` is about how SendGrid sent it; what is not named here is not.
ROUTE_AT_FAULT: Mapping[str, bool] = {
    "Content": True,
    "Frequency or Volume Too High": True,
    "Invalid Address": False,
    "Mailbox Unavailable": False,
    "Reputation": True,
    "Technical Failure": True,
    "Unclassified": False,
}
DROPS: Mapping[str, Meaning] = {
    "Bounced Address": Meaning(ReceiptStatus.SUPPRESSED),
    "Unsubscribed Address": Meaning(ReceiptStatus.SUPPRESSED),
    "Spam Reporting Address": Meaning(ReceiptStatus.SUPPRESSED),
    "Invalid": Meaning(ReceiptStatus.FAILED),
    "Spam Content": Meaning(ReceiptStatus.FAILED, route_at_fault=True),
    "Recipient List over Package Quota": Meaning(ReceiptStatus.FAILED, route_at_fault=True),
    "Invalid SMTPAPI header": Meaning(ReceiptStatus.FAILED, route_at_fault=True),
}
_DROPS_FOLDED = {reason.casefold(): meaning for reason, meaning in DROPS.items()}


class SendgridReceipts:
    """Reads signed batches of SendGrid's events; refuses unsigned ones, which anybody could have written."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """Every event of the batch that is about one message; the signature covers the raw bytes, CRLF included."""
        stamp = request.headers.get(TIMESTAMP, "")
        signature = strict_base64(request.headers.get(SIGNATURE, ""))
        signed = stamp.encode("utf-8", "backslashreplace") + request.body
        if not any(_verifies(key, signature, signed) for key in secrets_of(config, "webhookPublicKey")):
            raise ReceiptRefused("signature_wrong")
        check_fresh(from_unix(stamp), request, max_age_of(config))
        receipts = (_receipt(event) for event in members(json_value(request.body)) if isinstance(event, dict))
        return tuple(receipt for receipt in receipts if receipt is not None)


def _verifies(key: str, signature: bytes, signed: bytes) -> bool:
    try:
        public = load_der_public_key(strict_base64(key))
    except (ValueError, UnsupportedAlgorithm):
        return False
    if not (isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)):
        return False
    try:
        public.verify(signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _receipt(event: Mapping[str, Any]) -> Receipt | None:
    meaning = _meaning(event)
    if meaning is None:
        return None
    parts = (event.get("event"), event.get("type"), event.get("bounce_classification"))
    return Receipt(
        status=meaning.status,
        # the rest of it names SendGrid's servers; X-Message-Id is the part before the first dot
        provider_message_id=text(event.get("sg_message_id")).partition(".")[0],
        message_id=text(event.get("messagepipe_id")),
        event_id=text(event.get("sg_event_id")),
        occurred_at=from_unix(event.get("timestamp")),
        recipient=text(event.get("email"), 320),
        route_at_fault=meaning.route_at_fault,
        provider_status=" ".join(filter(None, (text(part, STATUS_LIMIT) for part in parts)))[:STATUS_LIMIT],
        detail=words(event.get("status"), event.get("reason"), event.get("response")),
    )


def _meaning(event: Mapping[str, Any]) -> Meaning | None:
    name = text(event.get("event"))
    if name == "bounce":
        kind = text(event.get("type"))
        blocked = kind == "blocked"  # for us, not for the address: an address list or a filter
        fault = ROUTE_AT_FAULT.get(text(event.get("bounce_classification")), blocked)
        return Meaning(BOUNCES.get(kind, ReceiptStatus.BOUNCED_HARD), fault)
    if name == "dropped":
        return _DROPS_FOLDED.get(text(event.get("reason")).casefold(), Meaning(ReceiptStatus.FAILED))
    return EVENTS.get(name)
