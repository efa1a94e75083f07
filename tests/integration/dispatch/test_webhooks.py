"""Outgoing webhooks from the event to the receiver: real PostgreSQL, real HTTP, signatures proved by the standard's own
library.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2
from messagepipe.dispatch.v1 import webhook_service_pb2 as pb
from standardwebhooks.webhooks import WebhookVerificationError

from services.chassis.env import SecretText
from services.dispatch import webhook_book as book
from services.dispatch.app import open_dispatch
from services.dispatch.settings import DispatchSettings
from services.dispatch.webhook import MAX_PER_PROJECT, Answer, Disabled, Next
from services.dispatch.webhooks import OF_ONE, OF_PROJECT
from tests.integration.dispatch.webhook_rig import STRANGER, Desk, webhook_rig
from tests.integration.rig import PROJECT, auth_settings, eventually, metadata

STORY = ["message.queued", "message.attempt_started", "message.attempt_finished", "message.sent"]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """A messagepipe and a receiver."""
    async with webhook_rig(database_url) as running:
        yield running


async def test_a_message_is_told_in_order_and_signed(desk: Desk):
    """The same events as every stream tells, each verified with the endpoint's secret; no content among them."""
    webhook = await desk.add()
    story = await desk.pipe.send(text="a canary of the content", metadata={"order": "7"})
    arrivals = await desk.arrived(4)

    assert [each.verified(webhook.secret)["type"] for each in arrivals] == STORY
    assert [each.payload["data"]["sequence"] for each in arrivals] == [event.sequence for event in story.events]
    assert {each.payload["data"]["messageId"] for each in arrivals} == {story.message_id}
    assert arrivals[-1].payload["data"]["recipient"] == "ada@example.com"
    assert arrivals[-1].payload["data"]["metadata"] == {"order": "7"}
    assert len({each.id for each in arrivals}) == 4
    assert not any(b"canary" in each.body for each in arrivals)
    await desk.all_told()


async def test_many_messages_are_each_told_in_order(desk: Desk):
    """Side by side, and nothing twice."""
    await desk.add()
    messages = [await desk.pipe.create() for _ in range(10)]
    await desk.arrived(40)
    await desk.all_told()
    assert [desk.receiver.types(message.id) for message in messages] == [STORY] * 10


async def test_only_what_is_wanted_is_told_from_then_on(desk: Desk):
    """Nothing of before the endpoint, no other type, nothing while it is switched off."""
    await desk.pipe.send()
    webhook = await desk.add(types=["message.sent"])
    first = await desk.pipe.send()
    await desk.arrived(1)
    off = pb.Webhook(id=webhook.id, enabled=False)
    await desk.call("UpdateWebhook", pb.UpdateWebhookRequest(webhook=off))
    await desk.pipe.send()
    on = pb.Webhook(id=webhook.id, enabled=True)
    await desk.call("UpdateWebhook", pb.UpdateWebhookRequest(webhook=on))
    last = await desk.pipe.send()
    arrivals = await desk.arrived(2)
    await desk.all_told()

    assert [(each.type, each.payload["data"]["messageId"]) for each in arrivals] == [
        ("message.sent", first.message_id),
        ("message.sent", last.message_id),
    ]


async def test_another_project_s_endpoint_hears_nothing(desk: Desk):
    """Nothing crosses projects: each endpoint is told of its own messages only."""
    other = pb.CreateWebhookRequest(project_id="other", webhook=pb.Webhook(url=desk.receiver.url + "/other"))
    await desk.call("CreateWebhook", other, STRANGER)
    await desk.add()
    mine = await desk.pipe.send()
    spec = desk.pipe.spec()
    spec.project_id = "other"
    request = dispatch_service_pb2.CreateMessageRequest(message=spec)
    theirs = await desk.pipe.messages.CreateMessage(request, metadata=STRANGER)
    await desk.arrived(4)
    await desk.arrived(2, path="/other")
    await desk.all_told()
    heard = [(each.path, each.payload["data"]["messageId"]) for each in desk.receiver.arrivals]
    assert set(heard) == {("/hook", mine.message_id), ("/other", theirs.id)}


async def test_what_is_refused_comes_again_with_the_same_id(desk: Desk):
    """The same bytes and webhook-id; the events of the message behind it wait, those of other messages do not."""
    desk.receiver.answer(500, 204)
    webhook = await desk.add()
    story = await desk.pipe.send()
    (refused,) = await desk.arrived(1)
    assert refused.type == "message.queued"

    async def failing() -> bool:
        return (await desk.get(webhook.id)).last_error == "HTTP 500"

    await eventually(failing)
    assert desk.receiver.types(story.message_id) == ["message.queued"]
    other = await desk.pipe.send()
    await desk.arrived(5)
    assert desk.receiver.types(other.message_id) == STORY
    assert desk.receiver.types(story.message_id) == ["message.queued"]

    await desk.hurry()
    arrivals = await desk.arrived(9)
    again = [each for each in arrivals if each.id == refused.id]
    assert [each.body for each in again] == [refused.body] * 2
    assert desk.receiver.types(story.message_id) == ["message.queued", *STORY]
    await desk.all_told()
    assert not (await desk.get(webhook.id)).HasField("failing_since")


