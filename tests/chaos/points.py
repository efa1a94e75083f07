"""Every failpoint of the code, with what brings a process there. test_failpoints.py holds this list and the code
together: none is missing, none is left over.
"""

from dataclasses import dataclass
from enum import StrEnum


class Prelude(StrEnum):
    """What happens before the point can be passed, beside the load."""

    NOTHING = "nothing"
    OTHER_DIES = "the other dispatcher is killed with messages in its hands"
    PAUSED = "the process is stopped past its leases, and goes on"
    STOPPED = "the process is told to stop while calls are in flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One failpoint: which process passes it, and how often at most before it happens (drawn by seed)."""

    name: str
    process: str = "dispatch"
    prelude: Prelude = Prelude.NOTHING
    latest: int = 5


POINTS = (
    # A message is accepted.
    Point(name="accept.before_commit"),
    Point(name="accept.committed"),
    Point(name="accept_keyed.before_commit"),
    Point(name="accept_keyed.committed"),
    Point(name="accept.before_answer", latest=20),
    # It is claimed, by whoever did not accept it.
    Point(name="claim.before", latest=20),
    Point(name="claim.committed", latest=3),
    Point(name="claim.taken"),
    Point(name="rescue.interrupted", prelude=Prelude.OTHER_DIES, latest=3),
    # An attempt begins, is sent, is answered.
    Point(name="attempt.before_record", latest=20),
    Point(name="attempt.recorded", latest=20),
    Point(name="send.before_wire", latest=20),
    Point(name="send.answered", latest=20),
    # A step is written.
    Point(name="settle.before_commit", latest=10),
    Point(name="settle.committed", latest=10),
    Point(name="teach.before_commit", latest=2),
    Point(name="teach.committed", latest=2),
    Point(name="put_off.recorded", latest=3),
    Point(name="finish.before_record", latest=20),
    Point(name="finish.recorded", latest=20),
    Point(name="evidence.before_write", prelude=Prelude.PAUSED, latest=3),
    # Leases.
    Point(name="renew.before", latest=3),
    Point(name="renew.committed", latest=3),
    Point(name="drain.before_release", prelude=Prelude.STOPPED, latest=1),
    Point(name="drain.released", prelude=Prelude.STOPPED, latest=1),
    # A caller cancels.
    Point(name="cancel.before_commit", latest=2),
    Point(name="cancel.committed", latest=2),
    # Receipts.
    Point(name="receipt.before_keep", latest=3),
    Point(name="receipt.kept", latest=3),
    Point(name="receipt.due", latest=3),
    Point(name="receipt.before_commit", latest=3),
    Point(name="receipt.applied", latest=3),
    Point(name="receipt.woken", latest=2),
    # Configuration.
    Point(name="chain.resolved", latest=1),
    Point(name="chain.dropped", latest=3),
    Point(name="config.before_commit", process="config", latest=3),
    Point(name="config.committed", process="config", latest=3),
    Point(name="config.acknowledged", process="config", latest=3),
)
