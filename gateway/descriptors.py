"""Descriptors with their types pinned down: protobuf's stubs call every message type optional. Nothing of our own
rules.
"""

from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from messagepipe.http.v1 import binding_pb2


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that has one; TypeError for any other field."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no message")
    return field.message_type


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum of a field that has one; TypeError for any other field."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is no enum")
    return field.enum_type


def type_of(message: Message) -> Descriptor:
    """The type of a message."""
    return cast(Descriptor, message.DESCRIPTOR)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_nullable(field: FieldDescriptor) -> bool:
    """Whether answers say null where the field is not set, instead of leaving it out."""
    return bool(field.GetOptions().Extensions[binding_pb2.null_when_unset])
