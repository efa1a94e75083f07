"""Named points in the code where a test makes a process die, fail or stand still. Not a switch of behaviour: a point
that is not armed does nothing, and costs one look at an empty dictionary.

Armed by MESSAGEPIPE_FAILPOINTS=name:count:action,… in a service started by itself, never under `messagepipe up`, and
only together with MESSAGEPIPE_FAILPOINTS_ALLOWED=true. The names are those in the code; tests/chaos/points.py lists
them, and a test holds the two together.
"""

import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.chassis.env import SettingsError

_ENTRY = re.compile(r"([a-z_]+\.[a-z_]+):([1-9][0-9]*):(kill|raise|pause)")


class FailpointRaised(OSError):
    """What an armed point raises: the line to somewhere broke, as far as the code around it can tell."""


class Action(StrEnum):
    """What happens at a point: SIGKILL to this process, FailpointRaised, or SIGSTOP until somebody sends SIGCONT."""

    KILL = "kill"
    RAISE = "raise"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailpointSettings:
    """Which points are armed, as `name:count:action`: it happens once, when the point is passed for the count-th
    time.
    """

    failpoints: tuple[str, ...] = ()
    failpoints_allowed: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"MESSAGEPIPE_FAILPOINTS: {entry[:80]!r} must be name:count:action, such as accept.committed:1:kill"
            for entry in self.failpoints
            if not _ENTRY.fullmatch(entry)
        ]
        if self.failpoints and not self.failpoints_allowed:
            problems.append("MESSAGEPIPE_FAILPOINTS is for tests: it needs MESSAGEPIPE_FAILPOINTS_ALLOWED=true")
        if problems:
            raise SettingsError(problems)


@dataclass(slots=True)
class _Armed:
    action: Action
    passes_left: int


# The process's own plan: filled once at its start, before anything is served.
_armed: dict[str, list[_Armed]] = {}


def arm(settings: FailpointSettings) -> None:
    """These points, and no others, are armed from now on."""
    _armed.clear()
    for entry in settings.failpoints:
        name, count, action = entry.split(":")
        _armed.setdefault(name, []).append(_Armed(Action(action), int(count)))
    if _armed:
        _say(f"failpoints armed: {' '.join(settings.failpoints)}")


def failpoint(name: str) -> None:
    """Nothing, unless this point is armed and its time has come."""
    if _armed:
        _pass(name, _armed.get(name, ()))


def _pass(name: str, armed: Iterable[_Armed]) -> None:
    for each in armed:
        each.passes_left -= 1
        if each.passes_left == 0:
            _say(f"failpoint {name} {each.action}")
            _act(name, each.action)


def _act(name: str, action: Action) -> None:
    if action is Action.RAISE:
        raise FailpointRaised(f"failpoint {name}")
    os.kill(os.getpid(), signal.SIGKILL if action is Action.KILL else signal.SIGSTOP)


def _say(text: str) -> None:
    # Not through the log: after a SIGKILL nobody would flush it.
    os.write(2, f"{text}\n".encode())
