"""On a primary with a synchronous standby: a commit that was cut off is not acknowledged, and the primary is found."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import grpc
import pytest
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cli.checkup import Level, check_database
from services.chassis.connection import CommitNotReplicated, NoWritableServer
from services.chassis.database import (
    DatabaseUnreachable,
    acquired,
    connect,
    create_pool,
    wait_until_reachable,
)
from services.chassis.engine import create_engine
from services.chassis.env import SecretText
from tests.integration.rig import EMAIL, PROJECT, eventually, metadata, rig, struct
from tests.postgres_pair import SYNCHRONOUS, Pair, running_pair

COUNT = "SELECT count(*) FROM standby_test WHERE word = '{}'"


@pytest.fixture(scope="module")
def standing_pair() -> Iterator[Pair]:
    """One pair for all tests here: starting it takes seconds."""
    with asyncio.Runner() as runner:
        pair = running_pair()
        started = runner.run(pair.__aenter__())
        try:
            runner.run(_run(started, "CREATE TABLE standby_test (word text)"))
            yield started
        finally:
            runner.run(pair.__aexit__(None, None, None))


async def _run(pair: Pair, statement: str) -> None:
    connection = await asyncpg.connect(pair.primary.dsn)
    await connection.execute(statement)
    await connection.close()


@pytest.fixture
async def pair(standing_pair: Pair) -> Any:
    """The pair; a standby that a test stalled goes on after it, and nothing is left in the tables."""
    yield standing_pair
    standing_pair.resume()
    await _run(standing_pair, "DELETE FROM config.providers")


async def cut_off(pair: Pair, work: Callable[[], Awaitable[Any]]) -> Any:
    """What `work` answers when the commit in it is cancelled while it waits for a standby that has stalled."""
    pair.stall()
    task = asyncio.ensure_future(work())
    try:
        assert await pair.cut_off() == 1
        return await task
    finally:
        task.cancel()


def insert(word: str) -> str:
    """One row that can be told from the others."""
    return f"INSERT INTO standby_test VALUES ('{word}') RETURNING word"


async def test_the_server_calls_a_commit_that_was_cut_off_a_success(pair):
    """The control: without our guard it is an answer like any other, and the standby has nothing."""
    connection = await asyncpg.connect(pair.primary.dsn)
    assert await cut_off(pair, lambda: connection.fetchval(insert("control"))) == "control"
    assert await connection.fetchval(COUNT.format("control")) == 1
    assert await pair.standby.run(COUNT.format("control")) == 0
    await connection.close()


@pytest.mark.parametrize("method", ["execute", "fetch", "fetchrow", "fetchval"])
async def test_a_statement_whose_commit_was_cut_off_raises(pair, method):
    """Whatever commits by itself is not acknowledged; the connection can be used afterwards."""
    connection = await connect(pair.dsn)
    with pytest.raises(CommitNotReplicated):
        await cut_off(pair, lambda: getattr(connection, method)(insert(method)))
    pair.resume()
    assert await connection.fetchval(insert(f"after {method}")) == f"after {method}"
    await connection.close()


async def test_a_batch_whose_commit_was_cut_off_raises(pair):
    """executemany commits at its end."""
    connection = await connect(pair.dsn)
    with pytest.raises(CommitNotReplicated):
        await cut_off(pair, lambda: connection.executemany("INSERT INTO standby_test VALUES ($1)", [("a",), ("b",)]))
    await connection.close()


async def test_a_transaction_of_the_pool_whose_commit_was_cut_off_raises(pair):
    """COMMIT is a statement like the others; asyncpg's pool gets its connection back without complaint."""
    pool = await create_pool(pair.dsn, size=2)

    async def work() -> None:
        async with acquired(pool) as connection, connection.transaction():
            await connection.execute(insert("pool"))

    with pytest.raises(CommitNotReplicated):
        await cut_off(pair, work)
    pair.resume()
    await work()
    assert await pair.primary.run(COUNT.format("pool")) == 2
    await pool.close()


async def test_a_commit_that_waits_for_ever_is_given_up_on_this_side(pair):
    """While the standby is away a statement of the pool ends in TimeoutError; the pool serves when it is back."""
    pool = await create_pool(pair.dsn, size=1, statement_seconds=0.5)
    pair.stall()
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await _write(pool)
    pair.resume()
    await _write(pool)
    await pool.close()


async def test_a_transaction_of_the_engine_whose_commit_was_cut_off_raises(pair):
    """SQLAlchemy passes it on with its SQLSTATE, and goes on."""
    engine = create_engine(pair.dsn)

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.execute(text(insert("engine")))

    with pytest.raises(DBAPIError, match="synchronous replication") as caught:
        await cut_off(pair, work)
    assert getattr(caught.value.orig, "sqlstate", None) == "57014"
    pair.resume()
    await work()
    await engine.dispose()


