"""A message that kills every dispatcher that reads it, among real processes that are started again and again."""

import asyncio
import contextlib
import sys
from collections import Counter
from contextlib import AsyncExitStack

import asyncpg
import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.dispatch.message import SHARDS
from tests.acceptance.processes import Process, free_port, process, until_serving
from tests.acceptance.test_crash_and_rescue import add_provider, environment, message_id_of
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.dispatch.queue_rows import SPEC, queued, shard_id
from tests.integration.rig import PROJECT, eventually, metadata

# A dispatcher as it is, but that a certain message kills it without any last words.
MORTAL = """
import os, signal, sys
from services.dispatch import worker
read = worker.stored_message
def mortal(spec, **known):
    if b"poison" in spec:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(spec, **known)
worker.stored_message = mortal
from cli.main import main
sys.exit(main(sys.argv[1:]))
"""
KILLED = -9


async def keep_alive(service: Process, deaths: list[int]) -> None:
    """What any supervisor does: start it again whenever it dies."""
    while True:
        code = await service.ended()
        assert code is not None
        deaths.append(code)
        await service.start()


@pytest.mark.timeout(120)
async def test_poison_costs_three_dispatchers_and_no_other_message(database_url, tmp_path) -> None:
    """Two dispatchers that are started again when they die: the poison kills three times and is quarantined; the forty
    messages beside it are sent, each once.
    """
    config_port = free_port()
    config = f"127.0.0.1:{config_port}"
    mates = [shard_id(number, number * 25 % SHARDS) for number in range(1, 41)]
    poison = shard_id(99, 1)
    poisonous = message_pb2.MessageSpec()
    poisonous.CopyFrom(SPEC)
    poisonous.text = "poison"
    connection = await asyncpg.connect(database_url)
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(VendorServer(default=Reply(status=202)))
        environ = environment(database_url, config_port, free_port()) | {"MESSAGEPIPE_LEASE_SECONDS": "2"}
        await stack.enter_async_context(process("config", environ=environ, log=tmp_path / "config.log"))
        await until_serving(config)
        await add_provider(config, "only", vendor.url, 1)
        await queued(connection, mates)
        await queued(connection, [poison], spec=poisonous)

        deaths: list[int] = []
        targets = []
        for name in ("first", "second"):
            port = free_port()
            targets.append(f"127.0.0.1:{port}")
            service = Process(
                "dispatch",
                environ=environ | {"MESSAGEPIPE_DISPATCH_PORT": str(port)},
                log=tmp_path / f"{name}.log",
                command=[sys.executable, "-c", MORTAL],
            )
            await service.start()
            stack.push_async_callback(service.kill)
            keeping = asyncio.create_task(keep_alive(service, deaths))
            stack.push_async_callback(gone, keeping)

        async def all_ended() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM dispatch.queue")

        await eventually(all_ended, seconds=90)
        await until_serving(targets[0])
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(targets[0]))
        stub = DispatchServiceStub(channel)
        seen = await stub.GetMessage(pb.GetMessageRequest(id=str(poison)), metadata=metadata())
        request = pb.ListMessagesRequest(project_id=PROJECT, state=message_pb2.Message.STATE_SENT, page_size=100)
        sent = await stub.ListMessages(request, metadata=metadata())
    await connection.close()

    assert deaths == [KILLED] * 3
    assert (seen.state, seen.reason) == (message_pb2.Message.STATE_FAILED, "QUARANTINED")
    assert {message.id for message in sent.messages} == set(map(str, mates))
    assert Counter(map(message_id_of, vendor.received)) == dict.fromkeys(map(str, mates), 1)


async def gone(task: "asyncio.Task[None]") -> None:
    """Nobody starts it again."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
