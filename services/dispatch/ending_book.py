"""How the dispatches of many messages ended, read for all of them at once. The statement is here, not when to ask."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.dispatch import history as tell
from services.dispatch.ledger import Connection
from services.dispatch.records import event_from_row

# One that is being retried has not ended.
_ENDED = """
SELECT e.message_id, e.sequence, e.occurred_at, e.payload, e.transaction_id
FROM dispatch.completions c JOIN dispatch.events e ON e.message_id = c.message_id
WHERE c.message_id = ANY($1::uuid[]) AND NOT c.retrying
ORDER BY e.message_id, e.sequence
"""


async def endings(connection: Connection, asked: Sequence[UUID]) -> Mapping[UUID, list[DeliveryEvent]]:
    """The histories of those of these messages whose dispatch has ended. The caller has checked whose they are."""
    found: dict[UUID, list[DeliveryEvent]] = defaultdict(list)
    for row in await connection.fetch(_ENDED, asked):
        event = event_from_row(row)
        found[event.message_id].append(tell.shown(event))
    return found
