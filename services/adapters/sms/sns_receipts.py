"""Delivery records of Amazon SNS's SMS, forwarded out of CloudWatch Logs (providers.md §7.5). Not a webhook of
Amazon's: a function of the account's owner posts them, with a secret that both sides know.
"""

import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from services.adapters.receipt_tools import (
    STATUS_LIMIT,
    Meaning,
    from_unix,
    json_value,
    member,
    members,
    same,
    secrets_of,
    text,
    words,
)
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus

SECRET_HEADER = "x-messagepipe-receipt-secret"  # noqa: S105 - its name
SECRET_PARAMETER = "secret"  # noqa: S105 - its name
MAX_INFLATED_BYTES = 8 * 1024 * 1024


class Row(NamedTuple):
    """One row: the first whose text is contained in the lower-case providerResponse decides."""

    text: str
    meaning: Meaning


_SUPPRESSED = Meaning(ReceiptStatus.SUPPRESSED)

# providers.md §7.5. "Accepted by phone carrier" is all the delivery there is.
RESPONSES: tuple[Row, ...] = (
    Row("message has been accepted by phone carrier", Meaning(ReceiptStatus.DELIVERED)),
    Row("invalid phone number", Meaning(ReceiptStatus.BOUNCED_HARD)),
    Row("phone number is opted out", _SUPPRESSED),
    Row("phone is on a blocked list", _SUPPRESSED),
    Row("destination is on a blocked list", _SUPPRESSED),
    Row("phone has blocked sms", _SUPPRESSED),
    Row("blocked as spam by phone carrier", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
    Row("phone carrier has blocked this message", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
    Row("message body is invalid", Meaning(ReceiptStatus.FAILED)),
    Row("phone carrier is currently unreachable", Meaning(ReceiptStatus.BOUNCED_SOFT, route_at_fault=True)),
    Row("phone is currently unreachable", Meaning(ReceiptStatus.BOUNCED_SOFT)),
    Row("unknown error attempting to reach phone", Meaning(ReceiptStatus.BOUNCED_SOFT, route_at_fault=True)),
    Row("exceed max price", Meaning(ReceiptStatus.FAILED, route_at_fault=True)),
)
STATUSES: Mapping[str, Meaning] = {
    "SUCCESS": Meaning(ReceiptStatus.DELIVERED),
    "FAILURE": Meaning(ReceiptStatus.FAILED),
}


class SnsReceipts:
    """Reads forwarded delivery records; whoever knows the secret is believed."""

    async def read(self, request: ReceiptRequest, config: Mapping[str, Any]) -> tuple[Receipt, ...]:
        """Every record of the call: one, a list, `{"logEvents": …}`, or a subscription's packed `{"awslogs": …}`."""
        parameters = parse_qs(request.url.partition("#")[0].partition("?")[2])
        given = request.headers.get(SECRET_HEADER) or parameters.get(SECRET_PARAMETER, [""])[0]
        if not any([same(given, secret) for secret in secrets_of(config, "receiptSecret")]):  # noqa: C419 - all compared
            raise ReceiptRefused("secret_wrong")
        return tuple(_receipts(_unpacked(json_value(request.body))))


def _unpacked(body: Any) -> Any:
    """What CloudWatch Logs packs for a function: gzip in base64. More than MAX_INFLATED_BYTES counts as nothing."""
    packed = member(body, "awslogs", "data")
    if packed is None:
        return body
    try:
        inflate = zlib.decompressobj(wbits=31)
        return json_value(inflate.decompress(b64decode(packed, validate=True), MAX_INFLATED_BYTES))
    except (ValueError, TypeError, zlib.error):
        return None


def _receipts(body: Any) -> Iterator[Receipt]:
    events = members(member(body, "logEvents"))
    if events:
        records = [(json_value(text_of), member(event, "timestamp")) for event in events if (text_of := _line(event))]
    else:
        records = [(record, None) for record in members(body) or (body,)]
    for record, milliseconds in records:
        receipt = _receipt(record, milliseconds)
        if receipt is not None:
            yield receipt


def _line(event: Any) -> str:
    message = member(event, "message")
    return message if isinstance(message, str) else ""


def _receipt(record: Any, milliseconds: Any) -> Receipt | None:
    status, response = (
        text(member(record, "status"), STATUS_LIMIT),
        text(member(record, "delivery", "providerResponse")),
    )
    meaning = _meaning(status, response)
    message_id = text(member(record, "notification", "messageId"))
    if meaning is None or not message_id:
        return None
    return Receipt(
        status=meaning.status,
        provider_message_id=message_id,
        event_id=f"{message_id}:{status}",
        # of the log line; the record itself holds the time of sending only
        occurred_at=from_unix(milliseconds / 1000) if isinstance(milliseconds, int) else None,
        recipient=text(member(record, "delivery", "destination"), 64),
        route_at_fault=meaning.route_at_fault,
        provider_status=status,
        detail=words(response),
    )


def _meaning(status: str, response: str) -> Meaning | None:
    known = STATUSES.get(status)
    if known is None:
        return None
    found = next((row.meaning for row in RESPONSES if row.text in response.lower()), known)
    # the record's own verdict stands: no failure is read as a delivery
    delivered = ReceiptStatus.DELIVERED
    return found if (found.status is delivered) == (known.status is delivered) else known
