"""Failpoints do nothing by accident, and what they say when they are told to."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.plan import ALL_SETTINGS
from services.chassis.env import PREFIX, SettingsError, load, variable_names
from services.chassis.failpoints import FailpointRaised, FailpointSettings, arm, failpoint

PROGRAM = """
from services.chassis.failpoints import FailpointSettings, arm, failpoint
arm(FailpointSettings(failpoints=("a.b:2:kill",), failpoints_allowed=True))
failpoint("a.b")
print("once", flush=True)
failpoint("a.b")
print("twice", flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    """No test leaves a point armed."""
    yield
    arm(FailpointSettings())


def armed(*entries: str) -> None:
    """Arm these points in this process."""
    arm(FailpointSettings(failpoints=entries, failpoints_allowed=True))


def test_a_point_that_is_not_armed_does_nothing() -> None:
    """Passing a point is nothing, also while another one is armed."""
    failpoint("accept.committed")
    armed("claim.taken:1:raise")
    failpoint("accept.committed")


def test_it_happens_once_at_the_given_time() -> None:
    """The count-th passing raises, none before it and none after it."""
    armed("accept.committed:2:raise")
    failpoint("accept.committed")
    with pytest.raises(FailpointRaised):
        failpoint("accept.committed")
    failpoint("accept.committed")


def test_kill_is_sigkill_and_leaves_a_word() -> None:
    """The process is gone at once, and its last line says where."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=30)

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == "once\n"
    assert ended.stderr.splitlines()[-1] == "failpoint a.b kill"


def test_arming_needs_a_word_of_its_own() -> None:
    """The variable alone is refused, and so is one that nobody can read."""
    with pytest.raises(SettingsError, match="MESSAGEPIPE_FAILPOINTS_ALLOWED"):
        load(FailpointSettings, {"MESSAGEPIPE_FAILPOINTS": "a.b:1:kill"})
    with pytest.raises(SettingsError, match="name:count:action"):
        load(FailpointSettings, {"MESSAGEPIPE_FAILPOINTS": "a.b:0:kill", "MESSAGEPIPE_FAILPOINTS_ALLOWED": "true"})


def test_up_knows_nothing_of_them() -> None:
    """`up` and `doctor` refuse the variables as unknown, and hand them to nobody."""
    known = {name for cls in ALL_SETTINGS for name in variable_names(cls)}

    assert not known & set(variable_names(FailpointSettings))
    assert all(name.startswith(PREFIX) for name in variable_names(FailpointSettings))
