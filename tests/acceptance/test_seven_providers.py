"""Each of the seven kinds sends one message, with all that the kind can carry, after the provider before it failed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import pytest_asyncio
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from services.adapters.base import Channel
from services.adapters.registry import BUILT_IN
from tests.acceptance.arrived import smtp_mail
from tests.acceptance.house import House, Project, shared_house
from tests.acceptance.seven_kinds import EMAIL, FAILURES, HTTP_KINDS, Failure, Kind, smtp_arrives
from tests.fakes.mail import mail_server
from tests.fakes.vendor import VendorServer, refusing_port
from tests.integration.rig import Story, metadata

shares_the_house = pytest.mark.asyncio(loop_scope="module")

WORDS = "queued attempt_started attempt_finished failover attempt_started attempt_finished completed".split()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgres_server, tmp_path_factory) -> AsyncIterator[House]:
    """Every process of messagepipe."""
    async with shared_house(postgres_server, tmp_path_factory) as opened:
        yield opened


def test_every_kind_is_in_the_table() -> None:
    """Whatever is built in and is no sandbox sends below, after a provider that fails."""
    built_in = {kind.spec.kind for kind in BUILT_IN} - {"sandbox"}
    assert set(FAILURES) == {*(kind.dialect.kind for kind in HTTP_KINDS), "smtp"} == built_in


@shares_the_house
@pytest.mark.parametrize("kind", HTTP_KINDS, ids=lambda kind: kind.dialect.kind)
async def test_it_takes_over_from_one_that_fails(house: House, kind: Kind) -> None:
    """The kind's server gets exactly one request, which says everything that the message does, and every attempt is
    told over REST, SSE and gRPC.
    """
    name, channel = kind.dialect.kind, kind.dialect.channel
    async with house.project(f"seven-{name}") as project, AsyncExitStack() as stack:
        if kind.sender is not None:
            await project.sender(channel, **kind.sender)
        before = await fail_first(stack, project, FAILURES[name])
        vendor = await stack.enter_async_context(VendorServer(default=kind.dialect.accepted))
        config = {**kind.dialect.settings(vendor.url), **kind.settings}
        taker = await project.provider(channel, name, config, name="Taker")

        message_id = await project.send(kind.message)
        await check_story(house, project, message_id, FAILURES[name], taker, kind.dialect.accepted_id)

        assert [kind.read(received) for received in vendor.received] == [kind.arrives(message_id)]
        assert len(before.received if before else []) == (FAILURES[name].reply is not None)


@shares_the_house
async def test_smtp_takes_over_from_one_that_fails(house: House) -> None:
    """The same for a mail server with STARTTLS and a password."""
    async with house.project("seven-smtp") as project, AsyncExitStack() as stack:
        await fail_first(stack, project, FAILURES["smtp"])
        server = await stack.enter_async_context(mail_server(password="letter", tls="starttls"))
        config = {
            "host": "127.0.0.1",
            "port": server.port,
            "secure": False,
            "auth": {"user": "postman", "pass": "letter"},
            "tls": {"rejectUnauthorized": False},
        }
        taker = await project.provider(Channel.EMAIL, "smtp", config, name="Taker")

        message_id = await project.send(EMAIL)
        reference = f"<{message_id}@xn--mller-kva.example>"
        await check_story(house, project, message_id, FAILURES["smtp"], taker, reference)

        assert smtp_mail(server) == smtp_arrives(message_id)


async def fail_first(stack: AsyncExitStack, project: Project, failure: Failure) -> VendorServer | None:
    """The provider before, configured; its server, unless nobody listens there."""
    server = None
    if failure.reply is None:
        url = f"http://127.0.0.1:{await stack.enter_async_context(refusing_port())}"
    else:
        server = await stack.enter_async_context(VendorServer(default=failure.reply))
        url = server.url
    await project.provider(failure.channel, failure.dialect.kind, failure.dialect.settings(url), name="Before")
    return server


async def check_story(
    house: House, project: Project, message_id: str, failure: Failure, taker: str, reference: str
) -> None:
    """Two attempts and SENT, the same whoever asks and however."""
    told = await project.told(message_id)
    message = await project.message(message_id)

    assert [word for word, _ in told] == WORDS
    ends = [content["attemptFinished"]["attempt"] for word, content in told if word == "attempt_finished"]
    assert [brief(end) for end in ends] == [
        ("Before", failure.dialect.kind, failure.outcome, failure.reason),
        ("Taker", message["provider"], "ACCEPTED", "ACCEPTED"),
    ]
    assert ends[1]["providerMessageId"] == reference
    failover = told[3][1]["failover"]
    assert (failover["toProviderId"], failover["outcome"]) == (taker, failure.outcome)
    assert (message["state"], message["providerId"], message["attempts"]) == ("SENT", taker, ends)
    assert (message["tags"], message["metadata"]) == (told_tags(message["channel"]), {"order": "7"})
    story = await over_grpc(house, project, message_id)
    assert story.kinds() == WORDS
    assert story.calls == f"Before:{failure.outcome.lower()} Taker:accepted"
    assert (story.state, story.end.provider_id) == ("SENT", taker)


def brief(attempt: dict[str, Any]) -> tuple[str, str, str, str]:
    """An attempt in four words."""
    return attempt["providerName"], attempt["provider"], attempt["outcome"], attempt["reason"]


def told_tags(channel: str) -> list[str]:
    """The tags of the messages of a channel."""
    return ["welcome", "spring"] if channel == "EMAIL" else ["welcome"]


async def over_grpc(house: House, project: Project, message_id: str) -> Story:
    """The message's events as DispatchService itself streams them."""
    async with grpc.aio.insecure_channel(house.targets["dispatch"]) as channel:
        request = pb.WatchMessageRequest(message_id=message_id)
        call = DispatchServiceStub(channel).WatchMessage(request, metadata=metadata(project.name))
        return Story([event async for event in call])
