"""Everything that could make a secret show: what users, vendors and strangers do to a running house with an account
full of canaries, and all that is answered. No test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from messagepipe.config.v1 import config_service_pb2 as config_pb
from messagepipe.config.v1 import provider_pb2
from messagepipe.config.v1.config_service_pb2_grpc import ConfigServiceStub
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch_pb
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from tests.acceptance.canaries import SMTP_ACCOUNT, Account
from tests.acceptance.house import House, Project
from tests.acceptance.leaky_vendors import ACCEPTING, HONEST, REFUSING, Leaky, leaky
from tests.acceptance.seven_kinds import EMAIL, SMS
from tests.fakes.mail import mail_server, server_tls
from tests.fakes.vendor import refusing_port
from tests.integration.rig import metadata, struct

CHANNELS = {Channel.EMAIL: channel_pb2.CHANNEL_EMAIL, Channel.SMS: channel_pb2.CHANNEL_SMS}
RECIPIENTS = {Channel.EMAIL: "ada@example.com", Channel.SMS: "+14155550100"}

# A secret's own object and name, spoilt.
SPOILT: Mapping[str, Callable[[dict[str, Any], str], None]] = {
    "misspelt": lambda below, name: below.update({name[:-1]: below.pop(name)}),
    "in a list": lambda below, name: below.update({name: [below[name]]}),
    "in an object": lambda below, name: below.update({name: {"value": below[name]}}),
    "with a line break": lambda below, name: below.update({name: f"{below[name]}\n", "alsoWrong": 1}),
    "too long": lambda below, name: below.update({name: below[name] * 1000}),
}


@dataclass
class Seen:
    """What became of one account: every answer over REST and gRPC, the attempts by the name of their provider, and
    the statuses of what had to be refused.
    """

    account: Account
    vendor: Leaky
    answers: list[str] = field(default_factory=list)
    attempts: dict[str, dict[str, Any]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, httpx.Response] = field(default_factory=dict)
    receipts: dict[str, int] = field(default_factory=dict)
    rpc_errors: int = 0


async def provoke(house: House, account: Account) -> Seen:
    """All of it, with one account."""
    async with leaky(account) as vendor:
        seen = Seen(account=account, vendor=vendor)
        for act in (_use, _be_quoted, _fail_to_connect, _mistype, _receive, _call):
            async with house.project(f"{act.__name__.strip('_')}-{account.name}") as project:
                await act(house, project, seen)
                seen.answers += project.heard
    return seen


async def _use(_: House, project: Project, seen: Seen) -> None:
    """As it is meant to be: configure, test, send, read, replace every secret, test before saving, remove."""
    account, url = seen.account, seen.vendor.addresses[HONEST]
    settings = account.settings(url)
    provider = await project.provider(account.channel, account.kind, settings, name="Honest")
    await _send(project, seen)
    for name, body in (
        ("stored", {}),
        ("unsaved", {"config": settings}),
        ("recipient", {"recipient": RECIPIENTS[account.channel]}),
        ("sandbox", {"sandboxSend": True}),
    ):
        await _test(project, seen, provider, f"Honest {name}", body)
    path = _path(account, provider)
    for answer in (
        await project.http.put(path, json={"config": settings, "name": "Renamed"}),
        await project.http.get(path),
        await project.http.get(f"/{account.channel.lower()}-config/providers?projectId={project.name}"),
        await project.http.delete(path),
    ):
        assert answer.is_success, answer.text


async def _be_quoted(_: House, project: Project, seen: Seen) -> None:
    """A chain of vendors that each quote what they were told, in each style; each of them tested as well."""
    account = seen.account
    ids = {}
    for style in [REFUSING, *account.styles, ACCEPTING]:
        settings = account.settings(seen.vendor.addresses[style])
        ids[style] = await project.provider(account.channel, account.kind, settings, name=style)
    await _send(project, seen)
    for style, provider in ids.items():
        # A message that is sent for a test is quoted as one that is sent in earnest: twice is enough.
        real = {"recipient": RECIPIENTS[account.channel]} if style in ("json", ACCEPTING) else {}
        await _test(project, seen, provider, style, real)


async def _fail_to_connect(_: House, project: Project, seen: Seen) -> None:
    """One vendor whose certificate nobody knows, and one who is not there."""
    account = seen.account
    async with AsyncExitStack() as stack:
        strange = await stack.enter_async_context(_strange_certificate(account))
        nobody = f"http://127.0.0.1:{await stack.enter_async_context(refusing_port())}"
        for name, url, more in (("TLS", strange, _implicit_tls(account)), ("Refused", nobody, {})):
            settings = {**account.settings(url), **more}
            if "stsEndpointUrl" in settings:
                settings["stsEndpointUrl"] = url
            provider = await project.provider(account.channel, account.kind, settings, name=name)
            await _test(project, seen, provider, name, {})
        await _send(project, seen)


async def _mistype(_: House, project: Project, seen: Seen) -> None:
    """Every secret in a place or a form where it does not belong: added, changed and tested like that."""
    account, url = seen.account, seen.vendor.addresses[HONEST]
    provider = await project.provider(account.channel, account.kind, account.settings(url))
    path = _path(account, provider)
    for secret in account.planted:
        for how, spoil in SPOILT.items():
            wrong, name = account.settings_with(url, secret, spoil), f"{'.'.join(secret)} {how}"
            body = {"provider": account.kind, "name": "x", "config": wrong}
            seen.refused[f"{name}, added"] = await project.try_provider(account.channel, body)
            if how in ("misspelt", "in an object"):
                seen.refused[f"{name}, changed"] = await project.http.put(path, json={"config": wrong})
                seen.refused[f"{name}, tested"] = await project.http.post(f"{path}/test", json={"config": wrong})
    whole = json.dumps({"provider": account.kind, "config": account.settings(url)}).encode()
    seen.refused["cut off"] = await project.try_provider(account.channel, whole[:-3])
    text = {"provider": account.kind, "name": "x", "config": json.dumps(account.settings(url))}
    seen.refused["as text"] = await project.try_provider(account.channel, text)
    query = {"/".join(secret): value for secret, value in account.planted.items()}
    seen.refused["in the query"] = await project.http.get(path, params=query)


async def _receive(house: House, project: Project, seen: Seen) -> None:
    """Receipts that prove nothing and hold every secret; and, where a secret itself is the proof, ones that do."""
    account = seen.account
    provider = await project.provider(account.channel, account.kind, account.settings(seen.vendor.addresses[HONEST]))
    path = f"/receipts/{account.kind}/{provider}"
    everything = json.dumps({".".join(secret): value for secret, value in account.planted.items()})
    async with httpx.AsyncClient(base_url=house.url, event_hooks={"response": [project.hear]}) as stranger:
        for name in SIGNATURES:
            for value in account.planted.values():
                answer = await stranger.post(path, content=everything, headers={name: f"{value}x"})
                seen.receipts[f"{name} wrong"] = answer.status_code
        for value in account.planted.values():
            answer = await stranger.post(path, params={"secret": f"{value}x", "key": value}, content=everything)
            seen.receipts["query wrong"] = answer.status_code
        if secret := account.planted.get(("receiptSecret",)):
            header, query = {"x-messagepipe-receipt-secret": secret}, {"secret": secret}
            seen.receipts["header right"] = (await stranger.post(path, content="{}", headers=header)).status_code
            seen.receipts["query right"] = (await stranger.post(path, content="{}", params=query)).status_code


SIGNATURES = (
    "x-twilio-email-event-webhook-signature",
    "x-twilio-signature",
    "x-termii-signature",
    "x-messagepipe-receipt-secret",
    "authorization",
)


async def _call(house: House, project: Project, seen: Seen) -> None:
    """The services themselves, over gRPC: answers, refusals and events."""
    account, channel = seen.account, CHANNELS[seen.account.channel]
    settings, who = account.settings(seen.vendor.addresses["plain"]), metadata(project.name)

    async def told(answer: Awaitable[Any]) -> Any:
        try:
            found = await answer
        except grpc.aio.AioRpcError as error:
            seen.rpc_errors += 1
            seen.answers.append(f"{error!r} {error.details()} {error.trailing_metadata()}")
            return None
        seen.answers.append(f"{found}")
        return found

    async with AsyncExitStack() as stack:
        there = {
            name: await stack.enter_async_context(grpc.aio.insecure_channel(target))
            for name, target in house.targets.items()
        }
        config: Any = ConfigServiceStub(there["config"])
        wrong = provider_pb2.Provider(
            channel=channel, kind=account.kind, name="x", config=struct(**settings, alsoWrong=settings)
        )
        await told(config.CreateProvider(config_pb.CreateProviderRequest(provider=wrong), metadata=who))
        good = provider_pb2.Provider(channel=channel, kind=account.kind, name="x", config=struct(**settings))
        made = await told(config.CreateProvider(config_pb.CreateProviderRequest(provider=good), metadata=who))
        await told(config.GetProvider(config_pb.GetProviderRequest(id=made.id), metadata=who))
        await told(config.ListProviders(config_pb.ListProvidersRequest(), metadata=who))
        await told(config.TestProvider(config_pb.TestProviderRequest(id=made.id), metadata=who))
        request = config_pb.ResolveChainRequest(project_id=project.name, channel=channel)
        await told(config.ResolveChain(request, metadata=who))  # for dispatchers alone: a caller is refused
        message_id = await project.send(_message(account))
        watch = dispatch_pb.WatchMessageRequest(message_id=message_id)
        async for event in DispatchServiceStub(there["dispatch"]).WatchMessage(watch, metadata=who):
            seen.answers += [str(event), event.SerializeToString().decode("latin-1")]


async def _send(project: Project, seen: Seen) -> None:
    """One message through the project's chain, to its end; every attempt is noted."""
    message_id = await project.send(_message(seen.account))
    for word, content in await project.told(message_id):
        if word == "attempt_finished":
            attempt = content["attemptFinished"]["attempt"]
            seen.attempts[attempt["providerName"]] = attempt
    await project.message(message_id)
    await project.http.get(f"/v1/messages/{message_id}/events", headers={"accept": "application/json"})


async def _test(project: Project, seen: Seen, provider: str, name: str, body: Mapping[str, Any]) -> None:
    answer = await project.http.post(f"{_path(seen.account, provider)}/test", json=body)
    seen.verdicts[name] = answer.json().get("verdict", str(answer.status_code))


def _message(account: Account) -> Mapping[str, Any]:
    """A message that the kind can carry, and that goes on after an attempt nobody knows the end of."""
    return EMAIL if account.channel is Channel.EMAIL else SMS


def _path(account: Account, provider: str) -> str:
    return f"/{account.channel.lower()}-config/providers/{provider}"


def _implicit_tls(account: Account) -> dict[str, Any]:
    return {"secure": True, "tls": {}} if account is SMTP_ACCOUNT else {}


@asynccontextmanager
async def _strange_certificate(account: Account) -> AsyncIterator[str]:
    """The address of a server whose certificate nobody has signed."""
    if account is SMTP_ACCOUNT:
        async with mail_server(tls="implicit") as server:
            yield f"smtp://127.0.0.1:{server.port}"
        return
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server_tls())
    async with listening:
        yield f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
