"""When a message is taken out of work because no dispatcher survives it, and how it then ends: pure.

A claim that ended neither with an attempt closed by its own dispatcher nor with a wait is a strike: the dispatcher
died, maybe of this message, maybe of another one that it had in work, maybe of a power cut. So after two strikes a
message is a suspect and worked on alone; only a third one, struck alone, takes it out of work (ADR 0018).
"""

from collections.abc import Sequence

from services.dispatch.attempt import Attempt
from services.dispatch.failover import Finish
from services.dispatch.message import EndReason, State
from services.dispatch.verdict import standing

STRIKES = 3
_DETAIL = "Three dispatchers in a row died while they worked on this message. It can be retried."


def end_of_quarantined(history: Sequence[Attempt]) -> Finish:
    """How a message ends that nobody survives: as all that is known of its attempts says, FAILED when none of them can
    have been taken. Every attempt is closed.
    """
    stands = standing(history)
    if stands is None:
        return Finish(state=State.FAILED, reason=EndReason.QUARANTINED, detail=_DETAIL)
    state, attempt = stands
    if state is State.UNKNOWN:
        return Finish(state=state, reason=EndReason.QUARANTINED, detail=_DETAIL, attempt=attempt)
    return Finish(state=state, reason=(attempt.receipt or "") if attempt.refused else "", attempt=attempt)
