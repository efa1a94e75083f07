"""A receiver of webhooks: a real HTTP server that verifies with the standard's own library. No test."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook as Verifier


@dataclass(frozen=True)
class Arrival:
    """One post as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its webhook-id."""
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """Its type."""
        return str(self.payload["type"])

    def verified(self, secret: str) -> Any:
        """The payload, proved with the secret; raises WebhookVerificationError."""
        return Verifier(secret).verify(self.body, dict(self.headers))


@dataclass
class Receiver:
    """Answers `status`, or what `answers` has for the path, in order, the last for ever."""

    url: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    before_answer: Callable[[], Awaitable[None]] | None = None

    def answer(self, *statuses: int, path: str = "/hook") -> None:
        """What it answers from now on, in order, the last for ever."""
        self.answers[path] = list(statuses)

    def types(self, message_id: str = "", path: str = "/hook") -> list[str]:
        """The types that came, in the order in which they did, of one message or of all."""
        return [
            each.type
            for each in self.arrivals
            if each.path == path and (not message_id or each.payload["data"].get("messageId") == message_id)
        ]

    async def handle(self, request: web.Request) -> web.Response:
        """One post."""
        self.arrivals.append(Arrival(path=request.path, headers=dict(request.headers), body=await request.read()))
        script = self.answers.get(request.path, [204])
        status = script.pop(0) if len(script) > 1 else script[0]
        if self.before_answer is not None:
            await self.before_answer()
        headers = {"location": f"{self.url}/elsewhere"} if status in (301, 302, 307, 308) else {}
        return web.Response(status=status, headers=headers, text="the receiver's words" if status >= 300 else "")


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", receiver.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver
    finally:
        await runner.cleanup()
