"""A gRPC server with health and reflection, started and drained. It has never heard of what it serves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.chassis.admission import Admission

DEFAULT_MAX_RECEIVE_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024
# For a block that is left without drain(): what is still open then is cut off soon.
EXIT_GRACE_SECONDS = 1.0
# For answers that are on their way when the last call has ended.
LAST_WORDS_SECONDS = 0.5
# Clients over one connection, the gateway foremost, wait silently for a free stream beyond this (ADR 0020).
STREAMS_PER_CONNECTION = 1000
# Clients come back to another replica after a while; what they have under way then gets longer than any single call.
CONNECTION_AGE_SECONDS, CONNECTION_AGE_GRACE_SECONDS = 30 * 60, 6 * 60

Register = Callable[[grpc.aio.Server], None]


class PortBusy(Exception):
    """The address cannot be listened on; the message is one line and says what to do."""


class RunningServer:
    """A server that answers; `port` is the real one when 0 was asked for."""

    def __init__(
        self,
        server: grpc.aio.Server,
        checks: health.aio.HealthServicer,
        *,
        host: str,
        port: int,
        admission: Admission | None = None,
    ) -> None:
        self._server = server
        self._checks = checks
        self._admission = admission
        self._draining: asyncio.Task[None] | None = None
        self.host = host
        self.port = port

    @property
    def address(self) -> str:
        """Where clients reach it, as `host:port`."""
        return _address(self.host, self.port)

    async def set_serving(self, name: str, serving: bool) -> None:
        """What health says about the service `name` ("" is the whole server) until it drains."""
        states = health_pb2.HealthCheckResponse
        await self._checks.set(name, states.SERVING if serving else states.NOT_SERVING)

    async def drain(self, grace: float) -> None:
        """Health says NOT_SERVING, new RPCs are refused, open ones get `grace` seconds; returns when all have ended.

        Nobody waits for who only watches health or reads the contract.
        """
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(grace), name="drain")
        await asyncio.shield(self._draining)

    async def let_streams_go(self, seconds: float) -> None:
        """While it drains: once no call is under way any more, open streams get at most so many seconds."""
        if self._admission is not None:
            await self._admission.no_calls()
        await self._server.stop(seconds)

    async def wait(self) -> None:
        """Returns when the server has stopped, whoever stopped it."""
        await self._server.wait_for_termination()

    async def _drain(self, grace: float) -> None:
        await self._checks.enter_graceful_shutdown()
        if self._admission is not None:
            await self._admission.close()
        stopping = asyncio.create_task(self._server.stop(grace))
        if self._admission is not None:
            idle = asyncio.create_task(_idle_for_a_moment(self._admission))
            await asyncio.wait({stopping, idle}, return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
            await self._server.stop(LAST_WORDS_SECONDS)
        await stopping


@asynccontextmanager
async def serve(
    *register: Register,
    host: str,
    port: int,
    names: Sequence[str],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    max_receive_bytes: int = DEFAULT_MAX_RECEIVE_BYTES,
    reflect: bool = True,
    admission: Admission | None = None,
) -> AsyncIterator[RunningServer]:
    """A running server, stopped at the end of the block; raises PortBusy before anything is served.

    Each of `register` adds one servicer (`lambda server: add_XServicer_to_server(servicer, server)`); `names` are their
    full names, for health and reflection. Messages over `max_receive_bytes` get RESOURCE_EXHAUSTED. `admission` is the
    one that the interceptors hold, so that a drain knows when the last call has ended.
    """
    server = grpc.aio.server(interceptors=list(interceptors), options=_options(max_receive_bytes))
    for add in register:
        add(server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if reflect:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    running = RunningServer(server, checks, host=host, port=_bind(server, host, port), admission=admission)
    await server.start()
    try:
        for name in names:
            await running.set_serving(name, True)
        yield running
    finally:
        await running.drain(EXIT_GRACE_SECONDS)


async def _idle_for_a_moment(admission: Admission) -> None:
    """Returns when nothing is under way, nor was a moment ago: a call may be on its way from gRPC to our door."""
    while True:
        await admission.idle()
        await asyncio.sleep(0.05)
        if not admission.under_way:
            return


def _options(max_receive_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # two servers on one port would share its callers without a word
        ("grpc.max_receive_message_length", max_receive_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # gRPC core answers clients that ping more often than every 5 minutes with GOAWAY; watchers have to.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Our own pings find watchers that are gone without a word.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        ("grpc.max_connection_age_ms", CONNECTION_AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_SECONDS * 1000),
    ]


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    address = _address(host, port)
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise PortBusy(f"cannot listen on {address}: {_why(host, port)}; choose another port or stop what uses it")
    return bound


def _why(host: str, port: int) -> str:
    """The reason: gRPC says only that it failed; the same attempt with a plain socket says why."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "it was taken a moment ago"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
