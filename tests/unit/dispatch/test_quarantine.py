"""How a message ends that no dispatcher survives."""

import pytest

from services.adapters.receipts import ReceiptStatus
from services.dispatch.attempt import Attempt, interrupted
from services.dispatch.message import State
from services.dispatch.quarantine import end_of_quarantined
from tests.builders import a_history, an_attempt


@pytest.mark.parametrize(
    ("history", "state", "reason"),
    [
        ((), State.FAILED, "QUARANTINED"),
        (a_history(("A", "deferred")), State.FAILED, "QUARANTINED"),
        ((interrupted(an_attempt("A", None)),), State.UNKNOWN, "QUARANTINED"),
        (a_history(("A", "unknown"), ("B", "deferred")), State.UNKNOWN, "QUARANTINED"),
        (a_history(("A", "accepted")), State.SENT, ""),
        ((an_attempt("A", "unknown", receipt=ReceiptStatus.DELIVERED),), State.DELIVERED, ""),
        ((an_attempt("A", "accepted", receipt=ReceiptStatus.FAILED),), State.UNDELIVERED, "FAILED"),
    ],
)
def test_it_ends_as_all_that_is_known_says(history: tuple[Attempt, ...], state: State, reason: str) -> None:
    """FAILED only when no provider can have taken it; UNKNOWN when one may have; what is certain stays certain."""
    end = end_of_quarantined(history)

    assert (end.state, end.reason) == (state, reason)
    assert (end.attempt is None) == (state is State.FAILED)
