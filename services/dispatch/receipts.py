"""Receipts from the wire to their effect: proved to be the provider's, made durable, answered; then matched and applied
in the background. What they mean is verdict.py's, how they are kept receipt_book.py's.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Never, Protocol
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Channel
from services.adapters.receipts import Receipt, ReceiptReader, ReceiptRefused, ReceiptRequest
from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.log import get_logger
from services.dispatch import history as tell
from services.dispatch import receipt_book as book
from services.dispatch.chain import OpenedProvider
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.errors import DatabaseUnavailable, ReceiptNotProved, ServiceUnavailable
from services.dispatch.ledger import Transition
from services.dispatch.store import Store
from services.dispatch.verdict import Effect, effect

Readers = Mapping[tuple[Channel, str], ReceiptReader]

LONGEST_POLL = 1.0
EXPIRE_EVERY = 600.0


class Providers(Protocol):
    """Where providers are found by id."""

    async def opened(self, provider_id: str) -> OpenedProvider | None:
        """The provider, None when there is none; raises ConfigUnavailable."""


class ReceiptDesk:
    """Takes receipts in (`receive`) and brings them to their messages (`run`)."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        readers: Readers,
        clock: Clock,
        publish: Callable[[UUID, str, Transition, datetime], None],
    ) -> None:
        self._store = store
        self._providers = providers
        self._readers = readers
        self._clock = clock
        self._publish = publish
        self._wake = asyncio.Event()
        self._log = get_logger()

    async def receive(self, kind: str, provider_id: str, request: ReceiptRequest) -> None:
        """Durable when it returns. ReceiptNotProved for a wrong signature and for an unknown provider alike."""
        try:
            provider = await self._providers.opened(provider_id)
        except ConfigUnavailable:
            raise ServiceUnavailable("ConfigService") from None
        reader = self._readers.get((provider.channel, provider.kind)) if provider else None
        if provider is None or reader is None or provider.kind != kind:
            self._log.warning("receipt_refused", kind=kind[:40], reason="no_such_provider")
            raise ReceiptNotProved
        receipts = await self._read(reader, provider, request)
        if not receipts:
            return
        failpoint("receipt.before_keep")
        async with self._store.transaction() as connection:
            new = await book.keep(connection, provider.id, request.body, receipts)
            if not new and any(receipt.counts_once for receipt in receipts):
                self._log.warning("receipt_refused", kind=kind, provider=provider.id, reason="replayed")
                raise ReceiptNotProved
        failpoint("receipt.kept")
        self._log.info("receipts_kept", kind=kind, provider=provider.id, receipts=len(receipts), new=new)
        self._wake.set()

    async def _read(
        self, reader: ReceiptReader, provider: OpenedProvider, request: ReceiptRequest
    ) -> tuple[Receipt, ...]:
        try:
            return await reader.read(request, provider.config)
        except ReceiptRefused as refusal:
            self._log.warning(
                "receipt_refused", kind=provider.kind, provider=provider.id, reason=refusal.reason, again=refusal.again
            )
            if refusal.again:
                raise ServiceUnavailable("What proves the receipt") from None
            raise ReceiptNotProved from None

    async def run(self) -> Never:
        """Until cancelled: every receipt that fits an attempt takes effect, those that came too early when they do."""
        expire_at = self._clock.boottime()
        while True:
            self._wake.clear()
            try:
                if self._clock.boottime() >= expire_at:
                    expire_at = self._clock.boottime() + EXPIRE_EVERY
                    async with self._store.transaction() as connection:
                        await book.expire(connection)
                some = await self._apply_due()
            except DatabaseUnavailable as error:
                self._log.warning("receipts_wait", cause=type(error.__cause__).__name__)
                some = 0
            if some == book.BATCH:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_POLL if not some else LONGEST_POLL / 5):
                    await self._wake.wait()

    async def _apply_due(self) -> int:
        async with self._store.transaction() as connection:
            ids = await book.due(connection)
        if ids:
            failpoint("receipt.due")
        for receipt_id in ids:
            try:
                await self._apply(receipt_id)
            except DatabaseUnavailable:
                raise
            except Exception:  # noqa: BLE001 - the last stop of one receipt
                # A bug must not stop the others; this one is looked at again.
                self._log.exception("receipt_failed", receipt=receipt_id)
        return len(ids)

    async def _apply(self, receipt_id: int) -> None:
        """One receipt, one transaction."""
        async with self._store.transaction() as connection:
            matter = await book.take_up(connection, receipt_id)
            if matter is None:
                return
            change = effect(matter.case, matter.receipt)
            events = tell.numbered(matter.last_sequence, [_told(matter, change)] if change.tell else [])
            await book.settle(connection, matter, change, events[0] if events else None)
            failpoint("receipt.before_commit")
        failpoint("receipt.applied")
        self._log.info("receipt", message=str(matter.message_id), status=matter.receipt.status, told=change.tell)
        if events:
            step = Transition(message_id=matter.message_id, project_id=matter.project_id, epoch=0, events=events)
            self._publish(matter.message_id, matter.project_id, step, matter.at)


def _told(matter: book.Matter, change: Effect) -> DeliveryEvent:
    return tell.receipt(matter.attempt, matter.receipt, change.state or matter.case.ended)
