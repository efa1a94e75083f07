"""Which scope each RPC needs, read from the contract. It decides nothing about a caller; interceptors.py does."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from messagepipe.auth.v1 import scope_pb2

from services.chassis.auth import SCOPES


def required_scope_from_options(*services: ServiceDescriptor) -> dict[str, str]:
    """`/package.Service/Method` to the scope its option names; ValueError lists every method without a known scope."""
    scopes = {
        f"/{service.full_name}/{method.name}": _scope_of(method) for service in services for method in service.methods
    }
    if closed := [method for method, scope in scopes.items() if scope not in SCOPES]:
        raise ValueError(
            f"no valid (messagepipe.auth.v1.required_scope) on {', '.join(closed)}; there are {' '.join(SCOPES)}"
        )
    return scopes


def _scope_of(method: MethodDescriptor) -> str:
    scope: str = method.GetOptions().Extensions[scope_pb2.required_scope]
    return scope
