"""DispatchService put together: what is opened in which order, and how it stops. No rules and no statements.

Two stages of stopping. Soft: health says NOT_SERVING, nothing new is accepted or claimed, calls in flight may end.
Hard, after the grace: calls are cut, their attempts stay open and become unknown, and what never started is given
back.
"""

import asyncio
import random
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Never

import asyncpg

from services.adapters.base import Adapter, Channel
from services.adapters.receipts import ReceiptReader
from services.adapters.registry import BadPlugIn, build_adapters, build_receipt_readers
from services.chassis import log
from services.chassis.background import BackgroundFailed, background
from services.chassis.clock import Clock, SystemClock
from services.chassis.contract_dispatch import DISPATCH_SERVICES
from services.chassis.database import DatabaseUnreachable, wait_until_reachable
from services.chassis.durability import UnsafeDatabase, require_durability
from services.chassis.env import SettingsError, load
from services.chassis.server import PortBusy, RunningServer
from services.chassis.stopping import MARGIN_SECONDS, hard_stop, run_until_signal
from services.chassis.telemetry import Meter
from services.chassis.telemetry_common import POOL_WAIT, batch_counter
from services.chassis.telemetry_server import open_metrics
from services.chassis.tracing import Tracing, collector_of, open_tracing
from services.dispatch.breaker_book import BreakerBook
from services.dispatch.bulk import Bulk
from services.dispatch.config_client import ChainCache
from services.dispatch.convert import Kinds
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.delivery import Delivery
from services.dispatch.doors import open_server, registration, token_of
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.gauges import QueueWatch, show_breakers, show_queue, show_work
from services.dispatch.gone_projects import GoneProjects
from services.dispatch.health_board import HealthBoard
from services.dispatch.housekeeping import keep_counting, keep_marking, keep_parting, keep_sweeping
from services.dispatch.intake import Intake
from services.dispatch.limit_board import LimitBoard
from services.dispatch.peers import Peers
from services.dispatch.ports import Tools
from services.dispatch.receipts import ReceiptDesk
from services.dispatch.retry import DEFAULT_BACKOFF, Backoff
from services.dispatch.servicer import DispatchServicer
from services.dispatch.settings import DispatchSettings
from services.dispatch.store import Store
from services.dispatch.suspects import Suspects
from services.dispatch.telemetry import Telemetry
from services.dispatch.template_cache import TemplateCache
from services.dispatch.watch import EventHub
from services.dispatch.webhook_house import open_webhooks
from services.dispatch.worker import Worker

PULSE_SECONDS = 2.0
# How long open streams get to tell where to go on, when the last message has been sent.
PARTING_SECONDS = 1.0

Adapters = Mapping[tuple[Channel, str], Adapter]
Readers = Mapping[tuple[Channel, str], ReceiptReader]
_log = log.get_logger()


class SchemaMissing(Exception):
    """The database has none of our tables."""


class RunningDispatch:
    """A DispatchService that answers at `address`."""

    def __init__(
        self,
        server: RunningServer,
        worker: Worker,
        hub: EventHub,
        adapters: Adapters,
        peers: Peers,
        *,
        stop: asyncio.Event,
        grace: float,
        metrics_port: int | None = None,
    ) -> None:
        self.metrics_port = metrics_port
        self.stop = stop  # set when it can not go on; whoever runs it may set it too
        self.adapters = adapters
        self.worker = worker
        self._server = server
        self._hub = hub
        self._peers = peers
        self._grace = grace
        self._drained = False

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def address(self) -> str:
        """Where clients reach it, as `host:port`."""
        return self._server.address

    async def drain(self) -> None:
        """Nothing new; what is in flight gets the grace; returns when all has ended. May be called again.

        Who watches a project is sent elsewhere at once. Who waits for the end of a message may see it as long as
        messages are being sent here, and is then sent elsewhere too.
        """
        if not self._drained:
            self._drained = True
            self._hub.close_projects()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._server.drain(self._grace + PARTING_SECONDS))
                group.create_task(self._peers.leave())
                await self.worker.drain(self._grace)
                self._hub.close()
                await self._server.let_streams_go(PARTING_SECONDS)