async def test_a_dead_endpoint_holds_up_only_itself(desk: Desk):
    """Another endpoint of the project is told all the same."""
    await desk.add(url="http://127.0.0.1:9/dead")
    await desk.add()
    story = await desk.pipe.send()
    await desk.arrived(4)
    assert desk.receiver.types(story.message_id) == STORY


async def test_slow_endpoints_of_one_project_hold_up_no_other_project(desk: Desk):
    """As many as it may have, each with more posts than may be open, and none of them answered: others are told."""
    answered = asyncio.Event()

    async def hang() -> None:
        await answered.wait()

    desk.receiver.before_answer = hang
    try:
        for _ in range(MAX_PER_PROJECT):
            await desk.add(types=["message.queued"])
        for _ in range(OF_ONE + 2):
            await desk.pipe.create()
        await desk.arrived(OF_PROJECT)
        other = pb.Webhook(url=desk.receiver.url + "/other")
        await desk.call("CreateWebhook", pb.CreateWebhookRequest(project_id="other", webhook=other), STRANGER)
        spec = desk.pipe.spec()
        spec.project_id = "other"
        request = dispatch_service_pb2.CreateMessageRequest(message=spec)
        await desk.pipe.messages.CreateMessage(request, metadata=STRANGER)
        await desk.arrived(1, path="/other")
        assert len(await desk.arrived(OF_PROJECT)) == OF_PROJECT
    finally:
        answered.set()


async def test_names_of_endpoints_are_looked_up_apart(desk: Desk):
    """In threads of their own: with all those busy in which providers' names are looked up, a post goes out."""
    release = threading.Event()
    busy = [asyncio.get_running_loop().run_in_executor(None, release.wait) for _ in range(100)]
    try:
        port = desk.receiver.url.rpartition(":")[2]
        webhook = await desk.add(url=f"http://localhost:{port}/hook", enabled=False)
        answer = await desk.call("TestWebhook", pb.TestWebhookRequest(id=webhook.id))
    finally:
        release.set()
        await asyncio.gather(*busy)
    assert (answer.success, answer.error) == (True, "")


async def test_no_redirect_is_followed(desk: Desk):
    """A redirect is a refusal: what it leads to was not checked."""
    desk.receiver.answer(302)
    webhook = await desk.add()
    await desk.pipe.send()
    await desk.arrived(1)

    async def failing() -> bool:
        return (await desk.get(webhook.id)).last_error == "HTTP 302"

    await eventually(failing)
    assert desk.receiver.types(path="/elsewhere") == []


async def test_an_address_inside_is_not_reached(database_url):
    """Without the operator's word neither http nor a name that leads inside; and nothing of it is told."""
    async with webhook_rig(database_url, egress_allow=()) as desk:
        for url in (desk.receiver.url, "http://localhost/", "http://169.254.169.254/latest"):
            request = pb.CreateWebhookRequest(project_id=PROJECT, webhook=pb.Webhook(url=url))
            error = await desk.refused("CreateWebhook", request, metadata())
            assert [violation.field for violation in error.violations] == ["webhook.url"]
        port = desk.receiver.url.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"):
            webhook = await desk.add(url=f"https://{host}:{port}/hook")
            answer = await desk.call("TestWebhook", pb.TestWebhookRequest(id=webhook.id))
            assert (answer.success, answer.status, answer.error) == (False, 0, "EGRESS_REFUSED")
        assert desk.receiver.arrivals == []


async def test_a_rotated_secret_signs_beside_the_one_before(desk: Desk):
    """For 24 hours receivers with either verify; then only with the new one; one that is older still is void."""
    first = await desk.add(types=["message.sent"])
    second = await desk.call("RotateWebhookSecret", pb.RotateWebhookSecretRequest(id=first.id))
    assert second.secret != first.secret
    await desk.pipe.send()
    (both,) = await desk.arrived(1)
    assert both.verified(first.secret) == both.verified(second.secret)
    assert len(both.headers["webhook-signature"].split()) == 2

    await desk.sql("UPDATE dispatch.webhooks SET older_until = now() - interval '1 second'")
    await desk.pipe.send()
    alone = (await desk.arrived(2))[1]
    alone.verified(second.secret)
    with pytest.raises(WebhookVerificationError):
        alone.verified(first.secret)


async def test_five_days_of_failure_switch_an_endpoint_off(desk: Desk):
    """What waited for it is dropped, its state says why, and switching it on again begins anew."""
    desk.receiver.answer(503)
    webhook = await desk.add()
    await desk.pipe.send()
    await desk.arrived(1)

    async def failing() -> bool:
        return (await desk.get(webhook.id)).HasField("failing_since")

    await eventually(failing)
    await desk.sql("UPDATE dispatch.webhooks SET failing_since = now() - interval '5 days'")
    await desk.hurry()

    async def off() -> bool:
        return not (await desk.get(webhook.id)).enabled

    await eventually(off)
    assert (await desk.get(webhook.id)).disabled_reason == "FAILED_FOR_5_DAYS"
    assert await desk.sql("SELECT FROM dispatch.webhook_posts") == []

    desk.receiver.answer(204)
    on = pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id, enabled=True))
    back = await desk.call("UpdateWebhook", on)
    assert (back.enabled, back.disabled_reason, back.last_error) == (True, "", "")
    story = await desk.pipe.send()
    await desk.arrived(6)
    await desk.all_told()
    assert desk.receiver.types(story.message_id) == STORY


