"""What this replica knows of the active API keys, and telling dispatchers until they have said that they know. It reads
no database: api_key_reader.py does, several times a second, and puts what it saw in here.

Each answer to a dispatcher says which word of the dispatcher's had come in before the look was begun: so the dispatcher
knows, by its own clock, as of when its roll is complete, however slow the way is.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.api_keys import ActiveKey
from services.chassis.clock import Clock
from services.chassis.errors import ResourceExhausted

PATIENCE_SECONDS = 1.0
SILENCE_SECONDS = 30.0
MAX_UNSENT = 1000
# Of the whole roll in one answer.
KEYS_PER_ANSWER = 5000

Keys = Mapping[bytes, ActiveKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollAnswer:
    """One answer on a dispatcher's stream, as WatchApiKeysResponse has it."""

    heard: int = 0
    version: int = 0
    secret: bytes = b""
    added: tuple[ActiveKey, ...] = ()
    removed: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"RollAnswer(heard={self.heard}, version={self.version})"


class RollWatcher:
    """One connected dispatcher: the last word it said, the version it goes by, and what it is to be told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unsent: list[RollAnswer] = []
        self._something = asyncio.Event()
        self._fell_behind = False
        self._heard_at = clock.boottime()
        self.word = 0
        self.version = 0
        self.gone = False

    async def answers(self) -> AsyncIterator[RollAnswer]:
        """Everything it is told, until it is let go; raises ResourceExhausted when that was for falling behind."""
        while True:
            await self._something.wait()
            if self._fell_behind:
                raise ResourceExhausted("This watch fell behind: start a new one.", retry_after=1.0)
            if self.gone:
                return
            self._something.clear()
            answers, self._unsent = self._unsent, []
            for answer in answers:
                yield answer

    def tell(self, answer: RollAnswer) -> None:
        """Takes the answer up; one that only says that nothing changed takes the place of another such."""
        if answer.added or answer.removed or not self._unsent:
            self._unsent.append(answer)
        else:
            last = self._unsent[-1]
            self._unsent[-1] = replace(last, heard=max(last.heard, answer.heard), version=answer.version)
        silent = self._clock.boottime() - self._heard_at
        if len(self._unsent) > MAX_UNSENT or silent > SILENCE_SECONDS:
            self._fell_behind = True
            self.let_go()
        self._something.set()

    def hear(self, word: int, version: int) -> None:
        """The dispatcher's own word."""
        self.word, self.version = max(word, self.word), version
        self._heard_at = self._clock.boottime()

    def let_go(self) -> None:
        """Nobody waits for this dispatcher any more."""
        self.gone = True
        self._unsent.clear()
        self._something.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a look at the database answers: when it was begun, and which word of each dispatcher had come in by then."""

    moment: float
    words: Mapping[RollWatcher, int]


class ApiKeyFeed:
    """The active keys as of the last look, this process' own roll, and every dispatcher connected to this replica."""

    def __init__(self, roll: ApiKeyRoll, secret: bytes, clock: Clock, *, patience: float = PATIENCE_SECONDS) -> None:
        self._roll, self._clock, self._patience = roll, clock, patience
        self.secret = secret  # of all keys' hashes; never to be logged
        self._keys: Keys = {}
        self._watchers: set[RollWatcher] = set()
        self._progress = asyncio.Event()
        self._closed = False
        self.look_now = asyncio.Event()
        self.version = 0  # 0: not looked yet; a database begins with 1

    def ask(self) -> Question:
        """To be called before each look."""
        words = {watcher: watcher.word for watcher in self._watchers}
        return Question(moment=self._clock.boottime(), words=words)

    def same(self, question: Question) -> None:
        """The look has found the version that is known."""
        self._answer(question, RollAnswer(version=self.version))

    def changed(self, question: Question, version: int, keys: Keys) -> None:
        """The look has found another version, and these active keys."""
        added = tuple(key for hashed, key in keys.items() if hashed not in self._keys)
        removed = tuple(hashed for hashed in self._keys if hashed not in keys)
        first = self.version == 0
        self._keys, self.version = keys, version
        if first:
            self._roll.begin(self.secret, keys.values())
        else:
            self._roll.change(added, removed)
        self._answer(question, RollAnswer(version=version, added=added, removed=removed))

    @contextmanager
    def watch(self) -> Iterator[RollWatcher]:
        """A dispatcher that is told of the whole roll, then of every change to the end of the block."""
        watcher = RollWatcher(self._clock)
        for answer in self._whole():
            watcher.tell(answer)
        if self._closed:
            watcher.let_go()
        else:
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.let_go()
            self.moved()

    def moved(self) -> None:
        """A dispatcher has said something, or is gone: whoever waits for its word looks again."""
        moved, self._progress = self._progress, asyncio.Event()
        moved.set()

    async def settle(self, version: int) -> bool:
        """Has a look taken at once and waits until every dispatcher connected here has said that it goes by this
        version or a newer one; False when the patience was over first.
        """
        self.look_now.set()
        try:
            async with asyncio.timeout(self._patience):
                while self.version < version or any(each.version < version for each in self._watchers if not each.gone):
                    await self._progress.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Lets every dispatcher go, and every later one at once: they have to watch another replica."""
        self._closed = True
        for watcher in tuple(self._watchers):
            watcher.let_go()
        self.moved()

    def _whole(self) -> Iterator[RollAnswer]:
        yield RollAnswer(secret=self.secret)
        rest = iter(self._keys.values())
        while part := tuple(islice(rest, KEYS_PER_ANSWER)):
            yield RollAnswer(added=part)

    def _answer(self, question: Question, answer: RollAnswer) -> None:
        self._roll.complete_as_of(question.moment)
        for watcher in tuple(self._watchers):
            watcher.tell(replace(answer, heard=question.words.get(watcher, 0)))
        self.moved()
