"""WebhookService: who may see and change endpoints, what is refused, and that no secret comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from messagepipe.config.v1 import vault_service_pb2
from messagepipe.config.v1.vault_service_pb2_grpc import VaultServiceStub
from messagepipe.dispatch.v1 import webhook_service_pb2 as pb

from services.adapters.egress import Egress
from services.adapters.http_transport import build_transport
from services.chassis import log
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText
from services.chassis.status import from_rpc_error
from services.config.app import open_config
from services.config.settings import ConfigSettings
from services.config.vault import OwnersPlace, Sealed, Vault, parse_keys
from services.dispatch.store import Store
from services.dispatch.vault_client import VaultClient
from services.dispatch.webhook import MAX_PER_PROJECT
from services.dispatch.webhooks import WebhookDesk
from tests.integration.dispatch.webhook_rig import NOWHERE, Desk, webhook_rig
from tests.integration.rig import PROJECT, VAULT_KEYS, auth_settings, eventually, metadata, token


@pytest.fixture
async def desk(database_url):
    """A messagepipe and a receiver."""
    async with webhook_rig(database_url) as running:
        yield running


NEW_KEY = "k2:" + "B" * 43 + "="
BY_ID = {
    "GetWebhook": lambda it: pb.GetWebhookRequest(id=it),
    "UpdateWebhook": lambda it: pb.UpdateWebhookRequest(webhook=pb.Webhook(id=it, description="mine")),
    "DeleteWebhook": lambda it: pb.DeleteWebhookRequest(id=it),
    "RotateWebhookSecret": lambda it: pb.RotateWebhookSecretRequest(id=it),
    "TestWebhook": lambda it: pb.TestWebhookRequest(id=it),
}
BY_PROJECT = {
    "ListWebhooks": lambda it: pb.ListWebhooksRequest(project_id=it),
    "CreateWebhook": lambda it: pb.CreateWebhookRequest(project_id=it, webhook=pb.Webhook(url="https://example.com/")),
}


@pytest.mark.parametrize("method", BY_ID)
async def test_a_foreign_endpoint_answers_like_an_unknown_one(desk: Desk, method: str):
    """Another project's endpoint, an id of nothing and a text that is no id; and nothing happened to it."""
    mine = await desk.add()
    errors = [await desk.refused(method, BY_ID[method](it)) for it in (mine.id, NOWHERE, "no-id")]
    assert {(error.reason, error.message) for error in errors} == {("WEBHOOK_NOT_FOUND", "Webhook not found.")}
    mine.ClearField("secret")
    assert await desk.get(mine.id) == mine
    assert desk.receiver.arrivals == []


@pytest.mark.parametrize("method", BY_PROJECT)
async def test_a_foreign_project_answers_like_an_unknown_one(desk: Desk, method: str):
    """One with endpoints and one that nobody uses; also where the project stands in the endpoint."""
    await desk.add()
    errors = [await desk.refused(method, BY_PROJECT[method](it)) for it in (PROJECT, "nobody")]
    inside = pb.CreateWebhookRequest(webhook=pb.Webhook(project_id=PROJECT, url="https://example.com/"))
    errors.append(await desk.refused("CreateWebhook", inside))
    assert {(error.reason, error.message) for error in errors} == {("PROJECT_NOT_FOUND", "Project not found.")}


async def test_reading_and_changing_are_two_scopes(desk: Desk):
    """config:read sees endpoints, config:write changes them; who may only send does neither."""
    mine = await desk.add()
    for method, make in BY_ID.items():
        scope = "messages:send config:write" if method == "GetWebhook" else "messages:send config:read"
        error = await desk.refused(method, make(mine.id), metadata(PROJECT, scopes=scope))
        assert error.reason == "SCOPE_MISSING"


async def test_a_secret_is_shown_when_it_is_made_and_never_again(desk: Desk, capsys):
    """Neither in an answer, nor in the database, nor in a log, nor in a post."""
    log.configure(service="tests", json=True, level="debug")
    created = await desk.add(types=["message.sent"])
    rotated = await desk.call("RotateWebhookSecret", pb.RotateWebhookSecretRequest(id=created.id))
    secrets = [created.secret, rotated.secret]
    assert all(secret.startswith("whsec_") and len(secret) == 50 for secret in secrets)

    changed = pb.UpdateWebhookRequest(webhook=pb.Webhook(id=created.id, description="for people"))
    answers = [
        await desk.get(created.id),
        await desk.call("UpdateWebhook", changed),
        await desk.call("ListWebhooks", pb.ListWebhooksRequest(project_id=PROJECT)),
        await desk.call("TestWebhook", pb.TestWebhookRequest(id=created.id)),
    ]
    desk.receiver.answer(500)
    await desk.pipe.send()
    await desk.arrived(2)
    rows = await desk.sql("SELECT w::text FROM dispatch.webhooks w")
    said = capsys.readouterr()
    bodies = [each.body.decode() + str(each.headers) for each in desk.receiver.arrivals]
    everywhere = " ".join([*map(str, answers), *map(str, rows), said.out, said.err, *bodies])
    hexed = [secret.removeprefix("whsec_").encode().hex() for secret in secrets]
    assert not any(secret.removeprefix("whsec_") in everywhere for secret in secrets)
    assert not any(each in everywhere for each in hexed)


async def test_an_endpoint_is_tested_with_one_post(desk: Desk):
    """Signed as everything is, enabled or not; a refusal is told and counts for nothing."""
    webhook = await desk.add(enabled=False)
    good = await desk.call("TestWebhook", pb.TestWebhookRequest(id=webhook.id))
    assert good == pb.TestWebhookResponse(success=True, status=204)
    (arrival,) = desk.receiver.arrivals
    assert arrival.verified(webhook.secret)["type"] == "webhook.test"

    desk.receiver.answer(404)
    bad = await desk.call("TestWebhook", pb.TestWebhookRequest(id=webhook.id))
    assert bad == pb.TestWebhookResponse(status=404, error="HTTP 404")
    assert (await desk.get(webhook.id)).last_error == ""


