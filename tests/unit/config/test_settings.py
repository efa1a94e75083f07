"""What ConfigService can be told."""

import base64

import pytest

from services.chassis.env import SettingsError, load
from services.config.settings import ConfigSettings

KEY = "k1:" + base64.b64encode(b"k" * 32).decode()
GOOD = {
    "MESSAGEPIPE_DATABASE_URL": "postgresql://u:hunter2@db/messagepipe",
    "MESSAGEPIPE_VAULT_KEYS": KEY,
    "MESSAGEPIPE_JWT_SECRET": "s" * 32,
}


def test_defaults() -> None:
    """Three variables are enough; the rest has defaults that are safe on one machine."""
    settings = load(ConfigSettings, GOOD)
    assert (settings.host, settings.config_port, settings.keys.primary) == ("127.0.0.1", 50051, "k1")


def test_no_secret_is_printed() -> None:
    """Printing the settings shows no password, key or token secret."""
    shown = repr(load(ConfigSettings, GOOD))
    assert not [secret for secret in ("hunter2", KEY[3:], "ssss") if secret in shown]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://db/x"),
        ("VAULT_KEYS", "k1:short"),
        ("VAULT_KEYS", ""),
        ("CONFIG_PORT", "70000"),
        ("CONFIG_PORT", "http"),
        ("LOG_LEVEL", "loud"),
        ("DRAIN_GRACE", "-1"),
        ("EGRESS_ALLOW", "everywhere"),
    ],
)
def test_bad_settings_are_named(name: str, value: str) -> None:
    """A bad value stops the start with a line that names its variable."""
    with pytest.raises(SettingsError, match=f"MESSAGEPIPE_{name}"):
        load(ConfigSettings, {**GOOD, f"MESSAGEPIPE_{name}": value})
