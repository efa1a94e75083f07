"""Keeps the roll of active API keys as ConfigService has it, and tells ConfigService when keys were used.

Every answer is answered with a word at once, so that there is always one on its way: what ConfigService has seen since
a word came in, the roll holds as of the moment the word was sent. When no answer comes, the roll goes stale by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Never

import grpc
from messagepipe.config.v1 import project_service_pb2 as pb2
from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceStub

from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.api_keys import ActiveKey
from services.chassis.clock import Clock
from services.chassis.log import get_logger

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.project_service_pb2_grpc import ProjectServiceAsyncStub

FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
# Without an answer for so long the connection is taken for dead, and another replica is looked for.
SILENCE_SECONDS = 2.0
TELL_SECONDS = 5.0
TELL_TIMEOUT = 5.0
USES_PER_CALL = 1000
_OPTIONS = [
    # A connection of its own: a new try after a silence must not go over the connection that fell silent.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
]

_log = get_logger()


class ApiKeyWatch:
    """Feeds a roll over WatchApiKeys; `run` and `tell` go on for as long as the process serves."""

    def __init__(self, target: str, token: Callable[[], str], clock: Clock, roll: ApiKeyRoll) -> None:
        self._target, self._token, self._clock, self._roll = target, token, clock, roll

    async def run(self) -> Never:
        """Keep the watch until cancelled; when it breaks, take it up again at once, then with growing pauses."""
        pause = FIRST_PAUSE
        while True:
            began = self._clock.boottime()
            try:
                await self._watch()
            except grpc.aio.AioRpcError as error:
                _log.warning("api_key_watch_broken", code=error.code().name, why=(error.details() or "")[:200])
            except TimeoutError:
                _log.warning("api_key_watch_silent")
            stood = self._clock.boottime() - began > LAST_PAUSE
            pause = FIRST_PAUSE if stood else min(pause * 2, LAST_PAUSE)
            await self._clock.sleep(pause)

    async def tell(self) -> Never:
        """Until cancelled: what keys were used is written down by ConfigService, again if it could not be."""
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            stub: ProjectServiceAsyncStub = ProjectServiceStub(channel)
            while True:
                await self._clock.sleep(TELL_SECONDS)
                try:
                    await self._tell_once(stub)
                except grpc.aio.AioRpcError as error:
                    _log.warning("api_key_uses_not_told", code=error.code().name)

    async def _tell_once(self, stub: "ProjectServiceAsyncStub") -> None:
        due = iter(self._roll.uses.due(self._clock.now()).items())
        while uses := dict(islice(due, USES_PER_CALL)):
            request = pb2.RecordApiKeyUsesRequest(uses=[_use(key, at) for key, at in uses.items()])
            await stub.RecordApiKeyUses(request, metadata=self._metadata(), timeout=TELL_TIMEOUT)
            self._roll.uses.wrote(uses)

    async def _watch(self) -> None:
        """Returns when ConfigService lets the watch go; raises when it breaks or falls silent."""
        words = _Words(self._clock)
        talk = _Talk(self._roll, words)
        async with grpc.aio.insecure_channel(self._target, options=_OPTIONS) as channel:
            stub: ProjectServiceAsyncStub = ProjectServiceStub(channel)
            call = stub.WatchApiKeys(words.all(), metadata=self._metadata())
            try:
                words.say(0)
                while True:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        answer = await call.read()
                    if not isinstance(answer, pb2.WatchApiKeysResponse):
                        return  # the end of the stream
                    talk.take(answer)
            finally:
                call.cancel()
                words.end()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token()}"),)


class _Words:
    """What is said on one stream, and when each word was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._line: asyncio.Queue[pb2.WatchApiKeysRequest | None] = asyncio.Queue()
        self._said: dict[int, float] = {}
        self._last = 0

    def say(self, version: int) -> None:
        """One more word: the version that this dispatcher goes by."""
        self._last += 1
        self._said[self._last] = self._clock.boottime()
        self._line.put_nowait(pb2.WatchApiKeysRequest(word=self._last, version=version))

    def said_at(self, word: int) -> float | None:
        """When this word was put on its way; it and those before are not asked for again."""
        moment = self._said.get(word)
        self._said = {each: at for each, at in self._said.items() if each >= word}
        return moment

    def end(self) -> None:
        """No more words: gRPC's reader of them would wait for the next one for ever."""
        self._line.put_nowait(None)

    async def all(self) -> AsyncIterator[pb2.WatchApiKeysRequest]:
        """Every word as it comes."""
        while (word := await self._line.get()) is not None:
            yield word


class _Talk:
    """What one stream has told: the roll is replaced by its whole once that is complete, then changed."""

    def __init__(self, roll: ApiKeyRoll, words: _Words) -> None:
        self._roll, self._words = roll, words
        self._secret = b""
        self._whole: dict[bytes, ActiveKey] | None = {}
        self._version = 0

    def take(self, answer: pb2.WatchApiKeysResponse) -> None:
        """One answer; it is answered with a word."""
        self._secret = answer.hash_secret or self._secret
        if self._whole is None:
            self._roll.change(_keys(answer), answer.removed)
        else:
            self._gather(self._whole, answer)
        if self._whole is None:
            self._version = answer.version
            moment = self._words.said_at(answer.heard)
            if moment is not None:
                self._roll.complete_as_of(moment)
        self._words.say(self._version)

    def _gather(self, whole: dict[bytes, ActiveKey], answer: pb2.WatchApiKeysResponse) -> None:
        for hashed in answer.removed:
            whole.pop(hashed, None)
        whole.update((key.hash, key) for key in _keys(answer))
        if answer.heard:
            self._roll.begin(self._secret, whole.values())
            self._whole = None


def _keys(answer: pb2.WatchApiKeysResponse) -> Iterator[ActiveKey]:
    return (ActiveKey(hash=key.hash, id=key.id, project_id=key.project_id) for key in answer.added)


def _use(key_id: str, at: datetime) -> pb2.RecordApiKeyUsesRequest.Use:
    use = pb2.RecordApiKeyUsesRequest.Use(id=key_id)
    use.used_at.FromDatetime(at)
    return use
