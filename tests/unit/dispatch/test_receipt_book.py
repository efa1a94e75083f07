"""What tells one receipt from another, and texts that a database takes. The statements: tests/integration."""

from dataclasses import replace

import pytest

from services.adapters.receipts import Receipt, ReceiptStatus
from services.dispatch.receipt_book import _clean, _uuid, event_id_of
from tests.builders import NOON

RECEIPT = Receipt(status=ReceiptStatus.SENT, provider_message_id="p-1", occurred_at=NOON, provider_status="sent")


def test_the_providers_own_id_counts() -> None:
    """Two receipts with the same event id are one."""
    first = replace(RECEIPT, event_id="e1")

    assert event_id_of(first) == event_id_of(replace(first, status=ReceiptStatus.FAILED)) == "e1"


@pytest.mark.parametrize(
    "change",
    [
        {"status": ReceiptStatus.FAILED},
        {"provider_message_id": "p-2"},
        {"message_id": "m"},
        {"occurred_at": None},
        {"recipient": "ada@example.com"},
        {"provider_status": "queued"},
    ],
)
def test_without_one_everything_it_says_counts(change: dict[str, object]) -> None:
    """A receipt that says the same is a repeat, one that says anything else is not."""
    assert event_id_of(RECEIPT) == event_id_of(replace(RECEIPT))
    assert event_id_of(RECEIPT) != event_id_of(replace(RECEIPT, **change))  # type: ignore[arg-type]


def test_texts_are_storable() -> None:
    """No NUL, no half characters, bounded; an id of ours that is none is none."""
    assert _clean("a\x00\ud800" + "x" * 600) == "a\N{REPLACEMENT CHARACTER}?" + "x" * 497
    assert _uuid("nonsense") is None
