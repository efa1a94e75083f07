"""What SES's events mean."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.adapters.email.ses_receipts import BOUNCES, EVENTS, SesReceipts
from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptStatus
from tests.contract.receipt_vectors import OURS, SES_CONFIG, SES_EVENT, ses_call, sns_request
from tests.fakes.amazon import NOW, SUBSCRIBE_URL, Amazon, sns_envelope
from tests.fakes.clock import FakeClock

MAIL: dict[str, Any] = SES_EVENT["mail"]
STATUSES = {
    "Send": "SENT", "Delivery": "DELIVERED", "Complaint": "COMPLAINED", "Reject": "FAILED", "Open": "OPENED",
    "Click": "CLICKED", "Rendering Failure": "FAILED", "DeliveryDelay": "DEFERRED", "Subscription": "UNSUBSCRIBED",
}  # fmt: skip


async def read(event: object) -> tuple[Receipt, ...]:
    """The receipts of one signed call."""
    request, config = ses_call(event)
    return await SesReceipts(Amazon().fetch, FakeClock(NOW)).read(request, config)


@pytest.mark.parametrize("shape", ["eventType", "notificationType"])
@pytest.mark.parametrize("event", sorted({*EVENTS, *STATUSES}))
async def test_events(event: str, shape: str) -> None:
    """Every event of providers.md §3.5 has its row, in the new shape and the old."""
    [receipt] = await read({shape: event, "mail": MAIL})
    assert (receipt.status, receipt.provider_status) == (STATUSES[event], event)


@pytest.mark.parametrize(
    ("kind", "sub_type", "status", "fault"),
    [
        ("Permanent", "General", "BOUNCED_HARD", False),
        ("Permanent", "NoEmail", "BOUNCED_HARD", False),
        ("Permanent", "Suppressed", "SUPPRESSED", False),
        ("Permanent", "OnAccountSuppressionList", "SUPPRESSED", False),
        ("Permanent", "OfTomorrow", "BOUNCED_HARD", False),
        ("Transient", "General", "BOUNCED_SOFT", False),
        ("Transient", "MailboxFull", "BOUNCED_SOFT", False),
        ("Transient", "MessageTooLarge", "BOUNCED_SOFT", False),
        ("Transient", "ContentRejected", "BOUNCED_SOFT", True),
        ("Transient", "AttachmentRejected", "BOUNCED_SOFT", True),
        ("Undetermined", "Undetermined", "BOUNCED_SOFT", False),
        ("OfTomorrow", "", "BOUNCED_SOFT", False),
    ],
)
async def test_bounces(kind: str, sub_type: str, status: str, fault: bool) -> None:
    """Type and sub type tell dead, full, suppressed and filtered apart."""
    assert (kind, sub_type) in BOUNCES or "OfTomorrow" in (kind, sub_type) or kind == "Undetermined"
    bounce = {"bounceType": kind, "bounceSubType": sub_type, "bouncedRecipients": [{"emailAddress": "a@example.com"}]}
    [receipt] = await read({"eventType": "Bounce", "mail": MAIL, "bounce": bounce})
    assert (receipt.status, receipt.route_at_fault, receipt.recipient) == (status, fault, "a@example.com")


async def test_a_filter_is_the_routes_fault() -> None:
    """A bounce whose enhanced code is about policy might not have come by another way."""
    bounced = [
        {"emailAddress": "a@example.com", "status": "5.7.1", "diagnosticCode": "smtp; 550 5.7.1 looks like spam"}
    ]
    bounce = {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": bounced}
    [receipt] = await read({"eventType": "Bounce", "mail": MAIL, "bounce": bounce})
    assert receipt.route_at_fault
    assert receipt.detail == "5.7.1 smtp; 550 5.7.1 looks like spam"


@pytest.mark.parametrize(
    ("complaint", "status"),
    [
        ({"complaintFeedbackType": "abuse"}, "COMPLAINED"),
        ({"complaintSubType": "OnAccountSuppressionList"}, "SUPPRESSED"),
        ({"complaintFeedbackType": "not-spam"}, None),
    ],
)
async def test_complaints(complaint: dict[str, str], status: str | None) -> None:
    """A complaint is one unless it says the opposite, or that nothing was sent."""
    receipts = await read({"eventType": "Complaint", "mail": MAIL, "complaint": complaint})
    assert [receipt.status for receipt in receipts] == ([status] if status else [])


async def test_one_receipt_per_recipient() -> None:
    """Each recipient of a delivery has a receipt, with an id of its own that a repeat has too."""
    delivery = {"recipients": ["a@example.com", "b@example.com"], "timestamp": "2023-11-14T22:13:25.000Z"}
    receipts = await read({"eventType": "Delivery", "mail": MAIL, "delivery": delivery})
    assert [receipt.recipient for receipt in receipts] == ["a@example.com", "b@example.com"]
    assert [receipt.event_id for receipt in receipts] == [
        "165545c9-2a5c-472c-8df2-7ff2be2b3b1b:0",
        "165545c9-2a5c-472c-8df2-7ff2be2b3b1b:1",
    ]


async def test_what_is_kept() -> None:
    """Ids, ours and theirs, the recipient, the moment and the words."""
    assert await read(SES_EVENT) == (
        Receipt(
            status=ReceiptStatus.DELIVERED,
            provider_message_id="0102018c-ses-000000",
            message_id=OURS,
            event_id="165545c9-2a5c-472c-8df2-7ff2be2b3b1b:0",
            occurred_at=datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC),
            recipient="a@example.com",
            provider_status="Delivery",
            detail="250 2.6.0 Message received",
        ),
    )


async def test_our_id_without_tags() -> None:
    """Identity notifications carry no tags: our id is in the Message-ID that we gave the mail."""
    headers = [{"name": "From", "value": "x"}, {"name": "Message-ID", "value": f"<{OURS}@example.com>"}]
    [receipt] = await read({"notificationType": "Delivery", "mail": {**MAIL, "tags": {}, "headers": headers}})
    assert receipt.message_id == OURS
    headers[1]["value"] = "<somebody@else>"
    [receipt] = await read({"notificationType": "Delivery", "mail": {**MAIL, "tags": {}, "headers": headers}})
    assert receipt.message_id == ""


async def test_several_destinations() -> None:
    """Who of several opened the mail nobody knows, so no recipient is named."""
    [receipt] = await read({"eventType": "Open", "mail": {**MAIL, "destination": ["a@example.com", "b@example.com"]}})
    assert receipt.recipient == ""


@pytest.mark.parametrize("message", ["Successfully validated SNS topic for Amazon SES event publishing.", "[]", "5"])
async def test_messages_that_are_no_event(message: str) -> None:
    """SES's own test message and the like give no receipt."""
    reader = SesReceipts(Amazon().fetch, FakeClock(NOW))
    assert await reader.read(sns_request(sns_envelope(message)), SES_CONFIG) == ()


async def test_a_confirmation_gives_no_receipt() -> None:
    """A subscription is confirmed on the way, and that is all."""
    amazon = Amazon()
    more = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": SUBSCRIBE_URL}
    envelope = sns_envelope(json.dumps(SES_EVENT), more=more)
    assert await SesReceipts(amazon.fetch, FakeClock(NOW)).read(sns_request(envelope), SES_CONFIG) == ()
    assert SUBSCRIBE_URL in amazon.asked


@pytest.mark.parametrize("topics", [None, [], "arn:aws:sns:eu-west-1:123456789012:ses-events", [5]])
async def test_without_topics_nobody_is_believed(topics: object) -> None:
    """No allow-list, no receipts."""
    request, _ = ses_call(SES_EVENT)
    with pytest.raises(ReceiptRefused, match="no_topics"):
        await SesReceipts(Amazon().fetch, FakeClock(NOW)).read(request, {"snsTopicArns": topics})
