"""What SNS's forwarded delivery records mean."""

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptStatus
from services.adapters.sms.sns_receipts import MAX_INFLATED_BYTES, RESPONSES, SnsReceipts
from tests.contract.receipt_vectors import SNS_CONFIG, SNS_RECORD, sns_call


async def read(body: object) -> tuple[Receipt, ...]:
    """The receipts of one call with the secret."""
    request, config = sns_call(body)
    return await SnsReceipts().read(request, config)


def a_record(status: str, response: str) -> dict[str, Any]:
    """A delivery record with these words."""
    return {**SNS_RECORD, "status": status, "delivery": {"destination": "+1415", "providerResponse": response}}


@pytest.mark.parametrize(
    ("response", "status", "fault"),
    [
        ("Invalid phone number", "BOUNCED_HARD", False),
        ("Phone number is opted out", "SUPPRESSED", False),
        ("Phone is on a blocked list", "SUPPRESSED", False),
        ("Destination is on a blocked list", "SUPPRESSED", False),
        ("Phone has blocked SMS", "SUPPRESSED", False),
        ("Blocked as spam by phone carrier", "FAILED", True),
        ("Phone carrier has blocked this message", "FAILED", True),
        ("Message body is invalid", "FAILED", False),
        ("Phone carrier is currently unreachable/unavailable", "BOUNCED_SOFT", True),
        ("Phone is currently unreachable/unavailable", "BOUNCED_SOFT", False),
        ("Unknown error attempting to reach phone", "BOUNCED_SOFT", True),
        ("This delivery would exceed max price", "FAILED", True),
        ("of tomorrow", "FAILED", False),
        ("Message has been accepted by phone carrier", "FAILED", False),
    ],
)
async def test_failures(response: str, status: str, fault: bool) -> None:
    """Every response of providers.md §7.5 has its row; the record's own verdict is never turned round."""
    assert any(row.text in response.lower() for row in RESPONSES) or response == "of tomorrow"
    [receipt] = await read(a_record("FAILURE", response))
    assert (receipt.status, receipt.route_at_fault, receipt.detail) == (status, fault, response)


@pytest.mark.parametrize("response", ["Message has been accepted by phone carrier", "of tomorrow", ""])
async def test_success(response: str) -> None:
    """SUCCESS is delivered, whatever the words."""
    [receipt] = await read(a_record("SUCCESS", response))
    assert receipt.status is ReceiptStatus.DELIVERED


def packed(body: bytes) -> dict[str, Any]:
    """What CloudWatch Logs hands to a function."""
    return {"awslogs": {"data": base64.b64encode(gzip.compress(body)).decode()}}


async def test_every_shape() -> None:
    """One record, a list, a subscription's events, and those packed: the same receipts."""
    events = {
        "messageType": "DATA_MESSAGE",
        "logEvents": [{"id": "1", "timestamp": 1_700_000_000_000, "message": json.dumps(SNS_RECORD)}],
    }
    plain = Receipt(
        status=ReceiptStatus.DELIVERED,
        provider_message_id="34d9b400-c6dd-5444-820d-fbeb0f1f54cf",
        event_id="34d9b400-c6dd-5444-820d-fbeb0f1f54cf:SUCCESS",
        recipient="+14155550100",
        provider_status="SUCCESS",
        detail="Message has been accepted by phone carrier",
    )
    assert await read(SNS_RECORD) == (plain,)
    assert await read([SNS_RECORD, SNS_RECORD]) == (plain, plain)
    for body in (events, packed(json.dumps(events).encode())):
        [receipt] = await read(body)
        assert receipt.occurred_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert receipt.event_id == plain.event_id


@pytest.mark.parametrize(
    "body",
    [
        {"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE: Checking health."}]},
        {"awslogs": {"data": "no base64"}},
        {"awslogs": {"data": base64.b64encode(b"no gzip").decode()}},
        {"awslogs": {"data": 5}},
        packed(b"[" + b" " * (MAX_INFLATED_BYTES + 1) + b"]"),
        {"status": "SUCCESS"},
        {**SNS_RECORD, "status": "OFTOMORROW"},
    ],
)
async def test_what_is_no_record(body: object) -> None:
    """Control messages, broken or exploding packages and records without an id give no receipt."""
    assert await read(body) == ()


async def test_the_secret_in_the_query() -> None:
    """Where a function can set no header, the query carries the secret; a wrong one is refused in either place."""
    request, config = sns_call(SNS_RECORD, query="?secret=a-secret-of-ours")
    assert await SnsReceipts().read(request, config)
    wrong, _ = sns_call(SNS_RECORD, query="?secret=a-secret-of-our")
    with pytest.raises(ReceiptRefused, match="secret_wrong"):
        await SnsReceipts().read(wrong, SNS_CONFIG)
