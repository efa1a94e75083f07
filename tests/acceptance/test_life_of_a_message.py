"""A real email, handed in over gRPC and over REST: SendGrid answers 503, SMTP takes it, and everybody sees each
attempt.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default as modern
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from tests.acceptance.processes import ROOT, free_port, process, until_serving
from tests.fakes.mail import MailServer, mail_server
from tests.fakes.vendor import Reply, VendorServer
from tests.integration.rig import EMAIL, PROJECT, SECRET, VAULT_KEYS, Story, metadata, token

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

SENDGRID_DOWN = Reply.json(503, {"errors": [{"message": "service unavailable", "field": None, "help": None}]})


@dataclass
class House:
    """Three running processes, a SendGrid-speaking server that is down, and a mail server that is not."""

    http: httpx.AsyncClient
    messages: "DispatchServiceAsyncStub"
    dispatch_target: str
    sendgrid: VendorServer
    mail: MailServer


@pytest.fixture
async def house(database_url, tmp_path) -> AsyncIterator[House]:
    """The house with a project whose chain is SendGrid, then SMTP."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(open_house(database_url, tmp_path))
        await configure(running)
        yield running


@asynccontextmanager
async def open_house(database_url: str, tmp_path) -> AsyncIterator[House]:
    """Every process of messagepipe and both providers."""
    ports = {"config": free_port(), "dispatch": free_port(), "gateway": free_port()}
    target = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    environ = {
        "MESSAGEPIPE_DATABASE_URL": database_url,
        "MESSAGEPIPE_JWT_SECRET": SECRET.reveal(),
        "MESSAGEPIPE_VAULT_KEYS": VAULT_KEYS.reveal(),
        "MESSAGEPIPE_CONFIG_PORT": str(ports["config"]),
        "MESSAGEPIPE_DISPATCH_PORT": str(ports["dispatch"]),
        "MESSAGEPIPE_HTTP_PORT": str(ports["gateway"]),
        "MESSAGEPIPE_CONFIG_TARGET": target["config"],
        "MESSAGEPIPE_DISPATCH_TARGET": target["dispatch"],
        "MESSAGEPIPE_EGRESS_ALLOW": "127.0.0.0/8",
    }
    async with AsyncExitStack() as stack:
        for name in ports:
            await stack.enter_async_context(process(name, environ=environ, log=tmp_path / f"{name}.log"))
        await until_serving(target["config"])
        await until_serving(target["dispatch"])
        headers = {"authorization": f"Bearer {token()}"}
        client = httpx.AsyncClient(base_url=f"http://{target['gateway']}", headers=headers, timeout=30)
        http = await stack.enter_async_context(client)
        await until_ready(http)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target["dispatch"]))
        yield House(
            http=http,
            messages=DispatchServiceStub(channel),
            dispatch_target=target["dispatch"],
            sendgrid=await stack.enter_async_context(VendorServer(default=SENDGRID_DOWN)),
            mail=await stack.enter_async_context(mail_server(password="letter", tls="starttls")),
        )


async def until_ready(http: httpx.AsyncClient) -> None:
    """Returns when the gateway says that everything behind it serves."""
    async with asyncio.timeout(30):
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def configure(house: House) -> None:
    """As a person would, over the documented REST paths."""
    sender = {"senderEmail": "noreply@example.com", "senderName": "Müller & Söhne", "enabled": True}
    made = await house.http.post(f"/email-config?projectId={PROJECT}", json=sender)
    assert made.status_code == 201, made.text
    providers = [
        ("sendgrid", "Primary SendGrid", {"apiKey": "SG.canary", "baseUrl": house.sendgrid.url}),
        (
            "smtp",
            "Own server",
            {
                "host": "127.0.0.1",
                "port": house.mail.port,
                "secure": False,
                "auth": {"user": "postman", "pass": "letter"},
                "tls": {"rejectUnauthorized": False},
            },
        ),
    ]
    for priority, (kind, name, config) in enumerate(providers, start=1):
        body = {"provider": kind, "name": name, "enabled": True, "priority": priority, "config": config}
        made = await house.http.post(f"/email-config/providers?projectId={PROJECT}", json=body)
        assert made.status_code == 201, made.text
        assert "SG.canary" not in made.text
        assert "letter" not in made.text


async def test_an_email_over_grpc_fails_over_and_arrives(house: House) -> None:
    """Handed in over gRPC, the email is refused by SendGrid's 503 and arrives at the SMTP server as it was written."""
    spec = message_pb2.MessageSpec(
        channel=EMAIL,
        to="Ada Lövelace <ada@example.com>",
        bcc=["archive@example.com"],
        subject="Grüße",
        text="Hello, Ada.",
        html="<p>Hello, <b>Ada</b>.</p>",
        attachments=[message_pb2.Attachment(filename="a.txt", content_type="text/plain", content=b"file")],
    )

    call = house.messages.DispatchMessage(pb.DispatchMessageRequest(message=spec), metadata=metadata())
    story = Story([event async for event in call])

    assert story.calls == "Primary SendGrid:deferred Own server:accepted"
    assert story.state == "SENT"
    assert len(house.sendgrid.received) == 1
    assert [mail.recipients for mail in house.mail.mails] == [("ada@example.com", "archive@example.com")]
    arrived = message_from_bytes(house.mail.mails[0].content, policy=modern)
    assert arrived["subject"] == "Grüße"
    assert arrived["from"] == "Müller & Söhne <noreply@example.com>"
    assert arrived["to"] == "Ada Lövelace <ada@example.com>"
    assert arrived["bcc"] is None
    body = arrived.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == "Hello, Ada."
    assert [part.get_filename() for part in arrived.iter_attachments()] == ["a.txt"]


