"""REQUIRED is enforced from the descriptor, by the paths REST users write."""

from typing import Any

import pytest
from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.message import Message

from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.validation import require_valid, validate

Field = descriptor_pb2.FieldDescriptorProto
assert annotations_pb2.DESCRIPTOR  # registered, like every file the contract imports


def field(
    name: str,
    number: int,
    kind: "descriptor_pb2.FieldDescriptorProto.Type.ValueType",
    *,
    required: bool = False,
    repeated: bool = False,
    of: str = "",
    oneof: int | None = None,
    optional: bool = False,
) -> descriptor_pb2.FieldDescriptorProto:
    """One field of a message made for these tests."""
    label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
    made = Field(name=name, number=number, type=kind, label=label, type_name=of or None)
    if required:
        made.options.Extensions[field_behavior_pb2.field_behavior].append(field_behavior_pb2.REQUIRED)
    if oneof is not None:
        made.oneof_index = oneof
    made.proto3_optional = optional
    return made


def build() -> dict[str, Any]:
    """A little contract: a request with a provider, recipients, a map, a tree and a choice."""
    file = descriptor_pb2.FileDescriptorProto(
        name="chassis_test.proto",
        package="chassis.test",
        syntax="proto3",
        dependency=["google/api/field_behavior.proto", "google/protobuf/struct.proto"],
    )
    channel = file.enum_type.add(name="Channel")
    for number, name in enumerate(("CHANNEL_UNSPECIFIED", "EMAIL", "SMS")):
        channel.value.add(name=name, number=number)
    file.message_type.add(
        name="Provider",
        field=[
            field("kind", 1, Field.TYPE_STRING, required=True),
            field("config", 2, Field.TYPE_MESSAGE, required=True, of=".google.protobuf.Struct"),
            field("note", 3, Field.TYPE_STRING),
        ],
    )
    request = file.message_type.add(
        name="Request",
        field=[
            field("project_id", 1, Field.TYPE_STRING, required=True),
            field("provider", 2, Field.TYPE_MESSAGE, required=True, of=".chassis.test.Provider"),
            field("recipients", 3, Field.TYPE_STRING, required=True, repeated=True),
            field("channel", 4, Field.TYPE_ENUM, required=True, of=".chassis.test.Channel"),
            field("count", 5, Field.TYPE_INT32, required=True),
            field("limit", 6, Field.TYPE_INT32, required=True, oneof=0, optional=True),
            field("spare_ones", 7, Field.TYPE_MESSAGE, repeated=True, of=".chassis.test.Provider"),
            field("by_name", 8, Field.TYPE_MESSAGE, repeated=True, of=".chassis.test.Request.ByNameEntry"),
            field("maybe", 9, Field.TYPE_MESSAGE, of=".chassis.test.Provider"),
            field("tree", 10, Field.TYPE_MESSAGE, of=".chassis.test.Request"),
            field("blob", 11, Field.TYPE_BYTES, required=True),
        ],
    )
    request.oneof_decl.add(name="_limit")
    entry = request.nested_type.add(
        name="ByNameEntry",
        field=[
            field("key", 1, Field.TYPE_STRING),
            field("value", 2, Field.TYPE_MESSAGE, of=".chassis.test.Provider"),
        ],
    )
    entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    for known in (descriptor_pb2.DESCRIPTOR, field_behavior_pb2.DESCRIPTOR, struct_pb2.DESCRIPTOR):
        pool.AddSerializedFile(known.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles(["chassis_test.proto"], pool)


CLASSES = build()
Request, Provider = CLASSES["chassis.test.Request"], CLASSES["chassis.test.Provider"]


def a_request(**changes: Any) -> Any:
    """A valid request but for these fields."""
    good = {
        "project_id": "p",
        "provider": a_provider(),
        "recipients": ["a"],
        "channel": 1,
        "limit": 0,
        "blob": b"x",
    }
    return Request(**{key: value for key, value in {**good, **changes}.items() if value is not None})


def a_provider(*, kind: str = "ses", config: bool = True) -> Any:
    """A valid provider but for what is asked otherwise."""
    made = Provider(kind=kind)
    if config:
        made.config.SetInParent()
    return made


def fields_of(message: Message) -> list[str]:
    """Where the violations are."""
    return [violation.field for violation in validate(message)]


def test_a_complete_request_passes():
    """A request with everything set has no violation, and a present but empty message counts as set."""
    assert validate(a_request()) == ()
    require_valid(a_request())


def test_everything_missing_is_listed_at_once():
    """An empty request lists each REQUIRED field by its JSON name; an enum says its words."""
    assert validate(Request()) == (
        FieldViolation("projectId", "is required"),
        FieldViolation("provider", "is required"),
        FieldViolation("recipients", "is required"),
        FieldViolation("channel", "is required: one of EMAIL, SMS"),
        FieldViolation("limit", "is required"),
        FieldViolation("blob", "is required"),
    )
    with pytest.raises(InvalidArgument) as caught:
        require_valid(Request())
    assert (len(caught.value.violations), caught.value.reason) == (6, "INVALID_ARGUMENT")


def test_inner_messages_are_checked_by_path():
    """Inside messages, lists and maps the path says where."""
    message = a_request(
        provider=a_provider(config=False),
        spare_ones=[a_provider(), a_provider(kind="")],
        by_name={"x": a_provider(config=False)},
        maybe=a_provider(kind="", config=False),
    )
    assert fields_of(message) == [
        "provider.config",
        "spareOnes[1].kind",
        "byName[x].config",
        "maybe.kind",
        "maybe.config",
    ]


def test_an_absent_optional_message_is_not_looked_into():
    """What is REQUIRED inside an optional message is required only when that message is there."""
    assert fields_of(a_request(maybe=None)) == []


def test_types_that_contain_themselves():
    """A recursive type is followed as deep as the message goes."""
    assert fields_of(a_request(tree=a_request(tree=a_request(project_id="")))) == ["tree.tree.projectId"]


def test_a_plain_number_counts_as_set():
    """A REQUIRED number without presence cannot be told from 0; with presence, 0 counts and absence does not."""
    assert fields_of(a_request(count=0)) == []
    assert fields_of(a_request(limit=None)) == ["limit"]


def test_types_without_rules_are_skipped():
    """A type from which no REQUIRED field can be reached is valid whatever it holds."""
    assert validate(struct_pb2.Struct(fields={"a": struct_pb2.Value(string_value="")})) == ()
