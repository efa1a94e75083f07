"""I4 against a real PostgreSQL: a call is never on the wire when another dispatcher may take its message."""

import asyncio
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Call
from services.adapters.outcome import Result
from tests.integration.rig import rig

LEASE = 3.0


@pytest.mark.parametrize("policy", ["AT_MOST_ONCE", "AT_LEAST_ONCE"])
async def test_a_call_ends_before_its_lease_when_renewals_fail(database_url: str, policy: str) -> None:
    """While its lease can not be renewed a call is cut before the lease ends by the database's clock, though its own
    limit is far away; afterwards the policy decides.
    """
    on_wire, cut = asyncio.Event(), asyncio.Event()

    async def hang(call: Call) -> Result:
        on_wire.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()
        raise AssertionError

    async with rig(database_url, lease_seconds=LEASE) as pipe:
        await pipe.chain("A", "B", timeouts={"A": 60})
        pipe.adapters["A"].send = hang  # type: ignore[method-assign]
        message = await pipe.create(unknown_policy=message_pb2.UnknownPolicy.Value(f"UNKNOWN_POLICY_{policy}"))
        await on_wire.wait()
        connection = await asyncpg.connect(database_url)
        async with connection.transaction():
            # What holds this row makes every renewal of it wait, as a database that is away would.
            ends = await connection.fetchval(
                "SELECT due_at FROM dispatch.queue WHERE id = $1 FOR UPDATE", UUID(message.id)
            )
            async with asyncio.timeout(LEASE * 2):
                await cut.wait()
            now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        await connection.close()
        story = await pipe.watch(message.id)

    assert now < ends
    if policy == "AT_MOST_ONCE":
        assert (story.calls, story.state) == ("A:unknown", "UNKNOWN")
        assert not pipe.adapters["B"].calls
    else:
        assert story.calls == "A:unknown B:accepted"
        assert story.end.possible_duplicate
