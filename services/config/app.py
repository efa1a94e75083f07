"""ConfigService put together: what is opened in which order, and how it stops. No rules and no statements.

Two stages of stopping. Soft: health says NOT_SERVING, watchers are let go, open requests may end. Hard, after the
grace: whatever is still open is cancelled.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Never

import grpc
from messagepipe.config.v1.config_service_pb2_grpc import add_ConfigServiceServicer_to_server
from messagepipe.config.v1.project_service_pb2_grpc import add_ProjectServiceServicer_to_server
from messagepipe.config.v1.template_service_pb2_grpc import add_TemplateServiceServicer_to_server
from messagepipe.config.v1.vault_service_pb2_grpc import add_VaultServiceServicer_to_server
from sqlalchemy.exc import ProgrammingError

from services.adapters.base import ProviderSpec
from services.adapters.registry import BadPlugIn, kind_for
from services.adapters.registry import specs as installed_specs
from services.chassis import log
from services.chassis.admission import Admission
from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.auth import TokenVerifier
from services.chassis.authenticator import ApiKeyDoor
from services.chassis.background import BackgroundFailed, background
from services.chassis.clock import Clock, SystemClock
from services.chassis.contract_config import CONFIG_SERVICES
from services.chassis.database import DatabaseUnreachable, wait_until_reachable
from services.chassis.durability import UnsafeDatabase, require_durability
from services.chassis.env import SettingsError, load
from services.chassis.interceptors import standard_interceptors
from services.chassis.scopes import api_key_methods, required_scope_from_options
from services.chassis.server import PortBusy, RunningServer, serve
from services.chassis.stopping import MARGIN_SECONDS, hard_stop, run_until_signal
from services.chassis.telemetry_common import POOL_WAIT, rpc_counter, show_admission
from services.chassis.telemetry_server import open_metrics
from services.chassis.tracing import collector_of, open_tracing
from services.config.api_key_feed import ApiKeyFeed
from services.config.api_key_reader import ApiKeyReader
from services.config.api_key_secret import hash_secret
from services.config.api_key_uses import keep_recording
from services.config.chain import ChangeHub
from services.config.chain_listener import ChainListener
from services.config.errors import DatabaseUnavailable
from services.config.key_book import KeyBook, keep_sweeping
from services.config.kinds import Kinds
from services.config.project_editor import ProjectEditor
from services.config.project_servicer import ProjectServicer
from services.config.reseal import WrongVaultKeys, check_keys, keep_resealing
from services.config.servicer import ConfigServicer, FindKind
from services.config.settings import ConfigSettings
from services.config.store import Store, open_engine
from services.config.template_editor import TemplateEditor
from services.config.template_servicer import TemplateServicer
from services.config.tester import ProviderTester
from services.config.vault import Vault
from services.config.vault_servicer import VaultServicer

if TYPE_CHECKING:  # chassis/engine.py says why only then
    from sqlalchemy.ext.asyncio import AsyncEngine

MAX_REQUEST_BYTES = 2 * 1024 * 1024  # a template of 1 MiB with the values to preview it with
PULSE_SECONDS = 2.0

_log = log.get_logger()


class RunningConfig:
    """A ConfigService that answers at `address`."""

    def __init__(
        self,
        server: RunningServer,
        hub: ChangeHub,
        feed: ApiKeyFeed,
        *,
        stop: asyncio.Event,
        grace: float,
        metrics_port: int | None = None,
    ) -> None:
        self.metrics_port = metrics_port
        self.stop = stop  # set when it can not go on; whoever runs it may set it too
        self._server = server
        self._hub = hub
        self._feed = feed
        self._grace = grace

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def address(self) -> str:
        """Where clients reach it, as `host:port`."""
        return self._server.address

    async def drain(self) -> None:
        """Takes no more requests, lets watchers go and gives open requests the grace; returns when all have ended."""
        self._hub.close()
        self._feed.close()
        await self._server.drain(self._grace)


class SchemaMissing(Exception):
    """The database has none of our tables, or those of another version."""


@asynccontextmanager
async def open_config(
    settings: ConfigSettings,
    *,
    specs: Iterable[ProviderSpec] | None = None,
    find_kind: FindKind = kind_for,
    clock: Clock | None = None,
) -> AsyncIterator[RunningConfig]:
    """A ConfigService that serves within the block; drained at its end.

    Raises before it serves: DatabaseUnreachable, UnsafeDatabase, WrongVaultKeys, SchemaMissing, BadPlugIn, PortBusy,
    DatabaseUnavailable.
    """
    clock = clock or SystemClock()
    vault = Vault(settings.keys)
    hub = ChangeHub(clock)
    stop = asyncio.Event()
    await require_durability(settings.database_url, allow_unsafe=settings.allow_unsafe_durability)
    async with AsyncExitStack() as stack:
        metrics = await stack.enter_async_context(open_metrics(settings.metrics_host, settings.config_metrics_port))
        store = Store(await stack.enter_async_context(_engine(settings)))
        store.measured_by(metrics.meter.histogram(POOL_WAIT))
        await _check(store, vault)
        kinds = Kinds(installed_specs() if specs is None else specs)
        tester = ProviderTester(settings.egress, clock)
        keys = KeyBook(vault, settings.idempotency_hours)
        servicer = ConfigServicer(store, vault, kinds, hub, keys, tester=tester, find_kind=find_kind)
        templates = TemplateServicer(store, TemplateEditor(store, keys))
        roll = ApiKeyRoll(clock)
        feed = await stack.enter_async_context(_open_api_keys(settings, store, vault, roll, stop))
        editor = ProjectEditor(store, hub, feed)
        projects = ProjectServicer(store, editor, feed)
        scopes = required_scope_from_options(*CONFIG_SERVICES)
        door = ApiKeyDoor(roll=roll, methods=api_key_methods(*CONFIG_SERVICES))
        admission, ended = Admission(), rpc_counter(metrics.meter)
        show_admission(metrics.meter, admission)
        tracing = await stack.enter_async_context(open_tracing(settings.otlp_endpoint, "config"))
        verifier = TokenVerifier(settings.auth, clock=clock)
        server = await stack.enter_async_context(
            serve(
                _registration(servicer, templates, projects, VaultServicer(vault)),
                host=settings.host,
                port=settings.config_port,
                names=[service.full_name for service in CONFIG_SERVICES],
                interceptors=standard_interceptors(verifier, scopes.get, admission, ended, door, tracing),
                max_receive_bytes=MAX_REQUEST_BYTES,
                admission=admission,
            )
        )
        listener = ChainListener(store, hub, settings.database_url, clock)
        await stack.enter_async_context(background(listener.run, stop))
        await stack.enter_async_context(background(lambda: keep_recording(editor, roll, clock), stop))
        await stack.enter_async_context(background(lambda: keep_resealing(store, vault, clock), stop))
        await stack.enter_async_context(background(lambda: keep_sweeping(store, clock), stop))
        await stack.enter_async_context(background(lambda: keep_pulse(store, server, clock), stop))
        grace, port = settings.drain_grace, metrics.port
        running = RunningConfig(server, hub, feed, stop=stop, grace=grace, metrics_port=port)
        stack.push_async_callback(running.drain)
        yield running


def _registration(
    servicer: ConfigServicer, templates: TemplateServicer, projects: ProjectServicer, vault: VaultServicer
) -> Callable[[grpc.aio.Server], None]:
    def register(server: grpc.aio.Server) -> None:
        add_ConfigServiceServicer_to_server(servicer, server)
        add_TemplateServiceServicer_to_server(templates, server)
        add_ProjectServiceServicer_to_server(projects, server)
        add_VaultServiceServicer_to_server(vault, server)

    return register


_REFUSALS = (UnsafeDatabase, WrongVaultKeys, SchemaMissing, BadPlugIn, PortBusy, BackgroundFailed)


async def main(environ: Mapping[str, str]) -> int:
    """Serves until a signal, then drains; the exit code. What keeps it from starting is said in plain words."""
    try:
        settings = load(ConfigSettings, environ)
        log.configure(service="config", json=settings.log_json, level=settings.log_level)
        await wait_until_reachable(settings.database_url, timeout=settings.database_wait)
        with hard_stop() as limit:
            endpoint = collector_of(settings.otlp_endpoint, environ)
            async with open_config(replace(settings, otlp_endpoint=endpoint)) as running:
                _log.info("config_serving", listening=running.address)
                await run_until_signal(running.stop)
                limit.arm(settings.drain_grace + MARGIN_SECONDS)
                _log.info("config_draining")
                await running.drain()
    except (SettingsError, DatabaseUnreachable, DatabaseUnavailable, *_REFUSALS) as error:
        sys.stderr.write("".join(f"messagepipe config: {line}\n" for line in str(error).splitlines()))
        return 1
    return 0


async def keep_pulse(store: Store, server: RunningServer, clock: Clock) -> Never:
    """Until cancelled: health says SERVING while the database answers, NOT_SERVING while it does not."""
    serving = True
    while True:
        answers = await _answers(store)
        if answers != serving:
            serving = answers
            _log.warning("health_changed", serving=serving)
            for name in ("", *(service.full_name for service in CONFIG_SERVICES)):
                await server.set_serving(name, serving)
        await clock.sleep(PULSE_SECONDS)


async def _answers(store: Store) -> bool:
    try:
        await store.ping()
    except DatabaseUnavailable:
        return False
    return True


async def _check(store: Store, vault: Vault) -> None:
    try:
        await check_keys(store, vault)
    except ProgrammingError as error:
        raise SchemaMissing("the database lacks ConfigService's tables: run `messagepipe migrate` first") from error


@asynccontextmanager
async def _open_api_keys(
    settings: ConfigSettings, store: Store, vault: Vault, roll: ApiKeyRoll, stop: asyncio.Event
) -> AsyncIterator[ApiKeyFeed]:
    feed = ApiKeyFeed(roll, await hash_secret(store, vault), roll.clock)
    async with background(ApiKeyReader(feed, settings.database_url, roll.clock).run, stop):
        yield feed


@asynccontextmanager
async def _engine(settings: ConfigSettings) -> AsyncIterator["AsyncEngine"]:
    engine = open_engine(settings.database_url)
    try:
        yield engine
    finally:
        await engine.dispose()
