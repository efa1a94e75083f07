"""A project that is deleted in ConfigService: its webhooks are forgotten here, and nothing else is."""

from datetime import UTC, datetime, timedelta

import grpc
from messagepipe.config.v1 import project_service_pb2
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub
from messagepipe.dispatch.v1 import webhook_service_pb2 as pb

from tests.integration.dispatch.webhook_rig import STRANGER, Desk, webhook_rig
from tests.integration.rig import PROJECT, eventually, metadata

INTERNAL = metadata("*", scopes="internal")


async def _delete(desk: Desk) -> None:
    request = project_service_pb2.DeleteProjectRequest(id=PROJECT, confirm=PROJECT)
    async with grpc.aio.insecure_channel(desk.pipe.config_address) as channel:
        await ProjectServiceStub(channel).DeleteProject(request, metadata=metadata())


async def test_its_webhooks_go(database_url: str) -> None:
    """Within some seconds; another project's stay, its messages and suppressions do, and so does what is made anew."""
    async with webhook_rig(database_url) as desk:
        await desk.pipe.send()
        await desk.sql(
            "INSERT INTO dispatch.suppressions (project_id, channel, recipient, reason)"
            " VALUES ($1, 1, 'bob@example.com', 'MANUAL')",
            PROJECT,
        )
        await desk.add()
        request = pb.CreateWebhookRequest(project_id="other", webhook=pb.Webhook(url=f"{desk.receiver.url}/theirs"))
        theirs = await desk.call("CreateWebhook", request, STRANGER)
        await _delete(desk)
        anew = await desk.add("/anew")

        async def gone() -> bool:
            rows = await desk.sql("SELECT id::text FROM dispatch.webhooks ORDER BY created_at")
            return [row["id"] for row in rows] == [theirs.id, anew.id]

        await eventually(gone, seconds=20)
        assert await desk.sql("SELECT FROM dispatch.messages WHERE project_id = $1", PROJECT)
        assert await desk.sql("SELECT FROM dispatch.suppressions WHERE project_id = $1", PROJECT)


async def test_who_asks_is_told_of_those_since(database_url: str) -> None:
    """The longest gone first, once each, and only to our own services."""
    async with webhook_rig(database_url) as desk, grpc.aio.insecure_channel(desk.pipe.config_address) as channel:
        await _delete(desk)
        stub = ProjectServiceStub(channel)
        request = project_service_pb2.ListGoneProjectsRequest()
        found = (await stub.ListGoneProjects(request, metadata=INTERNAL)).projects
        assert [each.id for each in found] == [PROJECT]
        request.since.FromDatetime(found[0].gone_at.ToDatetime(tzinfo=UTC) + timedelta(microseconds=1))
        assert request.since.ToDatetime(tzinfo=UTC) < datetime.now(UTC) + timedelta(minutes=1)
        assert not (await stub.ListGoneProjects(request, metadata=INTERNAL)).projects
