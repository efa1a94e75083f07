"""The words of a credential check."""

import pytest

from services.adapters.check import CheckVerdict, cannot_verify, notes, of_send, words_of
from services.adapters.outcome import Outcome, Result

UNSURE = cannot_verify("Unsure.")


@pytest.mark.parametrize("outcome", Outcome)
def test_what_an_outcome_says_of_credentials(outcome: Outcome) -> None:
    """Accepted is GOOD, denied is BAD; every other outcome says nothing of them."""
    found = of_send(Result(outcome=outcome, reason="WHY", provider_text="words"), UNSURE)
    known = {Outcome.ACCEPTED: CheckVerdict.GOOD, Outcome.DENIED: CheckVerdict.BAD}
    assert found.verdict is known.get(outcome, CheckVerdict.CANNOT_VERIFY)


def test_words_of_a_result() -> None:
    """The reason, and the provider's text where there is one."""
    assert words_of(Result(outcome=Outcome.DENIED, reason="WHY")) == "WHY"
    assert words_of(Result(outcome=Outcome.DENIED, reason="WHY", provider_text="no")) == "WHY: no"


def test_notes_are_further_sentences() -> None:
    """Only the facts that hold, each after a space."""
    assert notes({"One.": True, "Two.": False, "Three.": True}) == " One. Three."
