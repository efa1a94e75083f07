"""The gateway put together: settings in, a running HTTP server out. The composition root; it decides nothing."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from google.protobuf import empty_pb2

from gateway import receipts
from gateway.exchange import BodyBudget
from gateway.front import AT_ONCE, Endpoint, Front, Limits, Page, Verifier, endpoint_of
from gateway.openapi.document import openapi_document
from gateway.pages import pages
from gateway.receipts import ReceiptDoor
from gateway.routes import Route, routes_of
from gateway.server import HttpServer, serve_http
from gateway.settings import GatewaySettings
from gateway.transcode import Transcoder
from gateway.upstream import Upstream, open_upstream
from services.chassis.admission import Admission
from services.chassis.auth import TokenVerifier
from services.chassis.clock import Clock, SystemClock
from services.chassis.contract import CONFIG_SERVICES, DISPATCH_SERVICES
from services.chassis.env import SettingsError, load
from services.chassis.log import configure, get_logger
from services.chassis.server import PortBusy
from services.chassis.service_token import service_token
from services.chassis.stopping import MARGIN_SECONDS, hard_stop, run_until_signal
from services.chassis.telemetry_common import http_counter, show_admission
from services.chassis.telemetry_server import open_metrics
from services.chassis.tracing import collector_of, open_tracing

# How many of the largest bodies may be in memory at once before more are shed.
LARGE_BODIES_AT_ONCE = 8

_log = get_logger()


class RunningGateway:
    """A gateway that answers on `port`."""

    def __init__(self, server: HttpServer, stopping: asyncio.Event, metrics_port: int | None = None) -> None:
        self._server, self._stopping, self.metrics_port = server, stopping, metrics_port
        self.port = server.port

    async def drain(self) -> None:
        """Open streams are told to come back, open requests finish; returns when all have ended or the grace is
        over.
        """
        self._stopping.set()
        await self._server.drain()


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings,
    *,
    verifier: Verifier | None = None,
    clock: Clock | None = None,
    admission: Admission | None = None,
) -> AsyncIterator[RunningGateway]:
    """A running gateway, drained at the end of the block. Raises PortBusy or RouteError before anything is served.

    The services need not be up: calls answer 503 until they are.
    """
    clock = clock or SystemClock()
    verifier = verifier or TokenVerifier(settings.auth, clock=clock)
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        metrics = await stack.enter_async_context(open_metrics(settings.metrics_host, settings.gateway_metrics_port))
        admission = admission or Admission(AT_ONCE)
        show_admission(metrics.meter, admission)
        tracing = await stack.enter_async_context(open_tracing(settings.otlp_endpoint, "gateway"))
        config = await stack.enter_async_context(open_upstream("config", CONFIG_SERVICES, settings.config_target))
        dispatch = await stack.enter_async_context(
            open_upstream("dispatch", DISPATCH_SERVICES, settings.dispatch_target)
        )
        upstreams = (config, dispatch)
        endpoints, open_pages = compose(settings, upstreams, stopping)
        budget = BodyBudget(LARGE_BODIES_AT_ONCE * settings.message_body_limit)
        door = ReceiptDoor(
            call=dispatch.unary(receipts.RPC_PATH, empty_pb2.Empty),
            token=service_token(settings.internal_token, settings.auth, clock, subject="gateway"),
            public_url=settings.public_url.rstrip("/"),
            tracing=tracing,
        )
        front = Front(
            endpoints,
            open_pages,
            verifier=verifier,
            clock=clock,
            stopping=stopping,
            budget=budget,
            requests=BodyBudget(settings.max_in_flight_bytes),
            receipts=door,
            admission=admission,
            ended=http_counter(metrics.meter),
            tracing=tracing,
        )
        host, port, grace = settings.host, settings.http_port, settings.drain_grace
        server = await stack.enter_async_context(serve_http(front, host=host, port=port, grace=grace))
        running = RunningGateway(server, stopping, metrics.port)
        stack.push_async_callback(running.drain)
        yield running


def compose(
    settings: GatewaySettings, upstreams: Sequence[Upstream], stopping: asyncio.Event
) -> tuple[list[Endpoint], list[Page]]:
    """Every endpoint and every page, read from the contract."""
    serving = {service.full_name: upstream for upstream in upstreams for service in upstream.services}
    routes = routes_of(service for upstream in upstreams for service in upstream.services)
    endpoints = [_endpoint(route, serving[route.rpc.containing_service.full_name], settings) for route in routes]
    document = openapi_document([endpoint.codec for endpoint in endpoints])
    return endpoints, pages(document, upstreams, stopping)


def codecs() -> list[Transcoder]:
    """The codecs of all routes of the contract, for who wants them without a server."""
    return [Transcoder(route) for route in routes_of([*CONFIG_SERVICES, *DISPATCH_SERVICES])]


async def main(environ: Mapping[str, str]) -> int:
    """`messagepipe gateway`: serves until SIGTERM or SIGINT, drains, and answers the exit code; what is wrong is one
    line each.
    """
    try:
        settings = load(GatewaySettings, environ)
        configure(service="gateway", json=settings.log_json, level=settings.log_level)
    except (SettingsError, ValueError) as error:
        sys.stderr.write(_lines(str(error)))
        return 1
    stop = asyncio.Event()
    try:
        with hard_stop() as limit:
            endpoint = collector_of(settings.otlp_endpoint, environ)
            async with open_gateway(replace(settings, otlp_endpoint=endpoint)) as running:
                _log.info("gateway_ready", host=settings.host, port=running.port)
                await run_until_signal(stop)
                limit.arm(settings.drain_grace + MARGIN_SECONDS)
                _log.info("gateway_draining")
    except (PortBusy, SettingsError) as error:
        sys.stderr.write(_lines(str(error)))
        return 1
    return 0


def _endpoint(route: Route, upstream: Upstream, settings: GatewaySettings) -> Endpoint:
    if route.rpc.containing_service.full_name == "messagepipe.config.v1.TemplateService":
        # A template may have 1 MiB of its own, which JSON makes longer.
        limits = Limits(body=4 * settings.max_config_bytes, request=2 * settings.max_config_bytes)
    elif route.rpc.containing_service in CONFIG_SERVICES:
        limits = Limits(body=settings.max_config_bytes, request=settings.max_config_bytes)
    else:
        limits = Limits(body=settings.message_body_limit, request=settings.message_request_limit)
    return endpoint_of(route, upstream, limits)


def _lines(text: str) -> str:
    return "".join(f"messagepipe gateway: {line}\n" for line in text.splitlines())
