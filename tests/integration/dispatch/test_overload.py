"""Refused before anything is done: deadlines that can not be met, and writes behind a database that stands still."""

import asyncio

import asyncpg
import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb

from services.chassis.errors import ResourceExhausted
from services.chassis.status import from_rpc_error
from services.dispatch.store import Store
from services.dispatch.turns import Turns
from tests.integration.rig import PROJECT, eventually, metadata, rig

MEBIBYTE = 1024 * 1024


async def stored(database_url: str) -> int:
    """How many messages there are."""
    connection = await asyncpg.connect(database_url)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM dispatch.messages")
    finally:
        await connection.close()
    return count


async def test_a_call_without_time_is_refused_before_work(database_url: str) -> None:
    """Less than 20 ms before its deadline a message is not accepted: nobody would hear of it."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        await pipe.create()
        request = pb.CreateMessageRequest(message=pipe.spec())
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await pipe.messages.CreateMessage(request, metadata=metadata(), timeout=0.015)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await pipe.create()

        assert await stored(database_url) == 2


async def test_behind_a_database_that_stands_still_new_messages_are_shed(database_url: str) -> None:
    """While a commit hangs, callers beyond the bound in bytes get RESOURCE_EXHAUSTED with RetryInfo at once; those who
    waited are accepted when it goes on.
    """
    blocker = await asyncpg.connect(database_url)
    async with rig(database_url, max_in_flight_bytes=2 * MEBIBYTE, max_message_bytes=MEBIBYTE) as pipe:
        await pipe.chain("A")
        await pipe.create()
        hold = blocker.transaction()
        await hold.start()
        await blocker.execute("LOCK TABLE dispatch.messages IN ACCESS EXCLUSIVE MODE")
        large = "x" * (MEBIBYTE - 1000)
        waiting = [asyncio.create_task(pipe.create(text=large)) for _ in range(2)]
        await asyncio.sleep(0.5)
        refused = []
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await pipe.create(text=large)
            refused.append(from_rpc_error(caught.value))
        await hold.rollback()
        await blocker.close()
        ids = {message.id for message in await asyncio.gather(*waiting)}

        assert len(ids) == 2
        assert await stored(database_url) == 3
    assert all(isinstance(each, ResourceExhausted) and each.reason == "OVERLOADED" for each in refused)
    assert len({each.retry_after for each in refused}) == 3  # jittered


async def test_a_claim_brings_a_bounded_number_of_bytes(database_url: str) -> None:
    """A claim takes messages until they hold what it asked for; the others stay for the next; the first always goes."""
    async with rig(database_url, max_in_flight_bytes=2 * MEBIBYTE, max_message_bytes=MEBIBYTE) as pipe:
        # No provider may be asked for now: what is accepted waits in the queue.
        pipe.dispatch.worker.reserve(PROJECT, 3 * MEBIBYTE)
        for _ in range(5):
            await pipe.create(text="x" * 100_000)
    store = await Store.open(database_url, worker="other", lease_seconds=30, connections=4)
    try:
        taken = [len(await store.claim(Turns(limit=10, max_bytes=size))) for size in (1, 250_000, MEBIBYTE, MEBIBYTE)]
    finally:
        await store.close()

    assert taken == [1, 3, 1, 0]


async def test_a_process_waited_for_too_long_sheds(database_url: str) -> None:
    """While connections of the pool are waited for longer than a second, calls are refused instead of kept."""
    blocker = await asyncpg.connect(database_url)
    async with rig(database_url, database_connections=3) as pipe:
        await pipe.chain("A")
        hold = blocker.transaction()
        await hold.start()
        await blocker.execute("LOCK TABLE dispatch.messages, dispatch.events IN ACCESS EXCLUSIVE MODE")
        unknown = "01890000-0000-7000-8000-000000000000"
        reading = [asyncio.create_task(pipe.get(unknown)) for _ in range(10)]

        async def shed() -> bool:
            try:
                async with asyncio.timeout(0.2):
                    await pipe.get(unknown)
            except TimeoutError:
                return False
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

        await eventually(shed, seconds=4)  # before lock_timeout lets the first go
        await hold.rollback()
        await blocker.close()
        await asyncio.gather(*reading, return_exceptions=True)
        await eventually(lambda: not_shed(pipe, unknown))


async def not_shed(pipe: object, message_id: str) -> bool:
    """Whether reads are answered again, with NOT_FOUND here."""
    try:
        await pipe.get(message_id)  # type: ignore[attr-defined]
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND
    return False
