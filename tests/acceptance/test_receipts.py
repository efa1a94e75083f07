"""A provider's later word, over the whole house: a signed Twilio callback moves the message, a forged one does not."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.test_life_of_a_message import House, open_house
from tests.fakes.vendor import Reply
from tests.integration.rig import PROJECT, eventually

SID = "SM00000000000000000000000000000001"
AUTH_TOKEN = "test-auth-token"
QUEUED = Reply.json(201, {"sid": SID, "status": "queued", "num_segments": "1"})


@pytest.fixture
async def house(database_url, tmp_path) -> AsyncIterator[House]:
    """The house, whose HTTP vendor now speaks Twilio and takes every message."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(open_house(database_url, tmp_path))
        running.sendgrid.default = QUEUED
        yield running


async def twilio(house: House) -> str:
    """The id of a configured Twilio account."""
    config = {
        "accountSid": "AC00000000000000000000000000000000",
        "authToken": AUTH_TOKEN,
        "fromNumber": "+15005550006",
        "baseUrl": house.sendgrid.url,
    }
    body = {"provider": "twilio", "name": "Twilio", "priority": 1, "config": config}
    made = await house.http.post(f"/sms-config/providers?projectId={PROJECT}", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def callback(house: House, path: str, status: str, *, key: str = AUTH_TOKEN) -> int:
    """Call as Twilio does, signed with `key`; answers the HTTP status."""
    form: Mapping[str, str] = {"MessageSid": SID, "MessageStatus": status, "To": "+14155550100"}
    said = str(house.http.base_url).rstrip("/") + path + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.new(key.encode(), said.encode(), hashlib.sha1).digest()).decode()
    answer = await house.http.post(path, data=form, headers={"x-twilio-signature": signature, "authorization": ""})
    return answer.status_code


async def sent(house: House) -> str:
    """The id of a text message that Twilio took."""
    answer = await house.http.post("/sms/send", json={"to": "+14155550100", "text": "Hello"})
    assert (answer.status_code, answer.json()["message"]) == (200, "SMS sent successfully"), answer.text
    return str(answer.json()["messageId"])


async def message(house: House, message_id: str) -> dict[str, Any]:
    """The message as it is now."""
    found: dict[str, Any] = (await house.http.get(f"/v1/messages/{message_id}")).json()
    return found


async def test_x23_a_delivered_message_stays_delivered(house: House) -> None:
    """X23: `delivered` three times, then `sent`: one change, and the message stays DELIVERED."""
    path = f"/receipts/twilio/{await twilio(house)}"
    message_id = await sent(house)
    assert (await message(house, message_id))["state"] == "SENT"

    answers = [await callback(house, path, status) for status in ("delivered", "delivered", "delivered", "sent")]

    async def delivered() -> bool:
        return bool((await message(house, message_id))["state"] == "DELIVERED")

    await eventually(delivered)
    history = await house.http.get(f"/v1/messages/{message_id}/events", headers={"accept": "application/json"})
    receipts = [event for event in history.json()["events"] if "receipt" in event]
    assert set(answers) == {200}
    assert len(receipts) == 1
    assert await delivered()


async def test_x24_a_forged_receipt_changes_nothing(house: House) -> None:
    """X24: a wrong signature, and a provider that does not exist, are the same 401, and nothing changes."""
    path = f"/receipts/twilio/{await twilio(house)}"
    message_id = await sent(house)

    forged = await callback(house, path, "delivered", key="another-token")
    nobody = await callback(house, "/receipts/twilio/00000000-0000-4000-8000-000000000000", "delivered")

    assert (forged, nobody) == (401, 401)
    assert (await message(house, message_id))["state"] == "SENT"
