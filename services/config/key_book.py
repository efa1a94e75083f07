"""The idempotency keys of writes in the database: claimed first, answered last, in the transaction of the write itself.
So no key is ever "in progress" after a crash, and who comes second waits for the first one's commit.

A key's row is locked before its chain's, everywhere: two writes can not wait for each other.
"""

from collections.abc import Sequence
from typing import Any, Never

from sqlalchemy import RowMapping

from services.adapters.base import Channel
from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.config.chain import ChainKey, ChangedChain
from services.config.errors import DatabaseUnavailable, IdempotencyKeyReused
from services.config.idempotency import Once, Replay
from services.config.statements import Transaction
from services.config.store import Store
from services.config.vault import Mac, Vault

SWEEP_ROWS = 500
PAUSE_SECONDS = 600.0

_log = get_logger()


class KeyBook:
    """Which writes were done already; each key is kept for `hours`."""

    def __init__(self, vault: Vault, hours: float) -> None:
        self._vault = vault
        self._hours = hours

    async def claim(
        self, transaction: Transaction, once: Once, project_id: str | None, projects: Sequence[str] | None
    ) -> Replay | None:
        """The earlier write with this key and content; None when there was none, and then the key is ours until the
        transaction ends. Raises IdempotencyKeyReused.

        Without a project, as what the request is about is gone, only an earlier write is looked for.
        """
        if project_id is None:
            rows = await transaction.keys.named(once.key, projects)
            return next((_replay(row) for row in rows if self._is_same(row, once)), None)
        mac = self._vault.mac(once.content)
        if await transaction.keys.claim(project_id, once.key, mac, self._hours):
            return None
        row = await transaction.keys.read(project_id, once.key)
        if not self._is_same(row, once):
            raise IdempotencyKeyReused
        return _replay(row)

    async def keep(
        self, transaction: Transaction, once: Once, project_id: str, made: Any, change: ChangedChain | None
    ) -> None:
        """The key that was claimed stands for this answer from the commit on."""
        await transaction.keys.answer(project_id, once.key, once.write_down(made), change)

    def _is_same(self, row: RowMapping, once: Once) -> bool:
        return self._vault.is_mac_of(Mac(key_id=row["key_id"], data=row["fingerprint"]), once.content)


async def sweep_keys(store: Store) -> int:
    """Every key whose time is over is gone, a small transaction per batch; answers how many."""
    swept = 0
    while True:
        async with store.transaction() as transaction:
            count = await transaction.keys.sweep(SWEEP_ROWS)
        swept += count
        if count < SWEEP_ROWS:
            return swept


async def keep_sweeping(store: Store, clock: Clock) -> Never:
    """Until cancelled: now and then. An expired key counts as new before it is swept, so being late does no harm."""
    while True:
        await clock.sleep(PAUSE_SECONDS)
        try:
            await sweep_keys(store)
        except DatabaseUnavailable:
            _log.warning("sweep_failed")


def _replay(row: RowMapping) -> Replay:
    change = None
    if row["channel"] is not None:
        key = ChainKey(row["project_id"], Channel(row["channel"]))
        change = ChangedChain(key=key, version=row["chain_version"])
    return Replay(answer=row["answer"], change=change)
