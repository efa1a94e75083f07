"""`Idempotency-Key` over HTTP: it becomes the request's key, and a repeated answer says that it is one."""

import pytest
from google.protobuf.empty_pb2 import Empty
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import delivery_event_pb2, message_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch

from services.dispatch.errors import AllProvidersFailed, IdempotencyKeyReused
from tests.builders import MESSAGE_ID
from tests.integration.gateway.conftest import House

SEND = {"to": "ada@example.com", "subject": "Hello", "text": "Hello"}
BULK = {"recipients": ["ada@example.com"], "subject": "Hello", "text": "Hello"}
KEY = {"idempotency-key": "order-7"}
MARK = "idempotency-replayed"
SENT = dispatch.SendMessageResponse(message="Email sent successfully", message_id="m-1", replayed=True)
EVENTS = [delivery_event_pb2.DeliveryEvent(message_id="m-1", sequence=1)]


@pytest.mark.parametrize(
    ("path", "rpc", "body"),
    [
        ("/email/send", "SendMessage", SEND),
        ("/sms/send", "SendMessage", {"to": "+14155550100", "text": "Hello"}),
        ("/email/send-bulk", "SendBulkMessages", BULK),
        ("/sms/send-bulk", "SendBulkMessages", {"recipients": ["+14155550100"], "text": "Hello"}),
        ("/v1/messages", "CreateMessage", {**SEND, "channel": "EMAIL"}),
        ("/v1/messages:send", "SendMessage", {**SEND, "channel": "EMAIL"}),
        ("/v1/messages:sendBulk", "SendBulkMessages", {"message": SEND, "recipients": ["ada@example.com"]}),
    ],
)
async def test_every_way_to_send_takes_the_header(house: House, path: str, rpc: str, body: dict[str, object]):
    """The header fills the field; the answer is marked when it is a repeated one, and only then."""
    house.dispatch.answers[rpc] = dispatch.__dict__.get(f"{rpc}Response", message_pb2.Message)()
    fresh = await house.client.post(path, json=body, headers=KEY)
    house.dispatch.replays.add(rpc)
    again = await house.client.post(path, json=body, headers=KEY)

    assert fresh.is_success
    assert house.dispatch.last.request.message.idempotency_key == "order-7"
    assert (fresh.headers.get(MARK), again.headers.get(MARK)) == (None, "true")


async def test_respond_async_takes_it_along(house: House):
    """`Prefer: respond-async` accepts under the same key, and its answer is marked as well."""
    house.dispatch.answers["CreateMessage"] = message_pb2.Message(id="m-1", replayed=True)
    house.dispatch.replays.add("CreateMessage")
    response = await house.client.post("/email/send", json=SEND, headers={**KEY, "prefer": "respond-async"})

    assert house.dispatch.last.request.message.idempotency_key == "order-7"
    assert (response.status_code, response.headers[MARK], response.json()["replayed"]) == (202, "true", True)


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_a_replayed_stream_is_marked(house: House, accept: str):
    """The head of the stream says that it tells what was told before."""
    house.dispatch.answers["DispatchMessage"] = EVENTS
    headers = {**KEY, "accept": accept}
    fresh = await house.client.post("/v1/messages:dispatch", json={**SEND, "channel": "EMAIL"}, headers=headers)
    house.dispatch.replays.add("DispatchMessage")
    again = await house.client.post("/v1/messages:dispatch", json={**SEND, "channel": "EMAIL"}, headers=headers)

    assert (fresh.status_code, again.status_code) == (200, 200)
    assert (fresh.headers.get(MARK), again.headers.get(MARK)) == (None, "true")
    assert house.dispatch.last.request.message.idempotency_key == "order-7"


async def test_a_replayed_failure_is_marked(house: House):
    """An error that an earlier request was answered comes with its own status, and marked."""
    house.dispatch.answers["SendMessage"] = AllProvidersFailed(MESSAGE_ID, 1, "busy")
    house.dispatch.replays.add("SendMessage")
    response = await house.client.post("/email/send", json=SEND, headers=KEY)

    assert (response.status_code, response.json()["reason"]) == (500, "ALL_PROVIDERS_FAILED")
    assert response.headers[MARK] == "true"


async def test_a_key_of_another_content_is_422(house: House):
    """ALREADY_EXISTS is 409 for everything else; this one is 422, in a batch as well."""
    house.dispatch.answers["SendMessage"] = IdempotencyKeyReused()
    response = await house.client.post("/email/send", json=SEND, headers=KEY)
    body = response.json()

    assert response.status_code == body["statusCode"] == 422
    assert (body["code"], body["reason"]) == ("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")
    assert MARK not in response.headers


async def test_two_different_keys_are_400(house: House):
    """Header and field contradict one another: nobody is asked."""
    response = await house.client.post("/email/send", json={**SEND, "idempotencyKey": "other"}, headers=KEY)

    assert response.status_code == 400
    assert [each["field"] for each in response.json()["details"]["violations"]] == ["Idempotency-Key"]
    assert house.dispatch.asked == []


async def test_one_key_for_a_batch_is_400(house: House):
    """A batch has a key per item."""
    response = await house.client.post("/v1/messages:batch", json={"messages": [SEND]}, headers=KEY)

    assert response.status_code == 400
    assert house.dispatch.asked == []


async def test_configuration_takes_it_too(house: House):
    """Writes of providers, documented and canonical, with and without a body."""
    house.config.answers = {"CreateProvider": provider_pb2.Provider(id="p-1"), "DeleteProvider": Empty()}
    house.config.replays |= {"CreateProvider", "DeleteProvider"}
    provider = {"provider": "sendgrid", "name": "P", "config": {"apiKey": "k"}}
    made = await house.client.post("/email-config/providers", json=provider, headers=KEY)
    gone = await house.client.delete("/email-config/providers/p-1", headers=KEY)

    assert [each.request.idempotency_key for each in house.config.asked] == ["order-7", "order-7"]
    assert [(each.status_code, each.headers[MARK]) for each in (made, gone)] == [(201, "true"), (204, "true")]
