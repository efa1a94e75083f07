"""What TestProvider tries, and what it makes of the answers."""

from typing import Any

import pytest

from services.adapters.base import Channel
from services.adapters.check import CheckVerdict, Rehearsal, bad, cannot_verify, good
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import Kind
from services.chassis.errors import InvalidArgument
from services.config.trial import Trial, Wish, make_trial, with_send
from tests.unit.config.builders import a_provider, a_spec

REHEARSAL = Rehearsal(recipient="nobody@example.com", settings={"port": 7})


def a_kind(rehearsal: Rehearsal | None = REHEARSAL, channel: Channel = Channel.EMAIL) -> Kind:
    """Kind `acme`, which nobody asks to make anything here."""
    return Kind(spec=a_spec(channel=channel), make=lambda *_: pytest.fail("made"), rehearsal=rehearsal)


def a_trial(wish: Wish | None = None, *, kind: Kind | None = None, **values: Any) -> Trial:
    """What becomes of a wish about a provider with a port, a key and a signing key."""
    kind = kind or a_kind()
    given: dict[str, Any] = {
        "provider": a_provider(settings={"port": 25}, channel=kind.spec.channel),
        "opened": {"apiKey": "stored", "signingKey": "signs"},
        "wish": wish or Wish(),
        "spec": kind.spec,
        "kind": kind,
        "sender": None,
        "problems": [],
    }
    given.update(values)
    provider, opened, asked = given.pop("provider"), given.pop("opened"), given.pop("wish")
    return make_trial(provider, opened, asked, **given)


def wrong(wish: Wish, **values: Any) -> dict[str, str]:
    """The violations that a wish answers with."""
    with pytest.raises(InvalidArgument) as caught:
        a_trial(wish, **values)
    return {violation.field: violation.description for violation in caught.value.violations}


def test_stored_settings_are_opened() -> None:
    """Without a config the trial has the stored settings with their secrets, and sends nothing."""
    trial = a_trial()
    assert (trial.config, trial.recipient) == ({"port": 25, "apiKey": "stored", "signingKey": "signs"}, "")


def test_unsaved_settings_lie_over_the_stored_ones() -> None:
    """The config is merged as in UpdateProvider: null and a blank optional secret remove, whole numbers stay whole."""
    trial = a_trial(Wish(patch={"apiKey": "new", "port": 587.0, "signingKey": ""}))
    assert trial.config == {"apiKey": "new", "port": 587}
    assert isinstance(trial.config["port"], int)


def test_every_violation_at_once() -> None:
    """What is wrong with config, recipient and sandboxSend is told in one answer, by the request's own field names."""
    found = wrong(
        Wish(patch={"port": 99999, "apiKye": "x"}, recipient="nobody", sandbox_send=True), kind=a_kind(rehearsal=None)
    )
    assert set(found) == {"config.port", "config.apiKye", "recipient", "sandboxSend"}
    assert "apiKey" in found["config.apiKye"]


def test_a_recipient_belongs_to_the_channel() -> None:
    """An email address is no SMS recipient, and a number no email recipient."""
    assert set(wrong(Wish(recipient="+14155550100"))) == {"recipient"}
    assert set(wrong(Wish(recipient="ada@example.com"), kind=a_kind(channel=Channel.SMS))) == {"recipient"}
    assert a_trial(Wish(recipient="+14155550100"), kind=a_kind(channel=Channel.SMS)).recipient == "+14155550100"


def test_a_kind_without_an_adapter_takes_no_unsaved_settings() -> None:
    """Settings that no schema can check are refused; the stored ones may be tried, and find nobody to ask."""
    assert set(wrong(Wish(patch={"port": 1}), spec=None)) == {"config"}
    assert a_trial(spec=None).config["port"] == 25


def test_a_rehearsal_brings_its_own_recipient_and_settings() -> None:
    """sandboxSend goes to the kind's own recipient with the kind's own switch thrown."""
    trial = a_trial(Wish(sandbox_send=True))
    assert (trial.recipient, trial.rehearsed, trial.config["port"]) == ("nobody@example.com", True, 7)


def test_nothing_of_a_trial_is_printed() -> None:
    """Neither settings nor recipient are in a repr."""
    wish = Wish(patch={"apiKey": "canary"}, recipient="canary@example.com")
    assert "canary" not in repr(wish) + repr(a_trial(wish))


@pytest.mark.parametrize(
    ("outcome", "verdicts"),
    [
        (Outcome.ACCEPTED, ["GOOD", "GOOD"]),
        (Outcome.DENIED, ["BAD", "BAD"]),
        (Outcome.INVALID, ["GOOD", "CANNOT_VERIFY"]),
        (Outcome.UNFIT, ["GOOD", "CANNOT_VERIFY"]),
        (Outcome.DEFERRED, ["GOOD", "CANNOT_VERIFY"]),
        (Outcome.UNKNOWN, ["GOOD", "CANNOT_VERIFY"]),
    ],
)
def test_what_a_test_message_proves(outcome: Outcome, verdicts: list[str]) -> None:
    """Accepted proves the settings, denied disproves them, anything else leaves the check's verdict."""
    result = Result(outcome=outcome, reason="WHY", provider_text="words")
    found = [
        with_send(a_trial(Wish(recipient="a@b.test")), check, result) for check in (good("One."), cannot_verify("One."))
    ]
    assert [finding.verdict for finding in found] == verdicts
    assert all(finding.message.startswith("One. The ") for finding in found)
    assert all(("WHY: words" in finding.message) is (outcome is not Outcome.ACCEPTED) for finding in found)


@pytest.mark.parametrize(
    ("reason", "verdict"), [(Reason.SENDER_REFUSED, CheckVerdict.GOOD), (Reason.CREDENTIALS, CheckVerdict.BAD)]
)
def test_a_rehearsal_with_a_sender_of_its_own(reason: Reason, verdict: CheckVerdict) -> None:
    """A magic sender that live credentials may not use says nothing against them; refused credentials do."""
    kind = a_kind(Rehearsal(recipient="+14155550100", sender="+15005550006"), Channel.SMS)
    trial = a_trial(Wish(sandbox_send=True), kind=kind)
    assert with_send(trial, good("One."), Result(outcome=Outcome.DENIED, reason=reason)).verdict is verdict


def test_the_three_verdicts() -> None:
    """Each has a maker of its own."""
    verdicts = [make("why").verdict for make in (good, bad, cannot_verify)]
    assert verdicts == [CheckVerdict.GOOD, CheckVerdict.BAD, CheckVerdict.CANNOT_VERIFY]
