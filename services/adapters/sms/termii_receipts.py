"""Termii's delivery reports: their HMAC and their words (providers.md §6.5). Not incoming messages or device events."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha512
from hmac import new as hmac
from typing import Any, NamedTuple

from services.adapters.receipt_tools import STATUS_LIMIT, Meaning, json_value, member, same, secrets_of, text
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus

SIGNATURE = "x-termii-signature"


class Row(NamedTuple):
    """One row: the first whose text is contained in the lower-case status decides."""

    text: str
    meaning: Meaning


# providers.md §6.5, failure words first: "DELIVERED | Message delivered to handset" and its like hold several.
STATUSES: tuple[Row, ...] = (
    Row("dnd active on phone number", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
    Row("rejected", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
    Row("failed", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
    Row("undelivered", Meaning(ReceiptStatus.FAILED)),
    Row("not delivered", Meaning(ReceiptStatus.FAILED)),
    Row("expired", Meaning(ReceiptStatus.BOUNCED_SOFT)),
    Row("delivered", Meaning(ReceiptStatus.DELIVERED)),
    Row("message sent", Meaning(ReceiptStatus.SENT)),
)


class TermiiReceipts:
    """Reads Termii's signed reports. Its id is all that matches them to a message: it carries none of ours."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """The one report of the call. Signed over the raw body, in hex or base64: which one is not documented."""
        given = request.headers.get(SIGNATURE, "")
        digests = [
            hmac(secret.encode(), request.body, sha512).digest() for secret in secrets_of(config, "webhookSecret")
        ]
        if not any([same(given, form) for digest in digests for form in _forms(digest)]):  # noqa: C419 - all compared
            raise ReceiptRefused("signature_wrong")
        receipt = _receipt(json_value(request.body))
        return () if receipt is None else (receipt,)


def _forms(digest: bytes) -> tuple[str, str]:
    return digest.hex(), b64encode(digest).decode()


def _receipt(report: Any) -> Receipt | None:
    status = text(member(report, "status"), STATUS_LIMIT)
    found = next((row.meaning for row in STATUSES if row.text in status.lower()), None)
    message_id = text(member(report, "message_id"))
    if found is None or not message_id or text(member(report, "type")).lower() == "inbound":
        return None
    return Receipt(
        status=found.status,
        provider_message_id=message_id,
        event_id=f"{message_id}:{status.lower()}",  # it has none of its own
        occurred_at=None,  # sent_at names no time zone, and not this moment
        recipient=text(member(report, "receiver"), 64),
        route_at_fault=found.route_at_fault,
        provider_status=status,
    )
