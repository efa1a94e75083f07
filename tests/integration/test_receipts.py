"""failover.md R6 and its examples as tests: what providers tell later. Chain A > B > C, AT_LEAST_ONCE, unless said."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from messagepipe.dispatch.v1 import attempt_pb2, dispatch_service_pb2, message_pb2

from gateway.app import open_gateway
from gateway.settings import GatewaySettings
from tests.fakes.receipts import GOOD, wire
from tests.integration.rig import Pipe, Story, auth_settings, eventually, metadata, rig, struct

AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE
SOON = Duration(nanos=400_000_000)


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with the chain A > B > C."""
    async with rig(database_url) as running:
        await running.chain("A", "B", "C")
        yield running


async def history(pipe: Pipe, message_id: str) -> Story:
    """Every event that there is so far."""
    return await pipe.watch(message_id)


async def told(pipe: Pipe, message_id: str, count: int) -> Story:
    """The history once it has so many receipts."""
    stories: list[Story] = []

    async def there() -> bool:
        stories.append(await history(pipe, message_id))
        return stories[-1].kinds().count("receipt") == count

    await eventually(there)
    return stories[-1]


async def receipts_done(url: str, *, count: int) -> None:
    """Returns when so many receipts are kept and none waits."""
    connection = await asyncpg.connect(url)

    async def done() -> bool:
        row = await connection.fetchrow("SELECT count(*) AS n, count(look_at) AS waits FROM dispatch.receipts")
        return (row["n"], row["waits"]) == (count, 0)

    try:
        await eventually(done)
    finally:
        await connection.close()


def words(story: Story) -> list[str]:
    """The receipts of a history by their word."""
    found = [event.receipt.status for event in story.events if event.HasField("receipt")]
    return [attempt_pb2.ReceiptStatus.Name(status).removeprefix("RECEIPT_STATUS_") for status in found]


