"""REQUIRED, enforced: what the contract's google.api.field_behavior says must be set, is set. Not business rules.

Which fields to look at is worked out once per message type; a message without any is passed in a dictionary look-up.
A REQUIRED number or bool without explicit presence cannot be told from 0, so it counts as set (AIP-203).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.chassis.errors import FieldViolation, InvalidArgument


def validate(message: Message) -> tuple[FieldViolation, ...]:
    """Every REQUIRED field that is not set, by its JSON path: `provider.config`, `recipients[2].address`."""
    return tuple(_walk(message, _plan_of(message.DESCRIPTOR), ""))


def require_valid(message: Message) -> None:
    """Raises InvalidArgument with every violation at once."""
    if violations := validate(message):
        raise InvalidArgument(violations=violations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One REQUIRED field: how to see that it is set, and what to say when it is not."""

    name: str
    json_name: str
    is_set: Callable[[Message], bool]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One field that holds messages with rules of their own."""

    name: str
    json_name: str
    items: Callable[[Message], Iterator[tuple[str, Message]]]
    type: Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    checks: tuple[_Check, ...]
    steps: tuple[_Step, ...]


@cache
def _plan_of(descriptor: Descriptor) -> _Plan:
    fields: list[FieldDescriptor] = list(descriptor.fields)
    steps = ((field, _value_type(field)) for field in fields)
    return _Plan(
        checks=tuple(_check(field) for field in fields if _is_required(field)),
        steps=tuple(_step(field, value) for field, value in steps if value is not None and _has_rules(value)),
    )


def _walk(message: Message, plan: _Plan, prefix: str) -> Iterator[FieldViolation]:
    for check in plan.checks:
        if not check.is_set(message):
            yield FieldViolation(prefix + check.json_name, check.description)
    for step in plan.steps:
        inner = _plan_of(step.type)
        for suffix, item in step.items(message):
            yield from _walk(item, inner, f"{prefix}{step.json_name}{suffix}.")


def _has_rules(descriptor: Descriptor) -> bool:
    """Whether a REQUIRED field can be reached from here; types may contain themselves."""
    seen: set[str] = set()
    open_types = [descriptor]
    while open_types:
        current = open_types.pop()
        if current.full_name in seen:
            continue
        seen.add(current.full_name)
        if any(_is_required(field) for field in current.fields):
            return True
        open_types += [value for field in current.fields if (value := _value_type(field)) is not None]
    return False


def _is_required(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value_type(field: FieldDescriptor) -> Descriptor | None:
    """The message type a field, a list or the values of a map hold."""
    if field.message_type is None:
        return None
    if _is_map(field):
        value: Descriptor | None = field.message_type.fields_by_name["value"].message_type
        return value
    return field.message_type


def _check(field: FieldDescriptor) -> _Check:
    return _Check(name=field.name, json_name=field.json_name, is_set=_is_set(field), description=_description(field))


def _is_set(field: FieldDescriptor) -> Callable[[Message], bool]:
    name = field.name
    if field.is_repeated:
        return lambda message: len(getattr(message, name)) > 0
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM):
        return lambda message: bool(getattr(message, name))
    if field.has_presence:
        return lambda message: message.HasField(name)
    return lambda _message: True


def _description(field: FieldDescriptor) -> str:
    if field.enum_type is None:
        return "is required"
    words = [value.name for value in field.enum_type.values if value.number != 0]
    return f"is required: one of {', '.join(words)}"


def _step(field: FieldDescriptor, value: Descriptor) -> _Step:
    return _Step(name=field.name, json_name=field.json_name, items=_items(field), type=value)


def _items(field: FieldDescriptor) -> Callable[[Any], Iterator[tuple[str, Message]]]:
    name = field.name

    def of_map(message: Any) -> Iterator[tuple[str, Message]]:
        held = getattr(message, name)
        return ((f"[{key}]", held[key]) for key in held)

    def of_list(message: Any) -> Iterator[tuple[str, Message]]:
        return ((f"[{index}]", item) for index, item in enumerate(getattr(message, name)))

    def of_one(message: Any) -> Iterator[tuple[str, Message]]:
        return iter([("", getattr(message, name))] if message.HasField(name) else [])

    if _is_map(field):
        return of_map
    return of_list if field.is_repeated else of_one
