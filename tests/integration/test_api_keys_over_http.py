"""Projects and API keys as a REST client uses them: the real gateway before real services. No key is seen again."""

from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest

from gateway.app import open_gateway
from gateway.settings import GatewaySettings
from services.chassis import log
from services.chassis.auth import SCOPES, mint
from services.chassis.clock import SystemClock
from tests.integration.rig import SECRET, Pipe, auth_settings, rig

MAIL = {"to": "ada@example.com", "subject": "Hello", "text": "Hello.", "from": "a@example.com"}


def operator() -> dict[str, str]:
    """The header of a caller who may use all projects."""
    now = SystemClock().now()
    token = mint(SECRET, subject="operator", projects="*", scopes=SCOPES[:4], ttl_seconds=600, now=now)
    return {"authorization": f"Bearer {token}"}


def settings(pipe: Pipe) -> GatewaySettings:
    """A gateway before these services."""
    return GatewaySettings(
        http_port=0,
        config_target=pipe.config_address,
        dispatch_target=pipe.dispatch.address,
        max_message_bytes=1024 * 1024,
        drain_grace=2.0,
        auth=auth_settings(),
    )


async def rows_of(database_url: str) -> str:
    """Every row of every table of ours as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('config', 'dispatch')"
        )
        rows = [await connection.fetch(f"SELECT t::text FROM {each[0]} AS t") for each in tables]
    finally:
        await connection.close()
    return "\n".join(row[0] for table in rows for row in table)


@dataclass
class Web:
    """A REST client; every answer is kept, but the one that shows a key."""

    client: httpx.AsyncClient
    answers: list[str] = field(default_factory=list)
    project: str = ""
    key: str = ""

    @property
    def with_key(self) -> dict[str, str]:
        """The header of a caller with the key."""
        return {"x-api-key": self.key}

    @property
    def keys(self) -> str:
        """Where the project's keys are."""
        return f"/projects/{self.project}/api-keys"

    @property
    def providers(self) -> str:
        """Where the project's email providers are."""
        return f"/email-config/providers?projectId={self.project}"

    async def ask(self, method: str, path: str, who: dict[str, str], **body: Any) -> httpx.Response:
        """The answer to one request."""
        response = await self.client.request(method, path, headers=who, **body)
        self.answers.append(response.text)
        return response

    async def refused(self, method: str, path: str, who: dict[str, str], **body: Any) -> tuple[int, str]:
        """Status and reason of a refusal."""
        response = await self.ask(method, path, who, **body)
        return response.status_code, response.json()["reason"]


async def prepared(web: Web) -> str:
    """A project with a provider and a key; answers the key's id."""
    made = await web.ask("POST", "/projects", operator(), json={"name": "Web shop"})
    assert made.status_code == 201
    web.project = made.json()["id"]
    assert (await web.ask("GET", "/projects", operator())).json() == [made.json()]
    provider = {"provider": "a", "name": "A", "config": {}}
    assert (await web.ask("POST", web.providers, operator(), json=provider)).status_code == 201
    response = await web.ask("POST", web.keys, operator(), json={"name": "Web"})
    web.answers.pop()
    web.key = response.json()["key"]
    assert (response.status_code, web.key[:4]) == (201, "mzl_")
    (listed,) = (await web.ask("GET", web.keys, operator())).json()
    assert (listed["prefix"], listed["isActive"]) == (web.key[:12], True)
    return str(listed["id"])


async def sent_with_the_key(web: Web) -> str:
    """A mail sent and read with the key, and what the key does not do; answers the message's id."""
    sent = await web.ask("POST", "/email/send", web.with_key, json=MAIL)
    assert (sent.status_code, sent.json()["message"]) == (200, "Email sent successfully")
    message = f"/v1/messages/{sent.json()['messageId']}"
    assert (await web.ask("GET", message, web.with_key)).json()["projectId"] == web.project
    assert "event: completed" in (await web.ask("GET", f"{message}/events", web.with_key)).text
    elsewhere = {**MAIL, "projectId": "other"}
    assert await web.refused("POST", "/email/send", web.with_key, json=elsewhere) == (404, "PROJECT_NOT_FOUND")
    assert await web.refused("GET", web.providers, web.with_key) == (403, "SCOPE_MISSING")
    both = {**web.with_key, **operator()}
    assert await web.refused("POST", "/email/send", both, json=MAIL) == (401, "TOKEN_INVALID")
    return message


async def revoked(web: Web, key_id: str) -> None:
    """The key is deactivated, and refused from then on."""
    off = await web.ask("PUT", f"{web.keys}/{key_id}", operator(), json={"isActive": False})
    assert (off.status_code, off.json()["name"], off.json()["isActive"]) == (200, "Web", False)
    refused = await web.ask("POST", "/email/send", web.with_key, json=MAIL)
    assert (refused.status_code, refused.json()["reason"]) == (401, "KEY_INVALID")
    assert refused.headers["www-authenticate"] == 'Bearer realm="messagepipe"'


async def deleted(web: Web, message: str) -> None:
    """The project is deleted by name; its messages stay."""
    assert await web.refused("DELETE", f"/projects/{web.project}", operator()) == (400, "CONFIRMATION_NEEDED")
    gone = await web.ask("DELETE", f"/projects/{web.project}?confirm=Web+shop", operator())
    assert gone.status_code == 204
    assert (await web.ask("GET", web.providers, operator())).json() == []
    assert (await web.ask("GET", message, operator())).json()["state"] == "SENT"


async def test_a_life_of_a_project(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Made, given a key, sent with, revoked and deleted; no answer, log line or row ever holds the key."""
    log.configure(service="test", json=True, level="debug")
    async with (
        rig(database_url) as pipe,
        open_gateway(settings(pipe)) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=20) as client,
    ):
        web = Web(client)
        key_id = await prepared(web)
        message = await sent_with_the_key(web)
        rows = await rows_of(database_url)
        await revoked(web, key_id)
        await deleted(web, message)
    told = capfd.readouterr()
    assert "/messagepipe.config.v1.ProjectService/WatchApiKeys" in told.err  # the log was captured
    assert key_id in rows
    secret = web.key[12:]
    places = (*web.answers, rows, told.out, told.err)
    assert not [text for text in places if secret in text or secret.encode().hex() in text]
