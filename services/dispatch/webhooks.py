"""Events on their way to webhooks: taken over from the list of events, posted in order for each message, again until
they are taken. What follows a post is webhook.py's, the statements are webhook_book.py's.

A slow or dead endpoint holds up only itself: it has a few posts open at most, one while it fails.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Never, TypeVar
from uuid import UUID

import httpx

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch import webhook_book as book
from services.dispatch.access import Access
from services.dispatch.errors import ServiceUnavailable
from services.dispatch.vault_client import SecretLost, VaultClient
from services.dispatch.webhook import Answer, Sealed, Webhook, after_failure, id_of
from services.dispatch.webhook_payload import body_of
from services.dispatch.webhook_post import TIMEOUT, Letter, post

T = TypeVar("T")

POLL = 0.5
# Of one project fewer than there are in all: its endpoints may be many, and slow on purpose.
AT_ONCE, OF_PROJECT, OF_ONE = 200, 50, 10
# Longer than any post with its bookkeeping: after it the dispatcher died, and another one posts the same again.
LEASE = TIMEOUT * 2
RESEAL_EVERY = 600.0
_NOBODY = UUID(int=0)


class WebhookDesk:
    """Posts what happens to the endpoints that want it (`run`), and what somebody asks for (`post_now`)."""

    def __init__(
        self,
        store: Access,
        vault: VaultClient,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
        fraction: Callable[[], float],
    ) -> None:
        self._store, self._vault, self._transport = store, vault, transport
        self._clock, self._fraction = clock, fraction
        self._open: Counter[UUID] = Counter()
        self._of_project: Counter[str] = Counter()
        self._posting: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        # Messages use the same connections, and must not wait for webhooks.
        self._booking = asyncio.Semaphore(1)
        self._log = get_logger()

    async def run(self) -> Never:
        """Until cancelled; then open posts are cut, and posted again by whoever has their lease next."""
        reseal_at = self._clock.boottime()
        try:
            while True:
                self._wake.clear()
                try:
                    if self._clock.boottime() >= reseal_at:
                        reseal_at = self._clock.boottime() + RESEAL_EVERY
                        await self._reseal()
                    busy = await self._take_over() + await self._begin_posts()
                except ServiceUnavailable as error:
                    self._log.warning("webhooks_wait", cause=type(error.__cause__ or error).__name__)
                    busy = 0
                if not busy:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL * (0.75 + self._fraction() / 2)):
                            await self._wake.wait()
        finally:
            for task in self._posting:
                task.cancel()
            await asyncio.gather(*self._posting, return_exceptions=True)

    async def post_now(self, webhook: Webhook, letter_id: str, body: str, now: datetime) -> Answer:
        """What the endpoint answered to this one post, `now` by the database's clock; raises ServiceUnavailable."""
        try:
            secrets = [await self._opened(webhook, sealed) for sealed in webhook.signers(now)]
        except SecretLost:
            return Answer(error="SECRET_LOST")
        return await post(self._transport, Letter(url=webhook.url, id=letter_id, body=body, secrets=secrets), now)

    async def _take_over(self) -> int:
        """Every endpoint with news gets some of it."""
        moved, after = 0, _NOBODY
        while True:
            async with self._store.connection() as connection:
                some = await book.with_news(connection, after)
            for webhook_id in some:
                async with self._store.transaction() as connection:
                    moved += await book.take_over(connection, webhook_id)
            if len(some) < book.ENDPOINTS:
                return moved
            after = some[-1]

    async def _begin_posts(self) -> int:
        room = AT_ONCE - len(self._posting)
        if room <= 0:
            return 0
        full = [webhook_id for webhook_id, count in self._open.items() if count >= OF_ONE]
        async with self._store.connection() as connection:
            posts = await book.claim(
                connection,
                limit=room,
                each=OF_ONE,
                lease=LEASE,
                full=full,
                failing=list(self._open),
                most=OF_PROJECT,
                under_way=self._of_project,
            )
        for one in posts:
            self._open[one.webhook.id] += 1
            self._of_project[one.webhook.project_id] += 1
            task = asyncio.create_task(self._post(one), name=f"post {one.webhook.id}")
            self._posting.add(task)
            task.add_done_callback(self._posting.discard)
        return len(posts)

    async def _post(self, one: book.Post) -> None:
        try:
            await self._deliver(one)
        except ServiceUnavailable:
            self._log.warning(
                "webhook_post_unsettled", webhook=str(one.webhook.id)
            )  # its lease ends, and it comes again
        except Exception:  # noqa: BLE001 - the last stop of one post
            self._log.exception("webhook_post_failed", webhook=str(one.webhook.id))
        finally:
            _one_less(self._open, one.webhook.id)
            _one_less(self._of_project, one.webhook.project_id)
            self._wake.set()

    async def _deliver(self, one: book.Post) -> None:
        if one.event is None:  # its time was over before it could be posted
            async with self._store.connection() as connection:
                await book.dropped(connection, one)
            return
        body = body_of(one.event, one.webhook.project_id, one.subject)
        answer = await self.post_now(one.webhook, id_of(one.message_id, one.sequence), body, one.now)
        if answer.taken:
            async with self._booking, self._store.transaction() as connection:
                await book.taken(connection, one)
            return
        then = after_failure(
            answer,
            tries=one.tries,
            first_try_at=one.created_at,
            failing_since=one.webhook.failing_since,
            now=one.now,
            fraction=self._fraction(),
        )
        async with self._booking, self._store.transaction() as connection:
            off = await book.failed(connection, one, answer, then)
        self._log.info("webhook_refused", webhook=str(one.webhook.id), tries=one.tries, error=answer.error)
        if then.delay is None:
            self._log.warning("webhook_given_up", webhook=str(one.webhook.id), message=str(one.message_id))
        if off and then.disables:
            self._log.error("webhook_disabled", webhook=str(one.webhook.id), reason=then.disables.value)

    async def _opened(self, webhook: Webhook, sealed: Sealed, *, afresh: bool = False) -> str:
        opened = await self._vault.open(webhook.project_id, webhook.id, sealed, afresh=afresh)
        if opened.resealed is not None:
            async with self._store.connection() as connection:
                await book.reseal(connection, webhook.id, opened.resealed)
        return opened.secret

    async def _reseal(self) -> None:
        """What an older key of the vault sealed is sealed anew, so that the key can be taken out of the ring."""
        async with self._store.connection() as connection:
            stale = await book.sealed_otherwise(connection, self._vault.primary)
        for webhook in stale:
            for sealed in webhook.signers(self._clock.now()):
                try:
                    await self._opened(webhook, sealed, afresh=True)
                except SecretLost:
                    self._log.error("webhook_secret_lost", webhook=str(webhook.id), key_id=sealed.key_id)


def _one_less(counts: Counter[T], key: T) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
