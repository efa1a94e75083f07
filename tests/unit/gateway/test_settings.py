"""What the gateway can be told."""

import pytest

from gateway.settings import MIB, GatewaySettings
from services.chassis.env import SettingsError, load

SECRET = {"MESSAGEPIPE_JWT_SECRET": "x" * 32}


def test_the_defaults_are_the_documented_ones():
    """Loopback, 8080, 10 MiB."""
    settings = load(GatewaySettings, SECRET)

    assert (settings.host, settings.http_port) == ("127.0.0.1", 8080)
    assert (settings.config_target, settings.dispatch_target) == ("127.0.0.1:50051", "127.0.0.1:50052")
    assert (settings.max_message_bytes, settings.max_config_bytes) == (10 * MIB, MIB)


def test_a_body_may_be_a_third_larger_than_its_message():
    """Base64, and 1 MiB for everything else."""
    assert load(GatewaySettings, SECRET).message_body_limit == 10 * MIB * 4 // 3 + MIB


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_MESSAGE_BYTES", str(MIB - 1)),
        ("MAX_MESSAGE_BYTES", str(40 * MIB + 1)),
        ("MAX_CONFIG_BYTES", "1"),
        ("HTTP_PORT", "70000"),
        ("HTTP_PORT", "http"),
        ("PUBLIC_URL", "mail.example.com"),
        ("PUBLIC_URL", "ftp://mail.example.com"),
        ("PUBLIC_URL", "https://mail.example.com/?x=1"),
        ("PUBLIC_URL", "https://mail.example.com:port"),
    ],
)
def test_a_setting_out_of_its_range_is_named(name: str, value: str):
    """With the range."""
    with pytest.raises(SettingsError, match=f"MESSAGEPIPE_{name}"):
        load(GatewaySettings, SECRET | {f"MESSAGEPIPE_{name}": value})


def test_without_a_key_no_token_could_be_checked():
    """So the gateway does not start."""
    with pytest.raises(SettingsError, match="MESSAGEPIPE_JWT_SECRET"):
        load(GatewaySettings, {})


def test_printing_settings_shows_no_secret():
    """They may end up in a log."""
    assert "xxx" not in repr(load(GatewaySettings, SECRET))