async def test_an_update_changes_what_is_given_or_named(desk: Desk):
    """A mask may empty what it names; what is wrong is refused with its field."""
    webhook = await desk.add(description="old", types=["message.sent"])
    given = pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id, description="new"))
    changed = await desk.call("UpdateWebhook", given)
    assert (changed.description, list(changed.types), changed.enabled) == ("new", ["message.sent"], True)
    named = pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id), update_mask=FieldMask(paths=["types"]))
    assert list((await desk.call("UpdateWebhook", named)).types) == []

    for wrong, field in (
        (
            pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id), update_mask=FieldMask(paths=["url"])),
            "webhook.url",
        ),
        (pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id, types=["eaten"])), "webhook.types[0]"),
        (pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id), update_mask=FieldMask(paths=["id"])), "updateMask"),
    ):
        error = await desk.refused("UpdateWebhook", wrong, metadata())
        assert [violation.field for violation in error.violations] == [field]


async def test_what_is_switched_off_meanwhile_stays_off(desk: Desk):
    """A change of the description that is asked for at the same moment waits, and changes the description only."""
    webhook = await desk.add()
    connection = await asyncpg.connect(desk.database_url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("UPDATE dispatch.webhooks SET enabled = false, disabled_reason = 'GONE'")
        wanted = pb.UpdateWebhookRequest(webhook=pb.Webhook(id=webhook.id, description="new"))
        changing = asyncio.create_task(desk.call("UpdateWebhook", wanted))

        async def waits() -> bool:
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%webhooks%'"
            return bool(await desk.sql(waiting))

        await eventually(waits)
        await transaction.commit()
    finally:
        await connection.close()
    changed = await changing
    assert (changed.description, changed.enabled, changed.disabled_reason) == ("new", False, "GONE")


async def test_a_project_has_a_bounded_number_of_endpoints(desk: Desk):
    """One more is refused, and there is room again when one is gone."""
    made = [await desk.add() for _ in range(MAX_PER_PROJECT)]
    one_more = pb.CreateWebhookRequest(project_id=PROJECT, webhook=pb.Webhook(url="https://example.com/"))
    assert (await desk.refused("CreateWebhook", one_more, metadata())).reason == "TOO_MANY_WEBHOOKS"
    await desk.call("DeleteWebhook", pb.DeleteWebhookRequest(id=made[0].id))
    await desk.add()
    listed = await desk.call("ListWebhooks", pb.ListWebhooksRequest(project_id=PROJECT))
    assert len(listed.webhooks) == MAX_PER_PROJECT
    assert [each.id for each in listed.webhooks[:-1]] == [each.id for each in made[1:]]


async def test_only_our_own_services_reach_the_vault(desk: Desk):
    """A project's caller may not, whatever it may otherwise."""
    place = vault_service_pb2.SecretPlace(project_id=PROJECT, owner_id=NOWHERE, version=1)
    request = vault_service_pb2.SealSecretRequest(place=place, secret="x")
    async with grpc.aio.insecure_channel(desk.pipe.config_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await VaultServiceStub(channel).SealSecret(request, metadata=metadata())
    assert from_rpc_error(raised.value).reason == "SCOPE_MISSING"


async def test_secrets_follow_the_newest_key_of_the_vault(desk: Desk):
    """What an older key sealed is sealed anew in the background, the secret before it too: the key can go."""
    webhook = await desk.add(types=["message.sent"])
    rotated = await desk.call("RotateWebhookSecret", pb.RotateWebhookSecretRequest(id=webhook.id))
    store = await Store.open(desk.database_url, worker="w", lease_seconds=30, connections=3)
    transport = build_transport(Egress())
    ring = f"{NEW_KEY},{VAULT_KEYS.reveal()}"
    try:
        async with a_config_with(desk.database_url, ring) as address, grpc.aio.insecure_channel(address) as channel:
            vault = VaultClient(channel, lambda: token(scopes="internal"))
            await vault.seal(PROJECT, uuid4(), 1, "whatever")  # it learns which key is the newest
            again = WebhookDesk(store, vault, transport, SystemClock(), lambda: 0.5)
            await again._reseal()
    finally:
        await transport.aclose()
        await store.close()
    assert [tuple(row) for row in await desk.sql("SELECT key_id, older_key_id FROM dispatch.webhooks")] == [
        ("k2", "k2")
    ]
    (row,) = await desk.sql("SELECT * FROM dispatch.webhooks")
    vault_of_tomorrow = Vault(parse_keys(SecretText(NEW_KEY)))
    opened = []
    for prefix in ("", "older_"):
        place = OwnersPlace(project_id=PROJECT, provider_id=row["id"], version=row[f"{prefix}version"])
        sealed = Sealed(key_id=row[f"{prefix}key_id"], data=row[f"{prefix}secret"])
        opened.append(vault_of_tomorrow.open(sealed, place)["secret"])
    assert opened == [rotated.secret, webhook.secret]


@asynccontextmanager
async def a_config_with(database_url: str, ring: str) -> AsyncIterator[str]:
    """The address of a ConfigService with these keys on a database without providers."""
    settings = ConfigSettings(
        database_url=SecretText(database_url),
        vault_keys=SecretText(ring),
        auth=auth_settings(),
        config_port=0,
        drain_grace=0.2,
    )
    async with open_config(settings, specs=[]) as running:
        yield running.address
