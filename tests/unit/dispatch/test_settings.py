"""The settings of the dispatch process: read from MESSAGEPIPE_*, all problems at once, no secret shown."""

from ipaddress import ip_network

import pytest

from services.chassis.env import SettingsError, load
from services.dispatch.settings import DispatchSettings

GOOD = {
    "MESSAGEPIPE_DATABASE_URL": "postgresql://me:hunter2@localhost/messagepipe",
    "MESSAGEPIPE_JWT_SECRET": "a secret of the tests that is long enough",
}


def test_the_defaults() -> None:
    """A database and a secret are enough."""
    settings = load(DispatchSettings, GOOD)

    assert (settings.dispatch_port, settings.lease_seconds, settings.max_message_bytes) == (50052, 30.0, 10 * 1024**2)
    assert settings.egress.allow == ()
    assert "hunter2" not in repr(settings)


def test_networks_that_may_be_reached() -> None:
    """MESSAGEPIPE_EGRESS_ALLOW is a list of networks; host bits do no harm."""
    settings = load(DispatchSettings, {**GOOD, "MESSAGEPIPE_EGRESS_ALLOW": "127.0.0.0/8, 10.1.2.3/16,::1/128"})

    assert settings.egress.allow == tuple(map(ip_network, ("127.0.0.0/8", "10.1.0.0/16", "::1/128")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("EGRESS_ALLOW", "everywhere"),
        ("DISPATCH_PORT", "70000"),
        ("MAX_MESSAGE_BYTES", "10"),
        ("MAX_IN_FLIGHT", "0"),
        ("LEASE_SECONDS", "0.5"),
        ("IDEMPOTENCY_HOURS", "23"),
        ("DATABASE_CONNECTIONS", "2"),
        ("BATCH_PACE_MS", "101"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_is_wrong_is_named(name: str, value: str) -> None:
    """Each wrong setting stops the start with its name and what it may be."""
    with pytest.raises(SettingsError) as wrong:
        load(DispatchSettings, {**GOOD, f"MESSAGEPIPE_{name}": value})

    (problem,) = wrong.value.problems
    assert f"MESSAGEPIPE_{name}" in problem
    assert "hunter2" not in problem


def test_all_problems_at_once() -> None:
    """Whoever sets up sees everything that is wrong with the numbers in one go."""
    with pytest.raises(SettingsError) as wrong:
        load(DispatchSettings, {**GOOD, "MESSAGEPIPE_MAX_IN_FLIGHT": "0", "MESSAGEPIPE_LEASE_SECONDS": "0"})

    assert len(wrong.value.problems) == 2


def test_a_token_for_configservice_is_needed() -> None:
    """With a JWKS endpoint only, no token can be made, so one must be given."""
    only_jwks = {
        "MESSAGEPIPE_DATABASE_URL": GOOD["MESSAGEPIPE_DATABASE_URL"],
        "MESSAGEPIPE_JWKS_URL": "https://issuer.example.com/jwks",
    }

    with pytest.raises(SettingsError, match="MESSAGEPIPE_INTERNAL_TOKEN"):
        load(DispatchSettings, only_jwks)
    assert load(DispatchSettings, {**only_jwks, "MESSAGEPIPE_INTERNAL_TOKEN": "t"}).internal_token is not None
