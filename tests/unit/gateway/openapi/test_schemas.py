"""Message types as JSON Schema."""

from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from gateway.descriptors import type_of
from gateway.openapi.schemas import Schemas, comments


def test_a_message_is_a_reference_to_one_component():
    """However often it is used; nested types and enums come along."""
    schemas = Schemas()
    reference = schemas.of_message(type_of(message_pb2.Message()))

    assert reference == schemas.of_message(type_of(message_pb2.Message())) == {"$ref": "#/components/schemas/Message"}
    assert {"Message", "Message.State", "Attempt", "Attempt.Outcome", "Channel"} <= set(schemas.components)


def test_fields_are_as_the_codec_reads_and_writes_them():
    """Types, formats, maps, bytes, 64 bits, comments."""
    schemas = Schemas()
    spec = schemas.of_members(type_of(message_pb2.MessageSpec()))["properties"]
    message = schemas.of_members(type_of(message_pb2.Message()))["properties"]
    attachment = schemas.of_members(type_of(message_pb2.Attachment()))["properties"]

    assert spec["maxTries"]["type"] == "integer"
    assert spec["headers"]["additionalProperties"] == {"type": "string"}
    assert spec["deadline"]["format"] == "date-time"
    assert attachment["content"]["contentEncoding"] == "base64"
    assert message["chainVersion"]["format"] == "int64"
    assert message["possibleDuplicate"]["type"] == "boolean"
    assert spec["from"]["description"].startswith("The sender")


def test_what_is_required_depends_on_who_writes():
    """Callers must send what the proto calls REQUIRED; in answers plain fields are always there."""
    schemas = Schemas()

    assert schemas.of_members(type_of(message_pb2.MessageSpec()))["required"] == ["channel", "to"]
    response = schemas.of_members(type_of(dispatch_service_pb2.ListMessagesResponse()))
    assert response["required"] == ["messages", "nextPageToken"]


def test_output_only_fields_are_read_only():
    """A form leaves them out."""
    properties = Schemas().of_members(type_of(provider_pb2.Provider()))["properties"]

    assert [name for name, schema in properties.items() if schema.get("readOnly")] == [
        "id",
        "version",
        "createdAt",
        "updatedAt",
    ]


def test_enum_words_are_bare_and_explained():
    """Each with its comment."""
    schemas = Schemas()
    schemas.of_message(type_of(message_pb2.Message()))
    state = schemas.components["Message.State"]

    assert state["enum"][:4] == ["UNSPECIFIED", "QUEUED", "SENDING", "SENT"]
    assert "- `SENT`: A provider took it." in state["description"]


def test_a_status_inside_an_answer_is_the_error_body():
    """As the codec writes it."""
    result = Schemas().of_members(type_of(dispatch_service_pb2.BatchCreateMessagesResponse.Result()))

    assert result["properties"]["error"]["$ref"] == "#/components/schemas/Error"


def test_comments_are_the_protos_own():
    """By full name."""
    assert comments()["messagepipe.dispatch.v1.Message.state"] == "Where it is in its life."
