"""From a method and a path to a route."""

import pytest

from gateway.errors import Refusal
from gateway.http_rule import parse
from gateway.router import Router

ROUTER = Router(
    (method, parse(template), f"{method} {template}")
    for method, template in [
        ("GET", "/v1/messages"),
        ("GET", "/v1/messages/{id}"),
        ("GET", "/v1/messages/special"),
        ("POST", "/v1/messages/{id}:cancel"),
        ("POST", "/v1/messages:batch"),
        ("GET", "/files/{path=**}"),
        ("PUT", "/{any}/messages"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "target", "variables"),
    [
        ("GET", "/v1/messages", "GET /v1/messages", {}),
        ("GET", "/v1/messages/7", "GET /v1/messages/{id}", {"id": "7"}),
        ("GET", "/v1/messages/special", "GET /v1/messages/special", {}),
        ("POST", "/v1/messages/7:cancel", "POST /v1/messages/{id}:cancel", {"id": "7"}),
        ("POST", "/v1/messages:batch", "POST /v1/messages:batch", {}),
        ("GET", "/files/a/b", "GET /files/{path=**}", {"path": "a/b"}),
        ("PUT", "/v2/messages", "PUT /{any}/messages", {"any": "v2"}),
    ],
)
def test_the_most_literal_route_wins(method: str, path: str, target: str, variables: dict[str, str]):
    """Literals before variables."""
    assert ROUTER.find(method, path) == (target, variables)


def test_a_wrong_method_lists_all_that_the_path_takes():
    """Of the most literal template alone, as the OpenAPI specification reads a path: it is what the caller meant."""
    with pytest.raises(Refusal) as refused:
        ROUTER.find("PATCH", "/v1/messages")

    assert (refused.value.problem.status, refused.value.problem.headers) == (405, {"allow": "GET"})


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/v1/message", "/v1/messages"),
        ("/v1/messages/", "/v1/messages"),
        ("/v1/mesages/7:cancl", "cancel"),
        ("/zzz", ""),
    ],
)
def test_an_unknown_path_names_the_nearest(path: str, nearest: str):
    """And none when nothing is near."""
    with pytest.raises(Refusal) as refused:
        ROUTER.find("GET", path)

    assert refused.value.problem.status == 404
    assert nearest in refused.value.problem.message
    assert ("Did you mean" in refused.value.problem.message) == bool(nearest)
