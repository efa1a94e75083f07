"""No secret comes back out of the running house: canaries in every secret setting of every kind, looked for in every
answer, event, log line and database file, whatever users, vendors and strangers do.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import pytest_asyncio

from services.adapters.base import secret_paths
from services.adapters.registry import BUILT_IN
from tests.acceptance.canaries import ACCOUNTS, MARK, STYLES, Account, leaks, leaks_in_files
from tests.acceptance.house import open_house
from tests.acceptance.leaky_vendors import ACCEPTING, REFUSING
from tests.acceptance.provocations import SPOILT, Seen, provoke
from tests.integration.rig import SECRET, VAULT_KEYS
from tests.postgres import cloned_database

pytestmark = pytest.mark.timeout(120)  # the first test waits for all that is done
shares_the_evidence = pytest.mark.asyncio(loop_scope="module")
BY_NAME = pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What there is to search once all was done: what each account saw, the processes' logs, the database."""

    seen: dict[str, Seen]
    logs: dict[str, str]
    database_url: str

    @property
    def cluster(self) -> Path:
        """The folder of the PostgreSQL server."""
        return Path(parse_qs(urlsplit(self.database_url).query)["host"][0])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evidence(postgres_server, tmp_path_factory) -> AsyncIterator[Evidence]:
    """Everything is done with every account, then the house is closed."""
    folder = tmp_path_factory.mktemp("canaries")
    async with cloned_database(postgres_server) as dsn:
        async with open_house(dsn, folder, LOG_LEVEL="debug", LOG_JSON="true") as house:
            seen = await asyncio.gather(*(provoke(house, account) for account in ACCOUNTS))
        logs = {path.stem: path.read_text() for path in folder.glob("*.log")}
        yield Evidence(seen={each.account.name: each for each in seen}, logs=logs, database_url=dsn)


def test_every_secret_setting_has_a_canary() -> None:
    """Whatever a schema calls writeOnly is planted in some account of its kind."""
    wanted = {(kind.spec.kind, path) for kind in BUILT_IN for path in secret_paths(kind.spec)}
    assert {(account.kind, path) for account in ACCOUNTS for path in account.planted} == wanted


@shares_the_evidence
@BY_NAME
async def test_all_of_it_happened(evidence: Evidence, account: Account) -> None:
    """The vendor was told every secret that travels, and quoted it in every style; everything wrong was refused; the
    search below has something to find.
    """
    seen = evidence.seen[account.name]
    heard = " ".join(seen.vendor.heard)
    for path, secret in account.planted.items():
        assert (secret in heard) == (path[-1] not in account.silent), path
    assert {ACCEPTING, *account.styles} <= seen.vendor.quoted
    assert seen.attempts[ACCEPTING]["outcome"] == "ACCEPTED"
    assert {"Honest", "TLS", "Refused", *account.styles} <= set(seen.attempts)
    assert seen.verdicts["Honest stored"] == "GOOD"
    assert (seen.attempts[REFUSING]["outcome"], seen.attempts[REFUSING]["reason"]) == ("DENIED", "CREDENTIALS")
    assert seen.verdicts[REFUSING] == "BAD"
    assert {answer.status_code for answer in seen.refused.values()} == {400}
    assert len(seen.refused) == (len(SPOILT) + 4) * len(account.planted) + 3
    assert {status for name, status in seen.receipts.items() if name.endswith("wrong")} == {401}
    assert {status for name, status in seen.receipts.items() if name.endswith("right")} <= {200}
    assert seen.rpc_errors == 2


@shares_the_evidence
@BY_NAME
async def test_a_typo_names_the_key_and_the_right_one(evidence: Evidence, account: Account) -> None:
    """The refusal says which key is unknown and which one was meant, and not what was in it."""
    seen = evidence.seen[account.name]
    for path in account.planted:
        name = ".".join(path)
        told = seen.refused[f"{name} misspelt, added"].json()["message"]
        assert f"config.{name[:-1]}" in told
        assert f'did you mean "{path[-1]}"?' in told


@shares_the_evidence
@BY_NAME
async def test_no_answer_holds_a_secret(evidence: Evidence, account: Account) -> None:
    """No answer, error or event over REST, SSE or gRPC, its headers included."""
    answers = evidence.seen[account.name].answers
    assert account.name in "".join(answers)
    assert [leak for answer in answers for leak in leaks(answer)] == []


@shares_the_evidence
async def test_no_log_line_holds_a_secret(evidence: Evidence) -> None:
    """No line of any process at level debug, nor of PostgreSQL."""
    assert '"level": "debug"' in evidence.logs["gateway"]
    assert "provider_answered" in evidence.logs["dispatch"]
    assert "provider_tested" in evidence.logs["config"]
    assert "receipt_refused" in evidence.logs["dispatch"]
    lines = [line for log in evidence.logs.values() for line in log.splitlines()]
    assert [line for line in lines if leaks(line)] == []
    ours = (SECRET.reveal(), VAULT_KEYS.reveal().partition(":")[2], "eyJ")  # the last begins every token
    assert [line for line in lines if any(word in line for word in ours)] == []
    assert leaks((evidence.cluster.parent / "log").read_bytes()) == []


@shares_the_evidence
async def test_no_row_holds_a_secret(evidence: Evidence) -> None:
    """No column of any row of any of our tables, bytes as they are: also what PostgreSQL keeps compressed."""
    connection = await asyncpg.connect(evidence.database_url)
    try:
        tables = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('config', 'dispatch')"
        )
        rows = {name: await connection.fetch(f'SELECT * FROM {name[0]}."{name[1]}"') for name in map(tuple, tables)}
    finally:
        await connection.close()
    filled = {name for (_, name), found in rows.items() if found}
    assert filled >= {"providers", "messages", "attempts", "events", "completions", "provider_health"}
    values = [value for found in rows.values() for row in found for value in row.values()]
    assert [leak for value in values for leak in leaks(value if isinstance(value, bytes) else str(value))] == []


@shares_the_evidence
async def test_no_file_of_the_database_holds_a_secret(evidence: Evidence) -> None:
    """Nothing on disk after a checkpoint, write-ahead log included; a canary put into a table is found in both."""
    connection = await asyncpg.connect(evidence.database_url)
    try:
        own = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
        others = rf"/base/(?!{own}/)\d+/"
        await connection.execute("CHECKPOINT")
        assert leaks_in_files(evidence.cluster, without=others) == []

        await connection.execute("CREATE TABLE scratch AS SELECT $1::text AS leaked", f"leaked {MARK}")
        await connection.execute("CHECKPOINT")
        found = leaks_in_files(evidence.cluster, without=others)
        assert any(f"/base/{own}/" in leak for leak in found)
        assert any("/pg_wal/" in leak for leak in found)
    finally:
        await connection.close()


@pytest.mark.parametrize("style", STYLES)
def test_the_search_finds_what_it_looks_for(style: str) -> None:
    """Every canary, quoted in every style and at every place in a text, is found."""
    assert any(style in account.styles for account in ACCOUNTS)
    for account in ACCOUNTS:
        for secret in account.planted.values():
            for before in range(3):
                assert leaks(STYLES[style](f"{'x' * before}{secret}."))
    assert leaks("no secret at all") == []