@asynccontextmanager
async def open_dispatch(  # size: a line or two for each thing that is opened, in their order
    settings: DispatchSettings,
    *,
    adapters: Adapters | None = None,
    readers: Readers | None = None,
    clock: Clock | None = None,
    fraction: Callable[[], float] = random.random,
    backoff: Backoff | None = None,
) -> AsyncIterator[RunningDispatch]:
    """A DispatchService that serves within the block; drained at its end. Raises before it serves:
    DatabaseUnreachable, UnsafeDatabase, SchemaMissing, PortBusy.
    """
    clock = clock or SystemClock()
    await require_durability(settings.database_url, allow_unsafe=settings.allow_unsafe_durability)
    database_clock = DatabaseClock(clock)
    hub, stop = EventHub(), asyncio.Event()
    async with AsyncExitStack() as stack:
        adapters = await stack.enter_async_context(_open_adapters(settings, clock, adapters))
        metrics = await stack.enter_async_context(open_metrics(settings.metrics_host, settings.dispatch_metrics_port))
        telemetry = Telemetry(metrics.meter)
        tracing = await stack.enter_async_context(open_tracing(settings.otlp_endpoint, "dispatch"))
        store = await stack.enter_async_context(_open_store(settings))
        database_clock.learn(await store.now())
        book = BreakerBook(store.connection, store.transaction, worker=store.worker)
        health = HealthBoard(book, clock, database_clock.now)
        peers = Peers(store.transaction, clock, name=store.worker)
        await _first_look(health, peers)
        chains = _chains(settings, clock, adapters, tracing)
        stack.push_async_callback(chains.close)
        worker = _worker(settings, store, clock, database_clock, share=lambda: peers.share, telemetry=telemetry)
        limits = await stack.enter_async_context(_open_limits(store, chains, clock, settings, stop))
        tools = Tools(
            chains=chains,
            ledger=store,
            health=health,
            adapters=adapters,
            clock=clock,
            database_now=database_clock.now,
            fraction=fraction,
            publish=hub.publish,
            lease_left=worker.lease_left,
            give_up=worker.give_up,
            limits=limits,
            public_url=settings.public_url.rstrip("/"),
            backoff=backoff or DEFAULT_BACKOFF,
            telemetry=telemetry,
            tracing=tracing,
        )
        stack.push_async_callback(tools.joint.close)
        worker.deliver_with(lambda lease: Delivery(tools, lease).run())
        readers = build_receipt_readers(settings.egress, clock) if readers is None else readers
        desk = ReceiptDesk(store, chains, readers, clock, hub.publish)
        largest, kinds = settings.max_message_bytes, _kinds_of(adapters)
        templates = TemplateCache(chains.channel, token_of(settings, clock), clock)
        told: dict[str, Any] = {"telemetry": telemetry, "tracing": tracing, "templates": templates}
        intake = Intake(store, worker, hub, clock, database_clock, max_message_bytes=largest, kinds=kinds, **told)
        bulk, house = Bulk(store, intake, hub, clock), (store, intake, hub, chains, health, database_clock)
        servicer = DispatchServicer(*house, receipts=desk, limits=limits, bulk=bulk, telemetry=telemetry)
        webhooks = await stack.enter_async_context(
            open_webhooks(
                store,
                config_target=settings.config_target,
                token=token_of(settings, clock),
                egress=settings.egress,
                clock=clock,
                now=database_clock.now,
                fraction=fraction,
                stop=stop,
            )
        )
        register = registration(servicer, webhooks, store, database_clock.now)
        more = dict[str, Any](tracing=tracing, stop=stop)
        server = await stack.enter_async_context(open_server(settings, register, clock, store, metrics.meter, **more))
        gone = GoneProjects(store, chains.channel, token_of(settings, clock), clock)
        suspects = Suspects(store, worker, clock, hub.publish, telemetry)
        leases = (worker.claim_forever, worker.renew_forever, suspects.run)
        works = (chains.run, health.run, peers.run, *leases, desk.run, gone.run)
        pulse, sweep = partial(keep_pulse, store, server, clock, database_clock), partial(keep_sweeping, store, clock)
        keep = partial(keep_parting, store, clock, timedelta(days=settings.retention_days))
        mark, count = partial(keep_marking, store, clock), partial(keep_counting, store, clock)
        for work in (*works, pulse, sweep, keep, mark, count):
            await stack.enter_async_context(background(work, stop))
        _show(metrics.meter, store, worker, health, clock)
        grace, port = settings.drain_grace, metrics.port
        running = RunningDispatch(server, worker, hub, adapters, peers, stop=stop, grace=grace, metrics_port=port)
        stack.push_async_callback(running.drain)
        yield running


_REFUSALS = (SettingsError, UnsafeDatabase, SchemaMissing, BadPlugIn, PortBusy, BackgroundFailed)


