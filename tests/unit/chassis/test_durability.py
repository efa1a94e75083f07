"""Which settings of a server are unsafe, and how that is said."""

import pytest

from services.chassis.durability import refusal, weaknesses

GOOD = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": ""}
STANDBY = {**GOOD, "synchronous_standby_names": "ANY 1 (a)"}


@pytest.mark.parametrize(
    ("ours", "given", "found"),
    [
        (GOOD, GOOD, []),
        ({**GOOD, "synchronous_commit": "remote_apply"}, {**GOOD, "synchronous_commit": "remote_apply"}, []),
        (STANDBY, {**STANDBY, "synchronous_commit": "remote_write"}, []),
        (GOOD, {**GOOD, "synchronous_commit": "local"}, []),
        ({**GOOD, "fsync": "off"}, GOOD, ["fsync=off"]),
        ({**GOOD, "full_page_writes": "off"}, GOOD, ["full_page_writes=off"]),
        (GOOD, {**GOOD, "synchronous_commit": "off"}, ["synchronous_commit=off by the server, database or role"]),
        (
            STANDBY,
            {**STANDBY, "synchronous_commit": "local"},
            ["synchronous_commit=local by the server, database or role"],
        ),
        ({**GOOD, "synchronous_commit": "off"}, GOOD, ["synchronous_commit=off in our own sessions"]),
        ({**GOOD, "synchronous_commit": "remote_write"}, GOOD, ["synchronous_commit=remote_write in our own sessions"]),
    ],
)
def test_weaknesses(ours, given, found):
    """fsync or full_page_writes off, synchronous_commit off by default or weaker than on in our sessions; `local` as a
    default only where standbys are configured.
    """
    assert [str(each) for each in weaknesses(ours=ours, given=given)] == found


def test_a_refusal_is_one_line_that_says_what_to_do():
    """Address, each setting with its value, and both ways out."""
    line = refusal(
        "db:5432/main", weaknesses(ours={**GOOD, "fsync": "off"}, given={**GOOD, "synchronous_commit": "off"})
    )
    assert "\n" not in line
    for words in ("db:5432/main", "fsync=off", "synchronous_commit=off", "ALTER SYSTEM", "=true"):
        assert words in line
