"""Every method of the contract declares a scope that exists."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from messagepipe.auth.v1 import scope_pb2

from services.chassis.auth import SCOPES
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.scopes import required_scope_from_options


def service_with(**scopes: str | None) -> ServiceDescriptor:
    """A service whose methods carry these scopes; None is a method without one."""
    file = descriptor_pb2.FileDescriptorProto(name="s.proto", package="t", dependency=["google/protobuf/empty.proto"])
    service = file.service.add(name="S")
    for name, scope in scopes.items():
        empty = ".google.protobuf.Empty"
        method = service.method.add(name=name, input_type=empty, output_type=empty)
        if scope is not None:
            method.options.Extensions[scope_pb2.required_scope] = scope
    pool = descriptor_pool.DescriptorPool()
    pool.Add(
        descriptor_pb2.FileDescriptorProto(
            name="google/protobuf/empty.proto",
            package="google.protobuf",
            message_type=[descriptor_pb2.DescriptorProto(name="Empty")],
        )
    )
    pool.Add(file)
    return pool.FindServiceByName("t.S")


def test_scopes_are_read_by_full_method_name():
    """The table says for each full method name the scope its option names."""
    service = service_with(Get="config:read", Watch="internal")
    assert required_scope_from_options(service) == {"/t.S/Get": "config:read", "/t.S/Watch": "internal"}


def test_a_method_without_a_scope_stops_the_start():
    """Methods with no scope, or one that does not exist, are all named."""
    with pytest.raises(ValueError, match=r"on /t\.S/A, /t\.S/C; there are config:read"):
        required_scope_from_options(service_with(A=None, B="internal", C="messages:sned"))


def test_the_contract_is_complete():
    """Every RPC of every service declares one of the five scopes."""
    services = [*CONFIG_SERVICES, *DISPATCH_SERVICES]
    table = required_scope_from_options(*services)
    assert len(table) == sum(len(service.methods) for service in services)
    assert set(table.values()) <= set(SCOPES)
