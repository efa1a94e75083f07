"""The way in for receipts: no token, raw bytes, limits, and DispatchService's answer."""

import httpx
import jwt
import pytest
from google.protobuf import empty_pb2

from gateway.app import open_gateway
from gateway.receipts import MAX_BYTES
from services.chassis.auth import AuthSettings
from services.chassis.errors import Unauthenticated, Unavailable
from tests.integration.gateway.conftest import House, a_free_port, settings

PATH = "/receipts/sendgrid/p-1"


async def test_it_is_handed_on_byte_for_byte_with_the_gateways_own_token(house: House) -> None:
    """The caller's Authorization header is only a header; DispatchService is called with a token of scope internal."""
    house.dispatch.answers["ReceiveReceipt"] = empty_pb2.Empty()
    sent = [("X-Twice", "a"), ("x-twice", "b"), ("Content-Type", "application/x-www-form-urlencoded"), ("Host", "h:1")]
    response = await house.client.post(f"{PATH}?a=%20b", content=b"\x00\xffa=b", headers=[*sent])

    assert (response.status_code, response.content) == (200, b"")
    request = house.dispatch.last.request
    assert (request.kind, request.provider_id, request.body.data) == ("sendgrid", "p-1", b"\x00\xffa=b")
    assert request.body.content_type == request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["x-twice"] == "a, b"
    assert request.headers["authorization"] == f"Bearer {house.token}"
    assert request.url == f"http://h:1{PATH}?a=%20b"
    token = house.dispatch.last.metadata["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["scope"]) == ("gateway", "internal")


async def test_without_a_token_it_is_served_all_the_same(house: House) -> None:
    """Providers have no token of ours."""
    house.dispatch.answers["ReceiveReceipt"] = empty_pb2.Empty()
    del house.client.headers["authorization"]

    assert (await house.client.post(PATH, content=b"{}")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthenticated("no", reason="RECEIPT_REFUSED"), 401),
        (Unauthenticated("our own token", reason="TOKEN_EXPIRED"), 503),
        (Unavailable("later", retry_after=2), 503),
    ],
)
async def test_what_dispatch_says_is_told(house: House, error: Exception, status: int) -> None:
    """A refused receipt is 401; trouble of our own is 503, so that the provider comes back."""
    house.dispatch.answers["ReceiveReceipt"] = error
    response = await house.client.post(PATH, content=b"{}")

    assert response.status_code == status
    assert ("retry-after" in response.headers) == (status == 503)


async def test_a_body_over_1_mib_is_refused(house: House) -> None:
    """S21: 413, and DispatchService is not asked; exactly 1 MiB is taken."""
    house.dispatch.answers["ReceiveReceipt"] = empty_pb2.Empty()
    fits = await house.client.post(PATH, content=b"x" * MAX_BYTES)
    over = await house.client.post(PATH, content=b"x" * (MAX_BYTES + 1))

    assert (fits.status_code, over.status_code, over.json()["reason"]) == (200, 413, "BODY_TOO_LARGE")
    assert len(house.dispatch.asked) == 1


async def test_other_methods_are_refused(house: House) -> None:
    """405 names POST."""
    response = await house.client.get(PATH)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_gateway_without_any_token_says_later() -> None:
    """With keys from a JWKS alone and no MESSAGEPIPE_INTERNAL_TOKEN receipts are not lost: 503."""
    bare = settings(a_free_port(), a_free_port())
    object.__setattr__(bare, "auth", AuthSettings(jwks_url="http://127.0.0.1:1/jwks"))
    async with open_gateway(bare) as gateway, httpx.AsyncClient(trust_env=False) as client:
        response = await client.post(f"http://127.0.0.1:{gateway.port}{PATH}", content=b"{}")

    assert response.status_code == 503
