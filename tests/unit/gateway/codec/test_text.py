"""JSON text, strictly."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec.text import MAX_DEPTH, DuplicateNames, parse
from services.chassis.errors import InvalidArgument

REFUSED = [
    (b"", "line 1 column 1"),
    (b"{", "line 1 column 2"),
    (b'{"a": 1,}', "line 1 column"),
    (b"{'a': 1}", "line 1 column 2"),
    (b'{"a": 1} x', "more after the end"),
    (b"NaN", "NaN is not a JSON value"),
    (b"[-Infinity]", "-Infinity is not a JSON value"),
    (b"\xef\xbb\xbf{}", "line 1 column 1"),
    (b'"\xc3"', "byte 1 is not UTF-8"),
    (b'"a\nb"', "line 1 column 3"),
    (b"01", "more after the end"),
    (b"1" * 5000, "too many digits"),
]


@pytest.mark.parametrize(("data", "words"), REFUSED)
def test_what_is_not_json_is_refused(data: bytes, words: str):
    """With the place and in words."""
    with pytest.raises(InvalidArgument) as refused:
        parse(data)

    assert words in refused.value.message
    assert refused.value.reason == "MALFORMED_JSON"


def test_depth_is_limited():
    """100 levels pass, 101 do not, whatever they are made of; wide is not deep."""
    for left, right in ((b"[", b"]"), (b'{"a":', b"}")):
        parse(left * MAX_DEPTH + b"1" + right * MAX_DEPTH)
        with pytest.raises(InvalidArgument, match="deeper than 100"):
            parse(left * (MAX_DEPTH + 1) + b"1" + right * (MAX_DEPTH + 1))
    assert len(parse(b"[" + b",".join([b"[]"] * 500) + b"]")) == 500


def test_repeated_names_are_marked():
    """On the object that has them, with the last value, as other readers would see it."""
    value = parse(b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}')

    assert value == {"a": 3, "b": {"c": 2}}
    assert isinstance(value, DuplicateNames)
    assert isinstance(value["b"], DuplicateNames)
    assert (value.names, value["b"].names) == (("a",), ("c",))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_every_json_value_is_read_as_it_was_written(value: Any):
    """Strictness takes nothing away from good JSON."""
    assert parse(json.dumps(value).encode()) == value


@given(st.binary(max_size=50))
def test_no_bytes_crash(data: bytes):
    """Anything is read or refused."""
    with suppress(InvalidArgument):
        parse(data)