async def test_an_email_over_rest_answers_like_the_documentation(house: House) -> None:
    """Handed in over REST, the same email answers 200 with the documented sentence and the message's id."""
    body = {"to": "ada@example.com", "subject": "Hello", "text": "Hello, Ada."}

    answer = await house.http.post("/email/send", json=body)

    assert answer.status_code == 200, answer.text
    assert answer.json()["message"] == "Email sent successfully"
    message = (await house.http.get(f"/v1/messages/{answer.json()['messageId']}")).json()
    assert (message["state"], message["provider"]) == ("SENT", "smtp")
    assert [attempt["outcome"] for attempt in message["attempts"]] == ["DEFERRED", "ACCEPTED"]
    assert len(house.mail.mails) == 1


async def test_a_call_that_is_made_again_sends_nothing_again(house: House) -> None:
    """R9 over the whole house: with a key, every way to send again answers as the first did, marked; another content is
    422; and one mail arrives.
    """
    body = {"to": "ada@example.com", "subject": "Hello", "text": "Hello, Ada."}
    key = {"idempotency-key": "welcome-ada"}
    first = await house.http.post("/email/send", json=body, headers=key)
    again = await house.http.post("/email/send", json=body, headers=key)
    stream = await house.http.post("/v1/messages:dispatch", json={**body, "channel": "EMAIL"}, headers=key)
    other = await house.http.post("/email/send", json={**body, "text": "Another"}, headers=key)
    many = {"subject": "Hello", "text": "Hello", "recipients": ["b@example.com", "c@example.com"]}
    bulk = [await house.http.post("/email/send-bulk", json=many, headers={"idempotency-key": "bulk"}) for _ in range(2)]

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 422)
    assert again.json() == {**first.json(), "replayed": True}
    marks = [each.headers.get("idempotency-replayed") for each in (first, again, stream, other, *bulk)]
    assert marks == [None, "true", "true", None, None, "true"]
    assert stream.text.count("event: completed") == 1
    assert [each["messageId"] for each in bulk[0].json()["results"]] == [
        each["messageId"] for each in bulk[1].json()["results"]
    ]
    assert sorted(mail.recipients for mail in house.mail.mails) == [
        ("ada@example.com",),
        ("b@example.com",),
        ("c@example.com",),
    ]


async def test_every_attempt_is_seen_over_sse(house: House) -> None:
    """Server-sent events tell every attempt with the sequence as id, and Last-Event-ID resumes after it."""
    body = {"channel": "EMAIL", "to": "ada@example.com", "subject": "Hello", "text": "Hello, Ada."}
    created = await house.http.post("/v1/messages", json=body)
    assert created.status_code == 202, created.text
    url = f"/v1/messages/{created.json()['id']}/events"

    everything = await server_sent(house.http, url)
    resumed = await server_sent(house.http, url, after=everything[2][0])

    assert [word for _, word, _ in everything] == [
        "queued",
        "attempt_started",
        "attempt_finished",
        "failover",
        "attempt_started",
        "attempt_finished",
        "completed",
    ]
    assert [number for number, _, _ in everything] == [str(number) for number in range(1, 8)]
    assert resumed == everything[3:]
    assert everything[2][2]["attemptFinished"]["attempt"]["outcome"] == "DEFERRED"


async def server_sent(http: httpx.AsyncClient, url: str, after: str = "") -> list[tuple[str, str, dict]]:
    """The events of a stream as (id, event, data)."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
    async with http.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        text = (await response.aread()).decode()
    blocks = [dict(re.findall(r"^(\w+): ?(.*)$", block, re.MULTILINE)) for block in text.split("\n\n")]
    return [(block["id"], block["event"], json.loads(block["data"])) for block in blocks if "data" in block]


async def test_every_attempt_is_seen_in_messagepipe_watch(house: House) -> None:
    """`messagepipe watch` shows each attempt of the project as it happens."""
    environ = {"MESSAGEPIPE_TOKEN": token(), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "cli.main", "watch", "--project", PROJECT, "--json"]
    watching = await asyncio.create_subprocess_exec(
        *command, "--target", house.dispatch_target, env=environ, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        seen: list[dict] = []
        async with asyncio.timeout(30):
            # It may still be connecting: each email tells one full story, the watcher is there for one of them.
            while not any("completed" in event for event in seen):
                await house.http.post("/email/send", json={"to": "a@example.com", "subject": "x", "text": "x"})
                seen += await lines_within(watching.stdout, 1.0)
    finally:
        watching.terminate()
        await watching.wait()

    outcomes = [event["attemptFinished"]["attempt"]["outcome"] for event in seen if "attemptFinished" in event]
    assert {"DEFERRED", "ACCEPTED"} <= set(outcomes)


async def lines_within(stream: asyncio.StreamReader | None, seconds: float) -> list[dict]:
    """The JSON lines that come until nothing comes for this long."""
    assert stream is not None
    found = []
    while True:
        try:
            async with asyncio.timeout(seconds):
                found.append(json.loads(await stream.readline()))
        except TimeoutError:
            return found
