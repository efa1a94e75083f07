"""The rules for senders."""

import pytest

from services.adapters.base import Channel
from services.config.channel_config import ChannelConfig, SenderChange, changed, violations

EMAIL = ChannelConfig(project_id="shop", channel=Channel.EMAIL, sender_email="a@shop.test", sender_name="A")


def test_change_replaces_what_it_names() -> None:
    """None leaves a value, "" removes one."""
    assert changed(EMAIL, SenderChange()) == EMAIL
    after = changed(EMAIL, SenderChange(enabled=False, sender_name=""))
    assert (after.enabled, after.sender_email, after.sender_name) == (False, "a@shop.test", "")


def test_good_email_sender() -> None:
    """An address with a name is fine; names may be in any script."""
    assert violations(EMAIL, "c") == []
    assert violations(changed(EMAIL, SenderChange(sender_name="Käse & Söhne")), "c") == []


@pytest.mark.parametrize(
    "address",
    ["", "a", "a@", "@b.test", "a@b.test\n", "a\r\n@b.test", "a@b.test\x00", "a b@c.test", "x" * 65 + "@b.test"],
)
def test_bad_addresses(address: str) -> None:
    """What is no address, or would break out of a header, is refused."""
    found = violations(changed(EMAIL, SenderChange(sender_email=address)), "c")
    assert [violation.field for violation in found] == ["c.senderEmail"]


@pytest.mark.parametrize("name", ["x" * 101, "a\r\nBcc: b@c.test", "\x7f"])
def test_bad_sender_names(name: str) -> None:
    """A display name has at most 100 characters and no line break."""
    found = violations(changed(EMAIL, SenderChange(sender_name=name)), "c")
    assert [violation.field for violation in found] == ["c.senderName"]


@pytest.mark.parametrize(
    ("sender_id", "good"),
    [
        ("", True),
        ("+14155550100", True),
        ("ACME", True),
        ("Shop 24", True),
        ("24h", True),
        ("AB", False),
        ("123", False),
        ("abcdefghijkl", False),
        ("Söhne", False),
        ("+0123456789", False),
        ("+1415555\n", False),
        ("Shop\n", False),
        ("   ", False),
    ],
)
def test_sms_sender_ids(sender_id: str, good: bool) -> None:
    """A sender id is an E.164 number or 3 to 11 letters, digits or spaces with a letter among them."""
    found = violations(ChannelConfig(project_id="p", channel=Channel.SMS, sender_id=sender_id), "c")
    assert (not found) is good
