"""Attempts as values: numbered, opened, closed, and what becomes of one whose dispatcher died."""

import math

import pytest

from services.adapters.outcome import Outcome
from services.dispatch.attempt import LEASE_LOST, LONGEST_RETRY_AFTER, begin, interrupted, storable
from tests.builders import a_history, a_provider, a_result, an_attempt


def test_attempts_are_numbered_over_all_rounds() -> None:
    """A new attempt has the next number whatever its round, names its provider and is open."""
    attempt = begin(a_provider("B"), a_history(("A", "deferred"), ("A", "deferred")), round_number=2, epoch=7)

    assert (attempt.number, attempt.round, attempt.epoch) == (3, 2, 7)
    assert (attempt.provider_id, attempt.kind, attempt.provider_name) == ("b", "b", "B")
    assert attempt.outcome is None
    assert begin(a_provider(), (), round_number=1, epoch=1).number == 1


def test_a_finished_attempt_has_its_outcome() -> None:
    """Finishing keeps everything and adds result and latency; the open one stays as it was."""
    opened = an_attempt(result=None)

    finished = opened.finished(a_result("deferred"), latency=0.25)

    assert (finished.outcome, finished.latency) == (Outcome.DEFERRED, 0.25)
    assert finished.number == opened.number
    assert opened.result is None


def test_an_interrupted_attempt_is_unknown() -> None:
    """R11: an attempt whose dispatcher went away is unknown with reason LEASE_LOST and no latency."""
    lost = interrupted(an_attempt(result=None))

    assert lost.result is not None
    assert (lost.outcome, lost.result.reason, lost.latency) == (Outcome.UNKNOWN, LEASE_LOST, None)


def test_texts_become_storable() -> None:
    """Whatever a plug-in writes: no NUL, no half of a surrogate pair, bounded lengths; good texts stay as they are."""
    good = a_result("denied", provider_code="401", provider_text="nö ✉", provider_message_id="x", scope="country:NG")
    bad = a_result(
        "denied",
        reason="R" * 100,
        provider_code="\x00" * 200,
        provider_text="a\x00\ud800b" + "x" * 600,
        provider_message_id="m" * 600,
        scope="s" * 300,
    )

    kept = storable(bad)

    assert storable(good) == good
    texts = (kept.reason, kept.provider_code, kept.provider_text, kept.provider_message_id, kept.scope)
    assert [len(text) for text in texts] == [64, 100, 500, 500, 200]
    assert "\x00" not in "".join(texts)
    assert kept.provider_text.startswith("a\N{REPLACEMENT CHARACTER}?b")


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, None),
        (0.0, 0.0),
        (600.0, 600.0),
        (-1.0, None),
        (math.nan, None),
        (-math.inf, None),
        (math.inf, LONGEST_RETRY_AFTER),
        (1e300, LONGEST_RETRY_AFTER),
    ],
)
def test_a_retry_after_becomes_storable(asked: float | None, kept: float | None) -> None:
    """A Retry-After is at most a day; one that is no length of time counts as not said."""
    assert storable(a_result("deferred", retry_after=asked)).retry_after == kept
