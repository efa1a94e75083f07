"""The embedded PostgreSQL, as far as it can be judged without one."""

from pathlib import Path

import pytest

from cli.postgres import MAX_SOCKET_PATH, Cluster, prepare_cluster
from cli.problem import Problem
from services.chassis.database import parse_dsn

FOLDER = Path("/var/lib/mp with space/postgres")


def test_its_address_is_one_that_we_can_read() -> None:
    """A path with a space survives the way into a URL and back."""
    address = parse_dsn(Cluster(folder=FOLDER, user=None).dsn)

    assert (address.database, address.shown) == ("messagepipe", f"{FOLDER}/messagepipe")


def test_it_listens_on_no_port_and_logs_no_rows() -> None:
    """Whoever can open the socket's folder is let in, nobody else; what rows hold stays out of the log."""
    program = Cluster(folder=FOLDER, user=None).program(log=Path("/tmp/log"), environ={"PGHOST": "x", "PATH": "/bin"})

    assert "listen_addresses=" in program.command
    assert "unix_socket_permissions=0700" in program.command
    assert {"log_error_verbosity=terse", "log_min_error_statement=panic"} < set(program.command)
    assert dict(program.environ) == {"PATH": "/bin"}


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """The line gives both lengths, and the flag."""
    folder = tmp_path / ("x" * MAX_SOCKET_PATH)
    with pytest.raises(Problem, match=rf"{MAX_SOCKET_PATH} are possible; choose a shorter one with --data-dir"):
        prepare_cluster(folder, {})
    assert not folder.exists()