async def main(environ: Mapping[str, str]) -> int:
    """Serves until a signal, then drains; the exit code. What keeps it from starting is said in plain words."""
    try:
        settings = load(DispatchSettings, environ)
        log.configure(service="dispatch", json=settings.log_json, level=settings.log_level)
        await wait_until_reachable(settings.database_url, timeout=settings.database_wait)
        with hard_stop() as limit:
            endpoint = collector_of(settings.otlp_endpoint, environ)
            async with open_dispatch(replace(settings, otlp_endpoint=endpoint)) as running:
                _log.info("dispatch_serving", listening=running.address)
                await run_until_signal(running.stop)
                limit.arm(settings.drain_grace + MARGIN_SECONDS)
                _log.info("dispatch_draining", in_flight=running.worker.in_flight)
                await running.drain()
    except (DatabaseUnreachable, *_REFUSALS) as error:
        sys.stderr.write("".join(f"messagepipe dispatch: {line}\n" for line in str(error).splitlines()))
        return 1
    return 0


async def keep_pulse(store: Store, server: RunningServer, clock: Clock, database_clock: DatabaseClock) -> Never:
    """Until cancelled: learns the database's time, and health says SERVING while the database answers."""
    serving = True
    while True:
        try:
            database_clock.learn(await store.now())
            answers = True
        except DatabaseUnavailable:
            answers = False
        if answers != serving:
            serving = answers
            _log.warning("health_changed", serving=serving)
            for name in ("", *(service.full_name for service in DISPATCH_SERVICES)):
                await server.set_serving(name, serving)
        await clock.sleep(PULSE_SECONDS)


def worker_name() -> str:
    """Which dispatcher holds a lease, for people who look: the host and a word of its own."""
    return f"{socket.gethostname()}:{secrets.token_hex(4)}"


def _chains(settings: DispatchSettings, clock: Clock, adapters: Adapters, tracing: Tracing) -> ChainCache:
    idempotent = frozenset(key for key, adapter in adapters.items() if adapter.spec.capabilities.idempotency_key)
    target, token = settings.config_target, token_of(settings, clock)
    return ChainCache(target, token, clock, idempotent_kinds=idempotent, tracing=tracing)


def _kinds_of(adapters: Adapters) -> Kinds:
    return {
        channel: {kind: adapter.spec for (its, kind), adapter in adapters.items() if its is channel}
        for channel in Channel
    }


@asynccontextmanager
async def _open_adapters(settings: DispatchSettings, clock: Clock, given: Adapters | None) -> AsyncIterator[Adapters]:
    adapters = build_adapters(settings.egress, clock) if given is None else given
    try:
        yield adapters
    finally:
        for adapter in adapters.values():
            await adapter.close()


@asynccontextmanager
async def _open_store(settings: DispatchSettings) -> AsyncIterator[Store]:
    store = await Store.open(
        settings.database_url,
        worker=worker_name(),
        lease_seconds=settings.lease_seconds,
        connections=settings.database_connections,
        idempotency_hours=settings.idempotency_hours,
        max_bytes=settings.max_in_flight_bytes,
        pace=settings.batch_pace_ms / 1000,
    )
    try:
        yield store
    finally:
        await store.close()


def _worker(
    settings: DispatchSettings, store: Store, clock: Clock, database_clock: DatabaseClock, **told: Any
) -> Worker:
    places, size = settings.max_in_flight, settings.max_in_flight_bytes
    return Worker(store, clock, database_clock, max_in_flight=places, max_bytes=size, **told)


def _show(meter: Meter, store: Store, worker: Worker, health: HealthBoard, clock: Clock) -> None:
    """What is read by whoever scrapes; without a meter, nothing is."""
    store.measured_by(meter.histogram(POOL_WAIT), batch_counter(meter))
    show_queue(meter, QueueWatch(store.connection, clock))
    show_work(meter, lambda: worker.in_flight, lambda: store.settling)
    show_breakers(meter, health.known)


async def _first_look(health: HealthBoard, peers: Peers) -> None:
    try:
        await health.refresh()
        await peers.beat()
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise SchemaMissing("the database lacks DispatchService's tables: run `messagepipe migrate` first") from error


@asynccontextmanager
async def _open_limits(
    store: Store, chains: ChainCache, clock: Clock, settings: DispatchSettings, stop: asyncio.Event
) -> AsyncIterator[LimitBoard]:
    limits = LimitBoard(store, chains, clock, ceiling=settings.max_in_flight)
    async with background(limits.run, stop), background(limits.call_up_forever, stop):
        yield limits
    await limits.close()
