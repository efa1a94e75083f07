"""The header `Idempotency-Key`: where it goes, in which forms it comes, and what contradicts it."""

from typing import Any

import pytest
from messagepipe.config.v1 import config_service_pb2 as config
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2
from starlette.datastructures import Headers

from gateway.idempotency import marks, rule_of
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.errors import InvalidArgument

METHODS = {rpc.name: rpc for service in (*CONFIG_SERVICES, *DISPATCH_SERVICES) for rpc in service.methods}
TAKE_KEYS = {
    "CreateMessage",
    "DispatchMessage",
    "SendMessage",
    "SendBulkMessages",
    "CreateProvider",
    "UpdateProvider",
    "DeleteProvider",
    "ReorderProviders",
    "CreateChannelConfig",
    "UpdateChannelConfig",
    "CreateTemplate",
    "UpdateTemplate",
    "DeleteTemplate",
}


def put(request: Any, *values: str) -> str:
    """The key of a request that came with these headers."""
    rpc = METHODS[type(request).__name__.removesuffix("Request")]
    rule_of(rpc).put(request, Headers(raw=[(b"idempotency-key", value.encode("latin-1")) for value in values]))
    key: str = (request.message if request.DESCRIPTOR.fields_by_name.get("message") else request).idempotency_key
    return key


def test_which_rpcs_take_a_key():
    """Every write that makes or changes something; one whose items have keys takes none for all of them."""
    rules = {name: rule_of(rpc) for name, rpc in METHODS.items()}

    assert {name for name, rule in rules.items() if rule.path is not None} == TAKE_KEYS
    assert {name for name, rule in rules.items() if rule.per_item} == {"BatchCreateMessages"}


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("order-7", "order-7"),
        ('"order-7"', "order-7"),
        ('"a\\"b\\\\"', 'a"b\\'),
        ("x" * 255, "x" * 255),
        ('a"b', 'a"b'),
    ],
)
def test_the_forms_of_a_key(header: str, key: str):
    """Bare, or a structured string with its escapes."""
    assert put(dispatch.CreateMessageRequest(), header) == key
    assert put(config.DeleteProviderRequest(), header) == key


@pytest.mark.parametrize("values", [("",), ("x" * 256,), ("\xe9",), ('"open',), ('"a" b',), ('""',), ("a", "a")])
def test_a_malformed_key_is_refused(values: tuple[str, ...]):
    """Empty, too long, not ASCII, a broken string, or two of them: the violation names the header."""
    with pytest.raises(InvalidArgument) as refused:
        put(dispatch.SendMessageRequest(), *values)

    assert [each.field for each in refused.value.violations] == ["Idempotency-Key"]


def test_the_request_may_say_the_same_key_and_no_other():
    """Given twice and equal is one key; different is refused, though either alone would do."""
    said = message_pb2.MessageSpec(idempotency_key="k")

    assert put(dispatch.SendMessageRequest(message=said), "k") == "k"
    assert put(dispatch.SendMessageRequest(message=said)) == "k"
    with pytest.raises(InvalidArgument, match="is not what idempotencyKey says"):
        put(dispatch.SendMessageRequest(message=said), "other")


def test_a_batch_has_keys_per_item():
    """One key for a whole batch is refused rather than ignored: its caller counts on it."""
    with pytest.raises(InvalidArgument, match="give each message an idempotencyKey of its own"):
        rule_of(METHODS["BatchCreateMessages"]).put(
            dispatch.BatchCreateMessagesRequest(), Headers({"idempotency-key": "k"})
        )


def test_elsewhere_the_header_means_nothing():
    """Clients that send it with everything can go on doing so."""
    request = dispatch.ExplainRouteRequest()
    rule_of(METHODS["ExplainRoute"]).put(request, Headers({"idempotency-key": "k"}))

    assert request == dispatch.ExplainRouteRequest()


def test_the_mark_of_a_repeated_answer():
    """Only the metadata says so."""
    assert marks([("messagepipe-replayed", "true"), ("x", "y")]) == {"idempotency-replayed": "true"}
    assert marks([("x", "y")]) == marks(None) == {}
