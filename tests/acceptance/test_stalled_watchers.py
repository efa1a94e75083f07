"""Watchers that stop reading, over gRPC and over SSE, cost little memory and nobody else's time. Measured in real
processes.
"""

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import grpc
import psutil
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.dispatch.resume import token_from_position
from tests.acceptance.processes import Process
from tests.acceptance.test_stopping import Site, a_site
from tests.integration.rig import EMAIL, PROJECT, metadata, token

MEBIBYTE = 1024 * 1024
GRPC_WATCHERS, SSE_WATCHERS = 150, 50
MESSAGES = 400
FROM_THE_START = token_from_position((0, UUID(int=0), 0))
# What a client does that reads in time is not the matter here: these take as little as a client can.
SMALL = [("grpc.http2.bdp_probe", 0)]


def memory(service: Process) -> int:
    """What a process holds, in bytes."""
    return int(psutil.Process(service.pid).memory_info().rss)


async def sent_in(site: Site) -> float:
    """Seconds that one caller waits for one message."""
    spec = message_pb2.MessageSpec(project_id=PROJECT, channel=EMAIL, to="a@example.com", subject="Hello", text="Hi")
    began = time.monotonic()
    await site.messages.SendMessage(pb.SendMessageRequest(message=spec), metadata=metadata(), timeout=30)
    return time.monotonic() - began


def deaf_reader(port: int) -> socket.socket:
    """Asks for the events of a project from the start, and reads nothing of the answer."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asking.connect(("127.0.0.1", port))
    head = [
        f"GET /v1/projects/{PROJECT}/events HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token(PROJECT)}",
        f"Last-Event-ID: {FROM_THE_START}",
    ]
    asking.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    return asking


async def settled(*services: Process) -> None:
    """Returns when nothing moves any more: everybody has been given as much as they take."""
    before = [-1.0]
    async with asyncio.timeout(120):
        while True:
            now = [sum(psutil.Process(service.pid).cpu_times()[:2]) for service in services]
            if len(before) == len(now) and all(b - a < 0.3 for a, b in zip(before, now, strict=True)):
                return
            before = now
            await asyncio.sleep(2)


@pytest.mark.timeout(240)
async def test_stalled_watchers_cost_little_and_hurt_nobody(database_url, tmp_path) -> None:
    """Each of 200 watchers that read nothing of a long history costs far less than 8 MiB in dispatch and in the
    gateway, and a message is sent as quickly as before.
    """
    async with a_site(database_url, tmp_path, delay=0.0) as site, AsyncExitStack() as stack:
        for _ in range(MESSAGES // 100):
            await site.create(100)
        await asyncio.gather(*(sent_in(site) for _ in range(20)))
        alone = sorted([await sent_in(site) for _ in range(20)])[10]
        before = memory(site.dispatch), memory(site.gateway)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(site.dispatch_target, options=SMALL))
        stub: Any = DispatchServiceStub(channel)
        request = pb.WatchProjectRequest(project_id=PROJECT, resume_token=FROM_THE_START)
        calls = [stub.WatchProject(request, metadata=metadata()) for _ in range(GRPC_WATCHERS)]
        await asyncio.gather(*(call.initial_metadata() for call in calls))
        port = int(site.url.rpartition(":")[2])
        readers = [stack.enter_context(deaf_reader(port)) for _ in range(SSE_WATCHERS)]
        await settled(site.dispatch, site.gateway)
        after = memory(site.dispatch), memory(site.gateway)
        beside = sorted([await sent_in(site) for _ in range(20)])[10]
        # Measured 2026-11-22 on two busy cores: 44 KiB a watcher in dispatch, 53 KiB in the gateway.
        first = [await calls[0].read() for _ in range(1000)]

    each = (after[0] - before[0]) / (GRPC_WATCHERS + SSE_WATCHERS), (after[1] - before[1]) / SSE_WATCHERS
    assert len(readers) == SSE_WATCHERS
    assert each[0] < MEBIBYTE
    assert each[1] < 2 * MEBIBYTE
    assert beside < max(10 * alone, 1.0)
    assert len({(item.event.message_id, item.event.sequence) for item in first}) == 1000  # read late, none twice