def about(name: str, status: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    """A receipt about the provider's call of that number."""
    return {"status": status, "provider_message_id": f"{name.lower()}-{number}", **fields}


async def test_delivered(pipe: Pipe) -> None:
    """R6, R10: a receipt moves SENT to DELIVERED; history and GetMessage tell it, in our words and the provider's."""
    sent = await pipe.send()
    await pipe.receipt("A", about("A", "DELIVERED", event_id="e1", detail="250 OK", occurred_at="2026-01-01T12:00:00Z"))
    message = await pipe.becomes(sent.message_id, "DELIVERED")
    story = await history(pipe, sent.message_id)

    assert story.kinds() == [*sent.kinds(), "receipt"]
    assert [event.sequence for event in story.events] == [1, 2, 3, 4, 5]
    receipt = story.events[-1].receipt
    assert (receipt.kind, receipt.attempt, receipt.provider_status) == ("a", 1, "delivered")
    assert (receipt.detail, receipt.provider_message_id) == ("250 OK", "a-1")
    assert receipt.state == message_pb2.Message.STATE_DELIVERED
    assert (message.kind, message.reason, message.duplicates) == ("a", "", 0)
    assert message.attempts[0].receipt == attempt_pb2.RECEIPT_STATUS_DELIVERED


async def test_x23_repeats_and_disorder(pipe: Pipe, database_url: str) -> None:
    """X23: `delivered` three times, then `sent`: one change, stays DELIVERED, told once."""
    sent = await pipe.send()
    for event_id in ("e1", "e1", "e2"):
        await pipe.receipt("A", about("A", "DELIVERED", event_id=event_id))
    await pipe.receipt("A", about("A", "SENT", event_id="e3"))
    await receipts_done(database_url, count=3)

    story = await history(pipe, sent.message_id)
    assert words(story) == ["DELIVERED"]
    assert (await pipe.get(sent.message_id)).state == message_pb2.Message.STATE_DELIVERED


async def test_a_proof_that_counts_once_is_refused_again(pipe: Pipe, database_url: str) -> None:
    """A replayed token is refused, with another word or the same, once the first is durable, and leaves no trace."""
    sent = await pipe.send()
    once: dict[str, Any] = {"event_id": "token", "counts_once": True}
    await pipe.receipt("A", about("A", "DELIVERED", **once))
    for status in ("DELIVERED", "COMPLAINED"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await pipe.receipt("A", about("A", status, **once))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await receipts_done(database_url, count=1)
    assert words(await history(pipe, sent.message_id)) == ["DELIVERED"]
    assert await calls_kept(database_url) == 1


async def test_a_proof_that_could_not_be_kept_is_good_again(pipe: Pipe, database_url: str) -> None:
    """A receipt that the database did not take was not taken; its repeat with the same proof is."""
    sent = await pipe.send()
    once = about("A", "DELIVERED", event_id="token", counts_once=True)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE dispatch.receipts ADD CONSTRAINT full_disk CHECK (event_id <> 'token')")
    with pytest.raises(grpc.aio.AioRpcError):
        await pipe.receipt("A", once)
    await connection.execute("ALTER TABLE dispatch.receipts DROP CONSTRAINT full_disk")
    await connection.close()
    await pipe.receipt("A", once)
    await pipe.becomes(sent.message_id, "DELIVERED")


async def calls_kept(url: str) -> int:
    """How many calls of providers are in the database."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM dispatch.receipt_calls"))
    finally:
        await connection.close()


async def test_many_at_once(pipe: Pipe, database_url: str) -> None:
    """R6, R10: receipts that arrive together, in one call and in many, change a message once and leave no gap."""
    sent = await pipe.send()
    statuses = ["SENT", "DELIVERED", "OPENED", "CLICKED", "DEFERRED", "BOUNCED_SOFT"]
    calls = [pipe.receipt("A", *(about("A", status, event_id=status) for status in statuses)) for _ in range(5)]
    await asyncio.gather(*calls, *(pipe.receipt("A", about("A", status)) for status in statuses))
    await receipts_done(database_url, count=12)

    story = await history(pipe, sent.message_id)
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))
    assert len(words(story)) == len(set(words(story)))
    assert {"DELIVERED", "OPENED", "CLICKED"} <= set(words(story))
    assert (await pipe.get(sent.message_id)).state == message_pb2.Message.STATE_DELIVERED


@pytest.mark.parametrize("status", ["BOUNCED_HARD", "BOUNCED_SOFT", "FAILED", "SUPPRESSED"])
async def test_undelivered(pipe: Pipe, status: str) -> None:
    """R6: a refusal moves SENT to UNDELIVERED with its word as reason; unless asked for, nobody else is called."""
    sent = await pipe.send()
    await pipe.receipt("A", about("A", status, route_at_fault=True))
    message = await pipe.becomes(sent.message_id, "UNDELIVERED")

    assert (message.reason, message.kind) == (status, "a")
    assert not pipe.adapters["B"].calls


async def test_delivered_beats_undelivered_but_not_the_other_way(pipe: Pipe, database_url: str) -> None:
    """R6: UNDELIVERED becomes DELIVERED; DELIVERED absorbs what comes after it, which is told all the same."""
    sent = await pipe.send()
    await pipe.receipt("A", about("A", "BOUNCED_SOFT"))
    await pipe.becomes(sent.message_id, "UNDELIVERED")
    await pipe.receipt("A", about("A", "DELIVERED"))
    await pipe.becomes(sent.message_id, "DELIVERED")
    await pipe.receipt("A", about("A", "BOUNCED_HARD"))
    await receipts_done(database_url, count=3)

    assert words(await history(pipe, sent.message_id)) == ["BOUNCED_SOFT", "DELIVERED", "BOUNCED_HARD"]
    assert (await pipe.get(sent.message_id)).state == message_pb2.Message.STATE_DELIVERED


@pytest.mark.parametrize("status", ["ACCEPTED", "SENT", "DEFERRED", "COMPLAINED", "OPENED", "CLICKED", "UNSUBSCRIBED"])
async def test_words_that_decide_nothing(pipe: Pipe, status: str) -> None:
    """R6: steps on the way and what recipients do are told and change no state."""
    sent = await pipe.send()
    await pipe.receipt("A", about("A", status))
    story = await told(pipe, sent.message_id, 1)

    assert words(story) == [status]
    assert (await pipe.get(sent.message_id)).state == message_pb2.Message.STATE_SENT


async def test_x10_unknown_until_a_receipt_decides(pipe: Pipe) -> None:
    """X10: an unknown attempt under AT_MOST_ONCE; a later `delivered` with our own id makes it DELIVERED via A."""
    pipe.script("A", "unknown")
    sent = await pipe.send(unknown_policy=AT_MOST_ONCE)
    await pipe.receipt("A", {"status": "DELIVERED", "provider_message_id": "p-9", "message_id": sent.message_id})
    message = await pipe.becomes(sent.message_id, "DELIVERED")

    assert sent.state == "UNKNOWN"
    assert (message.kind, message.reason) == ("a", "")
    assert not pipe.adapters["B"].calls


async def test_x10_unknown_and_refused(pipe: Pipe) -> None:
    """R6: a refusal moves UNKNOWN to UNDELIVERED."""
    pipe.script("A", "unknown")
    sent = await pipe.send(unknown_policy=AT_MOST_ONCE)
    await pipe.receipt("A", {"status": "FAILED", "message_id": sent.message_id})

    await pipe.becomes(sent.message_id, "UNDELIVERED")


async def test_x24_a_wrong_signature_changes_nothing(pipe: Pipe, database_url: str) -> None:
    """X24, S21: a wrong signature, an unknown provider and another kind are refused with the very same answer."""
    sent = await pipe.send()
    gateway_settings = GatewaySettings(
        http_port=0, config_target=pipe.config_address, dispatch_target=pipe.dispatch.address, auth=auth_settings()
    )
    body = wire(about("A", "DELIVERED"))
    async with open_gateway(gateway_settings) as gateway, httpx.AsyncClient(trust_env=False) as client:

        async def post(kind: str, provider_id: str, signature: str) -> httpx.Response:
            url = f"http://127.0.0.1:{gateway.port}/receipts/{kind}/{provider_id}"
            return await client.post(url, content=body, headers={"X-Signature": signature, "x-request-id": "r"})

        a = pipe.ids["A"]
        refused = [
            await post("a", a, "bad"),
            await post("a", str(UUID(int=7)), "good"),
            await post("a", "nobody", "good"),
            await post("b", a, "good"),
            await post("nothing", a, "good"),
        ]
        later = await post("a", a, "later")
        unchanged = (await pipe.get(sent.message_id)).state
        good = await post("a", a, "good")

    assert {(each.status_code, each.text) for each in refused} == {(401, refused[0].text)}
    assert refused[0].json()["reason"] == "RECEIPT_REFUSED"
    assert later.status_code == 503
    assert unchanged == message_pb2.Message.STATE_SENT
    assert (good.status_code, good.content) == (200, b"")
    await receipts_done(database_url, count=1)
    await pipe.becomes(sent.message_id, "DELIVERED")


async def test_a_changed_secret_counts_at_once_and_a_disabled_provider_is_heard(pipe: Pipe) -> None:
    """R6: receipts are checked with the provider's settings as they are now, also when it was disabled meanwhile."""
    sent = await pipe.send()
    await pipe.change("A", config=struct(apiKey="new"), enabled=False)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pipe.receipt("A", about("A", "DELIVERED"))
    await pipe.receipt("A", about("A", "DELIVERED"), signature="new")

    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    await pipe.becomes(sent.message_id, "DELIVERED")


async def test_receipts_need_the_internal_scope(pipe: Pipe) -> None:
    """Nobody but a service of ours may hand over receipts or open a provider."""
    request = dispatch_service_pb2.ReceiveReceiptRequest(kind="a", provider_id=pipe.ids["A"])

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pipe.messages.ReceiveReceipt(request, metadata=metadata())

    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_forged_id_of_another_project_has_no_effect(pipe: Pipe, database_url: str) -> None:
    """S22: a provider only speaks about what it was given: B's word about A's message changes nothing."""
    sent = await pipe.send()
    await pipe.receipt("B", about("A", "DELIVERED", message_id=sent.message_id))
    await pipe.receipt("A", about("A", "OPENED"))
    story = await told(pipe, sent.message_id, 1)

    assert words(story) == ["OPENED"]
    assert (await pipe.get(sent.message_id)).state == message_pb2.Message.STATE_SENT


async def test_a_receipt_that_came_early_is_matched_later(pipe: Pipe) -> None:
    """R6: a receipt for a message whose answer is not recorded yet is kept, and takes effect when it is."""
    answered = asyncio.Event()
    pipe.script("A", answered)
    created = await pipe.create()
    await eventually(lambda: len(pipe.adapters["A"].calls) == 1)
    await pipe.receipt("A", about("A", "DELIVERED"))
    await pipe.receipt("A", {"status": "OPENED", "provider_message_id": "x", "message_id": created.id})
    await asyncio.sleep(0.5)
    before = await pipe.get(created.id)
    answered.set()
    await pipe.becomes(created.id, "DELIVERED")
    story = await told(pipe, created.id, 2)

    assert before.state == message_pb2.Message.STATE_SENDING
    assert sorted(words(story)) == ["DELIVERED", "OPENED"]
    assert story.kinds().index("completed") < story.kinds().index("receipt")


async def test_unmatched_ones_are_kept_72_hours(pipe: Pipe, database_url: str) -> None:
    """R6: what fits nothing is harmless, and dropped after 72 hours together with what was sent."""
    await pipe.receipt("A", about("Z", "DELIVERED"))
    connection = await asyncpg.connect(database_url)
    try:
        await eventually(
            lambda: connection.fetchval("SELECT count(*) = 1 FROM dispatch.receipts WHERE message_id IS NULL")
        )
        await connection.execute("UPDATE dispatch.receipts SET received_at = now() - interval '71 h'")
        await connection.execute("UPDATE dispatch.receipt_calls SET received_at = now() - interval '71 h'")
        async with rig_again(database_url):
            kept = await connection.fetchval("SELECT count(*) FROM dispatch.receipts")
        await connection.execute("UPDATE dispatch.receipts SET received_at = now() - interval '73 h'")
        await connection.execute("UPDATE dispatch.receipt_calls SET received_at = now() - interval '73 h'")
        async with rig_again(database_url):
            await eventually(lambda: connection.fetchval("SELECT count(*) = 0 FROM dispatch.receipts"))
            await eventually(lambda: connection.fetchval("SELECT count(*) = 0 FROM dispatch.receipt_calls"))
    finally:
        await connection.close()

    assert kept == 1


def rig_again(database_url: str) -> Any:
    """Another dispatcher on the same database, which looks for what is too old when it starts."""
    return rig(database_url)


async def test_a_copy_is_not_the_recipient(pipe: Pipe) -> None:
    """R6: what a provider says about somebody in cc is told and changes no state."""
    sent = await pipe.send(cc=["Bob <bob@example.com>"])
    await pipe.receipt("A", about("A", "BOUNCED_HARD", recipient="Bob@example.com"))
    story = await told(pipe, sent.message_id, 1)
    await pipe.receipt("A", about("A", "DELIVERED", recipient="ada@example.com"))
    await pipe.becomes(sent.message_id, "DELIVERED")

    assert words(story) == ["BOUNCED_HARD"]
    assert story.events[-1].receipt.state == message_pb2.Message.STATE_SENT


async def test_the_header_names_that_the_gateway_hands_on(pipe: Pipe) -> None:
    """S21: the reader gets the public URL with its query as called, headers in lower case and the bytes untouched."""
    gateway_settings = GatewaySettings(
        http_port=0,
        config_target=pipe.config_address,
        dispatch_target=pipe.dispatch.address,
        auth=auth_settings(),
        public_url="https://mail.example.com/pipe/",
    )
    raw = b'{"receipts": [ ]}\r\n '
    path = f"/receipts/a/{pipe.ids['A']}?m=%2B1&x=a+b"
    async with open_gateway(gateway_settings) as gateway, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{gateway.port}{path}"
        answer = await client.post(url, content=raw, headers={**GOOD, "Content-Type": "text/plain", "X-Two": "1"})

    assert answer.status_code == 200
    (request,) = pipe.reader.requests
    assert request.url == f"https://mail.example.com/pipe{path}"
    assert (request.body, request.headers["content-type"], request.headers["x-two"]) == (raw, "text/plain", "1")
