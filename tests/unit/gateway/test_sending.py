"""The rules of sending that stand in no descriptor."""

import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.type.v1.channel_pb2 import CHANNEL_SMS

from gateway import sending
from gateway.app import codecs
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES

CONFIG, DISPATCH = CONFIG_SERVICES[0], DISPATCH_SERVICES[0]

SEND = next(codec.route for codec in codecs() if codec.route.name == "POST /email/send")
STATES = message_pb2.Message.State


@pytest.mark.parametrize(
    ("state", "status"), [(STATES.STATE_SENT, 200), (STATES.STATE_UNKNOWN, 202), (STATES.STATE_UNSPECIFIED, 200)]
)
def test_only_an_unknown_outcome_changes_the_status(state: "message_pb2.Message.State.ValueType", status: int):
    """202: nobody can claim success."""
    assert sending.success_status(SEND, dispatch.SendMessageResponse(state=state)) == status


def test_other_answers_have_their_route_s_status():
    """Whatever they hold."""
    unknown = message_pb2.Message(state=STATES.STATE_UNKNOWN)

    assert sending.success_status(SEND, unknown) == 200


def test_waiting_rpcs_get_five_minutes_streams_as_long_as_they_need():
    """Everything else half a minute; the names are the contract's."""
    assert set(DISPATCH.methods_by_name) >= sending.WAITING
    assert f"/{DISPATCH.full_name}/{DISPATCH.methods_by_name['CreateMessage'].name}" == sending.CREATE_PATH
    assert sending.deadline(DISPATCH.methods_by_name["SendMessage"]) == 300
    assert sending.deadline(CONFIG.methods_by_name["CreateProvider"]) == 30
    assert sending.deadline(DISPATCH.methods_by_name["WatchMessage"]) is None


@pytest.mark.parametrize("replayed", [False, True])
def test_accepting_only_keeps_the_message_as_it_is(replayed: bool):
    """And promises nothing but its id."""
    spec = message_pb2.MessageSpec(to="a@example.com", channel=CHANNEL_SMS, idempotency_key="k")
    request = dispatch.SendMessageRequest(message=spec)
    created = message_pb2.Message(id="m-1", state=STATES.STATE_QUEUED, replayed=replayed)

    assert sending.create_request(request) == dispatch.CreateMessageRequest(message=spec)
    assert sending.accepted(request, created) == dispatch.SendMessageResponse(
        message="SMS accepted", message_id="m-1", state=STATES.STATE_QUEUED, replayed=replayed
    )
