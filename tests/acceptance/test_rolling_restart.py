"""Two dispatchers restarted in turn under traffic: no call is lost under the service config that we ship, and calls are
lost without it.
"""

import asyncio
import uuid
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.chassis.service_config import channel_options
from tests.acceptance.processes import Process, free_port, process, until_serving
from tests.acceptance.test_crash_and_rescue import add_provider, environment, message_id_of
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.rig import EMAIL, PROJECT, eventually, metadata

CALLS_PER_SECOND = 50
# The same balancing without the rest: what somebody has who did not read docs/clients.md.
BARE = [("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'), ("grpc.enable_retries", 0)]


def a_request(number: int) -> pb.CreateMessageRequest:
    """A message with an idempotency key of its own."""
    spec = message_pb2.MessageSpec(
        project_id=PROJECT,
        channel=EMAIL,
        to=f"u{number}@example.com",
        subject="Hello",
        text="Hello",
        idempotency_key=uuid.uuid4().hex,
    )
    return pb.CreateMessageRequest(message=spec)


class Traffic:
    """Calls at a steady rate, whatever becomes of those before."""

    def __init__(self, target: str, options: list[tuple[str, Any]]) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self.accepted: list[str] = []
        self.failed: Counter[str] = Counter()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until `end`; every call has an answer when this returns."""
        stub = DispatchServiceStub(self._channel)
        number = 0
        async with self._channel, asyncio.TaskGroup() as calls:
            while not self._stop.is_set():
                number += 1
                calls.create_task(self._call(stub, a_request(number)))
                await asyncio.sleep(1 / CALLS_PER_SECOND)

    def end(self) -> None:
        """No more calls."""
        self._stop.set()

    async def _call(self, stub: Any, request: pb.CreateMessageRequest) -> None:
        try:
            answer = await stub.CreateMessage(request, metadata=metadata(), timeout=20)
        except grpc.aio.AioRpcError as error:
            self.failed[f"{error.code().name}: {error.details()}"[:150]] += 1
        else:
            self.accepted.append(answer.id)


async def restart(service: Process, target: str) -> None:
    """An orderly stop, and a start."""
    assert await service.terminate() == 0
    await service.start()
    await until_serving(target)


@pytest.mark.timeout(180)
async def test_rolling_restarts_lose_no_call(database_url, tmp_path) -> None:
    """Each of two replicas is restarted twice under 50 calls/s: no call fails with our service config, and every
    accepted message is sent once; without the config calls fail.
    """
    config_port, ports = free_port(), (free_port(), free_port())
    config, targets = f"127.0.0.1:{config_port}", [f"127.0.0.1:{port}" for port in ports]
    both = "ipv4:" + ",".join(targets)
    ours, bare = Traffic(both, channel_options()), Traffic(both, BARE)
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(VendorServer(default=Reply(status=202, delay=0.05)))
        first = environment(database_url, config_port, ports[0])
        await stack.enter_async_context(process("config", environ=first, log=tmp_path / "config.log"))
        replicas = [
            await stack.enter_async_context(
                process("dispatch", environ=environment(database_url, config_port, port), log=tmp_path / f"{port}.log")
            )
            for port in ports
        ]
        for target in (config, *targets):
            await until_serving(target)
        await add_provider(config, "first", vendor.url, 1)
        running = [asyncio.create_task(traffic.run()) for traffic in (ours, bare)]
        await eventually(lambda: ours.accepted and bare.accepted)
        for replica, target in [*zip(replicas, targets, strict=True)] * 2:
            await restart(replica, target)
        for traffic in (ours, bare):
            traffic.end()
        await asyncio.gather(*running)
        accepted = {*ours.accepted, *bare.accepted}
        await eventually(lambda: accepted <= set(map(message_id_of, vendor.received)), seconds=30)

    sent = Counter(map(message_id_of, vendor.received))
    assert [count for message_id, count in sent.items() if message_id in accepted and count > 1] == []
    assert ours.failed == Counter()
    assert bare.failed.total() > 0
