"""One scalar field of a request that a path, a query or a constant fills. No JSON bodies here; those are
reader.py's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.codec import well_known
from gateway.codec.reader import Violations
from gateway.codec.scalars import Wrong, text_reader
from gateway.descriptors import is_map, message_of
from gateway.routes import FieldPath, field_at, json_path

# What a query can say in one word; the other well-known types need JSON.
_AS_TEXT = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"})
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A field of the request by its path: `name` is that path in JSON names."""

    path: FieldPath
    name: str
    field: FieldDescriptor
    read: Callable[[str], Any] | None

    def value(self, message: Message) -> Any:
        """What the field holds now; its default when nothing was set."""
        return getattr(self._owner(message), self.path[-1])

    def set(self, message: Message, value: Any) -> None:
        """Puts a value into the field, or after the others of a list."""
        owner = self._owner(message)
        if self.field.is_repeated:
            getattr(owner, self.path[-1]).append(value)
        else:
            setattr(owner, self.path[-1], value)

    def fill(self, message: Message, text: str, violations: Violations) -> None:
        """Reads the text of a URL into the field."""
        if self.read is None:
            special = well_known.READ[message_of(self.field).full_name]
            special(self.value(message), text, self.name, violations.add)
            return
        try:
            self.set(message, self.read(text))
        except Wrong as wrong:
            violations.add(self.name, str(wrong))

    def _owner(self, message: Message) -> Any:
        for name in self.path[:-1]:
            message = getattr(message, name)
        return message


def slot_at(request: Descriptor, path: FieldPath) -> Slot:
    """The slot of a scalar field; KeyError for a path that leads nowhere (routes.py has refused those)."""
    found = field_at(request, path)
    if found is None:
        raise KeyError(".".join(path))
    return Slot(path=path, name=json_path(request, path), field=found, read=text_reader(found))


class Query:
    """The query parameters of one route: every field of the request that nothing else fills.

    `inner`: a field whose members are parameters by their own names too, `name` for `template.name`.
    """

    def __init__(
        self, request: Descriptor, taken: FieldPath | None, filled: frozenset[FieldPath], inner: str = ""
    ) -> None:
        self._slots: dict[str, Slot] = {}
        if inner:
            self._collect(message_of(request.fields_by_name[inner]), (inner,), (), None, filled, 1)
        self._collect(request, (), (), taken, filled, 0)
        self._names = sorted({slot.name for slot in self._slots.values()})

    @property
    def slots(self) -> list[Slot]:
        """Every parameter, once, by name."""
        return [self._slots[name] for name in self._names]

    def fill(self, message: Message, pairs: list[tuple[str, str]], violations: Violations) -> set[FieldPath]:
        """Reads all parameters into the message and answers which fields they were."""
        done: set[FieldPath] = set()
        for name, text in pairs:
            slot = self._slots.get(name)
            if slot is None:
                violations.add(name, "is not a query parameter of this route" + self._hint(name))
            elif slot.path in done and not slot.field.is_repeated:
                violations.add(name, "stands more than once")
            else:
                done.add(slot.path)
                slot.fill(message, text, violations)
        return done

    def _hint(self, name: str) -> str:
        close = get_close_matches(name, self._names, n=1)
        if close:
            return f"; did you mean {close[0]}?"
        return f"; there are {', '.join(self._names)}" if self._names else "; it has none"

    def _collect(
        self,
        message: Descriptor,
        path: FieldPath,
        names: FieldPath,
        taken: FieldPath | None,
        filled: frozenset[FieldPath],
        depth: int,
    ) -> None:
        for field in message.fields:
            at, called = (*path, field.name), (*names, field.json_name)
            if at == taken or at in filled or is_map(field):
                continue
            inner = field.message_type
            if inner is None or inner.full_name in _AS_TEXT:
                read = text_reader(field) if inner is None else None
                slot = Slot(path=at, name=".".join(called), field=field, read=read)
                self._slots[slot.name] = self._slots[".".join((*names, field.name))] = slot
            elif inner.full_name not in well_known.READ and not field.is_repeated and depth < _MAX_DEPTH:
                self._collect(inner, at, called, taken, filled, depth + 1)


class QueryMap:
    """The query parameters of a route that takes every name: all of them are texts of one map of the request."""

    def __init__(self, field: FieldDescriptor) -> None:
        self.field = field
        self.slots: list[Slot] = []

    def fill(self, message: Message, pairs: list[tuple[str, str]], violations: Violations) -> set[FieldPath]:
        """Reads all parameters into the map."""
        held = getattr(message, self.field.name)
        for name, text in pairs:
            if name in held:
                violations.add(name, "stands more than once")
            held[name] = text
        return set()
