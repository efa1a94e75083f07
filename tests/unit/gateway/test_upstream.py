"""Which requests the gateway may send a second time by itself."""

import pytest
from google.protobuf.message import Message
from messagepipe.config.v1.config_service_pb2 import CreateProviderRequest, GetProviderRequest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1.message_pb2 import MessageSpec

from gateway.upstream import is_repeatable

BARE, KEYED = MessageSpec(to="a@example.com"), MessageSpec(to="a@example.com", idempotency_key="order-7")


@pytest.mark.parametrize(
    ("request_", "repeatable"),
    [
        (pb.CreateMessageRequest(message=KEYED), True),
        (pb.CreateMessageRequest(message=BARE), False),
        (pb.CreateMessageRequest(), False),
        (pb.SendBulkMessagesRequest(message=KEYED, recipients=["a@example.com"]), True),
        (pb.SendBulkMessagesRequest(message=BARE, recipients=["a@example.com"]), False),
        (pb.BatchCreateMessagesRequest(messages=[KEYED, KEYED]), True),
        # One item without a key would be sent twice.
        (pb.BatchCreateMessagesRequest(messages=[KEYED, BARE]), False),
        (CreateProviderRequest(idempotency_key="write-1"), True),
        (CreateProviderRequest(), False),
        # They have no key; the service config lets reads be tried again over either channel, and the others over none.
        (GetProviderRequest(), False),
        (pb.CancelMessageRequest(), False),
        (pb.RetryMessageRequest(), False),
    ],
)
def test_only_what_carries_its_keys_goes_twice(request_: Message, repeatable: bool) -> None:
    """Every write of a request must carry the caller's key: its own, its message's, or that of each of its messages."""
    assert is_repeatable(request_) is repeatable
