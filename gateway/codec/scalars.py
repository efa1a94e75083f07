"""One JSON value, or one text of a URL, to one scalar of a message, by the rules of ProtoJSON. No walk over messages.

A reader takes the value and answers what the field is set to; `Wrong` says what is wrong in words that follow a field's
path. Source: protobuf.dev/programming-guides/json.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from gateway.descriptors import enum_of

Reader = Callable[[Any], Any]
MAX_HINTED_CHARS = 100

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class Wrong(ValueError):
    """The value does not fit the field; the text says what is needed."""


class _NoSuchWord(Wrong):
    """A word that an enum does not have; which one was meant is looked for only when somebody reads it."""

    def __init__(self, offered: Sequence[str], value: Any) -> None:
        super().__init__()
        self._offered, self._value = offered, value

    def __str__(self) -> str:
        meant = self._value[:MAX_HINTED_CHARS].upper() if isinstance(self._value, str) else ""
        close = get_close_matches(meant, self._offered, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"must be one of {', '.join(self._offered)}, not {shown(self._value)}{hint}"


def reader(field: FieldDescriptor) -> Reader:
    """The reader for JSON values of a scalar or enum field."""
    if field.type == FieldDescriptor.TYPE_ENUM:
        return enum_reader(enum_of(field))
    return READERS[field.type]


def text_reader(field: FieldDescriptor) -> Callable[[str], Any]:
    """The reader for the same field's text in a path or a query, where nothing is quoted."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _bool_text
    return reader(field)


def bare_words(enum: EnumDescriptor) -> dict[int, str]:
    """Number → word as REST clients see it: `CHANNEL_EMAIL` is `EMAIL`."""
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    strip = all(value.name.startswith(prefix) for value in enum.values)
    return {value.number: value.name[len(prefix) :] if strip else value.name for value in reversed(enum.values)}


def enum_reader(enum: EnumDescriptor) -> Reader:
    """Reads bare words, words with their prefix and known numbers of `enum`."""
    bare = bare_words(enum)
    numbers: Mapping[str, int] = {value.name: value.number for value in enum.values} | {w: n for n, w in bare.items()}
    offered = [word for number, word in sorted(bare.items()) if number != 0]

    def read(value: Any) -> int:
        if isinstance(value, str) and value in numbers:
            return numbers[value]
        if isinstance(value, int) and not isinstance(value, bool) and value in bare:
            return value
        raise _NoSuchWord(offered, value)

    return read


def text(value: Any) -> str:
    """A string that UTF-8 can carry."""
    if not isinstance(value, str):
        raise Wrong(f"must be a string, not {shown(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("must be Unicode text; it holds half of a surrogate pair") from None
    return value


def shown(value: Any) -> str:
    """What the caller sent, named by its kind; only short plain words are repeated, so that no secret comes back."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str() if re.fullmatch(r"[A-Z_]{1,40}", value):
            return f"{value!r}"
        case str():
            return "a string" if value else "an empty string"
        case list():
            return "a list"
        case _:
            return "an object"


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {shown(value)}")
    return value


def _bool_text(value: str) -> bool:
    if value not in ("true", "false"):
        raise Wrong("must be true or false")
    return value == "true"


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Wrong(f"must be base64 text, not {shown(value)}")
    # ProtoJSON takes both alphabets, with and without padding.
    normal = value.replace("-", "+").replace("_", "/")
    bare = normal.rstrip("=")
    if not _BASE64.fullmatch(normal) or len(bare) % 4 == 1:
        raise Wrong("must be base64 (RFC 4648)")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise Wrong("must be base64 (RFC 4648)") from None


def _integer(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        number = _whole(value)
        if not low <= number <= high:
            raise Wrong(f"must be {low} to {high}")
        return number

    return read


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 40 and _NUMBER.fullmatch(value):
        if _INTEGER.fullmatch(value):
            return int(value)
        value = float(value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    raise Wrong(f"must be a whole number, not {shown(value)}")


def _floating(largest: float) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if isinstance(value, str) and len(value) <= 400 and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(f"must be a number, not {shown(value)}")
        if abs(value) > largest:
            raise Wrong("is out of range")
        return float(value)

    return read


_INT32 = _integer(-(2**31), 2**31 - 1)
_INT64 = _integer(-(2**63), 2**63 - 1)
_UINT32 = _integer(0, 2**32 - 1)
_UINT64 = _integer(0, 2**64 - 1)
_DOUBLE = _floating(struct.unpack("<d", b"\xff\xff\xff\xff\xff\xff\xef\x7f")[0])

READERS: Mapping[int, Reader] = {
    FieldDescriptor.TYPE_BOOL: _bool,
    FieldDescriptor.TYPE_STRING: text,
    FieldDescriptor.TYPE_BYTES: _bytes,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_FLOAT: _floating(3.4028234663852886e38),
    FieldDescriptor.TYPE_DOUBLE: _DOUBLE,
}
