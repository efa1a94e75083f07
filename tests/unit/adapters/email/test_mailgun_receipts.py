"""What Mailgun's events mean, and that each token counts once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.adapters.email.mailgun_receipts import EVENTS, SUPPRESSED_CODES, MailgunReceipts
from services.adapters.receipts import Receipt, ReceiptStatus
from tests.contract.receipt_vectors import MAILGUN_EVENT, OURS, mailgun_call

STATUSES = {
    "accepted": "ACCEPTED", "rejected": "FAILED", "delivered": "DELIVERED", "opened": "OPENED", "clicked": "CLICKED",
    "unsubscribed": "UNSUBSCRIBED", "complained": "COMPLAINED",
}  # fmt: skip


async def read(event: Any) -> tuple[Receipt, ...]:
    """The receipts of one signed call."""
    request, config = mailgun_call(event)
    return await MailgunReceipts().read(request, config)


@pytest.mark.parametrize("event", sorted({*EVENTS, *STATUSES}))
async def test_events(event: str) -> None:
    """Every event of providers.md §2.5 has its row."""
    [receipt] = await read({**MAILGUN_EVENT, "event": event})
    assert receipt.status == STATUSES[event]


def failed(severity: str, reason: str = "", **status: Any) -> dict[str, Any]:
    """A failure with this delivery status."""
    codes = {name.replace("_", "-"): value for name, value in status.items()}
    return {"event": "failed", "severity": severity, "reason": reason, "delivery-status": codes}


@pytest.mark.parametrize(
    ("event", "status", "fault"),
    [
        (failed("temporary", code=450), "DEFERRED", False),
        (failed("permanent", "suppress-bounce", code=605), "SUPPRESSED", False),
        (failed("permanent", "suppress-unsubscribe"), "SUPPRESSED", False),
        *((failed("permanent", "old", code=code), "SUPPRESSED", False) for code in sorted(SUPPRESSED_CODES)),
        (failed("permanent", "bounce", code=550, enhanced_code="5.1.1"), "BOUNCED_HARD", False),
        (failed("permanent", "bounce", code=550, bounce_code="5.1.10"), "BOUNCED_HARD", False),
        (failed("permanent", "bounce", code=552, enhanced_code="5.2.2"), "FAILED", False),
        (failed("permanent", "bounce", code=554, enhanced_code="5.7.1"), "FAILED", True),
        (failed("permanent", "old", code=499), "FAILED", True),
        (failed("permanent"), "FAILED", False),
        (failed(""), "FAILED", False),
    ],
)
async def test_failures(event: dict[str, Any], status: str, fault: bool) -> None:
    """Severity, reason and codes tell deferred, suppressed, dead mailbox and failed apart."""
    [receipt] = await read(event)
    assert (receipt.status, receipt.route_at_fault) == (status, fault)


def test_suppression_codes() -> None:
    """The four codes of providers.md §2.5."""
    assert {605, 606, 607, 625} == SUPPRESSED_CODES


async def test_what_is_kept() -> None:
    """Ids, ours and theirs without its brackets, the recipient, the moment and the words."""
    event = {
        **MAILGUN_EVENT,
        **failed("permanent", "generic", code=550, enhanced_code="5.1.1", message="no such user"),
        "message": {"headers": {"message-id": "<20231114.1@mg.example.com>"}},
    }
    [receipt] = await read(event)
    assert receipt == Receipt(
        status=ReceiptStatus.BOUNCED_HARD,
        provider_message_id="20231114.1@mg.example.com",
        message_id=OURS,
        event_id="t" * 50,
        counts_once=True,
        occurred_at=datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
        recipient="joan@example.com",
        provider_status="failed permanent generic",
        detail="550 5.1.1 no such user",
    )


async def test_a_token_counts_once() -> None:
    """Whatever body comes with a token, which is all that is signed, is one event: whoever keeps it takes one."""
    request, config = mailgun_call(MAILGUN_EVENT)
    other, _ = mailgun_call({**MAILGUN_EVENT, "event": "complained"})
    (first,), (second,) = await MailgunReceipts().read(request, config), await MailgunReceipts().read(other, config)
    assert (first.event_id, first.counts_once) == (second.event_id, second.counts_once) == ("t" * 50, True)
    assert first.status != second.status
