"""One route's translation: URL and JSON to the request message, the answer to JSON. No I/O; built once per route.

A request is filled in this order, each later part checked against the earlier ones: the JSON body, the path, the query,
the constants, the update mask. A caller may repeat what the path or a constant says, but not contradict it.
"""

from collections.abc import Mapping
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway import errors
from gateway.codec import text
from gateway.codec.reader import Violations, message_reader
from gateway.codec.slots import Query, QueryMap, Slot, slot_at
from gateway.codec.text import DuplicateNames
from gateway.codec.well_known import dumps
from gateway.codec.writer import Writers
from gateway.descriptors import message_of, type_of
from gateway.idempotency import rule_of
from gateway.routes import WHOLE, FieldPath, Route, json_path
from services.chassis.errors import InvalidArgument

WRITERS = Writers({"google.rpc.Status": lambda status: errors.body(errors.of_status(status))})


class Transcoder:
    """Requests in, answers out, for one route."""

    def __init__(self, route: Route) -> None:
        request = route.rpc.input_type
        self.route = route
        self.request_class: type[Message] = GetMessageClass(request)
        self.response_class: type[Message] = GetMessageClass(route.rpc.output_type)
        self.body_prefix = json_path(request, (route.body,)) if route.body not in ("", WHOLE) else ""
        self.variables = {".".join(each.path): slot_at(request, each.path) for each in route.template.variables}
        self.constants = [
            (slot_at(request, path), _constant(slot_at(request, path), word)) for path, word in route.constants
        ]
        self.query = _query_of(route)
        self.texts = {media: slot_at(request, path) for media, path in route.texts.items()}
        self.text_queries = {media: _text_query_of(route, slot) for media, slot in self.texts.items()}
        self._lift = {
            name: (path, message_reader(_owner_of(request, path)), path[-1]) for name, path in route.lift.items()
        }
        self._write = _answer_writer(route)
        self._fixed = {slot.path for slot in self.variables.values()} | {slot.path for slot, _ in self.constants}

    @property
    def takes_body(self) -> bool:
        """Whether the route reads a body at all."""
        return self.route.body != ""

    @property
    def needs_body(self) -> bool:
        """Whether an empty body is refused: it fills a field, or a required one that nothing else fills."""
        if self.route.body != WHOLE:
            return self.takes_body
        return any(
            field_behavior_pb2.REQUIRED in behaviors(field) and (field.name,) not in self._fixed
            for field in self.route.rpc.input_type.fields
        )

    def request(
        self, variables: Mapping[str, str], query: list[tuple[str, str]], body: bytes, media: str = "application/json"
    ) -> Message:
        """The request message; InvalidArgument with every violation of body, path and query at once.

        `media` is the body's type: JSON, or one of `texts`.
        """
        message, violations = self.request_class(), Violations()
        told = self.text_queries.get(media, self.query)
        members = (
            self._read_body(message, body, violations) if told is self.query else self._read_text(message, body, media)
        )
        for path, said in variables.items():
            self._fill_variable(message, self.variables[path], said, violations)
        asked = told.fill(message, query, violations)
        if told is not self.query:
            members += [path[1] for path in sorted(asked) if path[0] == self.route.body]
        for slot, value in self.constants:
            if slot.value(message) not in (slot.field.default_value, value):
                violations.add(self.shown(slot.name), "is always another value on this route; leave it out")
            slot.set(message, value)
        self._fill_mask(message, members, asked)
        if violations:
            raise InvalidArgument(violations=violations.all())
        return message

    def answer(self, response: Message) -> bytes:
        """The JSON text of a response."""
        return dumps(self._write(response))

    def shown(self, name: str) -> str:
        """A field's JSON path as the caller of this route knows it: relative to the body."""
        prefix = f"{self.body_prefix}."
        return name[len(prefix) :] if self.body_prefix and name.startswith(prefix) else name

    def _read_body(self, message: Message, body: bytes, violations: Violations) -> list[str]:
        """Fills the message from the body and answers the body's members by their proto names."""
        if not self.takes_body or not (body or self.needs_body):
            return []
        if not body:
            raise InvalidArgument("The body is empty; this route needs a JSON object.", reason="MALFORMED_JSON")
        value = text.parse(body)
        target = message if self.route.body == WHOLE else getattr(message, self.route.body)
        if isinstance(value, dict) and self._lift:
            value = self._lifted(message, value, violations)
        message_reader(type_of(target)).read(target, value, "", violations)
        if not isinstance(value, dict):
            return []
        fields = type_of(target).fields
        names = {alias: field.name for field in fields for alias in (field.name, field.json_name)}
        return [names[member] for member in value if member in names]

    def _read_text(self, message: Message, body: bytes, media: str) -> list[str]:
        """Puts the body into its field as it is, and answers that field as the only member the body had."""
        if not body:
            raise InvalidArgument("The body is empty.", reason="MALFORMED_TEXT")
        try:
            said = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"The body is not UTF-8, from byte {error.start} on.", reason="MALFORMED_TEXT"
            ) from None
        slot = self.texts[media]
        slot.set(message, said)
        return [slot.path[-1]]

    def _lifted(self, message: Message, value: dict[str, Any], violations: Violations) -> dict[str, Any]:
        """Reads the lifted members into their own fields and answers the rest, marks included."""
        rest = type(value)(value)
        if isinstance(value, DuplicateNames) and isinstance(rest, DuplicateNames):
            rest.names = value.names
        for name, (path, reader, last) in self._lift.items():
            if name in rest:
                owner: Any = message
                for step in path[:-1]:
                    owner = getattr(owner, step)
                reader.read(owner, {last: rest.pop(name)}, "", violations)
        return rest

    def _fill_variable(self, message: Message, slot: Slot, said: str, violations: Violations) -> None:
        before = slot.value(message)
        slot.fill(message, said, violations)
        if before not in (slot.field.default_value, slot.value(message)):
            violations.add(self.shown(slot.name), "is not what the path says; leave it out")

    def _fill_mask(self, message: Message, members: list[str], asked: set[FieldPath]) -> None:
        """The members of the body become the update mask, without what can not change anyway: ids, constants,
        outputs.
        """
        name = self.route.mask_field
        if name is None or (name,) in asked:
            return
        target = type_of(getattr(message, self.route.body))
        for member in dict.fromkeys(members):
            fixed = (self.route.body, member) in self._fixed
            if not fixed and field_behavior_pb2.OUTPUT_ONLY not in behaviors(target.fields_by_name[member]):
                getattr(message, name).paths.append(member)


