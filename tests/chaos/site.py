"""Every process of a run: PostgreSQL, config, dispatchers, the gateway, the providers, with fault proxies between them.
It does no harm by itself: nemesis.py does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
import httpx
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub

from tests.acceptance.processes import COMMAND, Process, free_port, process, until_serving
from tests.chaos.database import Database, database
from tests.chaos.nursery import Nursery, forked, open_nursery
from tests.chaos.proxy import FaultProxy, fault_proxy
from tests.contract.receipt_vectors import sendgrid_call
from tests.integration.rig import EMAIL, PROJECT, SECRET, VAULT_KEYS, metadata, struct

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

LEASE_SECONDS = 2.0
# Quick to come back: a killed dispatcher is back within a second or two.
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 300),
]


@dataclass(kw_only=True)
class Site:
    """A running messagepipe with all that surrounds it. `services` are the processes of ours, by name."""

    database: Database
    folder: Path
    seed: int
    environ: Mapping[str, str]
    services: dict[str, Process] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)  # letter → id
    vendor: Process
    vendor_port: int
    to_provider: FaultProxy
    to_database: FaultProxy
    to_dispatch: FaultProxy | None = None  # to the first dispatcher
    doors: list[str] = field(default_factory=list)  # where callers call

    @property
    def ledger(self) -> Path:
        """What the providers accepted."""
        return self.folder / "accepted.jsonl"

    @property
    def dispatchers(self) -> list[str]:
        """The names of the dispatchers."""
        return [name for name in self.services if name.startswith("dispatch")]

    async def behave(self, **behaviours: Mapping[str, object]) -> None:
        """What the providers do from now on: a={"words": {"accept": 9, "drop": 1}, "latency": 0.05}."""
        async with httpx.AsyncClient() as http:
            answer = await http.put(f"http://127.0.0.1:{self.vendor_port}/behaviour", json=behaviours)
            assert answer.status_code == 204, answer.text

    async def restart(self, name: str, **environ: str) -> None:
        """A process of ours that has ended serves again, or has ended again; `environ` is for this life of it only."""
        await self.services[name].start(**environ)
        serving = asyncio.create_task(until_serving(self.targets[name], seconds=60))
        while not serving.done() and self.services[name].is_running:
            await asyncio.wait([serving], timeout=0.1)
        if not serving.done():
            serving.cancel()
        await asyncio.gather(serving, return_exceptions=self.services[name].is_running is False)

    async def query(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows straight from the database, past every proxy."""
        async with self.snapshot() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection all of whose statements see the same moment."""
        connection = await asyncpg.connect(self.database.dsn)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
        finally:
            await connection.close()

    async def add_provider(self, letter: str, priority: int, **settings: object) -> None:
        """A provider of this letter, reached through the proxy."""
        config = struct(
            apiKey="SG.test",
            baseUrl=f"http://127.0.0.1:{self.to_provider.port}/{letter}",
            fromEmail="shop@example.com",
            **sendgrid_call(b"[]")[1],
            **settings,
        )
        provider = provider_pb2.Provider(channel=EMAIL, kind="sendgrid", name=letter, priority=priority, config=config)
        async with grpc.aio.insecure_channel(self.targets["config"]) as channel:
            request = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
            made = await ConfigServiceStub(channel).CreateProvider(request, metadata=metadata())
        self.providers[letter] = made.id

    async def rename(self, letter: str, name: str) -> None:
        """A change of configuration that changes nothing for messages."""
        async with grpc.aio.insecure_channel(self.targets["config"], options=CHANNEL_OPTIONS) as channel:
            stub: ConfigServiceAsyncStub = ConfigServiceStub(channel)
            provider = provider_pb2.Provider(id=self.providers[letter], name=name)
            request = config_service_pb2.UpdateProviderRequest(provider=provider)
            await stub.UpdateProvider(request, metadata=metadata(), timeout=5)


def _environ(dsn: str, ports: Mapping[str, int], settings: Mapping[str, str]) -> dict[str, str]:
    given = {
        "DATABASE_URL": dsn,
        "JWT_SECRET": SECRET.reveal(),
        "VAULT_KEYS": VAULT_KEYS.reveal(),
        "CONFIG_PORT": str(ports["config"]),
        "HTTP_PORT": str(ports["gateway"]),
        "CONFIG_TARGET": f"127.0.0.1:{ports['config']}",
        "EGRESS_ALLOW": "127.0.0.0/8",
        "LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        "DRAIN_GRACE": "2",
        **settings,
    }
    return {f"MESSAGEPIPE_{name}": value for name, value in given.items()}


@asynccontextmanager
async def open_site(
    folder: Path,
    *,
    seed: int,
    dispatchers: int = 2,
    gateway: bool = False,
    command: Sequence[str] = COMMAND,
    on: Database | None = None,
    timeout_seconds: float = 1.5,
    proxied: bool = False,
    quick: bool = False,
    **settings: str,
) -> AsyncIterator[Site]:
    """Everything serves when the block begins, with providers a before b; `settings` are MESSAGEPIPE_… of all of ours,
    `command` is what starts a dispatcher. `proxied`: the lines to the database and the first dispatcher can be spoilt
    too, not only those to the providers, and carry less. `quick`: config and dispatchers are forked (nursery.py), for
    runs that start them again and again.
    """
    # A folder of its own for every run: what an earlier one left in its logs would count as lost.
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(database()) if on is None else on
        to_database = await stack.enter_async_context(fault_proxy(base.socket, seed=seed))
        vendor_port = free_port()
        vendor = await _start_vendor(folder, vendor_port, seed)
        stack.push_async_callback(vendor.kill)
        to_provider = await stack.enter_async_context(fault_proxy(("127.0.0.1", vendor_port), seed=seed + 1))
        names = [f"dispatch{place}" for place in range(dispatchers)]
        ports = {name: free_port() for name in ("config", "gateway", *names)}
        environ = _environ(base.dsn_through(to_database.port) if proxied else base.dsn, ports, settings)
        site = Site(
            database=base,
            folder=folder,
            seed=seed,
            environ=environ,
            vendor=vendor,
            vendor_port=vendor_port,
            to_provider=to_provider,
            to_database=to_database,
        )
        site.targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        nursery = await stack.enter_async_context(open_nursery()) if quick else None
        for name in ["config", *names]:
            own = {} if name == "config" else {"MESSAGEPIPE_DISPATCH_PORT": str(ports[name])}
            starts = COMMAND if name == "config" else command
            made = _ours(name, folder, {**environ, **own}, starts, nursery)
            site.services[name] = await stack.enter_async_context(made)
        for name in ["config", *names]:
            await until_serving(site.targets[name], seconds=60)
        site.to_dispatch = await stack.enter_async_context(fault_proxy(("127.0.0.1", ports[names[0]]), seed=seed + 2))
        site.doors = [site.targets[name] for name in names]
        if proxied:
            site.doors[0] = f"127.0.0.1:{site.to_dispatch.port}"
        if gateway:
            front = {**environ, "MESSAGEPIPE_DISPATCH_TARGET": "ipv4:" + ",".join(site.targets[name] for name in names)}
            site.services["gateway"] = await stack.enter_async_context(_ours("gateway", folder, front, COMMAND, None))
        await _until_vendor(vendor_port)
        for priority, letter in enumerate("ab", start=1):
            await site.add_provider(letter, priority, timeoutSeconds=timeout_seconds)
        yield site


async def _start_vendor(folder: Path, port: int, seed: int) -> Process:
    vendor = Process(
        *("--port", str(port), "--ledger", str(folder / "accepted.jsonl"), "--seed", str(seed)),
        environ={},
        log=folder / "vendor.log",
        command=[sys.executable, "-m", "tests.chaos.provider"],
    )
    await vendor.start()
    return vendor


def _ours(
    name: str, folder: Path, environ: Mapping[str, str], command: Sequence[str], nursery: Nursery | None
) -> AbstractAsyncContextManager[Process]:
    """A service to be started; forked where there is a nursery."""
    word, log = name.rstrip("0123456789"), folder / f"{name}.log"
    if nursery is not None:
        return forked(word, environ=environ, log=log, nursery=nursery)
    return process(word, environ=environ, log=log, command=command)


async def _until_vendor(port: int) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while True:
            try:
                if (await http.get(f"http://127.0.0.1:{port}/played")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
