"""Made-up contracts for tests of what reads contracts. No test."""

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from messagepipe.http.v1 import binding_pb2

Field = descriptor_pb2.FieldDescriptorProto


def a_service(
    *rules: http_pb2.HttpRule, bindings: tuple[binding_pb2.Binding, ...] = (), client_streaming: bool = False
) -> ServiceDescriptor:
    """A service with one method per rule, all from Request to Response; the bindings belong to the first."""
    file = descriptor_pb2.FileDescriptorProto(name="made.proto", package="made", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="id", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    request = file.message_type.add(name="Request")
    request.field.add(name="id", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    request.field.add(name="many", number=2, type=Field.TYPE_STRING, label=Field.LABEL_REPEATED)
    kind = ".made.Inner"
    request.field.add(name="inner", number=3, type=Field.TYPE_MESSAGE, type_name=kind, label=Field.LABEL_OPTIONAL)
    color = file.enum_type.add(name="Color")
    color.value.add(name="COLOR_UNSPECIFIED", number=0)
    color.value.add(name="COLOR_RED", number=1)
    request.field.add(name="color", number=4, type=Field.TYPE_ENUM, type_name=".made.Color", label=Field.LABEL_OPTIONAL)
    service = file.service.add(name="Made")
    for number, rule in enumerate(rules or (http_pb2.HttpRule(),)):
        method = service.method.add(name=f"Do{number}", input_type=".made.Request", output_type=".made.Inner")
        method.client_streaming = client_streaming
        if rule.WhichOneof("pattern"):
            method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    service.method[0].options.Extensions[binding_pb2.binding].extend(bindings)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("made.Made")
