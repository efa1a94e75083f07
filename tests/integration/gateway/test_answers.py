"""What comes back from the services: errors, statuses, headers, and what happens when one is not there."""

import asyncio
import time

import httpx
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch
from messagepipe.dispatch.v1 import message_pb2

from gateway.app import open_gateway
from services.chassis.auth import TokenVerifier
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.errors import (
    FieldViolation,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
)
from services.chassis.server import PortBusy
from tests.fakes.upstreams import Pause, Upstream, running_upstream
from tests.integration.gateway.conftest import AUTH, House, a_token, settings

SEND = {"to": "a@example.com", "text": "x"}


class AllProvidersFailed(ServiceError):
    """SendMessage's documented failure."""

    reason = "ALL_PROVIDERS_FAILED"


async def test_all_providers_failed_answers_as_documented(house: House):
    """500 with the documented three members, and ours beside them."""
    words = "All providers failed: 550 no such user"
    house.dispatch.answers["SendMessage"] = AllProvidersFailed(words, metadata={"messageId": "m-1"})
    response = await house.client.post("/email/send", json=SEND)

    assert response.status_code == 500
    assert response.json() == {
        "statusCode": 500,
        "error": "Internal Server Error",
        "message": words,
        "code": "INTERNAL",
        "reason": "ALL_PROVIDERS_FAILED",
        "details": {"metadata": {"messageId": "m-1"}},
    }


async def test_violations_are_told_by_the_paths_of_the_body_that_was_sent(house: House):
    """`provider.config.apiKey` is `config.apiKey` where the body is the provider; what the path said keeps its name."""
    wrong = [FieldViolation("provider.config.apiKey", "is required"), FieldViolation("provider.id", "is odd")]
    house.config.answers["UpdateProvider"] = InvalidArgument(violations=wrong)
    response = await house.client.put("/email-config/providers/p-1", json={"config": {}})

    assert response.json()["details"]["violations"] == [
        {"field": "config.apiKey", "description": "is required"},
        {"field": "provider.id", "description": "is odd"},
    ]
    assert response.json()["message"] == "config.apiKey: is required; provider.id: is odd"


async def test_a_wrong_number_says_so_in_the_message(house: House):
    """The documented sentence reaches the caller."""
    wrong = [FieldViolation("message.to", "Invalid phone number format")]
    house.dispatch.answers["SendMessage"] = InvalidArgument(violations=wrong)
    response = await house.client.post("/sms/send", json=SEND)

    assert response.status_code == 400
    assert "Invalid phone number format" in response.json()["message"]


@pytest.mark.parametrize(
    ("error", "status", "phrase"),
    [
        (NotFound("No such message.", reason="MESSAGE_NOT_FOUND"), 404, "Not Found"),
        (ResourceExhausted("Too much.", retry_after=1.2), 429, "Too Many Requests"),
        (RuntimeError("a secret"), 500, "Internal Server Error"),
    ],
)
async def test_each_kind_of_error_has_its_status_and_phrase(house: House, error: Exception, status: int, phrase: str):
    """Code, reason and phrase agree; the cause of a fault of ours stays in the log."""
    house.dispatch.answers["GetMessage"] = error
    response = await house.client.get("/v1/messages/m-1")

    assert (response.status_code, response.json()["error"]) == (status, phrase)
    assert "a secret" not in response.text
    if isinstance(error, ServiceError) and error.retry_after:
        assert response.headers["retry-after"] == "2"
        assert response.json()["details"]["retryAfter"] == pytest.approx(1.2)


async def test_an_open_outcome_is_202(house: House):
    """Nobody can claim that an UNKNOWN message was sent, so the status does not."""
    house.dispatch.answers["SendMessage"] = dispatch.SendMessageResponse(state=message_pb2.Message.STATE_UNKNOWN)

    assert (await house.client.post("/email/send", json=SEND)).status_code == 202


async def test_respond_async_accepts_and_does_not_wait(house: House):
    """`Prefer: respond-async` becomes CreateMessage and answers 202 with the message's id."""
    house.dispatch.answers["CreateMessage"] = message_pb2.Message(id="m-1", state=message_pb2.Message.STATE_QUEUED)
    response = await house.client.post("/email/send", json=SEND, headers={"prefer": "wait=1, respond-async"})

    assert (response.status_code, response.headers["preference-applied"]) == (202, "respond-async")
    assert (response.json()["messageId"], response.json()["message"]) == ("m-1", "Email accepted")


