"""RetryDelivery and RetryDeliveries: dead letters dispatched anew by the id of their line in the delivery log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1 import channel_pb2

from services.chassis.status import from_rpc_error
from tests.integration.rig import Pipe, metadata, rig

EMAIL, SMS = channel_pb2.CHANNEL_EMAIL, channel_pb2.CHANNEL_SMS
SENT = message_pb2.Message.STATE_SENT


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with one provider."""
    async with rig(database_url) as running:
        await running.chain("A")
        yield running


async def failed(pipe: Pipe, *outcomes: str, **fields: object) -> str:
    """A message whose only provider answered so; it accepts the next one."""
    pipe.script("A", *outcomes)
    story = await pipe.send(**fields)
    pipe.script("A", "accepted")
    return str(story.message_id)


async def refused(pipe: Pipe, message_id: str, channel: channel_pb2.Channel.ValueType = EMAIL) -> str:
    """Why a retry is refused."""
    request = pb.RetryDeliveryRequest(channel=channel, delivery_log_id=message_id)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pipe.messages.RetryDelivery(request, metadata=metadata())
    return from_rpc_error(caught.value).reason


@pytest.mark.parametrize("outcome", ["deferred", "unknown"])
async def test_a_dead_letter_is_dispatched_anew(pipe: Pipe, outcome: str) -> None:
    """FAILED or UNKNOWN: whoever asks for it has decided that a second copy is all right. Asking twice sends once."""
    message_id = await failed(pipe, outcome, unknown_policy=message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE)
    pipe.script("A", "accepted")
    request = pb.RetryDeliveryRequest(channel=EMAIL, delivery_log_id=message_id)
    answers: list[Any] = await asyncio.gather(
        *(pipe.messages.RetryDelivery(request, metadata=metadata()) for _ in range(2)), return_exceptions=True
    )
    # One of them may come when it has been sent already.
    said = [
        each.message if isinstance(each, pb.RetryDeliveryResponse) else from_rpc_error(each).reason for each in answers
    ]
    assert "Email added to retry queue successfully" in said
    assert set(said) <= {"Email added to retry queue successfully", "WRONG_STATE"}
    await pipe.watch(message_id)
    after = await pipe.get(message_id)
    assert (after.state, len(after.attempts), after.generation) == (SENT, 2, 2)


async def test_what_was_sent_is_not_sent_again(pipe: Pipe) -> None:
    """Nor is what another channel has, nor nothing."""
    message_id = (await pipe.send()).message_id
    assert await refused(pipe, message_id) == "WRONG_STATE"
    assert await refused(pipe, message_id, SMS) == "MESSAGE_NOT_FOUND"
    assert await refused(pipe, "") == "INVALID_ARGUMENT"


async def test_several_each_by_itself(pipe: Pipe) -> None:
    """One that is refused, or somebody else's, keeps no other from being retried."""
    good, sent = await failed(pipe, "deferred"), str((await pipe.send()).message_id)
    request = pb.RetryDeliveriesRequest(channel=EMAIL, delivery_log_ids=[good, sent, "no-id", good])
    answer = await pipe.messages.RetryDeliveries(request, metadata=metadata())
    assert answer.message == "Emails processed for retry"
    assert [(each.delivery_log_id, each.success) for each in answer.results] == [
        (good, True),
        (sent, False),
        ("no-id", False),
        (good, True),
    ]
    assert answer.results[2].error == "Message not found."
    stranger = await pipe.messages.RetryDeliveries(request, metadata=metadata("other"))
    assert {each.error for each in stranger.results} == {"Message not found."}
    await pipe.watch(good)
    assert (await pipe.get(good)).state == SENT


async def test_the_time_a_message_was_put_off_is_not_its_time_to_be_sent(pipe: Pipe, database_url: str) -> None:
    """A retry of what `sendAt` put off has as long as the first dispatch had, not weeks."""
    pipe.script("A", "deferred")
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(days=20))
    made = await pipe.create(send_at=later)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE dispatch.queue SET due_at = now() WHERE id = $1", made.id)
    await connection.close()
    await pipe.becomes(made.id, "FAILED")
    request = pb.RetryDeliveryRequest(channel=EMAIL, delivery_log_id=made.id)
    await pipe.messages.RetryDelivery(request, metadata=metadata())
    left = (await pipe.get(made.id)).deadline.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(minutes=55) < left <= timedelta(hours=1)