async def test_an_endpoint_that_is_gone_is_switched_off_at_once(desk: Desk):
    """410 says that nobody wants it any more."""
    desk.receiver.answer(410)
    webhook = await desk.add()
    await desk.pipe.send()

    async def gone() -> bool:
        return (await desk.get(webhook.id)).disabled_reason == "GONE"

    await eventually(gone)


async def test_a_post_that_was_taken_and_not_booked_comes_again_with_the_same_id(desk: Desk):
    """As when the dispatcher dies in between: its lease ends, and the same is posted again."""
    connection = await asyncpg.connect(desk.database_url)
    holding: list[asyncpg.transaction.Transaction] = []

    async def hold() -> None:
        if not holding:
            holding.append(connection.transaction())
            await holding[0].start()
            await connection.execute("SELECT FROM dispatch.webhook_posts FOR UPDATE")

    try:
        desk.receiver.before_answer = hold
        await desk.add(types=["message.sent"])
        await desk.pipe.send()
        await desk.arrived(1)

        async def given_up() -> bool:
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%webhook_posts%'"
            return bool(await desk.sql(waiting))

        await eventually(given_up)
        await eventually(lambda: _none(given_up), seconds=10)
        await holding[0].rollback()
        await desk.hurry()
        first, copy = await desk.arrived(2)
    finally:
        await connection.close()
    assert (copy.id, copy.body) == (first.id, first.body)
    await desk.all_told()


async def _none(waits: Callable[[], Awaitable[bool]]) -> bool:
    return not await waits()


async def test_two_dispatchers_post_everything_once(desk: Desk, database_url: str):
    """Each event is claimed by one of them, and each message is told in order."""
    settings = DispatchSettings(
        database_url=SecretText(database_url),
        auth=auth_settings(),
        dispatch_port=0,
        config_target=desk.pipe.config_address,
        egress_allow=("127.0.0.0/8",),
        drain_grace=1.0,
    )
    await desk.add()
    async with open_dispatch(settings):
        messages = [await desk.pipe.create() for _ in range(20)]
        await desk.arrived(80)
        await desk.all_told()
    assert len(desk.receiver.arrivals) == 80
    assert [desk.receiver.types(message.id) for message in messages] == [STORY] * 20


async def test_who_lost_the_lease_of_a_post_books_nothing(desk: Desk):
    """Neither that it was taken nor that it failed: the post is somebody else's by then."""
    webhook = await desk.add(enabled=False)
    message = await desk.pipe.send()
    await desk.sql(
        "INSERT INTO dispatch.webhook_posts (webhook_id, message_id, sequence, project_id)"
        " VALUES ($1::text::uuid, $2::text::uuid, 1, 'shop')",
        webhook.id,
        message.message_id,
    )

    async def claimed(connection: asyncpg.Connection) -> book.Post:
        await connection.execute("UPDATE dispatch.webhooks SET enabled = true")
        (post,) = await book.claim(connection, limit=9, each=9, lease=0.0, full=(), failing=(), most=9, under_way={})
        return post

    connection = await asyncpg.connect(desk.database_url)
    transaction = connection.transaction()
    await transaction.start()  # unseen by the dispatcher
    try:
        stale, ours = await claimed(connection), await claimed(connection)
        await book.taken(connection, stale)
        assert not await book.failed(connection, stale, Answer(status=410), Next(delay=None, disables=Disabled.GONE))
        still = await connection.fetchrow(
            "SELECT p.tries, w.enabled FROM dispatch.webhook_posts p, dispatch.webhooks w"
        )
        assert tuple(still) == (2, True)
        await book.taken(connection, ours)
        assert await connection.fetchval("SELECT count(*) FROM dispatch.webhook_posts") == 0
    finally:
        await transaction.rollback()
        await connection.close()


async def test_what_is_no_longer_kept_is_passed_by(desk: Desk):
    """An event that retention dropped is not posted, and says nothing of the endpoint: what follows is told."""
    webhook = await desk.add()
    await desk.sql("UPDATE dispatch.webhooks SET failing_since = now() - interval '1 day', last_error = 'HTTP 500'")
    await desk.sql(
        "INSERT INTO dispatch.webhook_posts (webhook_id, message_id, sequence, project_id)"
        " VALUES ($1::text::uuid, gen_random_uuid(), 1, 'shop')",
        webhook.id,
    )
    await desk.all_told()
    assert (await desk.get(webhook.id)).last_error == "HTTP 500"
    assert desk.receiver.arrivals == []