async def test_a_refused_item_of_a_batch_reads_like_the_error_of_a_single_call(house: House):
    """google.rpc.Status comes out as the error body."""
    detail = Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="INVALID_ARGUMENT", domain="messagepipe"))
    status = status_pb2.Status(code=3, message="to: is empty", details=[detail])
    result = dispatch.BatchCreateMessagesResponse.Result(error=status)
    house.dispatch.answers["BatchCreateMessages"] = dispatch.BatchCreateMessagesResponse(results=[result], refused=1)
    response = await house.client.post("/v1/messages:batch", json={"messages": [SEND]})

    assert response.json()["results"] == [
        {
            "error": {
                "statusCode": 400,
                "error": "Bad Request",
                "message": "to: is empty",
                "code": "INVALID_ARGUMENT",
                "reason": "INVALID_ARGUMENT",
                "details": {},
            }
        }
    ]


async def test_the_services_are_told_who_asks_and_nothing_else(house: House):
    """Token, request id and trace go on; cookies and made-up headers do not."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"x-request-id": "abc-1", "traceparent": trace, "cookie": "a=b", "x-user": "root"}
    response = await house.client.get("/v1/messages/m-1", headers=headers)
    told = house.dispatch.last.metadata

    assert response.headers["x-request-id"] == "abc-1"
    assert told.pop("user-agent").startswith("grpc-python")
    assert told == {"authorization": f"Bearer {house.token}", "x-request-id": "abc-1", "traceparent": trace}


async def test_a_bad_request_id_is_replaced(house: House):
    """What a caller sends does not get into logs unless it is a plain word."""
    response = await house.client.get("/healthz", headers={"x-request-id": "a b\tc"})

    assert response.headers["x-request-id"] != "a b\tc"


async def test_every_answer_carries_the_security_headers(house: House):
    """No sniffing, no caching, no framing; and the server does not introduce itself."""
    for path in ("/v1/messages/m-1", "/nope", "/healthz"):
        headers = (await house.client.get(path)).headers

        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert not {"server", "date", "access-control-allow-origin"} & set(headers)


async def test_sending_may_take_five_minutes_and_other_calls_thirty_seconds(house: House):
    """The deadline of the RPC when the caller names none."""
    await house.client.post("/email/send", json=SEND)
    sending = house.dispatch.last.seconds
    await house.client.get("/v1/messages/m-1")

    assert sending is not None
    assert house.dispatch.last.seconds is not None
    assert (290 < sending < 301, 25 < house.dispatch.last.seconds < 31) == (True, True)


async def test_a_caller_that_goes_away_cancels_the_rpc(house: House):
    """The service sees the cancellation instead of working for nobody."""
    house.dispatch.answers["GetMessage"] = Pause(asyncio.Event())
    with pytest.raises(httpx.ReadTimeout):
        await house.client.get("/v1/messages/m-1", timeout=0.3)

    await asyncio.wait_for(house.dispatch.cancelled["GetMessage"].wait(), 5)


async def test_a_service_that_is_down_is_503_and_is_found_again():
    """Retry-After says when; readiness names the service; a service that comes back is used within seconds."""
    config, dispatching, verifier = Upstream(CONFIG_SERVICES), Upstream(DISPATCH_SERVICES), TokenVerifier(AUTH)
    dispatching.answers["GetMessage"] = message_pb2.Message(id="m-1")
    async with running_upstream(config, verifier) as config_server:
        async with running_upstream(dispatching, verifier) as first:
            port = first.port
        async with (
            open_gateway(settings(config_server.port, port)) as gateway,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{gateway.port}",
                headers={"authorization": f"Bearer {a_token()}"},
                trust_env=False,
            ) as client,
        ):
            down, ready = await client.get("/v1/messages/m-1"), await client.get("/readyz")
            assert (down.status_code, down.headers["retry-after"]) == (503, "1")
            assert (ready.status_code, ready.json()["details"]["metadata"]) == (503, {"dispatch": "does not answer"})
            assert (await client.get("/healthz")).status_code == 200

            async with running_upstream(dispatching, verifier, port):
                until = time.monotonic() + 10
                while (await client.get("/v1/messages/m-1")).status_code == 503:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
                assert (await client.get("/readyz")).status_code == 200


async def test_a_service_that_is_not_serving_makes_the_gateway_not_ready(house: House):
    """Answering is not enough: health must say SERVING."""
    assert (await house.client.get("/readyz")).json() == {
        "status": "ready",
        "services": {"config": "SERVING", "dispatch": "SERVING"},
    }


async def test_a_busy_port_is_one_clear_line(house: House):
    """PortBusy names the address and what to do."""
    taken = settings(1, 1)
    with pytest.raises(PortBusy, match=rf"cannot listen on 127.0.0.1:{house.gateway.port}: address already in use"):
        async with open_gateway(type(taken)(http_port=house.gateway.port, auth=AUTH)):
            pass
