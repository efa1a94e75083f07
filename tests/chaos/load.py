"""Callers outside the system: they hand over messages at a rate and keep, on the disk, what they sent and what was
acknowledged. They never send a message twice, but with an idempotency key: then again until they are answered.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
from google.api import httpbody_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub

from tests.chaos.site import CHANNEL_OPTIONS, Site
from tests.chaos.synced import SyncedLog
from tests.contract.receipt_vectors import sendgrid_call
from tests.integration.rig import EMAIL, PROJECT, metadata, token

CALL_SECONDS = 10.0
# For how long a caller with a key calls again, and how soon.
AGAIN_SECONDS, AGAIN_PAUSE = 40.0, 0.3
MOST_CALLS = 600

AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What the callers send: shares of messages with each wish, between 0 and 1, and how often they do other things."""

    at_most_once: float = 0.2
    tries: float = 0.3  # maxTries 2
    failover_on_receipt: float = 0.0
    receipts: float = 0.0  # shares of acknowledged messages that get one from their provider
    cancels: float = 0.0
    renames_per_second: float = 0.0
    through_gateway: float = 0.0
    rounds: int = 1
    keyed: float = 0.0


@dataclass
class Load:
    """The callers of one run. `sent` and `acknowledged` count messages, `repeated` calls made again with their key;
    `refused` tells why calls failed.
    """

    site: Site
    seed: int
    mix: Mix = field(default_factory=Mix)
    sent: int = 0
    acknowledged: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    seconds: float = 0.0  # for which it was at work
    names: list[tuple[str, bool]] = field(default_factory=list)  # of provider b: what was asked, whether acknowledged

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._log = SyncedLog(self.log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._run = uuid4().hex[:6]
        self._who = metadata()

    @property
    def possible_names(self) -> set[str]:
        """What provider b may be called now: the name acknowledged last, and every later one that may have come
        through.
        """
        last = max((place for place, (_, acknowledged) in enumerate(self.names) if acknowledged), default=0)
        return {name for name, _ in self.names[last:]}

    @property
    def log(self) -> Path:
        """Where it keeps what it knows."""
        return self.site.folder / "client.jsonl"

    async def run(self, *, rate: float, seconds: float, until: asyncio.Event | None = None) -> None:
        """Send `rate` messages a second for so long, or until told to stop; returns when every call has ended."""
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS))
                for address in self.site.doors
            ]
            stubs: list[Any] = [DispatchServiceStub(channel) for channel in channels]
            headers = {"authorization": f"Bearer {token(PROJECT)}"}
            base = f"http://{self.site.targets['gateway']}"
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=base, headers=headers, timeout=10))
            renaming = asyncio.create_task(self._rename())
            clock = asyncio.get_running_loop().time
            began = clock()
            try:
                await self._pace(rate, seconds, until, stubs, http)
                self.seconds += clock() - began
                while self._tasks:  # an answer may bring a receipt, which is a call of its own
                    await asyncio.gather(*self._tasks)
            finally:
                renaming.cancel()
                await asyncio.gather(renaming, return_exceptions=True)

    async def _pace(
        self, rate: float, seconds: float, until: asyncio.Event | None, stubs: Sequence[Any], http: httpx.AsyncClient
    ) -> None:
        clock = asyncio.get_running_loop().time
        began, made = clock(), 0
        while clock() - began < seconds and not (until and until.is_set()):
            for _ in range(int((clock() - began) * rate) - made):
                made += 1
                # Callers who wait too long for answers send less: as many open calls as this and no more.
                if len(self._tasks) < MOST_CALLS:
                    self._go(self._one(stubs, http))
            await asyncio.sleep(0.005)

    async def hand_over(self, count: int, door: str) -> None:
        """So many messages to one dispatcher, now."""
        async with grpc.aio.insecure_channel(door, options=CHANNEL_OPTIONS) as channel, httpx.AsyncClient() as http:
            stub: Any = DispatchServiceStub(channel)
            await asyncio.gather(*(self._one([stub], http) for _ in range(count)))

    async def note_sent(self, key: str) -> None:
        """A message of somebody else's is about to be handed over."""
        self.sent += 1
        await self._log.write(sent=key, at_most_once=False)

    async def note_acknowledged(self, key: str, message_id: str) -> None:
        """A message was acknowledged."""
        await self._log.write(acknowledged=key, id=message_id)
        self.acknowledged += 1
        self.ids.append(message_id)

    def _go(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, stubs: Sequence[Any], http: httpx.AsyncClient) -> None:
        self.sent += 1
        key, dice = f"{self._run}-{self.sent:07d}", self._dice
        spec = message_pb2.MessageSpec(
            project_id=PROJECT, channel=EMAIL, to=f"{key}@example.com", subject="Hello", text="Hello"
        )
        if dice.random() < self.mix.at_most_once:
            spec.unknown_policy = AT_MOST_ONCE
        spec.max_tries = 2 if dice.random() < self.mix.tries else 1
        spec.max_rounds = self.mix.rounds
        spec.failover_on_receipt = dice.random() < self.mix.failover_on_receipt
        place, gateway = dice.randrange(len(stubs)), dice.random() < self.mix.through_gateway
        receipt, cancel = dice.random() < self.mix.receipts, dice.random() < self.mix.cancels
        if dice.random() < self.mix.keyed:
            spec.idempotency_key, gateway = key, False
        await self._log.write(sent=key, at_most_once=spec.unknown_policy == AT_MOST_ONCE)
        accepted = await (self._over_rest(http, spec) if gateway else self._over_grpc(stubs[place], spec))
        if accepted is None and spec.idempotency_key:
            accepted = await self._again(stubs, spec)
        if accepted is None:
            return
        await self.note_acknowledged(key, accepted)
        if receipt:
            self._go(self._receipt(stubs[place], accepted, delivered=dice.random() < 0.5))
        if cancel:
            self._go(self._quietly(stubs[place].CancelMessage, pb.CancelMessageRequest(id=accepted), metadata()))

    async def _again(self, stubs: Sequence[Any], spec: message_pb2.MessageSpec) -> str | None:
        """Nobody knows what became of a call with a key: the same again, at any door, until it is answered."""
        clock = asyncio.get_running_loop().time
        ends, accepted = clock() + AGAIN_SECONDS, None
        while accepted is None and clock() < ends:
            await asyncio.sleep(AGAIN_PAUSE)
            self.repeated += 1
            accepted = await self._over_grpc(stubs[self.repeated % len(stubs)], spec)
        return accepted

    async def _over_grpc(self, stub: Any, spec: message_pb2.MessageSpec) -> str | None:
        request = pb.CreateMessageRequest(message=spec)
        try:
            # A caller waits for a connection, as with the retry policy that we ship: no call is made without one.
            answer = await stub.CreateMessage(request, metadata=self._who, timeout=CALL_SECONDS, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            self.refused[error.code().name] += 1
            return None
        return str(answer.id)

    async def _over_rest(self, http: httpx.AsyncClient, spec: message_pb2.MessageSpec) -> str | None:
        body: dict[str, Any] = {"projectId": PROJECT, "channel": "EMAIL", "to": spec.to, "subject": "Hi", "text": "Hi"}
        if spec.unknown_policy == AT_MOST_ONCE:
            body["unknownPolicy"] = "AT_MOST_ONCE"
        try:
            answer = await http.post("/v1/messages", json=body)
        except httpx.HTTPError as error:
            self.refused[type(error).__name__] += 1
            return None
        if answer.status_code != 202:
            self.refused[str(answer.status_code)] += 1
            return None
        return str(answer.json()["id"])

    async def _receipt(self, stub: Any, message_id: str, *, delivered: bool) -> None:
        """What the first provider says about a message a moment later: it arrived, or the route was blocked."""
        await asyncio.sleep(self._dice.uniform(0.1, 1.0))
        said: Mapping[str, str] = {"event": "delivered"} if delivered else {"event": "bounce", "type": "blocked"}
        event = {"timestamp": int(datetime.now(UTC).timestamp()), "sg_event_id": uuid4().hex, **said}
        event["sg_message_id"] = f"a-{message_id}-1.recvd-5d4b-1-0"
        call, _ = sendgrid_call(json.dumps([event]).encode(), at=datetime.now(UTC))
        request = pb.ReceiveReceiptRequest(
            kind="sendgrid",
            provider_id=self.site.providers["a"],
            body=httpbody_pb2.HttpBody(data=call.body),
            headers=dict(call.headers),
            url=call.url,
        )
        await self._quietly(stub.ReceiveReceipt, request, metadata(scopes="internal"))

    async def _quietly(self, call: Any, request: object, who: object) -> None:
        try:
            await call(request, metadata=who, timeout=5)
        except grpc.aio.AioRpcError as error:
            self.refused[f"{type(request).__name__} {error.code().name}"] += 1

    async def _rename(self) -> None:
        while self.mix.renames_per_second:
            await asyncio.sleep(1 / self.mix.renames_per_second)
            name = f"b{len(self.names)}"
            self.names.append((name, False))
            try:
                await self.site.rename("b", name)
                self.names[-1] = (name, True)
            except grpc.aio.AioRpcError as error:
                self.refused[f"UpdateProvider {error.code().name}"] += 1
