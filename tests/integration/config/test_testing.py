"""TestProvider over real gRPC, a real PostgreSQL and real local servers in the providers' place."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from services.chassis.auth import SCOPES
from services.config.app import RunningConfig, open_config
from tests.contract.dialects import SENDGRID
from tests.fakes.mail import mail_server
from tests.fakes.vendor import Received, Reply, VendorServer
from tests.integration.config.service import EMAIL, SMS, Caller, a_settings, a_struct, calling

Answer = pb2.TestProviderResponse
GOOD, BAD, CANNOT = Answer.VERDICT_GOOD, Answer.VERDICT_BAD, Answer.VERDICT_CANNOT_VERIFY
CANARY = "SG.canary5ecret"


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[RunningConfig]:
    """A ConfigService with every installed kind, allowed to reach loopback."""
    settings = a_settings(database_url, egress_allow=("127.0.0.0/8",))
    async with open_config(settings) as running:
        yield running


@pytest.fixture
async def owner(real: RunningConfig) -> AsyncIterator[Caller]:
    """A caller of project `shop` with every scope."""
    async with calling(real.address) as someone:
        yield someone


@pytest.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A test server to point settings at."""
    async with VendorServer() as server:
        yield server


def knowing(key: str) -> Callable[[Received], Reply]:
    """SendGrid as it answers to its one good key."""

    def answer(received: Received) -> Reply:
        if received.headers.get("authorization") != f"Bearer {key}":
            return SENDGRID.bad_credentials
        if received.path == "/v3/scopes":
            return Reply.json(200, {"scopes": ["mail.send"]})
        sandboxed = received.json().get("mail_settings") == {"sandbox_mode": {"enable": True}}
        return Reply(status=200 if sandboxed else 202, headers={"x-message-id": "sg-1"})

    return answer


async def made(owner: Caller, kind: str, config: Mapping[str, Any], *, channel: Any = EMAIL) -> provider_pb2.Provider:
    """A stored provider."""
    return await owner.create(kind=kind, channel=channel, config=config)


async def ask(owner: Caller, provider_id: str, **values: Any) -> Any:
    """What TestProvider answers."""
    config = values.pop("config", None)
    request = pb2.TestProviderRequest(id=provider_id, **values)
    if config is not None:
        request.config.CopyFrom(a_struct(config))
    return await owner.call("TestProvider", request)


async def test_stored_credentials(owner: Caller, vendor: VendorServer) -> None:
    """A stored key is opened for the check alone: GOOD while the provider knows it, BAD when it does not any longer."""
    vendor.default = knowing(CANARY)
    mine = await made(owner, "sendgrid", {"apiKey": CANARY, "baseUrl": vendor.url})
    answer = await ask(owner, mine.id)
    assert (answer.verdict, answer.HasField("sent")) == (GOOD, False)
    vendor.default = knowing("another")
    answer = await ask(owner, mine.id)
    assert answer.verdict == BAD
    assert "authorization grant is invalid" in answer.message
    assert CANARY not in str(answer)


async def test_unsaved_settings_are_tried_and_not_kept(owner: Caller, vendor: VendorServer) -> None:
    """A config in the body lies over the stored one for this test only: no version, no chain changes."""
    vendor.default = knowing("SG.the-new-one")
    mine = await made(owner, "sendgrid", {"apiKey": CANARY, "baseUrl": vendor.url})
    before = await owner.resolve()
    assert (await ask(owner, mine.id, config={"apiKey": "SG.the-new-one"})).verdict == GOOD
    assert (await ask(owner, mine.id)).verdict == BAD
    assert await owner.resolve() == before


async def test_wrong_settings_never_reach_the_provider(owner: Caller, vendor: VendorServer) -> None:
    """Every violation of the merged settings and of the recipient is told at once, and nobody is asked anything."""
    mine = await made(owner, "sendgrid", {"apiKey": CANARY, "baseUrl": vendor.url})
    request = pb2.TestProviderRequest(
        id=mine.id, recipient="nobody", config=a_struct({"apiKye": "x", "fromEmail": "none"})
    )
    error = await owner.refused("TestProvider", request)
    assert {each.field for each in error.violations} == {"config.apiKye", "config.fromEmail", "recipient"}
    assert vendor.received == []


