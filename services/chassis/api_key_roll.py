"""The roll: every active API key by its hash, in memory, and as of when it is complete. It does no I/O: who feeds it
knows where the keys are kept.

A key that was revoked must stop within a second, so the roll answers only while it is known to have been complete less
than FRESH_SECONDS ago. A key that it does not hold may have been made a moment ago, so it is called invalid only by a
roll that is complete as of the question. Until then the question waits a little, then it is told UNAVAILABLE.
"""

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from services.chassis.api_keys import ActiveKey, has_form, hash_of, key_invalid
from services.chassis.clock import Clock
from services.chassis.errors import ResourceExhausted, ServiceError, Unavailable

# After so long a revoked key works nowhere.
PROMISED_SECONDS = 1.0
# A little less than that: the rest is for what was decided and not begun.
FRESH_SECONDS = 0.9
PATIENCE_SECONDS = 1.0
# Questions about keys that the roll does not hold each wait for news: so many at once, the next ones are shed.
MAX_WAITING = 200
USES_APART = timedelta(seconds=60)


class ApiKeyRoll:
    """Which keys work. `begin`, `change` and `complete_as_of` are for its feeder, the rest is for who asks."""

    def __init__(self, clock: Clock, *, fresh: float = FRESH_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self.clock = clock
        self._fresh, self._patience = fresh, patience
        self._secret = b""
        self._keys: dict[bytes, ActiveKey] = {}
        self._ids: set[str] = set()
        self._as_of = -math.inf
        self._news, self._changes = _Bell(), _Bell()
        self._waiting = 0
        self._uses = Uses()

    def __repr__(self) -> str:
        return f"ApiKeyRoll({len(self._keys)} keys)"

    @property
    def uses(self) -> "Uses":
        """When keys were used, for who writes it down."""
        return self._uses

    @property
    def is_fresh(self) -> bool:
        """Whether the roll may say that a key works."""
        return self.clock.boottime() - self._as_of < self._fresh

    def begin(self, secret: bytes, keys: Iterable[ActiveKey]) -> None:
        """The whole roll, in place of the one before."""
        self._secret = secret
        self._keys = {key.hash: key for key in keys}
        self._ids = {key.id for key in self._keys.values()}
        self._changes.ring()

    def change(self, added: Iterable[ActiveKey], removed: Iterable[bytes]) -> None:
        """Some keys more, some fewer."""
        gone = [self._keys.pop(each).id for each in removed if each in self._keys]
        self._ids.difference_update(gone)
        for key in added:
            self._keys[key.hash] = key
            self._ids.add(key.id)
        if gone:
            self._changes.ring()

    def complete_as_of(self, moment: float) -> None:
        """Nothing that was written before this moment (of the clock's boottime) is missing."""
        self._as_of = max(self._as_of, moment)
        self._news.ring()

    async def find(self, text: str) -> ActiveKey:
        """The working key. Raises Unauthenticated (KEY_INVALID), or Unavailable when that can not be known now."""
        if not has_form(text):
            raise key_invalid()
        asked = self.clock.boottime()
        known = self._judged(text, asked) or await self._judged_later(text, asked)
        self._uses.saw(known.id, self.clock.now())
        return known

    async def until_gone(self, key_id: str) -> ServiceError:
        """Returns, with the reason, once the key is known not to work any more, or once that can not be known: what is
        open must not go on with a key that may have been revoked a second ago.
        """
        while key_id in self._ids:
            left = self._as_of + PROMISED_SECONDS - self.clock.boottime()
            if left <= 0:
                return _not_now()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changes.wait()
        return key_invalid()

    async def _judged_later(self, text: str, asked: float) -> ActiveKey:
        try:
            async with asyncio.timeout(self._patience):
                while (known := self._judged(text, asked)) is None:
                    await self._wait_for_news(text)
        except TimeoutError:
            raise _not_now() from None
        return known

    def _judged(self, text: str, asked: float) -> ActiveKey | None:
        """The key, None while nobody can tell; raises Unauthenticated for one that does not work."""
        known = self._held(text)
        if known is not None:
            return known if self.is_fresh else None
        if self._secret and self._as_of >= asked:
            raise key_invalid()
        return None

    def _held(self, text: str) -> ActiveKey | None:
        return self._keys.get(hash_of(self._secret, text)) if self._secret else None

    async def _wait_for_news(self, text: str) -> None:
        if self._held(text) is not None:
            return await self._news.wait()
        if self._waiting >= MAX_WAITING:
            raise ResourceExhausted("Too many API keys are being looked up; try again shortly.", retry_after=1.0)
        self._waiting += 1
        try:
            await self._news.wait()
        finally:
            self._waiting -= 1


def _not_now() -> Unavailable:
    return Unavailable("API keys can not be checked right now; try again shortly.", retry_after=1.0)


class _Bell:
    """Wakes everybody who waits by now, and nobody who waits from now on."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class Uses:
    """When each key was last used, given out to be written down at most once a minute per key."""

    def __init__(self) -> None:
        self._seen: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    def saw(self, key_id: str, now: datetime) -> None:
        """The key was used now."""
        self._seen[key_id] = now

    def due(self, now: datetime) -> dict[str, datetime]:
        """What is to be written down now: the uses of every key whose last one was written a minute ago or more."""
        self._written = {key: at for key, at in self._written.items() if now - at < USES_APART}
        return {key: at for key, at in self._seen.items() if key not in self._written}

    def wrote(self, uses: Mapping[str, datetime]) -> None:
        """These were written down, durably."""
        for key, at in uses.items():
            self._written[key] = at
            if self._seen.get(key) == at:
                del self._seen[key]
