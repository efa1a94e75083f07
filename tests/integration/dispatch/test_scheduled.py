"""Messages to be sent later, against the real pipe: kept, shown, cancelled, and sent when their time has come."""

from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2

from services.chassis.status import from_rpc_error
from tests.integration.rig import Pipe, eventually, metadata, rig

QUEUED, SENT = message_pb2.Message.STATE_QUEUED, message_pb2.Message.STATE_SENT
# The time comes, without anybody waiting for it.
COME = "UPDATE dispatch.queue SET due_at = now() WHERE id = $1"


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


def ahead(**length: int) -> Timestamp:
    """A moment so far ahead, or behind."""
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + timedelta(**length))
    return moment


def create(pipe: Pipe, **fields: object) -> pb.CreateMessageRequest:
    """A message with these fields."""
    return pb.CreateMessageRequest(message=pipe.spec(**fields))


async def violations(pipe: Pipe, **fields: object) -> list[str]:
    """The fields that a message is refused for."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pipe.messages.CreateMessage(create(pipe, **fields), metadata=metadata())
    return [each.field for each in from_rpc_error(caught.value).violations]


async def test_nobody_is_called_before_its_time(pipe: Pipe, database_url: str) -> None:
    """It is QUEUED, says when it is due and how long it may take from then on; when its time has come it is sent."""
    later = ahead(hours=2)
    made = await pipe.messages.CreateMessage(create(pipe, send_at=later), metadata=metadata())
    # Another one that was accepted after it has been sent: whoever looks for work has looked.
    await pipe.send()
    waiting = await pipe.get(made.id)
    assert (waiting.state, len(waiting.attempts), waiting.send_at) == (QUEUED, 0, later)
    assert 7100 < waiting.next_attempt_in.seconds <= 7200
    assert waiting.deadline.seconds - later.seconds == 3600
    assert len(pipe.adapters["A"].calls) == 1

    connection = await asyncpg.connect(database_url)
    await connection.execute(COME, made.id)
    await connection.close()

    async def sent() -> bool:
        return (await pipe.get(made.id)).state == SENT

    await eventually(sent)


async def test_it_may_be_cancelled_until_then(pipe: Pipe) -> None:
    """And nobody is called for it."""
    made = await pipe.messages.CreateMessage(create(pipe, send_at=ahead(hours=2)), metadata=metadata())
    ended = await pipe.messages.CancelMessage(pb.CancelMessageRequest(id=made.id), metadata=metadata())
    assert ended.state == message_pb2.Message.STATE_CANCELED
    assert not pipe.adapters["A"].calls


async def test_whoever_would_wait_for_the_end_is_answered_at_once(pipe: Pipe) -> None:
    """With a sentence of its own, one by one and in bulk."""
    spec = pipe.spec(send_at=ahead(days=29))
    one = await pipe.messages.SendMessage(pb.SendMessageRequest(message=spec), metadata=metadata())
    assert (one.message, one.state) == ("Email scheduled", QUEUED)
    spec.to = ""
    request = pb.SendBulkMessagesRequest(message=spec, recipients=["a@example.com", "nobody"])
    many = await pipe.messages.SendBulkMessages(request, metadata=metadata())
    assert many.message == "Bulk email processed: 1 scheduled, 1 failed"
    assert [(result.success, result.state) for result in many.results] == [(True, QUEUED), (False, 0)]


async def test_a_moment_that_is_past_means_at_once(pipe: Pipe) -> None:
    """As if it had not been given."""
    sent = await pipe.messages.SendMessage(
        pb.SendMessageRequest(message=pipe.spec(send_at=ahead(hours=-1))), metadata=metadata()
    )
    assert sent.state == SENT
    assert not (await pipe.get(sent.message_id)).HasField("send_at")


async def test_what_can_not_be(pipe: Pipe) -> None:
    """Too far ahead, no moment at all, and a deadline that is over before it begins."""
    assert await violations(pipe, send_at=ahead(days=31)) == ["message.sendAt"]
    assert await violations(pipe, send_at=Timestamp(seconds=10**15)) == ["message.sendAt"]
    assert await violations(pipe, send_at=ahead(hours=2), deadline=ahead(hours=1)) == ["message.deadline"]
    assert await violations(pipe, send_at=ahead(hours=2), ttl=Duration(seconds=8 * 86400)) == ["message.ttl"]
