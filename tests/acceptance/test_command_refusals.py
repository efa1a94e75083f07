"""What `messagepipe` will not do, and the one clear line that says why. Nothing is started by any of these."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import environment, one_line, run


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory with a short path: PostgreSQL's socket lives inside."""
    folder = Path(tempfile.mkdtemp(prefix="mp-", dir="/tmp"))
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


def test_a_busy_port(data: Path) -> None:
    """Every busy port is named with the flag that chooses another; nothing was started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = run("up", "--data-dir", str(data), "--http-port", port, "--config-port", "0", "--dispatch-port", "0")

    assert refused.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in one_line(refused.stderr)
    assert "--http-port" in refused.stderr
    assert not (data / "postgres").exists()


def test_a_bad_setting(data: Path) -> None:
    """Unknown names come with a guess at what was meant, one line each."""
    refused = run("up", "--data-dir", str(data), environ=environment(MESSAGEPIPE_HTP_PORT="1"))

    assert refused.returncode == 1
    assert "did you mean MESSAGEPIPE_HTTP_PORT?" in one_line(refused.stderr)


def test_a_weak_secret_is_refused_and_not_repeated(data: Path) -> None:
    """A secret that is too short is refused before anything starts, and its text is not shown."""
    refused = run("up", "--data-dir", str(data), environ=environment(MESSAGEPIPE_JWT_SECRET="hunter2hunter2"))

    assert refused.returncode == 1
    assert "MESSAGEPIPE_JWT_SECRET is too short" in one_line(refused.stderr)
    assert "hunter2" not in refused.stderr + refused.stdout


def test_a_missing_database(data: Path) -> None:
    """A database that nobody serves is named without its password."""
    url = "postgresql://app:hunter2@127.0.0.1:1/messagepipe"
    arguments = ("--http-port", "0", "--config-port", "0", "--dispatch-port", "0")
    refused = run("up", "--data-dir", str(data), *arguments, environ=environment(MESSAGEPIPE_DATABASE_URL=url))

    assert refused.returncode == 1
    assert "127.0.0.1:1/messagepipe" in one_line(refused.stderr)
    assert "hunter2" not in refused.stderr


def test_a_path_too_long_for_a_socket(data: Path) -> None:
    """A data directory whose path is too long for PostgreSQL's socket is refused with the reason."""
    refused = run("up", "--data-dir", str(data / ("x" * 100)), "--http-port", "0")

    assert refused.returncode == 1
    assert "too long for PostgreSQL's socket" in one_line(refused.stderr)


def test_a_data_directory_that_can_not_be_written() -> None:
    """A data directory below a file is refused with the reason."""
    refused = run("up", "--data-dir", "/dev/null/data")

    assert refused.returncode == 1
    assert "can not be written: not a directory" in one_line(refused.stderr)


def test_wrong_usage() -> None:
    """Exit code 2 is for what was typed wrongly."""
    assert run("up", "--port", "1").returncode == 2
    assert run("token", "--project", "a", "--ttl", "soon").returncode == 2
    assert run("watch").returncode == 2
