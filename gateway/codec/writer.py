"""A message as JSON values: ProtoJSON with bare enum words. Not the writing of text, and not the reading of it.

What is printed: every plain scalar, enum, list and map, also with its default (`"enabled": false`, `[]`, `""`), so that
clients find the same members in every answer. What is left out when it is not set: messages, members of a oneof, and
fields that the proto marks `optional`, unless it marks them `null_when_unset` too. 64-bit integers are strings, as
ProtoJSON has it, because JavaScript would round them.
"""

import base64
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.codec import well_known
from gateway.codec.scalars import bare_words
from gateway.descriptors import enum_of, is_map, is_nullable, message_of

Write = Callable[[Any], Any]

_WIDE = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


class MessageWriter:
    """Writes messages of one type; built once per type. `special` writes further types by full name."""

    def __init__(self, descriptor: Descriptor, special: Mapping[str, Write]) -> None:
        self._fields = [
            (field.json_name, field.name, field.has_presence, is_nullable(field), field_writer(field, special))
            for field in descriptor.fields
        ]

    def write(self, message: Message) -> dict[str, Any]:
        """The message as a JSON object, members in the order of the proto."""
        written: dict[str, Any] = {}
        for json_name, name, has_presence, nullable, write in self._fields:
            if not has_presence or message.HasField(name):
                written[json_name] = write(getattr(message, name))
            elif nullable:
                written[json_name] = None
        return written


class Writers:
    """The writers of all types, made when first needed; `special` adds JSON forms to the well-known ones."""

    def __init__(self, special: Mapping[str, Write]) -> None:
        self._special = dict(well_known.WRITE) | dict(special)
        self._of: Callable[[Descriptor], Write] = cache(self._make)

    def of(self, descriptor: Descriptor) -> Write:
        """The writer of a message type."""
        return self._of(descriptor)

    def of_field(self, field: FieldDescriptor) -> Write:
        """The writer of one field's value, lists and maps included."""
        return field_writer(field, self._special)

    def _make(self, descriptor: Descriptor) -> Write:
        return self._special.get(descriptor.full_name) or MessageWriter(descriptor, self._special).write


def field_writer(field: FieldDescriptor, special: Mapping[str, Write]) -> Write:
    """The writer of one field's value."""
    if is_map(field):
        inner = _single(message_of(field).fields_by_name["value"], special)
        return lambda pairs: {str(key): inner(pairs[key]) for key in sorted(pairs)}
    single = _single(field, special)
    return (lambda items: [single(item) for item in items]) if field.is_repeated else single


def _single(field: FieldDescriptor, special: Mapping[str, Write]) -> Write:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return _enum(enum_of(field))
    if field.message_type is not None:
        return _message(field.message_type, special)
    if field.type in _WIDE:
        return str
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: base64.b64encode(value).decode("ascii")
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return _floating
    return _same


def _message(descriptor: Descriptor, special: Mapping[str, Write]) -> Write:
    if (known := special.get(descriptor.full_name)) is not None:
        return known
    writer: list[MessageWriter] = []

    def write(message: Message) -> dict[str, Any]:
        # Made at first use: a type may hold itself.
        if not writer:
            writer.append(MessageWriter(descriptor, special))
        return writer[0].write(message)

    return write


def _enum(enum: EnumDescriptor) -> Write:
    words = bare_words(enum)
    return lambda number: words.get(number, number)


def _floating(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _same(value: Any) -> Any:
    return value
