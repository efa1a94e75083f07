"""Schemathesis asks a running messagepipe all that /openapi.json allows: each answer is documented, none is a crash."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.acceptance.house import House, shared_house
from tests.integration.rig import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Schemathesis would wait for the end of a stream that has none.
ENDLESS = r"/projects/.*/events"
# Rules between fields stand in no schema, and whole numbers may be written as texts, as protobuf's JSON has them: so
# these two say more about JSON Schema than about us.
NOT_ASKED = "positive_data_acceptance,negative_data_rejection"
SENDERS = {"email": {"senderEmail": "shop@example.com"}, "sms": {"senderId": "Shop"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A messagepipe whose project `fuzzed` has a sandbox provider on each channel."""
    async with shared_house(postgres_server, tmp_path_factory) as running, running.project("fuzzed") as project:
        for channel, sender in SENDERS.items():
            body = {"provider": "sandbox", "name": "Sandbox", "config": {}}
            made = await project.http.post(f"/{channel}-config/providers?projectId=fuzzed", json=body)
            assert made.status_code == 201, made.text
            made = await project.http.post(f"/{channel}-config?projectId=fuzzed", json=sender)
            assert made.status_code == 201, made.text
        yield running


def asked(house: House, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Schemathesis, run to its end; the same questions each time."""
    bearer = f"Authorization: Bearer {token('fuzzed')}"
    program = Path(sys.executable).with_name("schemathesis")
    told = ("--checks", "all", "--exclude-checks", NOT_ASKED, "--exclude-path-regex", ENDLESS, "--header", bearer)
    always: tuple[Any, ...] = ("--seed", "1", "--continue-on-failure", "--no-color", "--request-timeout", "20")
    command = [program, "run", f"{house.url}/openapi.json", *told, *always, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


async def test_a_few_questions_for_each_operation(house: House, tmp_path: Path) -> None:
    """No 5xx, no status, header, media type or body that is not documented, no method too many."""
    done = asked(house, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "2")
    assert done.returncode == 0, done.stdout[-8000:]
    operations = re.search(r"Tested: (\d+)", done.stdout)
    assert operations is not None
    assert int(operations[1]) > 60


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
async def test_many_questions_for_each_operation(house: House, tmp_path: Path) -> None:
    """The same with every phase, sequences of calls among them."""
    done = asked(house, tmp_path, "--max-examples", "25")
    assert done.returncode == 0, done.stdout[-20000:]
