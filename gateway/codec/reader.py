"""JSON values into a message, telling everything that is wrong at once: ProtoJSON, but strict. Not the reading of text.

json_format stops at the first error, takes duplicate names in silence and passes over out-of-range enums; a person who
fills a form wants every mistake with its path. Fields go by their JSON name or by their name in the proto. null means
"not set".
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.codec import well_known
from gateway.codec.scalars import MAX_HINTED_CHARS, Wrong, reader, shown
from gateway.codec.text import DuplicateNames
from gateway.descriptors import is_map, message_of
from services.chassis.errors import FieldViolation

MAX_VIOLATIONS = 100

FieldReader = Callable[[Message, Any, str, "Violations"], None]


class Violations:
    """Everything wrong so far; after 100 the rest is only counted, so that a hostile body can not make a huge
    answer.
    """

    def __init__(self) -> None:
        self._kept: list[FieldViolation] = []
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def full(self) -> bool:
        """Whether one more would only be counted, so that its words are not worth the work."""
        return len(self._kept) >= MAX_VIOLATIONS

    def add(self, field: str, description: object) -> None:
        """One more; its words are asked for only when it is kept."""
        if len(self._kept) < MAX_VIOLATIONS:
            self._kept.append(FieldViolation(field[:200], str(description)))
        else:
            self._left_out += 1

    def all(self) -> tuple[FieldViolation, ...]:
        """Those kept, and how many were left out if any were."""
        if not self._left_out:
            return tuple(self._kept)
        return (*self._kept, FieldViolation("", f"and {self._left_out} more"))


class MessageReader:
    """Reads JSON objects into messages of one type; built once per type."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._readers: dict[str, tuple[FieldDescriptor, FieldReader]] = {}
        for field in descriptor.fields:
            entry = (field, _field_reader(field))
            self._readers[field.name] = entry
            self._readers[field.json_name] = entry
        self._names = sorted(field.json_name for field in descriptor.fields)

    def read(self, into: Message, value: Any, path: str, violations: Violations) -> None:
        """Fills `into` from a JSON object at `path` ("" is the top)."""
        if not isinstance(value, dict):
            violations.add(path, f"must be an object, not {shown(value)}")
            return
        if isinstance(value, DuplicateNames):
            for name in value.names:
                violations.add(_join(path, name), "stands more than once")
        into.SetInParent()
        seen: dict[str, str] = {}
        for name, inner in value.items():
            self._member(into, name, inner, path, violations, seen)

    def _member(
        self, into: Message, name: str, value: Any, path: str, violations: Violations, seen: dict[str, str]
    ) -> None:
        entry = self._readers.get(name)
        if entry is None:
            # Looking for what was meant takes a thousand times as long as reading the name.
            hint = "" if violations.full else self.hint(name)
            violations.add(_join(path, name), "is not known here" + hint)
            return
        field, read = entry
        # A real oneof takes one member; the one that proto3 makes for `optional` has no other to clash with.
        group = field.containing_oneof.full_name if field.containing_oneof is not None else field.full_name
        if (before := seen.setdefault(group, name)) != name:
            violations.add(_join(path, name), f"can not stand beside {before}: they are the same choice")
        elif value is not None or _takes_null(field):
            read(into, value, _join(path, field.json_name), violations)

    def hint(self, name: str) -> str:
        """What the caller may have meant by a name that is not known."""
        close = get_close_matches(name[:MAX_HINTED_CHARS], self._names, n=1)
        return f"; did you mean {close[0]}?" if close else ""


@cache
def message_reader(descriptor: Descriptor) -> MessageReader:
    """The reader of a message type."""
    return MessageReader(descriptor)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _takes_null(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Value"


def _field_reader(field: FieldDescriptor) -> FieldReader:
    if is_map(field):
        return _map_reader(field)
    if field.is_repeated:
        return _list_reader(field)
    if field.message_type is not None:
        return _message_field(field)
    return _scalar_field(field)


def _scalar_field(field: FieldDescriptor) -> FieldReader:
    read, name = reader(field), field.name

    def scalar(into: Message, value: Any, path: str, violations: Violations) -> None:
        try:
            setattr(into, name, read(value))
        except Wrong as wrong:
            violations.add(path, wrong)

    return scalar


def _message_field(field: FieldDescriptor) -> FieldReader:
    fill, name = _filler(message_of(field)), field.name

    def message(into: Message, value: Any, path: str, violations: Violations) -> None:
        inner = getattr(into, name)
        inner.SetInParent()
        fill(inner, value, path, violations)

    return message


def _filler(descriptor: Descriptor) -> FieldReader:
    special = well_known.READ.get(descriptor.full_name)
    if special is not None:
        return lambda into, value, path, violations: special(into, value, path, violations.add)
    # Looked up when needed: a type may hold itself.
    return lambda into, value, path, violations: message_reader(descriptor).read(into, value, path, violations)


def _list_reader(field: FieldDescriptor) -> FieldReader:
    name, descriptor = field.name, field.message_type
    read = reader(field) if descriptor is None else None
    fill = _filler(descriptor) if descriptor is not None else None

    def each(items: Any, value: Any, path: str, violations: Violations) -> None:
        if value is None:
            violations.add(path, "must not be null")
        elif fill is not None:
            fill(items.add(), value, path, violations)
        elif read is not None:
            try:
                items.append(read(value))
            except Wrong as wrong:
                violations.add(path, wrong)

    def many(into: Message, value: Any, path: str, violations: Violations) -> None:
        if not isinstance(value, list):
            violations.add(path, f"must be a list, not {shown(value)}")
            return
        items = getattr(into, name)
        for index, item in enumerate(value):
            each(items, item, f"{path}[{index}]", violations)

    return many


def _map_reader(field: FieldDescriptor) -> FieldReader:
    key, inner = message_of(field).fields_by_name["key"], message_of(field).fields_by_name["value"]
    if key.type != FieldDescriptor.TYPE_STRING:
        raise TypeError(f"{field.full_name}: only maps from strings are served")
    name, read_key, put = field.name, reader(key), _map_value(inner)

    def pairs(into: Message, value: Any, path: str, violations: Violations) -> None:
        if not isinstance(value, dict):
            violations.add(path, f"must be an object, not {shown(value)}")
            return
        for twice in value.names if isinstance(value, DuplicateNames) else ():
            violations.add(f"{path}.{twice}", "stands more than once")
        found = getattr(into, name)
        for word, item in value.items():
            try:
                put(found, read_key(word), item, f"{path}.{word}", violations)
            except Wrong as wrong:
                violations.add(f"{path}.{word}", wrong)

    return pairs


def _map_value(field: FieldDescriptor) -> Callable[[Any, Any, Any, str, Violations], None]:
    """Puts one value into a map under its key."""
    if field.message_type is not None:
        fill = _filler(message_of(field))
        # Looking a message up in a map of protobuf's makes it.
        return lambda found, key, item, path, violations: fill(found[key], item, path, violations)
    read = reader(field)

    def scalar(found: Any, key: Any, item: Any, _path: str, _violations: Violations) -> None:
        found[key] = read(item)

    return scalar
