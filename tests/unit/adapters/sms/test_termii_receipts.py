"""What Termii's reports mean."""

import json
from typing import Any

import pytest

from services.adapters.receipts import Receipt, ReceiptStatus
from services.adapters.sms.termii_receipts import STATUSES, TermiiReceipts
from tests.contract.receipt_vectors import termii_call


async def read(**report: Any) -> tuple[Receipt, ...]:
    """The receipts of one signed call."""
    request, config = termii_call(json.dumps(report).encode())
    return await TermiiReceipts().read(request, config)


@pytest.mark.parametrize(
    ("text", "status", "fault"),
    [
        ("Message Sent", "SENT", False),
        ("Delivered", "DELIVERED", False),
        ("DELIVERED | Message delivered to handset", "DELIVERED", False),
        ("DND Active on Phone Number", "FAILED", True),
        ("Rejected", "FAILED", True),
        ("Message Failed", "FAILED", True),
        ("FAILED | not delivered to handset", "FAILED", True),
        ("Undelivered", "FAILED", False),
        ("Not delivered", "FAILED", False),
        ("Expired", "BOUNCED_SOFT", False),
    ],
)
async def test_statuses(text: str, status: str, fault: bool) -> None:
    """Every status of providers.md §6.5 has its row, and a failure is never read as a delivery."""
    [receipt] = await read(type="outbound", message_id="1", status=text)
    assert (receipt.status, receipt.route_at_fault, receipt.provider_status) == (status, fault, text)


def test_failure_words_come_first() -> None:
    """No row that says delivered stands before one that says it was not."""
    good = [number for number, row in enumerate(STATUSES) if row.meaning.status is ReceiptStatus.DELIVERED]
    bad = [number for number, row in enumerate(STATUSES) if row.meaning.status is ReceiptStatus.FAILED]
    assert min(good) > max(bad)


@pytest.mark.parametrize(
    "report",
    [
        {"type": "inbound", "message_id": "1", "status": "Received"},
        {"type": "inbound", "message_id": "1", "status": "Delivered"},
        {"type": "outbound", "message_id": "1", "status": "of tomorrow"},
        {"type": "outbound", "status": "Delivered"},
        {},
    ],
)
async def test_what_is_about_no_message_of_ours(report: dict[str, str]) -> None:
    """Incoming messages, words nobody knows and reports without an id give no receipt."""
    assert await read(**report) == ()


async def test_what_is_kept() -> None:
    """The id, which may come as a number, the recipient and the word; a repeat has the same event id."""
    expected = Receipt(
        status=ReceiptStatus.DELIVERED,
        provider_message_id="9122821270554876574",
        event_id="9122821270554876574:delivered",
        recipient="2343459509389",
        provider_status="DELIVERED",
    )
    for message_id in (9122821270554876574, "9122821270554876574"):
        receipts = await read(type="outbound", message_id=message_id, receiver="2343459509389", status="DELIVERED")
        assert receipts == (expected,)
