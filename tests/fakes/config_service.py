"""A ConfigService in memory for a real gRPC server: chains, watchers and their acknowledgements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from messagepipe.config.v1 import config_service_pb2 as pb
from messagepipe.config.v1 import config_service_pb2_grpc, provider_pb2
from messagepipe.type.v1 import channel_pb2

# ruff: noqa: N802 - the contract names the methods

EMAIL = channel_pb2.CHANNEL_EMAIL


class FakeConfigService(config_service_pb2_grpc.ConfigServiceServicer):
    """Answers ResolveChain from `chains`; `change` tells every watcher and waits for its acknowledgement."""

    def __init__(self) -> None:
        self.chains: dict[str, provider_pb2.Chain] = {}
        self.resolved: list[str] = []
        self.tokens: list[str] = []
        self.failure: grpc.StatusCode | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.watchers: dict[asyncio.Queue[pb.WatchChainsResponse | None], int] = {}
        self.watched = 0
        self.refuse_watch = False
        self._revision = 0
        self._acknowledged = asyncio.Condition()

    def put(self, project_id: str, *names: str) -> None:
        """The chain of a project's email channel from now on; nobody is told."""
        links = [
            provider_pb2.Chain.Link(
                provider=provider_pb2.Provider(id=name.lower(), kind=name.lower(), name=name, enabled=True, version=1)
            )
            for name in names
        ]
        before = self.chains.get(project_id)
        version = before.version + 1 if before else 1
        self.chains[project_id] = provider_pb2.Chain(project_id=project_id, channel=EMAIL, version=version, links=links)

    async def change(self, project_id: str, *names: str) -> None:
        """Change a chain as a write does: returns when every watcher has acknowledged it."""
        self.put(project_id, *names)
        self._revision += 1
        change = pb.WatchChainsResponse(revision=self._revision)
        change.changes.add(project_id=project_id, channel=EMAIL)
        for queue in self.watchers:
            queue.put_nowait(change)
        async with asyncio.timeout(5), self._acknowledged:
            await self._acknowledged.wait_for(lambda: all(seen >= self._revision for seen in self.watchers.values()))

    def hang_up(self) -> None:
        """End every watch."""
        for queue in self.watchers:
            queue.put_nowait(None)

    async def ResolveChain(self, request: pb.ResolveChainRequest, context: Any) -> provider_pb2.Chain:
        """The chain as it was when the request came; held back until `go`."""
        self.resolved.append(request.project_id)
        self.tokens.append(dict(context.invocation_metadata()).get("authorization", ""))
        answer = self.chains.get(request.project_id) or provider_pb2.Chain(
            project_id=request.project_id, channel=request.channel
        )
        await self.go.wait()
        if self.failure is not None:
            await context.abort(self.failure, "as the test says")
        return answer

    async def WatchChains(
        self, request_iterator: AsyncIterator[pb.WatchChainsRequest], context: Any
    ) -> AsyncIterator[pb.WatchChainsResponse]:
        """First an answer without changes, then every change."""
        if self.refuse_watch:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "as the test says")
        queue: asyncio.Queue[pb.WatchChainsResponse | None] = asyncio.Queue()
        self.watchers[queue] = 0
        self.watched += 1
        listening = asyncio.create_task(self._listen(request_iterator, queue))
        try:
            yield pb.WatchChainsResponse(revision=self._revision)
            while (change := await queue.get()) is not None:
                yield change
        finally:
            listening.cancel()
            del self.watchers[queue]

    async def _listen(self, requests: AsyncIterator[pb.WatchChainsRequest], queue: Any) -> None:
        async for request in requests:
            async with self._acknowledged:
                self.watchers[queue] = request.acknowledged_revision
                self._acknowledged.notify_all()


@asynccontextmanager
async def serving(service: FakeConfigService, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """The service at an address of its own, for as long as the block runs."""
    server = grpc.aio.server()
    config_service_pb2_grpc.add_ConfigServiceServicer_to_server(service, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
