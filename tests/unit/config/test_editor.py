"""What a change makes of a provider, without a database."""

import pytest

from services.config.editor import changed_provider
from services.config.provider import Change
from tests.unit.config.builders import a_provider, a_spec

OPENED = {"apiKey": "k", "signingKey": "s"}


def test_nothing_named_is_nothing_changed() -> None:
    """An empty change leaves provider and secrets as they are."""
    provider = a_provider(settings={"port": 25})
    assert changed_provider(provider, OPENED, a_spec(), Change()) == (provider, OPENED, [])


def test_config_is_merged_over_the_opened_whole() -> None:
    """A patch keeps, replaces and removes; secrets and what may be shown are apart again afterwards."""
    provider = a_provider(settings={"port": 25, "auth": {"user": "u"}})
    change = Change(config={"port": 587.0, "signingKey": None, "auth": {"pass": "p"}})
    after, secrets, violations = changed_provider(provider, OPENED, a_spec(), change)
    assert violations == []
    assert after.settings == {"port": 587, "auth": {"user": "u"}}
    assert isinstance(after.settings["port"], int)
    assert secrets == {"apiKey": "k", "auth": {"pass": "p"}}


def test_all_violations_of_a_change_come_together() -> None:
    """Name, priority, kind and each wrong setting are told at once."""
    change = Change(name="", priority=-1, kind="x", config={"apiKey": None, "port": 0})
    _, _, violations = changed_provider(a_provider(), OPENED, a_spec(), change)
    assert sorted(violation.field for violation in violations) == [
        "provider.config.apiKey",
        "provider.config.port",
        "provider.name",
        "provider.priority",
        "provider.provider",
    ]


def test_stored_config_is_not_checked_unless_it_changes() -> None:
    """A provider whose schema became stricter can still be renamed and switched off."""
    strict = a_spec(config_schema={"type": "object", "required": ["new"]})
    after, _, violations = changed_provider(a_provider(), OPENED, strict, Change(enabled=False))
    assert (after.enabled, violations) == (False, [])
    assert changed_provider(a_provider(), OPENED, strict, Change(config={}))[2]


@pytest.mark.parametrize(("change", "fields"), [(Change(name="x"), []), (Change(config={}), ["provider.config"])])
def test_provider_of_a_missing_kind(change: Change, fields: list[str]) -> None:
    """Without its adapter a provider can be renamed, but its settings can not be checked and so not be changed."""
    _, _, violations = changed_provider(a_provider(), OPENED, None, change)
    assert [violation.field for violation in violations] == fields
