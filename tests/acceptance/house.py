"""The whole house for many tests: every process of messagepipe over one database, and a project of its own for each
test. No test.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptReader
from services.chassis.env import load
from services.dispatch.app import open_dispatch
from services.dispatch.settings import DispatchSettings
from tests import postgres
from tests.acceptance.processes import free_port, process, until_serving
from tests.integration.rig import SECRET, VAULT_KEYS, token

SERVICES = ("config", "dispatch", "gateway")

Readers = Mapping[tuple[Channel, str], ReceiptReader]


@dataclass
class Project:
    """One project's hands: REST with its own token, as a user has it. Every answer is kept in `heard`."""

    name: str
    http: httpx.AsyncClient
    heard: list[str] = field(default_factory=list)

    async def provider(self, channel: Channel, kind: str, config: Mapping[str, Any], *, name: str = "") -> str:
        """The id of a newly configured provider, behind those that are there."""
        body = {"provider": kind, "name": name or kind, "config": dict(config)}
        made = await self.http.post(self._providers(channel), json=body)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    async def try_provider(self, channel: Channel, body: object) -> httpx.Response:
        """The answer to adding a provider, whatever it is; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(self._providers(channel), content=content, headers=JSON)

    async def sender(self, channel: Channel, **settings: object) -> None:
        """The project's sender on a channel."""
        made = await self.http.post(f"/{channel.lower()}-config?projectId={self.name}", json=settings)
        assert made.status_code == 201, made.text

    async def send(self, message: Mapping[str, Any]) -> str:
        """The id of an accepted message."""
        made = await self.http.post("/v1/messages", json=dict(message))
        assert made.status_code == 202, made.text
        return str(made.json()["id"])

    async def told(self, message_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Its events over SSE to the end of the stream, as word and content; checks that they count from 1."""
        headers = {"accept": "text/event-stream"}
        text = (await self.http.get(f"/v1/messages/{message_id}/events", headers=headers)).text
        blocks = [dict(re.findall(r"^(\w+): ?(.*)$", block, re.MULTILINE)) for block in text.split("\n\n")]
        events = [block for block in blocks if "data" in block]
        assert [block["id"] for block in events] == [str(number) for number in range(1, len(events) + 1)]
        return [(block["event"], json.loads(block["data"])) for block in events]

    async def message(self, message_id: str) -> dict[str, Any]:
        """The message as it is now."""
        found: dict[str, Any] = (await self.http.get(f"/v1/messages/{message_id}")).json()
        return found

    async def hear(self, response: httpx.Response) -> None:
        """Keep an answer, whole."""
        await response.aread()
        head = "".join(f"{name}: {value}\n" for name, value in response.headers.items())
        self.heard.append(f"{response.status_code}\n{head}\n{response.text}")

    def _providers(self, channel: Channel) -> str:
        return f"/{channel.lower()}-config/providers?projectId={self.name}"


JSON = {"content-type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class House:
    """Every process of messagepipe, ready; `targets` are the addresses of the services, `folder` holds their logs."""

    database_url: str
    targets: Mapping[str, str]
    folder: Path

    @property
    def url(self) -> str:
        """Where the gateway serves."""
        return f"http://{self.targets['gateway']}"

    @asynccontextmanager
    async def project(self, name: str) -> AsyncIterator[Project]:
        """A project that only this test knows."""
        headers = {"authorization": f"Bearer {token(name)}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30) as http:
            project = Project(name=name, http=http)
            http.event_hooks["response"] = [project.hear]
            yield project


@asynccontextmanager
async def open_house(
    database_url: str, folder: Path, *, readers: Readers | None = None, **settings: str
) -> AsyncIterator[House]:
    """Every process of messagepipe; `settings` are further MESSAGEPIPE_… of all of them.

    With `readers` DispatchService runs inside the test, with these in the place of all its own: whom a receipt is
    believed from is the one thing that no setting of a process may change.
    """
    ports = {name: free_port() for name in SERVICES}
    targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    environ = {f"MESSAGEPIPE_{name}": value for name, value in {**_settings(database_url, ports), **settings}.items()}
    async with AsyncExitStack() as stack:
        for name in SERVICES:
            if name == "dispatch" and readers is not None:
                await stack.enter_async_context(_dispatch_here(environ, readers))
            else:
                await stack.enter_async_context(process(name, environ=environ, log=folder / f"{name}.log"))
        await until_serving(targets["config"])
        await until_serving(targets["dispatch"])
        await _until_ready(targets["gateway"])
        yield House(database_url=database_url, targets=targets, folder=folder)


@asynccontextmanager
async def shared_house(server: str, tmp_path_factory: pytest.TempPathFactory, **more: Any) -> AsyncIterator[House]:
    """A house on a database of its own, for all tests of a file."""
    async with (
        postgres.cloned_database(server) as dsn,
        open_house(dsn, tmp_path_factory.mktemp("house"), **more) as house,
    ):
        yield house


def _settings(database_url: str, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "JWT_SECRET": SECRET.reveal(),
        "VAULT_KEYS": VAULT_KEYS.reveal(),
        "CONFIG_PORT": str(ports["config"]),
        "DISPATCH_PORT": str(ports["dispatch"]),
        "HTTP_PORT": str(ports["gateway"]),
        "CONFIG_TARGET": f"127.0.0.1:{ports['config']}",
        "DISPATCH_TARGET": f"127.0.0.1:{ports['dispatch']}",
        "EGRESS_ALLOW": "127.0.0.0/8",
        "PUBLIC_URL": f"http://127.0.0.1:{ports['gateway']}",
    }


@asynccontextmanager
async def _dispatch_here(environ: Mapping[str, str], readers: Readers) -> AsyncIterator[None]:
    async with open_dispatch(load(DispatchSettings, environ), readers=readers):
        yield


async def _until_ready(gateway: str) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=f"http://{gateway}") as http:
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
