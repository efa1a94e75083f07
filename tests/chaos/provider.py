"""A fake provider in a process of its own: speaks SendGrid's Mail Send, and keeps every call that it accepted in a file
outside the system, synced before it answers. Not an oracle: oracle.py reads the file.

    python -m tests.chaos.provider --port 0 --ledger accepted.jsonl --seed 1

POST /{provider}/v3/mail/send is the vendor; one process plays any number of them, told apart by the first segment.
PUT /behaviour changes what they do: {"a": {"words": {"accept": 9, "drop": 1}, "latency": 0.05}}.
"""

import argparse
import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.chaos.synced import SyncedLog

WORDS = {
    "accept": "keep it and answer 202",
    "drop": "keep it and cut the connection",
    "swallow": "keep it and never answer",
    "refuse": "answer 503",
    "throttle": "answer 429 with Retry-After 1",
    "hang": "keep nothing and never answer",
}


@dataclass(slots=True)
class Behaviour:
    """How often each word is played, by weight, after `latency` seconds."""

    words: dict[str, float] = field(default_factory=lambda: {"accept": 1.0})
    latency: float = 0.0


class Vendors:
    """Every vendor of one process. What a call meets depends on the seed, the message and the attempt alone."""

    def __init__(self, ledger: SyncedLog, seed: int) -> None:
        self._ledger = ledger
        self._seed = seed
        self._behaviours: dict[str, Behaviour] = {}
        self._played: dict[str, int] = dict.fromkeys(WORDS, 0)

    def application(self) -> web.Application:
        """The HTTP face."""
        made = web.Application()
        made.router.add_post("/{provider}/v3/mail/send", self.send)
        made.router.add_put("/behaviour", self.behave)
        made.router.add_get("/played", self.played)
        return made

    async def send(self, request: web.Request) -> web.StreamResponse:
        """One message handed over."""
        provider = request.match_info["provider"]
        body = await request.json()
        arguments = body["personalizations"][0]["custom_args"]
        message, attempt = arguments["messagepipe_id"], int(arguments["messagepipe_attempt"])
        behaviour = self._behaviours.get(provider, Behaviour())
        dice = random.Random(f"{self._seed} {provider} {message} {attempt}")
        word = dice.choices(list(behaviour.words), list(behaviour.words.values()))[0]
        self._played[word] += 1
        if behaviour.latency:
            await asyncio.sleep(behaviour.latency * dice.uniform(0.5, 1.5))
        if word in ("accept", "drop", "swallow"):
            await self._ledger.write(provider=provider, message=message, attempt=attempt, at=time.time())
        return await self._answer(word, request, f"{provider}-{message}-{attempt}")

    async def _answer(self, word: str, request: web.Request, reference: str) -> web.StreamResponse:
        if word == "refuse":
            return web.json_response({"errors": [{"message": "unavailable"}]}, status=503)
        if word == "throttle":
            headers = {"retry-after": "1"}
            return web.json_response({"errors": [{"message": "too many"}]}, status=429, headers=headers)
        if word in ("swallow", "hang"):
            await asyncio.sleep(3600)
        if word == "drop" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=202, headers={"x-message-id": reference})

    async def behave(self, request: web.Request) -> web.Response:
        """What these vendors do from now on."""
        for provider, given in (await request.json()).items():
            unknown = set(given.get("words", {})) - set(WORDS)
            if unknown:
                return web.json_response({"unknown": sorted(unknown)}, status=400)
            self._behaviours[provider] = Behaviour(**given)
        return web.Response(status=204)

    async def played(self, request: web.Request) -> web.Response:
        """How often each word was played."""
        return web.json_response(self._played)


async def main() -> None:
    """Serve until killed; the first line on stdout is the port."""
    parser = argparse.ArgumentParser(description="A fake provider with a ledger of what it accepted.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    vendors = Vendors(SyncedLog(arguments.ledger), arguments.seed)
    runner = web.AppRunner(vendors.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", arguments.port, backlog=1024)
    await site.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
