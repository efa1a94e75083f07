"""JSON and URL values to scalar fields."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.descriptor import FieldDescriptor
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1 import channel_pb2

from gateway.codec.scalars import READERS, Wrong, bare_words, enum_reader, reader, shown, text, text_reader

CHANNEL = channel_pb2.DESCRIPTOR.enum_types_by_name["Channel"]


def field_of(wrapper: str) -> FieldDescriptor:
    """A field of the scalar type that a wrapper type wraps."""
    found: FieldDescriptor = wrappers_pb2.DESCRIPTOR.message_types_by_name[wrapper].fields_by_name["value"]
    return found


GOOD: list[tuple[str, Any, Any]] = [
    ("BoolValue", True, True),
    ("StringValue", "ü", "ü"),
    ("Int32Value", 5, 5),
    ("Int32Value", "-5", -5),
    ("Int32Value", 5.0, 5),
    ("Int32Value", "1e3", 1000),
    ("Int32Value", 2**31 - 1, 2**31 - 1),
    ("Int64Value", "9223372036854775807", 2**63 - 1),
    ("UInt64Value", "18446744073709551615", 2**64 - 1),
    ("DoubleValue", 1, 1.0),
    ("DoubleValue", "1.5", 1.5),
    ("DoubleValue", "Infinity", float("inf")),
    ("BytesValue", "aGk=", b"hi"),
    ("BytesValue", "aGk", b"hi"),
    ("BytesValue", "-_8=", b"\xfb\xff"),
    ("BytesValue", "", b""),
]
BAD: list[tuple[str, Any]] = [
    ("BoolValue", "true"),
    ("BoolValue", 1),
    ("BoolValue", None),
    ("StringValue", 5),
    ("StringValue", "\ud800"),
    ("Int32Value", 2**31),
    ("Int32Value", 1.5),
    ("Int32Value", True),
    ("Int32Value", "0x5"),
    ("Int32Value", ""),
    ("Int32Value", " 5"),
    ("Int32Value", "01"),
    ("Int32Value", "1" * 50),
    ("Int32Value", [5]),
    ("UInt32Value", -1),
    ("Int64Value", "1e300"),
    ("Int64Value", float("inf")),
    ("DoubleValue", "x"),
    ("DoubleValue", float("inf")),
    ("DoubleValue", True),
    ("FloatValue", 1e300),
    ("BytesValue", "a"),
    ("BytesValue", "a b="),
    ("BytesValue", "aGk\n"),
    ("BytesValue", 5),
]


@pytest.mark.parametrize(("wrapper", "value", "expected"), GOOD)
def test_what_protojson_allows_is_taken(wrapper: str, value: Any, expected: Any):
    """Numbers as numbers or texts, both alphabets of base64."""
    assert reader(field_of(wrapper))(value) == expected


@pytest.mark.parametrize(("wrapper", "value"), BAD)
def test_what_does_not_fit_is_wrong(wrapper: str, value: Any):
    """Nothing is bent into shape, and what was sent is not repeated."""
    with pytest.raises(Wrong, match=r"must be|out of range") as wrong:
        reader(field_of(wrapper))(value)

    assert not isinstance(value, str) or len(value) < 5 or value not in str(wrong.value)


def test_every_scalar_type_has_a_reader():
    """All of FieldDescriptorProto.Type but messages and groups."""
    kinds = set(descriptor_pb2.FieldDescriptorProto.Type.values())
    kinds -= {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_GROUP, FieldDescriptor.TYPE_ENUM}
    assert kinds == set(READERS)


@pytest.mark.parametrize(("value", "number"), [("EMAIL", 1), ("CHANNEL_SMS", 2), (2, 2), ("UNSPECIFIED", 0)])
def test_enum_words_are_taken_bare_and_prefixed(value: Any, number: int):
    """And known numbers."""
    assert enum_reader(CHANNEL)(value) == number


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("EMIAL", "must be one of EMAIL, SMS, not 'EMIAL'; did you mean EMAIL?"),
        ("email", "must be one of EMAIL, SMS, not a string; did you mean EMAIL?"),
        (7, "must be one of EMAIL, SMS, not a number"),
        (True, "must be one of EMAIL, SMS, not true"),
        ({}, "must be one of EMAIL, SMS, not an object"),
    ],
)
def test_unknown_enum_words_list_what_there_is(value: Any, words: str):
    """With the nearest one."""
    with pytest.raises(Wrong) as wrong:
        enum_reader(CHANNEL)(value)

    assert str(wrong.value) == words


def test_bare_words_lose_the_enum_s_own_prefix():
    """CamelCase names become the prefix buf asks for."""
    policy = message_pb2.DESCRIPTOR.enum_types_by_name["UnknownPolicy"]

    assert bare_words(policy) == {0: "UNSPECIFIED", 1: "AT_LEAST_ONCE", 2: "AT_MOST_ONCE"}


def test_a_url_s_bool_is_a_word():
    """In a query nothing is quoted."""
    read = text_reader(field_of("BoolValue"))

    assert (read("true"), read("false")) == (True, False)
    with pytest.raises(Wrong):
        read("1")


def test_what_was_sent_is_named_by_its_kind_only():
    """A secret in the wrong place does not come back in an error."""
    values: list[Any] = [None, True, 1, 1.5, "", [], {}]

    assert shown("s3cret") == "a string"
    assert [shown(each) for each in values] == [
        "null",
        "true",
        "a number",
        "a number",
        "an empty string",
        "a list",
        "an object",
    ]
    assert text("a") == "a"
