"""Message types as JSON Schema 2020-12 components, the way the codec reads and writes them. No paths and no
operations.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.codec.scalars import bare_words
from gateway.descriptors import is_map, is_nullable, message_of
from gateway.transcode import behaviors

Schema = dict[str, Any]

_INT32 = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32)
_UINT32 = (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32)
_REAL = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)

_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d{1,12}(\.\d{1,9})?s$", "examples": ["90s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["name,config"]},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Value": {},
    "google.protobuf.Empty": {"type": "object"},
    "google.rpc.Status": {"$ref": "#/components/schemas/Error"},
}

ERROR: Schema = {
    "type": "object",
    "description": "Why a request was not done. `reason` is the constant to program against.",
    "required": ["statusCode", "error", "message", "code", "reason", "details"],
    "properties": {
        "statusCode": {"type": "integer", "description": "The HTTP status."},
        "error": {"type": "string", "description": "HTTP's words for the status."},
        "message": {"type": "string", "description": "What is wrong and what to do, for a person."},
        "code": {"type": "string", "description": "The gRPC code, such as INVALID_ARGUMENT."},
        "reason": {"type": "string", "description": "A constant that says why, such as PROVIDER_NOT_FOUND."},
        "details": {
            "type": "object",
            "properties": {
                "violations": {
                    "type": "array",
                    "description": "Everything wrong with the request at once, by the path in the JSON that was sent.",
                    "items": {
                        "type": "object",
                        "required": ["field", "description"],
                        "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
                    },
                },
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                "retryAfter": {"type": "number", "description": "Seconds after which the same request may work."},
            },
        },
    },
}


@cache
def comments() -> Mapping[str, str]:
    """The protos' comments by full name; written by scripts/generate_comments.py."""
    text = files("gateway.openapi").joinpath("comments.json").read_text(encoding="utf-8")
    found: Mapping[str, str] = json.loads(text)
    return found


class Schemas:
    """The components of one document, collected as they are referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {"Error": ERROR}

    def of_message(self, message: Descriptor) -> Schema:
        """A message type, by reference."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = _name(message)
        if name not in self.components:
            self.components[name] = {}  # a type may hold itself
            self.components[name] = self.of_members(message)
        return {"$ref": f"#/components/schemas/{name}"}

    def of_members(
        self, message: Descriptor, *, without: frozenset[str] = frozenset(), partial: bool = False
    ) -> Schema:
        """A message type written out, without some fields (proto names); `partial` requires none of them."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {"type": "object", **_described(message.full_name)}
        schema["properties"] = {field.json_name: self.of_field(field) for field in fields}
        required = [] if partial else [field.json_name for field in fields if _is_required(message, field)]
        return {**schema, "required": required} if required else schema

    def of_field(self, field: FieldDescriptor) -> Schema:
        """One field, lists and maps included, with its comment."""
        if is_map(field):
            value = self._single(message_of(field).fields_by_name["value"])
            schema: Schema = {"type": "object", "additionalProperties": value}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._single(field)}
        else:
            schema = self._single(field)
        if is_nullable(field):
            schema = {"anyOf": [schema, {"type": "null"}]}
        if field_behavior_pb2.OUTPUT_ONLY in behaviors(field):
            schema["readOnly"] = True
        return {**schema, **_described(field.full_name)}

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is not None:
            return self.of_message(field.message_type)
        return _scalar(field.type)

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = _name(enum)
        words = bare_words(enum)
        told = {value.number: comments().get(f"{enum.full_name}.{value.name}", "") for value in enum.values}
        values = [f"- `{words[number]}`: {text}" for number, text in told.items()]
        described = "\n".join([comments().get(enum.full_name, ""), "", *values])
        self.components[name] = {
            "type": "string",
            "enum": [words[value.number] for value in enum.values],
            "description": described,
        }
        return {"$ref": f"#/components/schemas/{name}"}


def _name(element: Descriptor | EnumDescriptor) -> str:
    return element.full_name.removeprefix(f"{element.file.package}.")


def _described(full_name: str) -> Schema:
    text = comments().get(full_name)
    return {"description": text} if text else {}


def _is_required(message: Descriptor, field: FieldDescriptor) -> bool:
    # A type with behaviours is sent by callers; any other one only comes in answers, where plain fields always stand.
    if any(behaviors(each) for each in message.fields):
        return field_behavior_pb2.REQUIRED in behaviors(field)
    return not field.has_presence or is_nullable(field)


def _scalar(kind: int) -> Schema:
    if kind == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if kind == FieldDescriptor.TYPE_STRING:
        return {"type": "string"}
    if kind == FieldDescriptor.TYPE_BYTES:
        return {"type": "string", "contentEncoding": "base64"}
    if kind in _REAL:
        return {"type": "number"}
    if kind in _INT32:
        return {"type": "integer", "format": "int32"}
    if kind in _UINT32:
        return {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    return {"type": "string", "format": "int64"}