async def test_a_message_in_sandbox_mode(owner: Caller, vendor: VendorServer) -> None:
    """sandboxSend sends one message in the provider's own sandbox mode and tells what became of it."""
    vendor.default = knowing(CANARY)
    config = {"apiKey": CANARY, "baseUrl": vendor.url, "fromEmail": "shop@example.com"}
    answer = await ask(owner, (await made(owner, "sendgrid", config)).id, sandbox_send=True)
    assert (answer.verdict, answer.sent.outcome, answer.sent.provider_code) == (GOOD, "ACCEPTED", "200")
    assert answer.sent.recipient.endswith("@example.com")
    assert [received.path for received in vendor.received] == ["/v3/scopes", "/v3/mail/send"]


async def test_a_real_message(owner: Caller) -> None:
    """A recipient gets one real message from the project's sender, on a provider that is switched off as well."""
    sender = provider_pb2.ChannelConfig(channel=EMAIL, sender_email="noreply@shop.test", sender_name="Shop")
    await owner.call("CreateChannelConfig", pb2.CreateChannelConfigRequest(channel_config=sender))
    async with mail_server() as server:
        config = {"host": "127.0.0.1", "port": server.port}
        mine = await owner.create(kind="smtp", config=config, enabled=False)
        answer = await ask(owner, mine.id, recipient="ada@example.com")
    assert (answer.verdict, answer.sent.outcome, answer.sent.recipient) == (GOOD, "ACCEPTED", "ada@example.com")
    (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("noreply@shop.test", ("ada@example.com",))


async def test_a_real_message_needs_the_scope_of_sending(real: RunningConfig, owner: Caller) -> None:
    """Without messages:send a recipient is refused, and everything else works."""
    mine = await made(owner, "sandbox", {})
    async with calling(real.address, scopes=set(SCOPES) - {"messages:send"}) as clerk:
        request = pb2.TestProviderRequest(id=mine.id, recipient="ada@example.com")
        error = await clerk.refused("TestProvider", request)
        assert (error.reason, error.metadata) == ("SCOPE_MISSING", {"scope": "messages:send"})
        assert (await ask(clerk, mine.id, sandbox_send=True)).verdict == GOOD


async def test_kinds_without_a_sandbox_mode(owner: Caller) -> None:
    """sandboxSend is refused where the vendor has none, naming what to do instead."""
    config = {"apiKey": "k", "senderId": "Acme", "baseUrl": "https://termii.test"}
    mine = await made(owner, "termii", config, channel=SMS)
    error = await owner.refused("TestProvider", pb2.TestProviderRequest(id=mine.id, sandbox_send=True))
    assert [each.field for each in error.violations] == ["sandboxSend"]


async def test_the_sandbox_kinds_are_always_good(owner: Caller) -> None:
    """The sandboxes need no credentials, and take their own test message."""
    for channel in (EMAIL, SMS):
        mine = await made(owner, "sandbox", {}, channel=channel)
        answer = await ask(owner, mine.id, sandbox_send=True)
        assert (answer.verdict, answer.sent.outcome) == (GOOD, "ACCEPTED")


async def test_private_networks_stay_closed(database_url: str, vendor: VendorServer) -> None:
    """Without MESSAGEPIPE_EGRESS_ALLOW a test reaches nothing on this machine, whatever the settings say."""
    async with open_config(a_settings(database_url)) as running, calling(running.address) as owner:
        mine = await made(owner, "sendgrid", {"apiKey": CANARY, "baseUrl": vendor.url})
        answer = await ask(owner, mine.id, recipient="ada@example.com", config={"fromEmail": "shop@example.com"})
    assert (answer.verdict, answer.sent.reason) == (CANNOT, "EGRESS_REFUSED")
    assert vendor.connections == 0


async def test_another_channels_route_does_not_find_it(owner: Caller) -> None:
    """The documented SMS route does not test an email provider."""
    mine = await made(owner, "sandbox", {})
    error = await owner.refused("TestProvider", pb2.TestProviderRequest(id=mine.id, channel=SMS))
    assert error.reason == "PROVIDER_NOT_FOUND"
