"""Messages put into the queue by hand, where the real way in would be too slow or too careful. No tests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from messagepipe.dispatch.v1 import message_pb2

from services.dispatch import history as tell
from tests.integration.rig import EMAIL, PROJECT

SPEC = message_pb2.MessageSpec(
    channel=EMAIL, to="ada@example.com", subject="Hello", text="Hello", sender="shop@example.com"
)


def shard_id(number: int, shard: int) -> UUID:
    """A UUIDv7 in a shard."""
    return UUID(int=0x0190_0000_0000 << 80 | 0x7 << 76 | 0b10 << 62 | number << 10 | shard)


async def queued(
    connection: asyncpg.Connection,
    ids: Sequence[UUID],
    *,
    claims: int = 0,
    worker: str | None = None,
    due_in: float = 0.0,
    epoch: int = 0,
    spec: message_pb2.MessageSpec = SPEC,
) -> None:
    """These messages, accepted and waiting in the queue; `due_in` seconds from now."""
    deadline = datetime(2100, 1, 1, tzinfo=UTC)
    event = tell.queued(deadline).SerializeToString()
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO dispatch.messages (id, project_id, channel, recipient, spec, deadline, labels)"
            " SELECT id, $2, $3, 'ada@example.com', $4, $5, '' FROM unnest($1::uuid[]) AS t (id)",
            ids,
            PROJECT,
            EMAIL,
            spec.SerializeToString(),
            deadline,
        )
        await connection.execute(
            "INSERT INTO dispatch.queue (id, due_at, worker, epoch, claims, project_id)"
            " SELECT id, now() + $2 * interval '1 second', $3, $4, $5, $6 FROM unnest($1::uuid[]) AS t (id)",
            ids,
            due_in,
            worker,
            epoch,
            claims,
            PROJECT,
        )
        await connection.execute(
            "INSERT INTO dispatch.events (message_id, sequence, project_id, payload)"
            " SELECT id, 1, $2, $3 FROM unnest($1::uuid[]) AS t (id)",
            ids,
            PROJECT,
            event,
        )
