"""What SendGrid's events mean."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.adapters.email.sendgrid_receipts import DROPS, EVENTS, ROUTE_AT_FAULT, SendgridReceipts
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptStatus
from tests.contract.receipt_vectors import OURS, sendgrid_call
from tests.fakes.amazon import NOW

STATUSES = {
    "processed": "ACCEPTED", "deferred": "DEFERRED", "delivered": "DELIVERED", "open": "OPENED", "click": "CLICKED",
    "spamreport": "COMPLAINED", "unsubscribe": "UNSUBSCRIBED", "group_unsubscribe": "UNSUBSCRIBED",
}  # fmt: skip


async def read(*events: Any) -> tuple[Receipt, ...]:
    """The receipts of one signed batch."""
    request, config = sendgrid_call(json.dumps(list(events)).encode() + b"\r\n")
    return await SendgridReceipts().read(request, config)


@pytest.mark.parametrize("event", sorted({*EVENTS, *STATUSES}))
async def test_events(event: str) -> None:
    """Every event of providers.md §1.5 has its row."""
    [receipt] = await read({"event": event})
    assert (receipt.status, receipt.provider_status) == (STATUSES[event], event)


@pytest.mark.parametrize("event", ["group_resubscribe", "account_status_change", "new_word", "", 5, None])
async def test_events_about_no_message(event: object) -> None:
    """What says nothing about a message gives no receipt."""
    assert await read({"event": event}) == ()


@pytest.mark.parametrize(
    ("bounce", "status", "fault"),
    [
        ({"type": "bounce", "bounce_classification": "Invalid Address"}, "BOUNCED_HARD", False),
        ({"type": "bounce", "bounce_classification": "Reputation"}, "BOUNCED_HARD", True),
        ({"type": "bounce"}, "BOUNCED_HARD", False),
        ({"type": "blocked"}, "BOUNCED_SOFT", True),
        ({"type": "blocked", "bounce_classification": "Content"}, "BOUNCED_SOFT", True),
        ({"type": "blocked", "bounce_classification": "Mailbox Unavailable"}, "BOUNCED_SOFT", False),
        ({}, "BOUNCED_HARD", False),
    ],
)
async def test_bounces(bounce: dict[str, str], status: str, fault: bool) -> None:
    """A block is soft and the route's fault unless classified otherwise; a dead mailbox is nobody's."""
    [receipt] = await read({"event": "bounce", **bounce})
    assert (receipt.status, receipt.route_at_fault) == (status, fault)


def test_every_classification_has_a_row() -> None:
    """The classifications of providers.md §1.5, each once."""
    listed = "Content, Frequency or Volume Too High, Invalid Address, Mailbox Unavailable, Reputation, "
    assert set(ROUTE_AT_FAULT) == set((listed + "Technical Failure, Unclassified").split(", "))


@pytest.mark.parametrize(
    ("reason", "status", "fault"),
    [
        ("Bounced Address", "SUPPRESSED", False),
        ("Unsubscribed Address", "SUPPRESSED", False),
        ("Spam Reporting Address", "SUPPRESSED", False),
        ("Invalid", "FAILED", False),
        ("Spam Content", "FAILED", True),
        ("Recipient List over Package Quota", "FAILED", True),
        ("Invalid SMTPAPI header", "FAILED", True),
        ("a reason of tomorrow", "FAILED", False),
    ],
)
async def test_drops(reason: str, status: str, fault: bool) -> None:
    """Suppressions are told from failures, and a new reason keeps its words."""
    assert reason in DROPS or reason == "a reason of tomorrow"
    [receipt] = await read({"event": "dropped", "reason": reason})
    assert (receipt.status, receipt.route_at_fault, receipt.detail) == (status, fault, reason)


async def test_what_is_kept() -> None:
    """Ids, ours and theirs, the recipient, the moment and the words of one event."""
    [receipt] = await read(
        {
            "event": "bounce",
            "type": "bounce",
            "email": "ada@example.com",
            "timestamp": 1_700_000_000,
            "sg_event_id": "ev1",
            "sg_message_id": "id1.filter0001.16648.5515E0B88.0",
            "messagepipe_id": OURS,
            "status": "5.1.1",
            "reason": "550 no such\r\nuser",
        }
    )
    assert receipt == Receipt(
        status=ReceiptStatus.BOUNCED_HARD,
        provider_message_id="id1",
        message_id=OURS,
        event_id="ev1",
        occurred_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        recipient="ada@example.com",
        provider_status="bounce bounce",
        detail="5.1.1 550 no such user",
    )


async def test_a_batch() -> None:
    """Every event of a batch counts, in order; what is no event is passed over."""
    receipts = await read({"event": "processed"}, 5, None, [], {"event": "delivered"})
    assert [receipt.status for receipt in receipts] == [ReceiptStatus.ACCEPTED, ReceiptStatus.DELIVERED]


async def test_freshness() -> None:
    """Six minutes are too old, unless the settings allow what SendGrid repeats for a day."""
    request, config = sendgrid_call(b'[{"event": "delivered"}]', at=NOW - timedelta(minutes=6))
    with pytest.raises(ReceiptRefused, match="stale"):
        await SendgridReceipts().read(request, config)
    assert await SendgridReceipts().read(request, {**config, "webhookMaxAgeSeconds": 86_400})


@pytest.mark.parametrize("key", ["AAAA", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"])
async def test_a_key_that_is_none(key: str) -> None:
    """A setting that is no key proves nothing."""
    request, _ = sendgrid_call(b"[]")
    with pytest.raises(ReceiptRefused, match="signature_wrong"):
        await SendgridReceipts().read(request, {"webhookPublicKey": key})
