"""SendBulkMessages to vendors that take many messages in one call: few calls, and each message keeps all of its own."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import UUID

import grpc
import pytest
from google.api import httpbody_pb2
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.chassis.env import SecretText
from services.config.app import open_config
from services.config.settings import ConfigSettings
from services.dispatch.app import open_dispatch
from services.dispatch.settings import DispatchSettings
from tests.contract.dialects import MAILGUN, SENDGRID, SES
from tests.contract.receipt_vectors import MAILGUN_CONFIG, mailgun_call
from tests.fakes.vendor import Received, Reply, Rude, VendorServer
from tests.integration.rig import (
    EMAIL,
    PROJECT,
    VAULT_KEYS,
    Story,
    auth_settings,
    eventually,
    metadata,
    struct,
)

if TYPE_CHECKING:
    from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceAsyncStub
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

LOOPBACK = ("127.0.0.0/8",)
KINDS = {"sendgrid": SENDGRID, "mailgun": MAILGUN}
FEW = 10  # a busy machine may need some calls for a hundred recipients, but never anywhere near a hundred


@dataclass
class House:
    """ConfigService and DispatchService with the kinds as they are shipped."""

    config: "ConfigServiceAsyncStub"
    messages: "DispatchServiceAsyncStub"

    async def provider(self, kind: str, url: str, **settings: Any) -> str:
        """The id of a provider at this address, behind those that are there."""
        config = struct(**{**(KINDS | {"ses": SES})[kind].settings(url), **settings})
        provider = provider_pb2.Provider(channel=EMAIL, kind=kind, name=kind, config=config, enabled=True)
        request = config_service_pb2.CreateProviderRequest(project_id=PROJECT, provider=provider)
        return (await self.config.CreateProvider(request, metadata=metadata())).id

    async def bulk(self, recipients: Iterable[str], **fields: Any) -> list[pb.SendBulkMessagesResponse.Result]:
        """What became of each."""
        given = {"subject": "Hello", "text": "Hello.", "sender": "shop@example.com", **fields}
        spec = message_pb2.MessageSpec(project_id=PROJECT, channel=EMAIL, **given)
        request = pb.SendBulkMessagesRequest(message=spec, recipients=list(recipients))
        return list((await self.messages.SendBulkMessages(request, metadata=metadata())).results)

    async def story(self, message_id: str) -> Story:
        """The events of one message."""
        request = pb.WatchMessageRequest(message_id=message_id)
        return Story([event async for event in self.messages.WatchMessage(request, metadata=metadata())])

    async def get(self, message_id: str) -> message_pb2.Message:
        """One message as it is now."""
        return await self.messages.GetMessage(pb.GetMessageRequest(id=message_id), metadata=metadata())


@asynccontextmanager
async def open_house(database_url: str) -> AsyncIterator[House]:
    """Both services on this database."""
    dsn = SecretText(database_url)
    config_settings = ConfigSettings(
        database_url=dsn, vault_keys=VAULT_KEYS, auth=auth_settings(), config_port=0, drain_grace=0.2
    )
    async with open_config(config_settings) as config:
        settings = DispatchSettings(
            database_url=dsn,
            auth=auth_settings(),
            dispatch_port=0,
            config_target=config.address,
            drain_grace=2.0,
            egress_allow=LOOPBACK,
        )
        async with (
            open_dispatch(settings) as dispatch,
            grpc.aio.insecure_channel(config.address) as to_config,
            grpc.aio.insecure_channel(dispatch.address) as to_dispatch,
        ):
            yield House(ConfigServiceStub(to_config), DispatchServiceStub(to_dispatch))


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """Both services."""
    async with open_house(database_url) as running:
        yield running


def people(count: int) -> list[str]:
    """So many recipients."""
    return [f"u{number}@example.com" for number in range(count)]


def reached(received: Received) -> list[str]:
    """Whom a request is to, in SendGrid's words or in Mailgun's."""
    if received.path == "/v3/mail/send":
        return [each["email"] for part in received.json()["personalizations"] for each in part["to"]]
    return [parseaddr(each)[1] for each in parse_qs(received.body.decode())["to"]]


def all_reached(vendor: VendorServer) -> Counter[str]:
    """How often each was on the wire."""
    return Counter(each for received in vendor.received for each in reached(received))


WORDS = "queued attempt_started attempt_finished completed".split()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_hundred_in_a_few_calls(house: House, kind: str) -> None:
    """Everybody is on the wire once, in few calls; each message is SENT with a history and an id of its own."""
    async with VendorServer(default=KINDS[kind].accepted) as vendor:
        provider_id = await house.provider(kind, vendor.url)
        results = await house.bulk(people(100))

    assert all_reached(vendor) == Counter(people(100))
    assert len(vendor.received) <= FEW
    assert {(result.success, result.kind) for result in results} == {(True, kind)}
    messages = [await house.get(result.message_id) for result in results]
    assert {message.state for message in messages} == {message_pb2.Message.STATE_SENT}
    attempts = [attempt for message in messages for attempt in message.attempts]
    assert {attempt.provider_id for attempt in attempts} == {provider_id}
    assert len({attempt.provider_message_id for attempt in attempts}) == len(attempts) == 100
    stories = [await house.story(result.message_id) for result in results[:3]]
    assert [story.kinds() for story in stories] == [WORDS] * 3


async def test_one_alone_goes_as_ever(house: House) -> None:
    """A bulk request for one recipient is the vendor's usual request, with the vendor's id as it is."""
    async with VendorServer(default=SENDGRID.accepted) as vendor:
        await house.provider("sendgrid", vendor.url)
        (result,) = await house.bulk(["ada@example.com"])

    (attempt,) = (await house.get(result.message_id)).attempts
    assert (len(vendor.received), attempt.provider_message_id) == (1, SENDGRID.accepted_id)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_bad_recipient(house: House, kind: str) -> None:
    """The vendor refuses every request that names one of them: that one fails, the others are accepted once each."""
    bad = "u7@example.com"
    taken: Counter[str] = Counter()

    def answer(received: Received) -> Reply:
        if bad in reached(received):
            return KINDS[kind].bad_recipient
        taken.update(reached(received))
        return KINDS[kind].accepted

    async with VendorServer(default=answer) as vendor:
        await house.provider(kind, vendor.url)
        results = await house.bulk(people(20))

    assert taken == Counter(people(20)) - Counter([bad])
    assert {result.recipient for result in results if not result.success} == {bad}
    (failed,) = [await house.story(result.message_id) for result in results if not result.success]
    assert (failed.state, failed.calls) == ("FAILED", f"{kind}:invalid")


async def test_an_outcome_for_each(house: House) -> None:
    """SES takes fifty at a time and says of each what it did: the one that it did not take goes to the next provider,
    and nobody else does.
    """
    unlucky = "u7@example.com"

    def answer(received: Received) -> Reply:
        told = [{"Status": "SUCCESS", "MessageId": f"ses-{each}"} for each in entries(received)]
        for place, each in enumerate(entries(received)):
            if each == unlucky:
                told[place] = {"Status": "TRANSIENT_FAILURE", "Error": "try later"}
        return Reply.json(200, {"BulkEmailEntryResults": told})

    async with VendorServer(default=answer) as vendor, VendorServer(default=MAILGUN.accepted) as second:
        await house.provider("ses", vendor.url)
        await house.provider("mailgun", second.url)
        results = await house.bulk(people(60))

    assert Counter(each for received in vendor.received for each in entries(received)) == Counter(people(60))
    assert 2 <= len(vendor.received) <= FEW
    assert max(len(entries(received)) for received in vendor.received) <= 50
    assert all_reached(second) == Counter([unlucky])
    stories = {result.recipient: (await house.story(result.message_id)) for result in results}
    assert stories.pop(unlucky).calls == "ses:deferred mailgun:accepted"
    assert {story.calls for story in stories.values()} == {"ses:accepted"}
    (attempt,) = (await house.get(results[3].message_id)).attempts
    assert attempt.provider_message_id == "ses-u3@example.com"


def entries(received: Received) -> list[str]:
    """Whom a request to SES is to."""
    return [entry["Destination"]["ToAddresses"][0] for entry in received.json()["BulkEmailEntries"]]


async def test_no_answer(house: House) -> None:
    """When the call hangs, nobody knows of any of them; those that must not arrive twice are asked of nobody else."""
    async with VendorServer(default=Reply(rude=Rude.HANG)) as vendor, VendorServer(default=MAILGUN.accepted) as second:
        await house.provider("sendgrid", vendor.url, timeoutSeconds=1)
        await house.provider("mailgun", second.url)
        results = await house.bulk(people(30), unknown_policy=message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE)

    assert {result.state for result in results} == {message_pb2.Message.STATE_UNKNOWN}
    assert all_reached(vendor) == Counter(people(30))
    assert second.received == []
    assert len(vendor.received) <= FEW


async def test_failover_goes_together_too(house: House) -> None:
    """Those that one vendor deferred together go to the next one together."""
    async with VendorServer(default=Reply(status=503)) as vendor, VendorServer(default=MAILGUN.accepted) as second:
        await house.provider("sendgrid", vendor.url)
        await house.provider("mailgun", second.url)
        results = await house.bulk(people(50))

    assert all(result.success for result in results)
    assert all_reached(second) == Counter(people(50))
    assert max(len(vendor.received), len(second.received)) <= FEW
    # when its breaker opened, those that came later passed it by
    assert set(all_reached(vendor).values()) == {1}


async def test_whoever_asked_goes_away(house: House) -> None:
    """When the caller hangs up while the call is on the wire, it goes on, and every message ends SENT."""
    async with VendorServer(default=Reply(status=202, delay=0.5)) as vendor:
        await house.provider("sendgrid", vendor.url)
        asking = asyncio.create_task(house.bulk(people(10)))
        await eventually(lambda: all_reached(vendor).total() == 10)
        asking.cancel()
        ours = [part["custom_args"]["messagepipe_id"] for got in vendor.received for part in got.json()[PERSONS]]

        async def all_sent() -> bool:
            messages = [await house.get(each) for each in ours]
            return all(message.state == message_pb2.Message.STATE_SENT for message in messages)

        await eventually(all_sent)
        assert all_reached(vendor) == Counter(people(10))


PERSONS = "personalizations"


async def test_receipts_find_their_message(house: House) -> None:
    """An event names the id that all share, and ours: it is about that message alone. Without ours it is about none."""
    async with VendorServer(default=MAILGUN.accepted) as vendor:
        provider_id = await house.provider("mailgun", vendor.url, **MAILGUN_CONFIG)
        first, second, third = await house.bulk(people(3))
        assert len(vendor.received) == 1
        sent = parse_qs(vendor.received[0].body.decode())
        named = json.loads(sent["recipient-variables"][0])["u1@example.com"]["messagepipe_id"]

        await tell(house, provider_id, {"messagepipe_id": named}, "a")
        await tell(house, provider_id, {}, "b")
        await tell(house, provider_id, {"messagepipe_id": "%recipient.messagepipe_id%"}, "c")

        async def delivered() -> bool:
            return (await house.get(second.message_id)).state == message_pb2.Message.STATE_DELIVERED

        await eventually(delivered)
        others = [(await house.get(result.message_id)).state for result in (first, third)]
        assert (UUID(named), others) == (UUID(second.message_id), [message_pb2.Message.STATE_SENT] * 2)


async def tell(house: House, provider_id: str, variables: dict[str, str], token: str) -> None:
    """Mailgun's event that a mail of the shared id arrived."""
    event = {
        "event": "delivered",
        "timestamp": 1_700_000_000.5,
        "message": {"headers": {"message-id": MAILGUN.accepted_id}},
        "user-variables": variables,
    }
    told, _ = mailgun_call(event, token=token * 50, at=datetime.now(UTC))
    request = pb.ReceiveReceiptRequest(
        kind="mailgun", provider_id=provider_id, body=httpbody_pb2.HttpBody(data=told.body), url="http://localhost/"
    )
    await house.messages.ReceiveReceipt(request, metadata=metadata(scopes="internal"))