def behaviors(field: FieldDescriptor) -> list[int]:
    """The field's google.api.field_behavior."""
    return list(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def _text_query_of(route: Route, text: Slot) -> Query:
    """The parameters beside a body that is a text: what a JSON body would have held, and the rest of the request."""
    request = route.rpc.input_type
    fixed = {each.path for each in route.template.variables} | {path for path, _ in route.constants} | {text.path}
    if route.body == WHOLE:
        return Query(request, None, frozenset(fixed))
    inner = message_of(request.fields_by_name[route.body])
    outputs = {(route.body, field.name) for field in inner.fields if field_behavior_pb2.OUTPUT_ONLY in behaviors(field)}
    key = rule_of(route.rpc).path
    return Query(request, (route.body,), frozenset(fixed | outputs | ({key} if key else set())), inner=route.body)


def _query_of(route: Route) -> Query | QueryMap:
    request = route.rpc.input_type
    if route.query_map:
        return QueryMap(request.fields_by_name[route.query_map])
    filled = {each.path for each in route.template.variables} | set(route.lift.values())
    # A caller may say a constant in the query, as long as it is the same; the path's own fields have their place.
    if route.body == WHOLE:
        filled |= {(field.name,) for field in request.fields}
    elif (key := rule_of(route.rpc).path) is not None:
        filled.add(key)  # it has a header
    taken = (route.body,) if route.body not in ("", WHOLE) else None
    return Query(request, taken, frozenset(filled))


def _owner_of(request: Descriptor, path: FieldPath) -> Descriptor:
    for name in path[:-1]:
        request = message_of(request.fields_by_name[name])
    return request


def _constant(slot: Slot, word: str) -> Any:
    return slot.read(word) if slot.read is not None else word


def _answer_writer(route: Route) -> Any:
    response = route.rpc.output_type
    if not route.response_body:
        return WRITERS.of(response)
    field = response.fields_by_name[route.response_body]
    write = WRITERS.of_field(field)
    return lambda message: write(getattr(message, field.name))
