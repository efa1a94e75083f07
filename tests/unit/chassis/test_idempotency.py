"""The form of idempotency keys, and what makes two requests the same."""

import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2

from services.chassis.idempotency import content_of, key_problem


@pytest.mark.parametrize("key", ["a", "order 7", "x" * 255, "~ !"])
def test_a_good_key(key: str) -> None:
    """1 to 255 printable ASCII characters, blanks among them."""
    assert key_problem(key) is None


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb", "a\n", "\x00"])
def test_a_bad_key(key: str) -> None:
    """Anything else is told what a key is."""
    assert key_problem(key) == "must be 1-255 printable ASCII characters"


def test_the_order_of_maps_does_not_count() -> None:
    """The same members in another order, on the wire and in memory, are the same request."""
    one = message_pb2.MessageSpec(metadata={"a": "1", "b": "2", "c": "3"})
    other = message_pb2.MessageSpec(metadata={"c": "3", "b": "2", "a": "1"})
    one.provider_options.update({"x": {"p": 1, "q": 2}, "y": 1})
    other.provider_options.update({"y": 1, "x": {"q": 2, "p": 1}})

    assert content_of(one, without=()) == content_of(other, without=())


def test_fields_that_do_not_count() -> None:
    """A field is left out by its path, in a message below as well, and nothing happens to the request itself."""
    spec = message_pb2.MessageSpec(to="a", idempotency_key="k")
    request = pb.SendBulkMessagesRequest(message=spec)

    assert content_of(spec, without=["idempotency_key"]) == content_of(message_pb2.MessageSpec(to="a"), without=())
    assert content_of(request, without=["message.idempotency_key"]) == content_of(
        pb.SendBulkMessagesRequest(message=message_pb2.MessageSpec(to="a")), without=()
    )
    assert content_of(pb.SendBulkMessagesRequest(), without=["message.to"]) == content_of(
        pb.SendBulkMessagesRequest(), without=()
    )
    assert request.message.idempotency_key == "k"


def test_another_type_is_another_request() -> None:
    """Two types whose bytes are equal are told apart."""
    create = pb.CreateMessageRequest(message=message_pb2.MessageSpec(to="a"))
    send = pb.SendMessageRequest(message=message_pb2.MessageSpec(to="a"))

    assert create.SerializeToString() == send.SerializeToString()
    assert content_of(create, without=()) != content_of(send, without=())
