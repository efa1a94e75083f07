"""What was learned of an attempt after its dispatcher had lost the message: pure. Late truth wins over "nobody knows";
it undoes nothing else.
"""

from collections.abc import Mapping, Sequence

from services.adapters.outcome import Outcome, Result
from services.dispatch.attempt import LEASE_LOST, Attempt


def is_lost(attempt: Attempt) -> bool:
    """Whether its outcome is unknown only because its dispatcher went away: what that one learned may yet come."""
    return attempt.result is not None and (attempt.outcome, attempt.result.reason) == (Outcome.UNKNOWN, LEASE_LOST)


def as_known_by_now(history: Sequence[Attempt], evidence: Mapping[int, Result]) -> tuple[Attempt, ...]:
    """The attempts with what the evidence, by number, says about lost ones; all others as they are."""
    return tuple(
        attempt.finished(evidence[attempt.number], latency=None)
        if is_lost(attempt) and attempt.number in evidence
        else attempt
        for attempt in history
    )
