"""ConfigService as a process: what keeps it from starting, what it says when the database is away, how it stops."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from messagepipe.config.v1 import config_service_pb2 as pb2

from services.chassis.contract import CONFIG_SERVICES
from services.chassis.server import PortBusy
from services.config import app
from services.config.app import RunningConfig, open_config
from tests.integration.config.service import (
    OLD_KEY,
    SECRET,
    Caller,
    a_creation,
    a_settings,
    calling,
    eventually,
    opened,
)
from tests.postgres import with_database

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def an_environ(database_url: str, **more: str) -> dict[str, str]:
    """What a process is told."""
    told = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET.reveal(), "VAULT_KEYS": OLD_KEY, "CONFIG_PORT": "0"}
    return {f"MESSAGEPIPE_{name}": value for name, value in {**told, **more}.items()}


async def health(address: str) -> int:
    """What health says about ConfigService."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=CONFIG_SERVICES[0].full_name))
        return int(answer.status)


@asynccontextmanager
async def away(database_url: str) -> AsyncIterator[None]:
    """Within the block nobody can connect to the database, and nobody is connected."""
    name = database_url.split("?", maxsplit=1)[0].rpartition("/")[2]
    server = await asyncpg.connect(with_database(database_url, "postgres"))
    try:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    finally:
        await server.close()


async def test_database_away_is_unavailable_and_comes_back(
    config: RunningConfig, caller: Caller, database_url: str
) -> None:
    """Without the database: UNAVAILABLE with a delay and no word of SQL, health NOT_SERVING; then all as before."""
    made = await caller.create()
    await eventually(lambda: health(config.address), SERVING)
    async with away(database_url):
        error = await caller.refused("GetProvider", pb2.GetProviderRequest(id=made.id))
        assert (error.code, error.reason, error.retry_after) == ("UNAVAILABLE", "UNAVAILABLE", 1.0)
        assert "sql" not in error.message.lower()
        assert (await caller.refused("CreateProvider", a_creation())).reason == "UNAVAILABLE"
        await eventually(lambda: health(config.address), NOT_SERVING)
    await eventually(lambda: health(config.address), SERVING)
    assert await caller.call("GetProvider", pb2.GetProviderRequest(id=made.id)) == made


async def test_changes_are_told_after_the_database_came_back(database_url: str) -> None:
    """A watcher hears of what another replica changed even when its own replica had lost the database before."""
    async with (
        opened(a_settings(database_url)) as one,
        opened(a_settings(database_url)) as other,
        calling(one.address) as writer,
        calling(other.address, "*", ["internal"]) as dispatcher,
    ):
        stream = dispatcher.watch()
        await stream.read()
        async with away(database_url):
            await writer.refused("CreateProvider", a_creation())
        await writer.create()
        told = await asyncio.wait_for(stream.read(), 10)
        assert len(told.changes) == 1
        stream.cancel()


async def test_busy_port_is_one_line(database_url: str, config: RunningConfig) -> None:
    """A second service on the same port does not start and says why."""
    settings = a_settings(database_url)
    object.__setattr__(settings, "config_port", config.port)
    with pytest.raises(PortBusy, match=str(config.port)):
        async with open_config(settings):
            pass


async def test_bad_settings_are_told_together(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Everything wrong with the settings is said at once, a line each, with exit code 1 and no secret."""
    environ = an_environ("mysql://root:hunter2@db", VAULT_KEYS="k:c2hvcnQ", CONFIG_PORT="99999", LOG_LEVEL="loud")
    assert await app.main(environ) == 1
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("messagepipe config: MESSAGEPIPE_") for line in lines)
    assert "hunter2" not in "".join(lines)


async def test_missing_tables_are_told(postgres_server: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A database without our tables: one line that names the command which makes them."""
    assert await app.main(an_environ(with_database(postgres_server, "postgres"))) == 1
    assert capfd.readouterr().err.endswith("run `messagepipe migrate` first\n")


async def test_unreachable_database_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """No database at the address: one line with the reason after the wait."""
    environ = an_environ("postgresql://u:hunter2@127.0.0.1:1/none", DATABASE_WAIT="0.2")
    assert await app.main(environ) == 1
    told = capfd.readouterr().err
    assert told.startswith("messagepipe config: 127.0.0.1:1/none: ")
    assert "hunter2" not in told


async def test_signal_drains_and_ends(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """SIGTERM stops the process with exit code 0 after it has served."""
    serving = asyncio.create_task(app.main(an_environ(database_url, DRAIN_GRACE="0.2")))

    async def said() -> bool:
        return "config_serving" in capfd.readouterr().err

    await eventually(said, True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(serving, 10) == 0


async def test_lost_tables_end_the_process(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What mends itself by no waiting ends the process with exit code 1, so that whoever watches it starts it anew."""
    serving = asyncio.create_task(app.main(an_environ(database_url, DRAIN_GRACE="0.2")))

    async def said() -> bool:
        return "config_serving" in capfd.readouterr().err

    await eventually(said, True)
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA config CASCADE")
    await connection.close()
    assert await asyncio.wait_for(serving, 10) == 1
    told = capfd.readouterr().err
    assert "background_work_ended" in told
    assert told.splitlines()[-1].startswith("messagepipe config: background work ended")