async def refused(call: Awaitable[Any]) -> grpc.StatusCode:
    """The status that a call was refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


@pytest.mark.timeout(90)
async def test_no_rpc_acknowledges_a_commit_that_was_cut_off(pair):
    """CreateProvider, CreateMessage and ReceiveReceipt answer UNAVAILABLE; the message, being there, still ends well
    once the standby is back.
    """
    async with rig(pair.dsn, lease_seconds=2) as pipe:
        await pipe.chain("A")
        provider = provider_pb2.Provider(channel=EMAIL, kind="b", name="B", config=struct())
        create = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
        code = await cut_off(pair, lambda: refused(pipe.config.CreateProvider(create, metadata=metadata())))
        assert code is grpc.StatusCode.UNAVAILABLE
        pair.resume()

        receipt = {"status": "DELIVERED", "provider_message_id": "nobody's"}
        code = await cut_off(pair, lambda: refused(pipe.receipt("A", receipt)))
        assert code is grpc.StatusCode.UNAVAILABLE
        pair.resume()

        code = await cut_off(pair, lambda: refused(pipe.create(to="cut-off@example.com")))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert not pipe.adapters["A"].calls
        pair.resume()
        await eventually(lambda: len(pipe.adapters["A"].calls) == 1, seconds=20)
        assert "cut-off@example.com" in str(pipe.adapters["A"].calls[0].content.to)


@pytest.mark.timeout(90)
async def test_nothing_is_sent_before_its_attempt_is_replicated(pair):
    """The commits that open an attempt are cut off: the provider is called only when one was replicated."""
    async with rig(pair.dsn) as pipe:
        await pipe.chain("A", "B", timeouts={"A": 1})
        pipe.script("A", "hang")
        message = await pipe.create()
        await eventually(lambda: pipe.adapters["A"].calls)
        pair.stall()
        for _ in range(4):  # the dispatcher's sign of life, once a second, is cut off with them
            assert await pair.cut_off() >= 1
        assert not pipe.adapters["B"].calls
        pair.resume()
        ended = await pipe.becomes(message.id, "SENT")
        assert [attempt.provider_name for attempt in ended.attempts] == ["A", "B"]
        assert len(pipe.adapters["B"].calls) == 1


def hosts(*ports: int, attributes: str = "") -> str:
    """An address of several hosts."""
    listed = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://postgres@{listed}/messagepipe?sslmode=disable{attributes}"


@pytest.mark.parametrize("attributes", ["", "&target_session_attrs=read-write"])
async def test_the_primary_is_found_wherever_it_stands(pair, attributes):
    """With the standby named first, every way to connect ends at the primary, said or not."""
    dsn = hosts(pair.standby.port, pair.primary.port, attributes=attributes)
    await wait_until_reachable(dsn, timeout=5)
    connection = await connect(dsn)
    pool = await create_pool(dsn, size=2)
    engine = create_engine(dsn)
    port = "SELECT inet_server_port()"
    async with engine.connect() as sqlalchemy:
        of_engine = (await sqlalchemy.execute(text(port))).scalar_one()
    assert {await connection.fetchval(port), await pool.fetchval(port), of_engine} == {pair.primary.port}
    await connection.close()
    await pool.close()
    await engine.dispose()


async def test_a_host_that_says_nothing_does_not_use_up_the_others_time(pair):
    """A first host whose machine is gone costs two seconds, not the connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        connection = await connect(hosts(silent.getsockname()[1], pair.primary.port))
        assert time.monotonic() - began < 4
        await connection.close()


async def test_a_standby_alone_is_no_database(pair):
    """Nobody is served by a standby: it is waited for, and then said what is missing."""
    with pytest.raises(NoWritableServer, match=f"127.0.0.1:{pair.standby.port} is no primary"):
        await connect(hosts(pair.standby.port))
    with pytest.raises(DatabaseUnreachable, match="no server that takes writes"):
        await wait_until_reachable(hosts(pair.standby.port), timeout=0.3)


async def test_who_has_become_read_only_is_left(pair):
    """A pool and an engine throw connections away whose server was demoted under them, all of them at once."""
    pool = await create_pool(pair.dsn, size=2)
    engine = create_engine(pair.dsn, size=1)
    before = {await _pid(engine), *await _pids(pool)}
    await pair.primary.run("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()::text")
    try:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await eventually(lambda: _write(pool))
        with pytest.raises(DBAPIError, match="read-only"):
            async with engine.begin() as connection:
                await connection.execute(text(insert("engine")))
        with pytest.raises(NoWritableServer):
            await _write(pool)
    finally:
        connection = await asyncpg.connect(pair.primary.dsn)
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
    await eventually(lambda: _writes_again(pool))
    assert not before & {await _pid(engine), *await _pids(pool)}
    await pool.close()
    await engine.dispose()


async def _write(pool: Any) -> bool:
    async with acquired(pool) as connection:
        await connection.execute(insert("pool"))
    return False


async def _writes_again(pool: Any) -> bool:
    try:
        await _write(pool)
    except (NoWritableServer, asyncpg.ReadOnlySQLTransactionError):
        return False
    return True


async def _pids(pool: Any) -> set[int]:
    async with acquired(pool) as one, acquired(pool) as other:
        return {one.get_server_pid(), other.get_server_pid()}


async def _pid(engine: Any) -> int:
    async with engine.connect() as connection:
        pid: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        return pid


async def test_doctor_says_which_standbys_are_waited_for(pair):
    """Whether a commit waits for a standby is in its one line on the database."""
    found = await check_database(SecretText(pair.dsn))
    assert found.level is Level.OK
    assert found.detail.endswith(f", durable on its disk and on standbys: {SYNCHRONOUS}")
