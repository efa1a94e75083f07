"""Hands for tests of providers' health: a second dispatcher, time that passes in the database, a project's stream.
No tests.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import grpc
from messagepipe.dispatch.v1 import dispatch_service_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.adapters.base import Channel
from services.chassis.env import SecretText
from services.dispatch.app import open_dispatch
from services.dispatch.provider_events import ABOUT_A_PROVIDER
from services.dispatch.settings import DispatchSettings
from tests.integration.rig import PROJECT, Pipe, auth_settings, eventually, metadata

_LATER = """
UPDATE dispatch.provider_health
SET revision = revision + 1,
    until = until - $1 * interval '1 second', opened_at = opened_at - $1 * interval '1 second',
    probed_until = probed_until - $1 * interval '1 second', returned_at = returned_at - $1 * interval '1 second',
    cools_until = cools_until - $1 * interval '1 second', touched_at = touched_at - $1 * interval '1 second',
    failure_seconds = ARRAY(SELECT each - $1 FROM unnest(failure_seconds) AS each)
"""


@asynccontextmanager
async def another_dispatcher(pipe: Pipe, database_url: str) -> AsyncIterator[Pipe]:
    """A second dispatcher on the same database, ConfigService and providers."""
    settings = DispatchSettings(
        database_url=SecretText(database_url),
        auth=auth_settings(),
        dispatch_port=0,
        config_target=pipe.config_address,
        drain_grace=2.0,
    )
    adapters = {(Channel.EMAIL, adapter.spec.kind): adapter for adapter in pipe.adapters.values()}
    async with (
        open_dispatch(settings, adapters=adapters, readers=dict.fromkeys(adapters, pipe.reader)) as dispatch,
        grpc.aio.insecure_channel(dispatch.address) as channel,
    ):
        yield replace(pipe, messages=DispatchServiceStub(channel), dispatch=dispatch)


async def pass_time(database_url: str, seconds: int) -> None:
    """As if so many seconds had gone by for every breaker, and every dispatcher had looked since."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_LATER, seconds)
    finally:
        await connection.close()
    await asyncio.sleep(1.0)  # longer than a reading takes to come round


async def rows(database_url: str, statement: str, *arguments: Any) -> list[Any]:
    """What a statement finds."""
    connection = await asyncpg.connect(database_url)
    try:
        found: list[Any] = await connection.fetch(statement, *arguments)
    finally:
        await connection.close()
    return found


@dataclass
class ProjectStream:
    """What WatchProject told, as it comes."""

    answers: list[dispatch_service_pb2.WatchProjectResponse] = field(default_factory=list)

    @property
    def about_providers(self) -> list[DeliveryEvent]:
        """The events that belong to no message."""
        return [each.event for each in self.answers if each.event.WhichOneof("event") in ABOUT_A_PROVIDER]

    @property
    def words(self) -> list[str]:
        """The same as words."""
        return [str(event.WhichOneof("event")) for event in self.about_providers]

    async def tells(self, *words: str) -> None:
        """Returns when these, and only these, were told about providers."""
        await eventually(lambda: len(self.words) >= len(words))
        assert self.words == list(words)


@asynccontextmanager
async def watching(pipe: Pipe, resume_token: str = "") -> AsyncIterator[ProjectStream]:
    """The stream of the project while the block runs; nothing that happens in the block is missed."""
    stream = ProjectStream()
    request = dispatch_service_pb2.WatchProjectRequest(project_id=PROJECT, resume_token=resume_token)
    call = pipe.messages.WatchProject(request, metadata=metadata())

    await call.initial_metadata()

    async def read() -> None:
        async for answer in call:
            stream.answers.append(answer)

    task = asyncio.create_task(read())
    try:
        yield stream
    finally:
        task.cancel()
        call.cancel()
