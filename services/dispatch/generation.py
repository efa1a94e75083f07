"""A message that was retried: pure. Its attempts so far bind nobody any more, but what they may have done still counts.

A retry is a new generation of the same message: its numbers go on, its rounds and its deadline begin anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.dispatch.attempt import Attempt
from services.dispatch.failover import Decision, Finish, Situation, decide
from services.dispatch.message import State
from services.dispatch.verdict import standing

_CERTAIN = frozenset({State.SENT, State.DELIVERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Which time a message is dispatched, from 1; attempts up to `after_attempt` belong to the times before.

    `deadline` is this generation's, None for the message's own; `retrying` until it has ended.
    """

    number: int = 1
    after_attempt: int = 0
    deadline: datetime | None = None
    retrying: bool = False

    def of(self, history: Sequence[Attempt]) -> tuple[Attempt, ...]:
        """The attempts of this generation."""
        return tuple(history[self.after_attempt :])


FIRST = Generation()


def decide_in(generation: Generation, situation: Situation) -> Decision:
    """The next step of a message in this generation; `situation` has its whole history."""
    earlier = situation.history[: generation.after_attempt]
    stands = standing(earlier)
    if stands is not None and stands[0] in _CERTAIN:
        # By late truth or a receipt: it is known by now that it was taken, so nobody else is asked.
        return Finish(state=stands[0], attempt=stands[1])
    decision = decide(replace(situation, history=generation.of(situation.history)))
    doubtful = next((attempt for attempt in earlier if attempt.doubtful), None)
    if not isinstance(decision, Finish) or doubtful is None or decision.state in _CERTAIN:
        return decision
    # Nobody took it this time, and somebody may have the time before.
    return replace(decision, state=State.UNKNOWN, attempt=doubtful)


def may_retry(state: State) -> bool:
    """Whether a message that ended so may be dispatched anew: nobody took it for sure."""
    return state in (State.FAILED, State.UNKNOWN)
