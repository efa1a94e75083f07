"""The looks of `messagepipe doctor` that reach outside this process: database, services, clock. No verdict."""

from dataclasses import dataclass
from enum import StrEnum

import asyncpg
import grpc
import grpc.aio
import httpx
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from cli.duration import show_duration
from cli.serve import MIGRATIONS
from services.chassis.clock import Clock
from services.chassis.database import DatabaseUnreachable, connect, parse_dsn, wait_until_reachable
from services.chassis.durability import ALLOW, check_durability, refusal
from services.chassis.env import SecretText
from services.chassis.migrations import newest_of

PATIENCE = 3.0  # seconds
CONFIG_SERVICE = "messagepipe.config.v1.ConfigService"
DISPATCH_SERVICE = "messagepipe.dispatch.v1.DispatchService"
CLOCK_WARN = 1.0  # seconds
CLOCK_FAIL = 30.0  # half of the leeway that tokens have


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how bad it is, and what to do in one line."""

    name: str
    level: Level
    detail: str


async def check_database(database: SecretText, *, allow_unsafe: bool = False) -> Finding:
    """Whether the database takes writes, and remembers what it acknowledged."""
    try:
        shown = parse_dsn(database).shown
        await wait_until_reachable(database, timeout=PATIENCE)
        promised = await check_durability(database)
    except (ValueError, DatabaseUnreachable) as error:
        return Finding("database", Level.FAIL, str(error))
    if promised.weaknesses and allow_unsafe:
        settings = ", ".join(map(str, promised.weaknesses))
        return Finding("database", Level.WARN, f"{shown} may lose what it acknowledged: {settings}; allowed by {ALLOW}")
    if promised.weaknesses:
        return Finding("database", Level.FAIL, refusal(shown, promised.weaknesses))
    where = f"on its disk and on standbys: {promised.standbys}" if promised.standbys else "on its own disk, no standby"
    return Finding("database", Level.OK, f"{shown}, durable {where}")


async def check_migrations(database: SecretText) -> Finding:
    """Whether both schemas are at the newest migration that this program brings."""
    behind: list[str] = []
    connection = await connect(database)
    try:
        for schema, scripts in MIGRATIONS.items():
            newest = newest_of(scripts)
            try:
                rows = await connection.fetch(f"SELECT version_num FROM {schema}.alembic_version")  # noqa: S608 - our own word
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                rows = []
            if {row["version_num"] for row in rows} != newest:
                behind.append(schema)
    finally:
        await connection.close()
    if behind:
        return Finding("migrations", Level.FAIL, f"not at the newest: {', '.join(behind)}; run `messagepipe migrate`")
    return Finding("migrations", Level.OK, "both schemas are at the newest")


async def check_clock(database: SecretText, clock: Clock) -> Finding:
    """Whether this machine and the database agree about the time: tokens and deadlines depend on it."""
    connection = await connect(database)
    try:
        theirs = await connection.fetchval("SELECT clock_timestamp()")
    finally:
        await connection.close()
    apart = abs((clock.now() - theirs).total_seconds())
    text = f"{show_duration(apart)} apart from the database's"
    if apart > CLOCK_WARN:
        level = Level.FAIL if apart > CLOCK_FAIL else Level.WARN
        return Finding("clock", level, f"{text}; run a time service such as chrony on both")
    return Finding("clock", Level.OK, text)


async def check_service(name: str, target: str, service: str) -> Finding:
    """Whether a gRPC service says that it serves (grpc.health.v1)."""
    async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub = HealthStub(channel)
            answer: health_pb2.HealthCheckResponse = await stub.Check(  # type: ignore[attr-defined]
                health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return Finding(name, Level.FAIL, f"something else than {name} listens on {target}")
            return Finding(name, Level.FAIL, f"nothing answers on {target}; start it with `messagepipe up`")
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return Finding(name, Level.FAIL, f"{target} answers and does not serve; its log says why")
    return Finding(name, Level.OK, f"serves on {target}")


async def check_url(name: str, url: str) -> Finding:
    """Whether an HTTP server says that it is ready."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        try:
            answer = await client.get(url)
        except httpx.TransportError:
            return Finding(name, Level.FAIL, f"nothing answers on {url}; start it with `messagepipe up`")
    if not answer.is_success:
        return Finding(name, Level.FAIL, f"{url} answers {answer.status_code}: {answer.text[:200]}")
    return Finding(name, Level.OK, f"ready on {url.removesuffix('/readyz')}")
