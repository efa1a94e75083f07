"""What the dispatcher knows of providers: chains resolved by ConfigService, kept, and dropped the moment they change.

While the watch stands, a kept chain is the current one: ConfigService answers a write only after the watchers have
acknowledged the change. While it does not stand, every use asks anew, and only if ConfigService can not be reached
(then nobody can write either) what was kept is used.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub

from services.adapters.base import Channel
from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.log import get_logger
from services.chassis.tracing import NO_TRACES, Tracing, client_span
from services.dispatch.chain import Chain, OpenedProvider
from services.dispatch.convert import CHANNEL_CODES, CHANNELS, chain_from_proto, settings_from_struct

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub

Key = tuple[str, Channel]

RESOLVE = "/messagepipe.config.v1.ConfigService/ResolveChain"
RESOLVE_TIMEOUT = 5.0
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
]


class ConfigUnavailable(Exception):
    """ConfigService can not be reached and nothing was kept of the chain."""


class ChainCache:
    """Chains by project and channel. `run` keeps the watch; `get` answers."""

    def __init__(
        self,
        target: str,
        token: Callable[[], str],
        clock: Clock,
        *,
        idempotent_kinds: frozenset[tuple[Channel, str]] = frozenset(),
        tracing: Tracing = NO_TRACES,
    ) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._stub: ConfigServiceAsyncStub = ConfigServiceStub(self._channel)
        self._token = token
        self._clock = clock
        self._idempotent_kinds, self._tracing = idempotent_kinds, tracing
        self._kept: dict[Key, Chain] = {}
        self._flights: dict[Key, asyncio.Task[Chain]] = {}
        self._watching = False
        self._log = get_logger()

    async def close(self) -> None:
        """Close the connection; `run` must have been cancelled before."""
        for flight in list(self._flights.values()):
            flight.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        await self._channel.close()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The connection to ConfigService, open for as long as this is."""
        return self._channel

    @property
    def watching(self) -> bool:
        """Whether the watch stands."""
        return self._watching

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain as it is now; ConfigUnavailable when nobody can tell."""
        key = (project_id, channel)
        if self._watching and key in self._kept:
            return self._kept[key]
        if not self._watching:
            return await self._ask_or_keep(key)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._ask_or_keep(key), name="resolve chain")
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    def _landed(self, key: Key, flight: "asyncio.Task[Chain]") -> None:
        # A change while the flight was in the air has taken it out already: what it brings is not kept.
        if self._flights.get(key) is flight:
            del self._flights[key]
            if self._watching and not flight.cancelled() and flight.exception() is None:
                self._kept[key] = flight.result()
        elif not flight.cancelled():
            flight.exception()

    async def _ask_or_keep(self, key: Key) -> Chain:
        try:
            return await self._ask(key)
        except grpc.aio.AioRpcError as error:
            if key in self._kept and error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return self._kept[key]
            self._log.warning("chain_unresolved", code=error.code().name, project=key[0])
            raise ConfigUnavailable from None

    async def opened(self, provider_id: str) -> OpenedProvider | None:
        """One provider of any project with opened settings, None when there is none; ConfigUnavailable when nobody can
        tell. Nothing is kept: a secret that was changed or taken back counts at once.
        """
        request = config_service_pb2.GetOpenedProviderRequest(id=provider_id)
        try:
            link: provider_pb2.Chain.Link = await self._stub.GetOpenedProvider(
                request, metadata=self._metadata(), timeout=RESOLVE_TIMEOUT
            )
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                return None
            self._log.warning("provider_unresolved", code=error.code().name)
            raise ConfigUnavailable from None
        return OpenedProvider(
            id=link.provider.id,
            channel=CHANNELS[link.provider.channel],
            kind=link.provider.kind,
            config=settings_from_struct(link.opened_config),
        )

    async def _ask(self, key: Key) -> Chain:
        project_id, channel = key
        request = config_service_pb2.ResolveChainRequest(project_id=project_id, channel=CHANNEL_CODES[channel])
        with client_span(self._tracing, RESOLVE):
            chain: provider_pb2.Chain = await self._stub.ResolveChain(
                request, metadata=self._tracing.hand_on(self._metadata()), timeout=RESOLVE_TIMEOUT
            )
        failpoint("chain.resolved")
        return chain_from_proto(chain, self._idempotent_kinds)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token()}"),)

    async def run(self) -> None:
        """Keep the watch until cancelled; when it breaks, take it up again at once, then with growing pauses."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._watch()
            except grpc.aio.AioRpcError as error:
                self._log.warning("chain_watch_broken", code=error.code().name, why=(error.details() or "")[:200])
            finally:
                stood, self._watching = self._watching, False
            pause = FIRST_PAUSE if stood else min(pause * 2, LAST_PAUSE)
            await self._clock.sleep(pause)

    async def _watch(self) -> None:
        acknowledgements: asyncio.Queue[int | None] = asyncio.Queue()
        acknowledgements.put_nowait(0)
        call = self._stub.WatchChains(_requests(acknowledgements.get), metadata=self._metadata())
        try:
            async for response in call:
                for change in response.changes:
                    self._drop((change.project_id, CHANNELS[change.channel]))
                    failpoint("chain.dropped")
                if not self._watching:
                    # What was kept before this moment may have changed while nobody told us.
                    self._forget()
                    self._watching = True
                acknowledgements.put_nowait(response.revision)
        finally:
            call.cancel()
            # gRPC's reader of our words would wait for the next one for ever.
            acknowledgements.put_nowait(None)

    def _drop(self, key: Key) -> None:
        self._kept.pop(key, None)
        self._flights.pop(key, None)

    def _forget(self) -> None:
        self._kept.clear()
        self._flights.clear()


async def _requests(
    next_revision: Callable[[], Awaitable[int | None]],
) -> AsyncIterator[config_service_pb2.WatchChainsRequest]:
    while (revision := await next_revision()) is not None:
        yield config_service_pb2.WatchChainsRequest(acknowledged_revision=revision)
