"""Looking up kinds."""

import pytest

from services.adapters.base import Channel
from services.config.errors import ProviderSchemaNotFound
from services.config.kinds import Kinds
from tests.unit.config.builders import a_spec

KINDS = Kinds([a_spec(kind="smtp"), a_spec(kind="sandbox", channel=Channel.SMS), a_spec(kind="sandbox")])


def test_kinds_come_by_channel_then_kind() -> None:
    """The order does not depend on how adapters are registered."""
    order = [(spec.channel, spec.kind) for spec in KINDS.all(None)]
    assert order == [(Channel.EMAIL, "sandbox"), (Channel.EMAIL, "smtp"), (Channel.SMS, "sandbox")]
    assert [spec.kind for spec in KINDS.all(Channel.SMS)] == ["sandbox"]


def test_one_kind_needs_no_channel() -> None:
    """A kind of one channel is found without it; one of several is not decided here."""
    found = KINDS.only(None, "smtp")
    assert found is not None
    assert found.kind == "smtp"
    assert KINDS.only(None, "sandbox") is None
    assert KINDS.only(Channel.SMS, "sandbox") is KINDS.find(Channel.SMS, "sandbox")


def test_unknown_kind_is_told_the_known_ones() -> None:
    """The error names what there is on that channel."""
    with pytest.raises(ProviderSchemaNotFound) as caught:
        KINDS.only(Channel.SMS, "smtp")
    assert caught.value.metadata == {"provider": "smtp", "known": "sandbox"}


def test_mistyped_kind_gets_a_hint() -> None:
    """A near miss is guessed, something else is not; the known kinds are told either way."""
    assert KINDS.complaint(Channel.EMAIL, "SMPT").endswith('did you mean "smtp"? known: sandbox, smtp')
    assert "did you mean" not in KINDS.complaint(Channel.EMAIL, "pigeon")
