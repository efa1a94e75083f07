"""Vault keys that change, with real rows."""

import base64

import asyncpg
import pytest
from google.protobuf.json_format import MessageToDict

from services.chassis.env import SecretText
from services.config.reseal import BATCH, WrongVaultKeys, reseal_all
from services.config.store import Store, open_engine
from services.config.vault import Vault, parse_keys
from tests.integration.config.service import NEW_KEY, OLD_KEY, a_settings, calling, eventually, opened

BOTH = f"{NEW_KEY},{OLD_KEY}"


async def key_ids(database_url: str) -> set[str]:
    """The ids of the keys that any row is sealed with."""
    connection = await asyncpg.connect(database_url)
    try:
        return {row["key_id"] for row in await connection.fetch("SELECT DISTINCT key_id FROM config.providers")}
    finally:
        await connection.close()


async def test_rotation_seals_everything_anew(database_url: str) -> None:
    """After a start with a new first key every row is sealed with it, unchanged otherwise, and the old key can go."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        made = [await caller.create(config={"apiKey": f"key {number}"}) for number in range(3)]
    async with opened(a_settings(database_url, vault_keys=BOTH)):
        await eventually(lambda: key_ids(database_url), {"new"})
    async with opened(a_settings(database_url, vault_keys=NEW_KEY)) as running, calling(running.address) as caller:
        links = (await caller.resolve()).links
        assert [link.provider.version for link in links] == [1, 1, 1]
        assert [link.provider.updated_at for link in links] == [each.updated_at for each in made]
        assert [MessageToDict(link.opened_config)["apiKey"] for link in links] == ["key 0", "key 1", "key 2"]


async def test_resealing_goes_through_all_batches(database_url: str) -> None:
    """More rows than one batch holds are all sealed anew, and a second pass finds nothing to do."""
    async with opened(a_settings(database_url)) as running, calling(running.address, "*") as caller:
        for number in range(BATCH + 1):
            await caller.create(project=f"p{number % 2}")
    engine = open_engine(database_url)
    vault = Vault(parse_keys(SecretText(BOTH)))
    assert await reseal_all(Store(engine), vault) == BATCH + 1
    assert await reseal_all(Store(engine), vault) == 0
    await engine.dispose()
    assert await key_ids(database_url) == {"new"}


async def test_resealing_does_not_overwrite_a_newer_version(database_url: str) -> None:
    """A row that was written after it was read for resealing is left as it is."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        await caller.create(config={"apiKey": "k"})
    engine = open_engine(database_url)
    vault = Vault(parse_keys(SecretText(BOTH)))
    async with Store(engine).transaction() as transaction:
        (kept,) = await transaction.sealed_otherwise("new", after=None, limit=10)
        sealed = vault.seal(vault.open(kept.sealed, kept.place), kept.place)
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE config.providers SET version = version + 1")
        await connection.close()
        assert not await transaction.reseal(kept, sealed)
    await engine.dispose()


async def test_missing_key_refuses_the_start(database_url: str) -> None:
    """Rows under a key that is not in the ring: the service does not start, and its one line names the key's id."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        await caller.create()
    with pytest.raises(WrongVaultKeys, match="'old' is not among the vault keys"):
        async with opened(a_settings(database_url, vault_keys=NEW_KEY)):
            pass


async def test_wrong_key_refuses_the_start(database_url: str) -> None:
    """The right id with another key does not open what is stored, and the service does not start."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        await caller.create()
    wrong = "old:" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WrongVaultKeys, match="do not open with the key 'old'"):
        async with opened(a_settings(database_url, vault_keys=wrong)):
            pass


async def test_row_that_does_not_open_is_left_and_the_rest_goes_on(database_url: str) -> None:
    """One damaged row keeps neither the others from being sealed anew nor the pass from ending."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        for _ in range(3):
            await caller.create()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE config.providers SET sealed = 'x' WHERE priority = 2")
    await connection.close()
    engine = open_engine(database_url)
    assert await reseal_all(Store(engine), Vault(parse_keys(SecretText(BOTH)))) == 2
    await engine.dispose()
    assert await key_ids(database_url) == {"new", "old"}
