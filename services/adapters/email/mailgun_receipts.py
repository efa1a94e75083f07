"""Mailgun's webhooks: their HMAC, which leaves the body out, and their events (providers.md §2.5). Not its routes for
incoming mail.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from hmac import new as hmac
from typing import Any

from services.adapters.receipt_tools import (
    STATUS_LIMIT,
    Meaning,
    check_fresh,
    from_unix,
    json_value,
    max_age_of,
    member,
    same,
    secrets_of,
    text,
    words,
)
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus

# providers.md §2.5. `failed` is read by its severity, reason and codes.
EVENTS: Mapping[str, Meaning] = {
    "accepted": Meaning(ReceiptStatus.ACCEPTED),
    "rejected": Meaning(ReceiptStatus.FAILED, route_at_fault=True),  # by Mailgun itself
    "delivered": Meaning(ReceiptStatus.DELIVERED),
    "opened": Meaning(ReceiptStatus.OPENED),
    "clicked": Meaning(ReceiptStatus.CLICKED),
    "unsubscribed": Meaning(ReceiptStatus.UNSUBSCRIBED),
    "complained": Meaning(ReceiptStatus.COMPLAINED),
}
# 605 earlier bounce, 606 unsubscribed, 607 complained, 625 poor list quality
SUPPRESSED_CODES = frozenset({605, 606, 607, 625})
UNREACHABLE = 499  # no MX of the recipient could be reached from there
# RFC 3463 §3.5, §3.8: routing and policy are about the way a mail came.
ROUTE_SUBJECTS = ("5.4.", "5.7.")


class MailgunReceipts:
    """Reads Mailgun's webhooks; since nothing signs the body, each token counts once and for a short time only."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """The one event of the call. Its `event_id` is the signed token, so that no process takes it twice."""
        body = json_value(request.body)
        stamp, token, signature = (
            _raw(member(body, "signature", name)) for name in ("timestamp", "token", "signature")
        )
        if not (stamp and token and signature):
            raise ReceiptRefused("signature_missing")
        # Exactly the digits of a Unix time: where it ends and the token begins is not signed.
        if not re.fullmatch(r"[0-9]{10}", stamp, re.ASCII):
            raise ReceiptRefused("timestamp_malformed")
        if not any(same(signature, _sign(key, stamp + token)) for key in secrets_of(config, "webhookSigningKey")):
            raise ReceiptRefused("signature_wrong")
        check_fresh(from_unix(stamp), request, max_age_of(config))
        receipt = _receipt(member(body, "event-data"), token)
        return () if receipt is None else (receipt,)


def _raw(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and len(str(value)) <= 256 else ""


def _sign(key: str, signed: str) -> str:
    return hmac(key.encode(), signed.encode("utf-8", "backslashreplace"), sha256).hexdigest()


def _receipt(event: Any, token: str) -> Receipt | None:
    meaning = _meaning(event)
    if meaning is None:
        return None
    status = member(event, "delivery-status")
    named = (member(event, "event"), member(event, "severity"), member(event, "reason"))
    message_id = text(member(event, "message", "headers", "message-id"))
    return Receipt(
        status=meaning.status,
        provider_message_id=message_id.removeprefix("<").removesuffix(">"),
        message_id=text(member(event, "user-variables", "messagepipe_id")),
        event_id=text(token),
        counts_once=True,
        occurred_at=from_unix(member(event, "timestamp")),
        recipient=text(member(event, "recipient"), 320),
        route_at_fault=meaning.route_at_fault,
        provider_status=" ".join(filter(None, (text(part, STATUS_LIMIT) for part in named)))[:STATUS_LIMIT],
        detail=words(
            member(status, "code"),
            _enhanced(status),
            member(status, "message") or member(status, "description"),
            member(event, "reject", "reason"),
        ),
    )


def _meaning(event: Any) -> Meaning | None:
    name = text(member(event, "event"))
    if name != "failed":
        return EVENTS.get(name)
    if text(member(event, "severity")) == "temporary":
        return Meaning(ReceiptStatus.DEFERRED)
    code, reason = member(event, "delivery-status", "code"), text(member(event, "reason"))
    if reason.startswith("suppress-") or (isinstance(code, int) and code in SUPPRESSED_CODES):
        return Meaning(ReceiptStatus.SUPPRESSED)
    enhanced = _enhanced(member(event, "delivery-status"))
    if enhanced.startswith("5.1."):
        return Meaning(ReceiptStatus.BOUNCED_HARD)
    return Meaning(ReceiptStatus.FAILED, code == UNREACHABLE or enhanced.startswith(ROUTE_SUBJECTS))


def _enhanced(status: Any) -> str:
    return text(member(status, "enhanced-code")) or text(member(status, "bounce-code"))
