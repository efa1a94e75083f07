"""The primary dies under load and its standby takes over: told once, with whatever replication, and counted outside.

The oracle is a client's log of what was acknowledged to it and a provider's of what it took; the system's own memory is
only asked what it still knows.
"""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import grpc
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from tests.acceptance.processes import free_port, process, until_serving
from tests.acceptance.test_crash_and_rescue import add_provider, environment, message_id_of
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.rig import EMAIL, PROJECT, metadata
from tests.postgres_pair import SYNCHRONOUS, Pair

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

TICK = 0.02
# Slower than the load, so that messages wait in the database when it dies.
PROVIDER = Reply(status=202, delay=0.1)
IN_FLIGHT = 10


@dataclass
class Client:
    """An application that hands in messages at a steady rate and keeps what it was told."""

    messages: "DispatchServiceAsyncStub"
    rate: int
    acknowledged: dict[str, float] = field(default_factory=dict)  # message id → when
    refused: Counter[str] = field(default_factory=Counter)
    asked: int = 0

    async def run(self) -> None:
        """Until cancelled; calls that are under way then are waited for."""
        async with asyncio.TaskGroup() as calls:
            try:
                began = time.monotonic()
                while True:
                    while self.asked < (time.monotonic() - began) * self.rate:
                        self.asked += 1
                        calls.create_task(self._ask(self.asked))
                    await asyncio.sleep(TICK)
            except asyncio.CancelledError:
                return

    async def _ask(self, number: int) -> None:
        spec = message_pb2.MessageSpec(
            project_id=PROJECT, channel=EMAIL, to=f"u{number}@example.com", subject="Hello", text="Hello"
        )
        request = pb.CreateMessageRequest(message=spec)
        try:
            message = await self.messages.CreateMessage(request, metadata=metadata(), timeout=10)
        except grpc.aio.AioRpcError as error:
            self.refused[error.code().name] += 1
        else:
            self.acknowledged[message.id] = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What came out. `lost`: acknowledged, and no provider ever got it. `forgotten`: acknowledged, and the system does
    not know an end of it. `unexplained`: went out twice without an attempt marked unknown.
    """

    acknowledged: int
    after_promotion: int
    refused: dict[str, int]
    lost: frozenset[str]
    forgotten: frozenset[str]
    unexplained: frozenset[str]
    cut_off: int
    gap: float  # seconds from the death to the next acknowledgement; the first of them nobody looks

    def __str__(self) -> str:
        return (
            f"acknowledged {self.acknowledged} ({self.after_promotion} after the promotion), refused {self.refused}, "
            f"cut off {self.cut_off}, lost {len(self.lost)}, forgotten {len(self.forgotten)}, "
            f"unexplained {len(self.unexplained)}, gap {self.gap:.1f} s"
        )


async def lose_the_primary(pair: Pair, logs: Path, *, synchronous: bool, seconds: float, rate: int) -> Account:
    """Load for `seconds`; the standby stalls, commits that wait for it are cancelled, the primary dies with all its
    processes, the standby is promoted; load for `seconds` again; then everything that was accepted is waited for.
    """
    await pair.replicate(SYNCHRONOUS if synchronous else "")
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(VendorServer(default=PROVIDER))
        messages = await _services(stack, pair, vendor, logs)
        client = Client(messages, rate)
        load = asyncio.create_task(client.run())
        await asyncio.sleep(seconds)
        pair.stall()
        cut_off = 0
        for _ in range(3):
            await asyncio.sleep(0.5)
            cut_off += await pair.cut_off() if synchronous else 0
        pair.primary.crash()
        died = time.monotonic()
        await asyncio.sleep(1.0)  # what finds out that it is dead takes its time
        promoted = time.monotonic()
        await pair.standby.promote()
        await asyncio.sleep(seconds)
        load.cancel()
        await load
        await _drained(pair)
        return await _account(pair, client, vendor, cut_off=cut_off, died=died, promoted=promoted)


async def _services(stack: AsyncExitStack, pair: Pair, vendor: VendorServer, logs: Path) -> "DispatchServiceAsyncStub":
    config_port, dispatch_port = free_port(), free_port()
    environ = environment(pair.dsn, config_port, dispatch_port) | {
        "MESSAGEPIPE_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "MESSAGEPIPE_LOG_LEVEL": "warning",
    }
    await stack.enter_async_context(process("config", environ=environ, log=logs / "config.log"))
    await stack.enter_async_context(process("dispatch", environ=environ, log=logs / "dispatch.log"))
    await until_serving(f"127.0.0.1:{config_port}")
    await until_serving(f"127.0.0.1:{dispatch_port}")
    for priority, name in enumerate(("first", "second"), start=1):
        await add_provider(f"127.0.0.1:{config_port}", name, vendor.url, priority)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{dispatch_port}"))
    return DispatchServiceStub(channel)


async def _drained(pair: Pair) -> None:
    async with asyncio.timeout(120):
        while await pair.standby.run("SELECT count(*) FROM dispatch.queue"):
            await asyncio.sleep(0.2)


async def _account(
    pair: Pair, client: Client, vendor: VendorServer, *, cut_off: int, died: float, promoted: float
) -> Account:
    connection = await asyncpg.connect(pair.standby.dsn)
    ended = {str(row["message_id"]) for row in await connection.fetch("SELECT message_id FROM dispatch.completions")}
    unknown = {
        str(row["message_id"])
        for row in await connection.fetch(
            "SELECT message_id FROM dispatch.attempts WHERE outcome = $1", Attempt.OUTCOME_UNKNOWN
        )
    }
    await connection.close()
    taken = Counter(map(message_id_of, vendor.received))
    acknowledged = frozenset(client.acknowledged)
    after = min((at for at in client.acknowledged.values() if at >= promoted), default=float("inf"))
    return Account(
        acknowledged=len(acknowledged),
        after_promotion=sum(at >= promoted for at in client.acknowledged.values()),
        refused=dict(client.refused),
        lost=acknowledged - set(taken),
        forgotten=acknowledged - ended,
        unexplained=frozenset(each for each, count in taken.items() if count > 1) - unknown,
        cut_off=cut_off,
        gap=after - died,
    )
