"""The secret under which all API keys are hashed: made once for a database, kept sealed by the vault. So vault keys can
be rotated although nobody knows the API keys any more.
"""

import base64
import secrets
from typing import Any
from uuid import UUID

from services.config.store import Store
from services.config.vault import CanNotOpen, Place, Sealed, Vault

SECRET_BYTES = 32
# No project is called `*`, so that no provider's credentials could stand here.
PLACE = Place(project_id="*", provider_id=UUID(int=0), version=1)


async def hash_secret(store: Store, vault: Vault) -> bytes:
    """The secret, made now if there is none. Raises CanNotOpen."""
    async with store.transaction() as transaction:
        sealed = await transaction.api_keys.sealed_secret()
        if sealed is None:
            made = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
            await transaction.api_keys.insert_secret(vault.seal({"secret": made}, PLACE))
    if sealed is None:
        return await hash_secret(store, vault)  # whichever replica's was written
    return base64.b64decode(_opened(vault, sealed)["secret"])


async def reseal_secret(store: Store, vault: Vault) -> bool:
    """The secret is sealed with the primary key; answers whether it was sealed with another one. Raises CanNotOpen."""
    async with store.transaction() as transaction:
        sealed = await transaction.api_keys.sealed_secret()
        if sealed is None or sealed.key_id == vault.primary:
            return False
        opened = _opened(vault, sealed)
        await transaction.api_keys.reseal_secret(vault.seal(opened, PLACE), was=sealed.key_id)
    return True


def _opened(vault: Vault, sealed: Sealed) -> dict[str, Any]:
    try:
        return vault.open(sealed, PLACE)
    except CanNotOpen:
        raise CanNotOpen(f"the secret of API keys does not open with the key {sealed.key_id!r}") from None
