"""A gRPC server with health and reflection, started and drained. It has never heard of what it serves."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

DEFAULT_MAX_RECEIVE_BYTES = 4 * 1024 * 1024
MAX_METADATA_BYTES = 16 * 1024
# For a block that is left without drain(): what is still open then is cut off soon.
EXIT_GRACE_SECONDS = 1.0

Register = Callable[[grpc.aio.Server], None]


class PortBusy(Exception):
    """The address cannot be listened on; the message is one line and says what to do."""


class RunningServer:
    """A server that answers; `port` is the real one when 0 was asked for."""

    def __init__(self, server: grpc.aio.Server, checks: health.aio.HealthServicer, host: str, port: int) -> None:
        self._server = server
        self._checks = checks
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
        """Health says NOT_SERVING, new RPCs are refused, open ones get `grace` seconds; returns when all have ended."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(grace), name="drain")
        await asyncio.shield(self._draining)

    async def wait(self) -> None:
        """Returns when the server has stopped, whoever stopped it."""
        await self._server.wait_for_termination()

    async def _drain(self, grace: float) -> None:
        await self._checks.enter_graceful_shutdown()
        await self._server.stop(grace)


@asynccontextmanager
async def serve(
    *register: Register,
    host: str,
    port: int,
    names: Sequence[str],
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    max_receive_bytes: int = DEFAULT_MAX_RECEIVE_BYTES,
    reflect: bool = True,
) -> AsyncIterator[RunningServer]:
    """A running server, stopped at the end of the block; raises PortBusy before anything is served.

    Each of `register` adds one servicer (`lambda server: add_XServicer_to_server(servicer, server)`); `names` are their
    full names, for health and reflection. Messages over `max_receive_bytes` get RESOURCE_EXHAUSTED.
    """
    server = grpc.aio.server(interceptors=list(interceptors), options=_options(max_receive_bytes))
    for add in register:
        add(server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    if reflect:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    running = RunningServer(server, checks, host, _bind(server, host, port))
    await server.start()
    try:
        for name in names:
            await running.set_serving(name, True)
        yield running
    finally:
        await running.drain(EXIT_GRACE_SECONDS)


async def run_until_signal(stop: asyncio.Event) -> None:
    """Sets `stop` at the first SIGTERM or SIGINT; returns once it is set, by anyone. A second signal acts as usual."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


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
