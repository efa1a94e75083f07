"""A project's webhooks go when ConfigService says that the project is gone. Its messages stay for their retention.

Whom it must not send to stays for good: a project made anew with its id must not either.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Never

import grpc
from messagepipe.config.v1 import project_service_pb2 as pb2
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch.access import Access
from services.dispatch.errors import DatabaseUnavailable

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceAsyncStub

PAUSE_SECONDS = 5.0
TIMEOUT = 5.0
PAGE = 1000  # as many as ConfigService answers at once
# A deletion that was begun earlier may be committed later than one that was seen already.
OVERLAP = timedelta(minutes=1)
BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)

# What was made after the deletion is another project's with the same id.
_FORGET = """
DELETE FROM dispatch.webhooks w USING unnest($1::text[], $2::timestamptz[]) AS gone (project_id, gone_at)
WHERE w.project_id = gone.project_id AND w.created_at <= gone.gone_at
"""

_log = get_logger()


class GoneProjects:
    """Asks for the projects that are gone, and forgets what is left of them."""

    def __init__(self, store: Access, channel: grpc.aio.Channel, token: Callable[[], str], clock: Clock) -> None:
        self._store, self._token, self._clock = store, token, clock
        self._stub: ProjectServiceAsyncStub = ProjectServiceStub(channel)

    async def run(self) -> Never:
        """Until cancelled. Whatever fails is tried again: forgetting twice does no harm."""
        since = BEGINNING
        while True:
            try:
                since = await self.forget(since)
            except grpc.aio.AioRpcError as error:
                _log.warning("gone_projects_unknown", code=error.code().name)
            except DatabaseUnavailable as error:
                _log.warning("gone_projects_kept", cause=type(error.__cause__).__name__)
            await self._clock.sleep(PAUSE_SECONDS)

    async def forget(self, since: datetime = BEGINNING) -> datetime:
        """Nothing is left of the projects that are gone since then; from when on to ask the next time."""
        at = since
        while True:
            gone = await self._gone(at)
            if gone:
                async with self._store.transaction() as connection:
                    await connection.execute(_FORGET, list(gone), list(gone.values()))
            last = max(gone.values(), default=at)
            if len(gone) < PAGE or last == at:
                return max(since, last - OVERLAP)
            at = last

    async def _gone(self, since: datetime) -> dict[str, datetime]:
        request = pb2.ListGoneProjectsRequest()
        request.since.FromDatetime(since)
        metadata = (("authorization", f"Bearer {self._token()}"),)
        found = await self._stub.ListGoneProjects(request, metadata=metadata, timeout=TIMEOUT)
        return {each.id: each.gone_at.ToDatetime(tzinfo=UTC) for each in found.projects}
