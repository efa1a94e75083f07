"""The vocabulary of outcomes."""

from services.adapters.outcome import Outcome, Reason, Result


def test_words_are_their_values() -> None:
    """Outcomes and reasons are written as they are named, so that logs, SQL and JSON agree."""
    assert all(word.value == word.name for word in (*Outcome, *Reason))


def test_result_is_small_by_default() -> None:
    """A result needs an outcome and a reason only."""
    result = Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED)
    assert (result.provider_message_id, result.retry_after, result.scope) == ("", None, "")
