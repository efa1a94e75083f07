"""A project's sender per channel over gRPC and PostgreSQL."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from tests.integration.config.service import EMAIL, SMS, Caller


def a_sender(channel: Any = EMAIL, **values: Any) -> pb2.CreateChannelConfigRequest:
    """A request for a sender."""
    config = provider_pb2.ChannelConfig(channel=channel, **values)
    return pb2.CreateChannelConfigRequest(project_id="shop", channel_config=config)


def a_change(*paths: str, channel: Any = EMAIL, **values: Any) -> pb2.UpdateChannelConfigRequest:
    """A request to change a sender; `paths` are its update mask."""
    config = provider_pb2.ChannelConfig(channel=channel, **values)
    return pb2.UpdateChannelConfigRequest(project_id="shop", channel_config=config, update_mask=FieldMask(paths=paths))


async def test_sender_is_set_once_and_read(caller: Caller) -> None:
    """A sender is not there, then it is, enabled by default; setting it again is refused."""
    asked = pb2.GetChannelConfigRequest(project_id="shop", channel=EMAIL)
    assert (await caller.refused("GetChannelConfig", asked)).reason == "CHANNEL_CONFIG_NOT_FOUND"
    request = a_sender(sender_email="noreply@shop.test", sender_name="The Shop")
    made = await caller.call("CreateChannelConfig", request)
    assert (made.project_id, made.enabled, made.sender_name) == ("shop", True, "The Shop")
    assert await caller.call("GetChannelConfig", asked) == made
    assert (await caller.refused("CreateChannelConfig", request)).reason == "CHANNEL_CONFIG_ALREADY_EXISTS"


async def test_sender_is_changed_by_its_mask(caller: Caller) -> None:
    """The mask decides what changes; an empty value removes, and no mask means what is set."""
    await caller.call("CreateChannelConfig", a_sender(sender_email="a@shop.test", sender_name="A"))
    changed = await caller.call("UpdateChannelConfig", a_change("sender_name", sender_email="ignored@shop.test"))
    assert (changed.sender_email, changed.sender_name) == ("a@shop.test", "")
    changed = await caller.call("UpdateChannelConfig", a_change(enabled=False))
    assert (changed.sender_email, changed.enabled) == ("a@shop.test", False)


async def test_changing_no_sender_is_not_found(caller: Caller) -> None:
    """There is nothing to update before a sender was set."""
    error = await caller.refused("UpdateChannelConfig", a_change(enabled=False))
    assert (error.reason, error.metadata) == ("CHANNEL_CONFIG_NOT_FOUND", {"channel": "EMAIL"})


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (a_sender(), ["senderEmail"]),
        (a_sender(sender_email="a@shop.test\r\nBcc: b@shop.test"), ["senderEmail"]),
        (
            a_sender(sender_email="nobody", sender_name="x\x00", sender_id="Shop"),
            ["senderEmail", "senderId", "senderName"],
        ),
        (a_sender(SMS, sender_email="a@shop.test", sender_name="A"), ["senderEmail", "senderName"]),
        (a_sender(SMS, sender_id="12345"), ["senderId"]),
        (a_sender(SMS, sender_id="far too long a name"), ["senderId"]),
        (a_sender(None), ["channel"]),
    ],
)
async def test_bad_senders_are_refused(caller: Caller, request_: Any, fields: list[str]) -> None:
    """Every wrong value is named, a value of the other channel included."""
    error = await caller.refused("CreateChannelConfig", request_)
    assert sorted(violation.field for violation in error.violations) == [f"channelConfig.{name}" for name in fields]


@pytest.mark.parametrize("sender_id", ["", "+14155550100", "My Shop 24", "ACME"])
async def test_sms_senders(caller: Caller, sender_id: str) -> None:
    """An SMS sender is a number, a name, or nothing."""
    made = await caller.call("CreateChannelConfig", a_sender(SMS, sender_id=sender_id))
    assert made.sender_id == sender_id


async def test_bad_change_is_refused_whole(caller: Caller) -> None:
    """Unknown mask paths and the result's violations come together, and nothing changes."""
    await caller.call("CreateChannelConfig", a_sender(sender_email="a@shop.test"))
    request = a_change("sender_email", "sender_phone", sender_email="")
    error = await caller.refused("UpdateChannelConfig", request)
    assert sorted(each.field for each in error.violations) == ["channelConfig.senderEmail", "updateMask"]
    kept = await caller.call("GetChannelConfig", pb2.GetChannelConfigRequest(channel=EMAIL))
    assert kept.sender_email == "a@shop.test"
