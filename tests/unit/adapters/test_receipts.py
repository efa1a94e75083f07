"""The values of receipts."""

from datetime import UTC, datetime

from services.adapters.receipts import Receipt, ReceiptRefused, ReceiptRequest, ReceiptStatus


def test_nobody_is_named_in_a_log() -> None:
    """Neither recipient nor the provider's words nor the call's body and headers appear in a repr."""
    receipt = Receipt(
        status=ReceiptStatus.DELIVERED, provider_message_id="m1", recipient="ada@example.com", detail="to ada"
    )
    request = ReceiptRequest(
        url="https://x", headers={"x-secret": "sekrit"}, body=b"ada", received_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert "ada" not in repr(receipt) + repr(request)
    assert "sekrit" not in repr(request)


def test_a_refusal_is_a_word() -> None:
    """A refusal is final unless it says that we could not check now."""
    assert (str(ReceiptRefused("stale")), ReceiptRefused("stale").again) == ("stale", False)
    assert ReceiptRefused("certificate_unavailable", again=True).again
