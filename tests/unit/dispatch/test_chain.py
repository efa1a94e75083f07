"""Providers and chains as the dispatcher knows them."""

from services.dispatch.chain import Chain
from tests.builders import a_chain, a_provider


def test_a_provider_waits_ten_seconds_unless_told() -> None:
    """A call's limit is `timeoutSeconds` of the settings, whole or not, else 10 s."""
    assert a_provider().timeout == 10.0
    assert a_provider(config={"timeoutSeconds": 3}).timeout == 3.0
    assert a_provider(config={"timeoutSeconds": 0.5}).timeout == 0.5


def test_a_provider_does_not_show_its_settings() -> None:
    """Opened settings hold secrets: they stand in no repr, not in the provider's and not in the chain's."""
    provider = a_provider(config={"apiKey": "hunter2"})

    assert "hunter2" not in repr(provider) + repr(a_chain(provider))


def test_a_chain_that_was_never_configured() -> None:
    """Version 0 is an enabled channel with nobody on it."""
    chain = Chain(project_id="shop", channel=a_chain().channel)

    assert (chain.version, chain.enabled, chain.providers, chain.sender) == (0, True, (), None)
