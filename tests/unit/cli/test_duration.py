"""Spans of time as people write and read them."""

import pytest

from cli.duration import parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800)]
)
def test_what_people_write_is_understood(text: str, seconds: int) -> None:
    """Units may be combined; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1h", "1 h", "1w", "h", "1.5h", "\u0661h"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    """Nothing, zero, negative and unknown units are refused, and the error shows how to write it."""
    with pytest.raises(ValueError, match="write it as 90s, 30m, 1h or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (0.2, "200 ms"), (1.44, "1.4 s"), (5, "5 s"), (180, "3 min"), (7200, "2 h")],
)
def test_spans_are_shown_with_the_unit_that_fits(seconds: float, text: str) -> None:
    """Two figures at most, and no `.0`."""
    assert show_duration(seconds) == text
