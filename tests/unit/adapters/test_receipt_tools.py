"""What the readers of receipts share."""

from datetime import UTC, datetime, timedelta

import pytest

from services.adapters.receipt_tools import (
    check_fresh,
    from_iso,
    from_unix,
    json_value,
    secrets_of,
    strict_base64,
    text,
    words,
)
from services.adapters.receipts import ReceiptRefused, ReceiptRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_text_is_one_clean_line() -> None:
    """Line breaks, NUL and lone surrogates are gone, numbers are words, everything else is empty."""
    assert text("a\r\n\x00b\u2028c\ud800") == "a b c"
    values: tuple[object, ...] = (9122821270554876574, 1.5, True, None, [], {})
    assert [text(value) for value in values] == [
        "9122821270554876574", "1.5", "", "", "", "",
    ]  # fmt: skip
    assert text("x" * 1000) == "x" * 256
    assert text(10**5000) == ""


def test_words_are_bounded() -> None:
    """The provider's words are joined and cut to 500 characters."""
    assert words("550", None, "no such user") == "550 no such user"
    assert len(words("x" * 400, "y" * 400)) == 500


@pytest.mark.parametrize("raw", [b"\xff", b"{", b"", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json(raw: bytes) -> None:
    """What cannot be read is None, however it is broken."""
    assert json_value(raw) is None


def test_moments() -> None:
    """Unix times as number or digits, ISO texts with a zone; everything else is no moment."""
    assert from_unix(1_700_000_000) == from_unix("1700000000") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert from_iso("2023-11-14T23:13:20+01:00") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    odd: tuple[object, ...] = (
        0,
        -1,
        1e300,
        float("nan"),
        float("inf"),
        10**400,
        True,
        "",
        "now",
        "1e9",
        "\uff11\uff17",
        None,
        [],
    )
    assert [from_unix(value) for value in odd] == [None] * len(odd)
    odd_texts: tuple[object, ...] = ("2023-11-14", "2023-11-14T22:13:20", "0001-01-01T00:00:00+14:00", "", None, 5)
    assert [from_iso(value) for value in odd_texts] == [None] * len(odd_texts)


def test_base64_has_one_form() -> None:
    """Another spelling of the same bytes is refused: it would be a changed signature that still verifies."""
    assert strict_base64("lso=") == b"\x96\xca"
    for other in ("lsp=", "lso", "lso=\n", " lso=", "", "l*o="):
        with pytest.raises(ReceiptRefused, match="signature_malformed"):
            strict_base64(other)


def test_secrets_of() -> None:
    """Several secrets are parted by commas; none at all refuses."""
    assert secrets_of({"key": "new, old,"}, "key") == ("new", "old")
    nothing: tuple[dict[str, object], ...] = ({}, {"key": ""}, {"key": " , "}, {"key": None})
    for none in nothing:
        with pytest.raises(ReceiptRefused, match="no_key"):
            secrets_of(none, "key")


@pytest.mark.parametrize(("age", "reason"), [(301, "stale"), (-301, "from_the_future"), (300, ""), (-300, "")])
def test_fresh(age: int, reason: str) -> None:
    """Five minutes either way pass, a second more does not (reliability.md S21)."""
    request = ReceiptRequest(url="https://x", headers={}, body=b"", received_at=NOW)
    if not reason:
        check_fresh(NOW - timedelta(seconds=age), request, 300)
        return
    with pytest.raises(ReceiptRefused, match=reason):
        check_fresh(NOW - timedelta(seconds=age), request, 300)
