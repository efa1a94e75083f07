"""What a number says about its country."""

import pytest

from services.adapters.sms.numbers import country_scope


@pytest.mark.parametrize(
    ("number", "scope"),
    [
        ("+2348012345678", "country:NG"),
        ("+14155550100", "country:US"),
        ("+491701234567", "country:DE"),
        ("+88216123456", "country:+882"),
        ("12", ""),
    ],
)
def test_country_scope(number: str, scope: str) -> None:
    """A denial by country is scoped to the number's country, or its calling code where that belongs to none."""
    assert country_scope(number) == scope
