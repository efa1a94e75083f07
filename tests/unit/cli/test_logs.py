"""Log files that stay small and tell their last words."""

from pathlib import Path

from cli.logs import last_line, trim


def test_the_last_line_that_says_something(tmp_path: Path) -> None:
    """Empty lines at the end are passed over; a missing or empty file says nothing."""
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("")
    assert last_line(log) == ""
    log.write_bytes(b"first\nport 8080 is taken\n\n \xff\n\n"[:-5] + b"\n")
    assert last_line(log) == "port 8080 is taken"


def test_a_long_log_is_set_aside(tmp_path: Path) -> None:
    """What is above the limit moves to `.1`; the writer's file goes on empty."""
    log = tmp_path / "log"
    log.write_text("x" * 11)
    trim(log, limit=11)
    assert log.stat().st_size == 11
    log.write_text("x" * 12)
    trim(log, limit=11)

    assert log.stat().st_size == 0
    assert (tmp_path / "log.1").read_text() == "x" * 12
