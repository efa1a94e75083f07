"""What is special about sending and stands in no descriptor: how long it may take, what may be claimed, and not waiting
for it.

Three rules, each in one place:
- SendMessage and SendBulkMessages wait for an outcome, up to 300 s; every other single answer is due within 30 s.
- A SendMessage whose state is UNKNOWN answers 202, not 200: a provider may have taken the message, nobody can claim it.
  So does one that `sendAt` put off.
- `Prefer: respond-async` on SendMessage accepts the message (CreateMessage) and answers 202 at once with its id. Bulk
  sending waits all the same, as RFC 7240 §2 lets a server choose.
"""

from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message as Proto
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2
from messagepipe.type.v1 import channel_pb2

from gateway.routes import Route

WAITING = frozenset({"SendMessage", "SendBulkMessages"})
WAITING_SECONDS = 300.0
_OPEN = (message_pb2.Message.STATE_UNKNOWN, message_pb2.Message.STATE_QUEUED)
ANSWER_SECONDS = 30.0
CREATE_PATH = "/messagepipe.dispatch.v1.DispatchService/CreateMessage"


def deadline(rpc: MethodDescriptor) -> float | None:
    """Seconds an RPC gets when the caller names none; None for streams, which end when they end."""
    if rpc.server_streaming:
        return None
    return WAITING_SECONDS if rpc.name in WAITING else ANSWER_SECONDS


def success_status(route: Route, response: Proto) -> int:
    """The HTTP status of an answer that is no error."""
    if isinstance(response, dispatch_service_pb2.SendMessageResponse):
        return 202 if response.state in _OPEN else route.success_status
    return route.success_status


def create_request(request: Any) -> Proto:
    """SendMessage without its wait: what to ask CreateMessage."""
    return dispatch_service_pb2.CreateMessageRequest(message=request.message)


def accepted(request: Any, message: message_pb2.Message) -> Proto:
    """SendMessage without its wait: the message is durable, and its outcome open."""
    word = "Email" if request.message.channel == channel_pb2.CHANNEL_EMAIL else "SMS"
    return dispatch_service_pb2.SendMessageResponse(
        message=f"{word} accepted", message_id=message.id, state=message.state, replayed=message.replayed
    )
