"""Types with a JSON form of their own."""

from typing import Any

import pytest
from google.protobuf import duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2
from hypothesis import given

from gateway.codec import well_known
from gateway.codec.text import DuplicateNames
from tests.unit.gateway.codec.test_text import json_values


def told(into: Any, value: Any) -> list[str]:
    """Reads a value and answers the paths that are wrong."""
    found: list[str] = []
    well_known.READ[into.DESCRIPTOR.full_name](into, value, "x", lambda path, _: found.append(path))
    return found


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1970-01-01T00:00:05Z", 5), ("1970-01-01T01:00:05.5+01:00", 5), ("0001-01-01T00:00:00Z", -62135596800)],
)
def test_times_are_rfc_3339(value: str, seconds: int):
    """With an offset; fractions to the nanosecond."""
    into = timestamp_pb2.Timestamp()

    assert told(into, value) == []
    assert into.seconds == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2024-01-01",
        "2024-01-01T10:00:00",
        "2024-13-01T10:00:00Z",
        "2024-01-01t10:00:00z",
        "2024-01-01T10:00:00.1234567890Z",
        "0000-01-01T00:00:00Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T10:00:00+99:99",
        5,
        {},
        True,
    ],
)
def test_other_times_are_refused(value: Any):
    """Never guessed."""
    assert told(timestamp_pb2.Timestamp(), value) == ["x"]


@pytest.mark.parametrize(("value", "seconds", "nanos"), [("90s", 90, 0), ("1.5s", 1, 500_000_000), ("-1s", -1, 0)])
def test_durations_are_seconds(value: str, seconds: int, nanos: int):
    """With the suffix s."""
    into = duration_pb2.Duration()

    assert told(into, value) == []
    assert (into.seconds, into.nanos) == (seconds, nanos)


@pytest.mark.parametrize("value", ["90", "1m", "s", "1e3s", 90, None, "999999999999s", "1.0000000001s"])
def test_other_durations_are_refused(value: Any):
    """Minutes are not seconds."""
    assert told(duration_pb2.Duration(), value) == ["x"]


def test_masks_are_names():
    """In either spelling."""
    into = field_mask_pb2.FieldMask()

    assert told(into, "name,senderEmail,a.bC,sender_id") == []
    assert list(into.paths) == ["name", "sender_email", "a.b_c", "sender_id"]
    assert told(into, "a,,b") == told(into, 5) == ["x"]


def test_objects_tell_every_mistake_with_its_path():
    """Repeated names, numbers no double can hold, half surrogate pairs."""
    twice = DuplicateNames({"a": 1})
    twice.names = ("a",)
    value = {"list": [10**400, "\ud800"], "inner": twice, "\ud800": 1}

    assert told(struct_pb2.Struct(), value) == ["x.list[0]", "x.list[1]", "x.inner.a", "x"]
    assert told(struct_pb2.Struct(), [1]) == told(struct_pb2.ListValue(), {}) == ["x"]


@given(json_values)
def test_any_value_comes_back_as_it_went_in(value: Any):
    """But for what a double can not hold."""
    into = struct_pb2.Value()
    if told(into, value) == []:
        assert well_known.WRITE["google.protobuf.Value"](into) == rounded(value)


def rounded(value: Any) -> Any:
    """The value with its numbers as doubles."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return float(value)
        case list():
            return [rounded(each) for each in value]
        case _:
            return {name: rounded(each) for name, each in value.items()}


def test_whole_numbers_come_back_whole():
    """587 and not 587.0; what is not finite is null."""
    into = struct_pb2.Struct()
    into.update({"port": 587, "x": 1.5, "big": 1e300})
    into.fields["nan"].number_value = float("nan")
    written = well_known.WRITE["google.protobuf.Struct"](into)

    assert written == {"big": 1e300, "nan": None, "port": 587, "x": 1.5}
    assert list(written) == sorted(written)
    assert isinstance(written["port"], int)


def test_both_directions_know_the_same_types():
    """What can be sent can be read."""
    assert set(well_known.READ) == set(well_known.WRITE)
