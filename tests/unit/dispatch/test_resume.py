"""Resume tokens: opaque, exact, and refused when they are not ours."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.dispatch.resume import position_from_token, token_from_position
from tests.builders import MESSAGE_ID

bigints = st.integers(0, 2**63 - 1)


@given(bigints, st.uuids(), bigints)
def test_a_token_brings_its_position_back(transaction: int, message_id: UUID, sequence: int) -> None:
    """Every position that the database can hold survives the way through a token of URL-safe characters."""
    token = token_from_position((transaction, message_id, sequence))

    assert position_from_token(token) == (transaction, message_id, sequence)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


GOOD = token_from_position((7, MESSAGE_ID, 3))


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "now",
        GOOD[:-4],
        GOOD + "AAAA",
        GOOD.replace(GOOD[0], "_", 1),
        "AQ" + "_" * 42,
        GOOD[:-1] + "%",
        GOOD + "A=",
        "ключ" * 11,
        " " + GOOD,
        base64.urlsafe_b64encode(b"\x02" + bytes(32)).decode(),
        base64.urlsafe_b64encode(b"\x01\xff" + bytes(31)).decode(),
    ],
)
def test_anything_else_is_refused(token: str) -> None:
    """What is not a token of ours is INVALID_ARGUMENT at resumeToken, never an exception of another kind."""
    with pytest.raises(InvalidArgument) as refused:
        position_from_token(token)

    assert [violation.field for violation in refused.value.violations] == ["resumeToken"]


@given(st.text())
def test_no_text_breaks_it(token: str) -> None:
    """Any text is either a position or INVALID_ARGUMENT."""
    try:
        transaction, _, sequence = position_from_token(token)
    except InvalidArgument:
        return
    assert 0 <= transaction < 2**63
    assert 0 <= sequence < 2**63
