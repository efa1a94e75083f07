"""Keys change: can every row still be opened, and what an older key sealed is sealed anew. Not the sealing itself."""

from typing import Never
from uuid import UUID

from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.config.api_key_secret import hash_secret, reseal_secret
from services.config.errors import DatabaseUnavailable
from services.config.statements import KeptProvider
from services.config.store import Store
from services.config.vault import CanNotOpen, Vault

BATCH = 100
# Another replica may go on writing under the old key for a while after we began.
PAUSE_SECONDS = 600.0
RETRY_SECONDS = 5.0

_log = get_logger()


class WrongVaultKeys(Exception):
    """Stored credentials do not open with the keys given; the message is one line and names no key."""


async def check_keys(store: Store, vault: Vault) -> None:
    """Returns when one row of every key id in the database opens, and the secret of API keys, which is made if there is
    none; raises WrongVaultKeys.
    """
    async with store.transaction() as transaction:
        samples = await transaction.one_per_key()
    problems = []
    try:
        await hash_secret(store, vault)
    except CanNotOpen as error:
        problems.append(str(error))
    for kept in samples:
        try:
            vault.open(kept.sealed, kept.place)
        except CanNotOpen as error:
            problems.append(str(error))
    if problems:
        raise WrongVaultKeys(f"MESSAGEPIPE_VAULT_KEYS does not fit the stored credentials: {'; '.join(problems)}")


async def reseal_all(store: Store, vault: Vault) -> int:
    """Seals every row that is under another key with the primary one; answers how many. May be stopped at any moment.

    A row that somebody writes meanwhile is left to them, and one that does not open is logged and left as it is.
    """
    done, after, more = 0, None, True
    while more:
        count, after, more = await _reseal_batch(store, vault, after)
        done += count
    return done


async def keep_resealing(store: Store, vault: Vault, clock: Clock) -> Never:
    """Until cancelled: now, and every ten minutes."""
    while True:
        try:
            if done := await reseal_all(store, vault):
                _log.info("providers_resealed", count=done, key_id=vault.primary)
            await _reseal_secret(store, vault)
        except DatabaseUnavailable:
            await clock.sleep(RETRY_SECONDS)
        else:
            await clock.sleep(PAUSE_SECONDS)


async def _reseal_secret(store: Store, vault: Vault) -> None:
    try:
        if await reseal_secret(store, vault):
            _log.info("api_key_secret_resealed", key_id=vault.primary)
    except CanNotOpen:
        _log.error("api_key_secret_not_resealed")


async def _reseal_batch(store: Store, vault: Vault, after: UUID | None) -> tuple[int, UUID | None, bool]:
    async with store.transaction() as transaction:
        batch = await transaction.sealed_otherwise(vault.primary, after=after, limit=BATCH)
    done = sum([await _reseal(store, vault, kept) for kept in batch])
    return done, batch[-1].provider.id if batch else after, len(batch) == BATCH


async def _reseal(store: Store, vault: Vault, kept: KeptProvider) -> bool:
    try:
        opened = vault.open(kept.sealed, kept.place)
    except CanNotOpen:
        _log.error("provider_not_resealed", provider_id=str(kept.provider.id), key_id=kept.sealed.key_id)
        return False
    # One row per transaction: holding several would be a deadlock with a write that reorders them.
    async with store.transaction() as transaction:
        return await transaction.reseal(kept, vault.seal(opened, kept.place))
