"""A messagepipe with a receiver of webhooks, and the hands to use both. No tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import pytest
from messagepipe.dispatch.v1 import webhook_service_pb2 as pb
from messagepipe.dispatch.v1.webhook_service_pb2_grpc import WebhookServiceStub

from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from tests.fakes.receiver import Arrival, Receiver, receiving
from tests.integration.rig import PROJECT, Pipe, eventually, metadata, rig

STRANGER = metadata("other")
NOWHERE = "01920000-0000-7000-8000-000000000000"


class Desk:
    """A messagepipe, a receiver, and the calls of WebhookService."""

    def __init__(self, pipe: Pipe, channel: grpc.aio.Channel, receiver: Receiver, database_url: str) -> None:
        self.pipe, self.receiver, self.database_url = pipe, receiver, database_url
        self.stub: Any = WebhookServiceStub(channel)

    async def add(self, path: str = "/hook", **fields: Any) -> pb.Webhook:
        """An endpoint at the receiver."""
        wanted = pb.Webhook(url=fields.pop("url", self.receiver.url + path), **fields)
        request = pb.CreateWebhookRequest(project_id=PROJECT, webhook=wanted)
        made: pb.Webhook = await self.call("CreateWebhook", request)
        return made

    async def call(self, method: str, request: Any, caller: Any = None) -> Any:
        """One call of the project's own caller."""
        return await getattr(self.stub, method)(request, metadata=caller or metadata())

    async def refused(self, method: str, request: Any, caller: Any = STRANGER) -> ServiceError:
        """The error that a call ends with."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(method, request, caller)
        return from_rpc_error(raised.value)

    async def get(self, webhook_id: str) -> pb.Webhook:
        """The endpoint as it is now."""
        found: pb.Webhook = await self.call("GetWebhook", pb.GetWebhookRequest(id=webhook_id))
        return found

    async def sql(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of one statement."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def hurry(self) -> None:
        """Posts that wait for their next try are due."""
        await self.sql("UPDATE dispatch.webhook_posts SET due_at = now() WHERE due_at > now()")

    async def arrived(self, count: int, path: str = "/hook") -> list[Arrival]:
        """The posts to a path, once there are so many."""
        await eventually(lambda: sum(each.path == path for each in self.receiver.arrivals) >= count, seconds=15)
        return [each for each in self.receiver.arrivals if each.path == path]

    async def all_told(self) -> None:
        """Returns when no post waits and no endpoint has news."""

        async def told() -> bool:
            rows = await self.sql(
                "SELECT FROM dispatch.webhook_posts UNION ALL SELECT FROM dispatch.webhooks w JOIN dispatch.events e"
                " ON e.project_id = w.project_id AND w.enabled AND (e.transaction_id, e.message_id, e.sequence)"
                " > (w.at_transaction, w.at_message, w.at_sequence)"
            )
            return not rows

        await eventually(told, seconds=15)


@asynccontextmanager
async def webhook_rig(database_url: str, **settings: Any) -> AsyncIterator[Desk]:
    """A messagepipe with the chain A > B that may reach loopback, and a receiver there."""
    given: dict[str, Any] = {"egress_allow": ("127.0.0.0/8",), **settings}
    async with receiving() as receiver, rig(database_url, **given) as pipe:
        await pipe.chain("A", "B")
        async with grpc.aio.insecure_channel(pipe.dispatch.address) as channel:
            yield Desk(pipe, channel, receiver, database_url)
