"""What DispatchService serves, and who is let in: the gRPC server with all its services. Not what is behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import grpc
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import add_DispatchServiceServicer_to_server
from messagepipe.dispatch.v1.log_service_pb2_grpc import add_LogServiceServicer_to_server
from messagepipe.dispatch.v1.suppression_service_pb2_grpc import add_SuppressionServiceServicer_to_server
from messagepipe.dispatch.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server

from services.chassis.admission import Admission
from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.auth import TokenVerifier
from services.chassis.authenticator import ApiKeyDoor
from services.chassis.background import background
from services.chassis.clock import Clock
from services.chassis.contract_dispatch import DISPATCH_SERVICES
from services.chassis.env import SettingsError
from services.chassis.interceptors import standard_interceptors
from services.chassis.scopes import api_key_methods, required_scope_from_options
from services.chassis.server import RunningServer, serve
from services.chassis.service_token import service_token
from services.chassis.telemetry import Meter
from services.chassis.telemetry_common import rpc_counter, show_admission
from services.chassis.tracing import Tracing
from services.dispatch.api_key_watch import ApiKeyWatch
from services.dispatch.log_servicer import LogServicer
from services.dispatch.servicer import DispatchServicer
from services.dispatch.settings import MEBIBYTE, DispatchSettings
from services.dispatch.store import Store
from services.dispatch.suppression_servicer import SuppressionServicer
from services.dispatch.webhook_servicer import WebhookServicer

# A connection of the pool that is waited for longer than this: the database is behind, new work is shed.
LONGEST_POOL_WAIT = 1.0
# What a request holds beside its message: field tags, the batch around it.
ENVELOPE_BYTES = MEBIBYTE


def token_of(settings: DispatchSettings, clock: Clock) -> Callable[[], str]:
    """The token for ConfigService."""
    token = service_token(settings.internal_token, settings.auth, clock, subject="dispatch")
    if token is None:
        raise SettingsError(["MESSAGEPIPE_INTERNAL_TOKEN or MESSAGEPIPE_JWT_SECRET is required"])
    return token


def registration(
    messages: DispatchServicer, webhooks: WebhookServicer, store: Store, now: Callable[[], datetime]
) -> Callable[[grpc.aio.Server], None]:
    """Puts every service of this process on a server; `now` is the database's clock."""

    def register(server: grpc.aio.Server) -> None:
        add_DispatchServiceServicer_to_server(messages, server)
        add_LogServiceServicer_to_server(LogServicer(store, now), server)
        add_SuppressionServiceServicer_to_server(SuppressionServicer(store), server)
        add_WebhookServiceServicer_to_server(webhooks, server)

    return register


@asynccontextmanager
async def _open_api_keys(settings: DispatchSettings, clock: Clock, stop: asyncio.Event) -> AsyncIterator[ApiKeyRoll]:
    roll = ApiKeyRoll(clock)
    watch = ApiKeyWatch(settings.config_target, token_of(settings, clock), clock, roll)
    async with background(watch.run, stop), background(watch.tell, stop):
        yield roll


@asynccontextmanager
async def open_server(
    settings: DispatchSettings,
    register: Callable[[grpc.aio.Server], None],
    clock: Clock,
    store: Store,
    meter: Meter,
    *,
    tracing: Tracing,
    stop: asyncio.Event,
) -> AsyncIterator[RunningServer]:
    """A server with everything of DispatchService's, drained at the end of the block; raises PortBusy."""
    admission = Admission(strained=lambda: store.longest_wait > LONGEST_POOL_WAIT)
    show_admission(meter, admission)
    verifier, ended = TokenVerifier(settings.auth, clock=clock), rpc_counter(meter)
    scopes = required_scope_from_options(*DISPATCH_SERVICES)
    methods = api_key_methods(*DISPATCH_SERVICES)
    async with (
        _open_api_keys(settings, clock, stop) as roll,
        serve(
            register,
            host=settings.host,
            port=settings.dispatch_port,
            names=[service.full_name for service in DISPATCH_SERVICES],
            interceptors=standard_interceptors(
                verifier, scopes.get, admission, ended, ApiKeyDoor(roll=roll, methods=methods), tracing
            ),
            max_receive_bytes=settings.max_message_bytes + ENVELOPE_BYTES,
            admission=admission,
        ) as server,
    ):
        yield server
