"""Which scope each RPC needs, and which take an API key, read from the contract. It decides nothing about a caller:
authenticator.py does.
"""

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


def api_key_methods(*services: ServiceDescriptor) -> frozenset[str]:
    """`/package.Service/Method` of every method that may be called with an API key."""
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if takes_api_key(method)
    )


def takes_api_key(method: MethodDescriptor) -> bool:
    """Whether the method may be called with an API key in place of a token."""
    takes: bool = method.GetOptions().Extensions[scope_pb2.api_key_allowed]
    return takes


def _scope_of(method: MethodDescriptor) -> str:
    scope: str = method.GetOptions().Extensions[scope_pb2.required_scope]
    return scope
