"""A database that may forget what it acknowledged: refused by whatever writes to it, unless that is wanted."""

import json
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.command import ANY_PORTS, environment, one_line, run
from tests.acceptance.processes import free_port, process, until_serving
from tests.integration.rig import SECRET, VAULT_KEYS


@pytest.fixture
async def unsafe(database_url: str) -> dict[str, str]:
    """The environment of both services on a database that answers before it has flushed."""
    connection = await asyncpg.connect(database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close()
    return {
        "MESSAGEPIPE_DATABASE_URL": database_url,
        "MESSAGEPIPE_JWT_SECRET": SECRET.reveal(),
        "MESSAGEPIPE_VAULT_KEYS": VAULT_KEYS.reveal(),
        "MESSAGEPIPE_CONFIG_PORT": str(free_port()),
        "MESSAGEPIPE_DISPATCH_PORT": str(free_port()),
    }


@pytest.mark.parametrize("command", ["config", "dispatch"])
async def test_a_service_refuses_an_unsafe_database(unsafe, command) -> None:
    """One line: the setting, its value, what to do; exit code 1."""
    refused = run(command, environ=environment(**unsafe))

    assert refused.returncode == 1
    assert "synchronous_commit=off by the server, database or role; set synchronous_commit to on" in one_line(
        refused.stderr
    )
    assert "MESSAGEPIPE_ALLOW_UNSAFE_DURABILITY=true" in refused.stderr


@pytest.mark.parametrize("command", ["config", "dispatch"])
async def test_a_service_told_to_serves_and_says_so(unsafe, command, tmp_path) -> None:
    """With the permission it serves, and the first thing in its log is what may be lost."""
    environ = {**unsafe, "MESSAGEPIPE_ALLOW_UNSAFE_DURABILITY": "true"}
    port = unsafe[f"MESSAGEPIPE_{command.upper()}_PORT"]
    async with process(command, environ=environ, log=tmp_path / "log") as service:
        await until_serving(f"127.0.0.1:{port}")
        first = service.output().splitlines()[0]
    assert "unsafe_durability_allowed" in first
    assert "synchronous_commit=off" in first


async def test_up_refuses_it_and_doctor_finds_it(unsafe, tmp_path: Path) -> None:
    """`up` starts nothing; `doctor` fails, or warns where it is allowed."""
    refused = run("up", "--data-dir", str(tmp_path / "data"), *ANY_PORTS, environ=environment(**unsafe))
    assert refused.returncode == 1
    assert "synchronous_commit=off" in one_line(refused.stderr)

    found = finding(tmp_path, environment(**unsafe))
    assert (found["level"], "synchronous_commit=off" in found["detail"]) == ("fail", True)
    found = finding(tmp_path, environment(**unsafe, MESSAGEPIPE_ALLOW_UNSAFE_DURABILITY="true"))
    assert found["level"] == "warn"
    assert "synchronous_commit=off" in found["detail"]
    assert "allowed by MESSAGEPIPE_ALLOW_UNSAFE_DURABILITY" in found["detail"]


def finding(data: Path, environ: dict[str, str]) -> dict[str, str]:
    """What doctor says about the database."""
    told = run("doctor", "--json", "--data-dir", str(data / "data"), environ=environ)
    (found,) = [each for each in json.loads(told.stdout) if each["name"] == "database"]
    return dict(found)
