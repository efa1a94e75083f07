"""Projects and their API keys, over gRPC with real rows."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from messagepipe.config.v1 import config_service_pb2, provider_pb2
from messagepipe.config.v1 import project_service_pb2 as pb2

from services.chassis.api_keys import has_form, hash_of
from services.chassis.errors import Kind
from services.config.app import RunningConfig
from services.config.project import MAX_API_KEYS
from services.config.project_statements import GOES_WITH_ITS_PROJECT
from services.config.reseal import WrongVaultKeys
from tests.integration.config.service import (
    EMAIL,
    NEW_KEY,
    OLD_KEY,
    Caller,
    a_settings,
    calling,
    eventually,
    opened,
)

# These stay when a project goes: a chain's version must never begin anew, a key that a write holds is that write's.
STAYS = {"chains", "idempotency_keys"}


@pytest.fixture
async def operator(config: RunningConfig) -> AsyncIterator[Caller]:
    """A caller whose token names all projects."""
    async with calling(config.address, "*") as someone:
        yield someone


async def made(caller: Caller, name: str = "Web shop", project: str = "shop") -> pb2.CreateApiKeyResponse:
    """A new key."""
    key: pb2.CreateApiKeyResponse = await caller.call(
        "CreateApiKey", pb2.CreateApiKeyRequest(project_id=project, name=name)
    )
    return key


async def listed(caller: Caller, project: str = "shop") -> list[pb2.ApiKey]:
    """The project's keys."""
    return list((await caller.call("ListApiKeys", pb2.ListApiKeysRequest(project_id=project))).api_keys)


async def everything(database_url: str) -> str:
    """Every row of every table of the schema as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'config'")
        rows = [await connection.fetch(f"SELECT t::text FROM config.{each['tablename']} AS t") for each in tables]
    finally:
        await connection.close()
    return "\n".join(row[0] for table in rows for row in table)


async def test_a_key_is_shown_once_and_listed_by_its_prefix(caller: Caller, database_url: str) -> None:
    """What is kept of it is a keyed hash: no row holds the key, and lists show how it begins."""
    key = await made(caller)
    assert has_form(key.key)
    assert (key.prefix, key.is_active, key.project_id) == (key.key[:12], True, "shop")
    (shown,) = await listed(caller)
    assert (shown.id, shown.name, shown.prefix, shown.created_at) == (key.id, "Web shop", key.prefix, key.created_at)
    rows = await everything(database_url)
    assert key.prefix in rows
    assert key.key not in rows
    assert key.key.encode().hex() not in rows
    assert hash_of(b"", key.key).hex() not in rows


async def test_keys_change_and_go(caller: Caller) -> None:
    """Name and activity change alone or together; lists are oldest first."""
    first, second = await made(caller, "First"), await made(caller, "Second")
    change = pb2.UpdateApiKeyRequest(project_id="shop", id=first.id, name="Renamed")
    assert (await caller.call("UpdateApiKey", change)).is_active
    change = pb2.UpdateApiKeyRequest(project_id="shop", id=first.id, is_active=False)
    assert (await caller.call("UpdateApiKey", change)).name == "Renamed"
    assert [(key.name, key.is_active) for key in await listed(caller)] == [("Renamed", False), ("Second", True)]
    await caller.call("DeleteApiKey", pb2.DeleteApiKeyRequest(project_id="shop", id=first.id))
    assert [key.id for key in await listed(caller)] == [second.id]
    error = await caller.refused("DeleteApiKey", pb2.DeleteApiKeyRequest(project_id="shop", id=first.id))
    assert error.reason == "API_KEY_NOT_FOUND"


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb"])
async def test_a_bad_name_is_refused(caller: Caller, operator: Caller, name: str) -> None:
    """For keys and for projects."""
    key = await made(caller)
    errors = [
        await caller.refused("CreateApiKey", pb2.CreateApiKeyRequest(project_id="shop", name=name)),
        await caller.refused("UpdateApiKey", pb2.UpdateApiKeyRequest(project_id="shop", id=key.id, name=name)),
        await operator.refused("CreateProject", pb2.CreateProjectRequest(name=name)),
    ]
    assert [[each.field for each in error.violations] for error in errors] == [["name"]] * 3


async def test_a_project_has_only_so_many_keys(caller: Caller, database_url: str) -> None:
    """One more is refused, and a deleted one makes room."""
    key = await made(caller)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO config.api_keys SELECT gen_random_uuid(), project_id, name, prefix, sha256(n::text::bytea),"
        f" false, now() FROM config.api_keys, generate_series(2, {MAX_API_KEYS}) AS n"
    )
    await connection.close()
    error = await caller.refused("CreateApiKey", pb2.CreateApiKeyRequest(project_id="shop", name="More"))
    assert (error.reason, error.metadata) == ("TOO_MANY_API_KEYS", {"limit": "100"})
    await caller.call("DeleteApiKey", pb2.DeleteApiKeyRequest(project_id="shop", id=key.id))
    await made(caller)


async def test_projects_are_made_by_who_may_use_all(caller: Caller, operator: Caller) -> None:
    """With an id of the caller's or one made up; twice the same id is refused."""
    project = await operator.call("CreateProject", pb2.CreateProjectRequest(id="web", name="Web shop"))
    assert (project.id, project.name) == ("web", "Web shop")
    other = await operator.call("CreateProject", pb2.CreateProjectRequest(name="Web shop"))
    assert re.fullmatch(r"[0-9a-f-]{36}", other.id)
    again = await operator.refused("CreateProject", pb2.CreateProjectRequest(id="web", name="Else"))
    assert (again.reason, again.metadata) == ("PROJECT_ALREADY_EXISTS", {"id": "web"})
    refused = await caller.refused("CreateProject", pb2.CreateProjectRequest(id="shop", name="Shop"))
    assert (refused.code, refused.reason) == (Kind.PERMISSION_DENIED, "ALL_PROJECTS_NEEDED")
    bad = await operator.refused("CreateProject", pb2.CreateProjectRequest(id="a b", name=""))
    assert {each.field for each in bad.violations} == {"id", "name"}


async def test_lists_hold_what_the_token_names(config: RunningConfig, operator: Caller) -> None:
    """By id, in pages; a project that was only configured is there too, called by its id."""
    for project in ("c", "b"):
        await operator.call("CreateProject", pb2.CreateProjectRequest(id=project, name=project.upper()))
    await operator.create(project="a")
    await made(operator, project="d")
    found = (await operator.call("ListProjects", pb2.ListProjectsRequest())).projects
    assert [(each.id, each.name) for each in found] == [("a", "a"), ("b", "B"), ("c", "C"), ("d", "d")]
    page = await operator.call("ListProjects", pb2.ListProjectsRequest(page_size=3))
    rest = pb2.ListProjectsRequest(page_size=3, page_token=page.next_page_token)
    assert [each.id for each in page.projects] == ["a", "b", "c"]
    assert [each.id for each in (await operator.call("ListProjects", rest)).projects] == ["d"]
    async with calling(config.address, ["a", "c", "nobody"]) as someone:
        seen = (await someone.call("ListProjects", pb2.ListProjectsRequest())).projects
        assert [each.id for each in seen] == ["a", "c"]
        assert (await someone.call("GetProject", pb2.GetProjectRequest(id="c"))).name == "C"
        assert (await someone.refused("GetProject", pb2.GetProjectRequest(id="b"))).reason == "PROJECT_NOT_FOUND"
        assert (await someone.refused("ListProjects", rest)).reason == "INVALID_ARGUMENT"


async def test_deleting_a_project_needs_its_name(operator: Caller) -> None:
    """Without it, or with another one, nothing happens and the answer says how."""
    await operator.call("CreateProject", pb2.CreateProjectRequest(id="shop", name="Web shop"))
    await operator.create()
    for confirm in ("", "shop", "web shop"):
        error = await operator.refused("DeleteProject", pb2.DeleteProjectRequest(id="shop", confirm=confirm))
        assert (error.code, error.reason) == (Kind.FAILED_PRECONDITION, "CONFIRMATION_NEEDED")
        assert error.metadata == {"confirm": "Web shop"}
        assert "?confirm=" in error.message
    assert len((await operator.resolve()).links) == 1


async def test_a_deleted_project_takes_its_configuration_along(
    config: RunningConfig, operator: Caller, database_url: str
) -> None:
    """Providers, sender and keys are gone in one commit, dispatchers are told, another project keeps everything.
    Whoever begins anew with the same id goes on from a higher version.
    """
    for project in ("shop", "other"):
        await operator.create(project=project)
        await made(operator, project=project)
        sender = provider_pb2.ChannelConfig(channel=EMAIL, sender_email="a@example.test")
        await operator.call(
            "CreateChannelConfig",
            config_service_pb2.CreateChannelConfigRequest(project_id=project, channel_config=sender),
        )
    before = (await operator.resolve()).version
    watch = operator.watch()
    await watch.write(config_service_pb2.WatchChainsRequest())
    await watch.read()
    deleting = asyncio.create_task(operator.call("DeleteProject", pb2.DeleteProjectRequest(id="shop", confirm="shop")))
    told = await watch.read()
    assert {change.project_id for change in told.changes} == {"shop"}
    watch.cancel()
    await deleting
    chain = await operator.resolve()
    assert (len(chain.links), chain.HasField("channel_config"), chain.version) == (0, False, before + 1)
    assert await listed(operator) == []
    assert (await operator.refused("GetProject", pb2.GetProjectRequest(id="shop"))).reason == "PROJECT_NOT_FOUND"
    assert len((await operator.resolve("other")).links) == len(await listed(operator, "other")) == 1
    rows = await everything(database_url)
    # The chains, without anything in them, and the word that the project is gone.
    assert sorted(re.findall(r".*\bshop\b,\w*", rows)) == ["(shop,", "(shop,EMAIL", "(shop,SMS"]
    await operator.create()
    assert (await operator.resolve()).version == before + 2


async def test_every_table_of_a_project_goes_or_stays_on_purpose(database_url: str) -> None:
    """A new table with a project in it fails here until somebody has decided."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'config' AND column_name = 'project_id'"
    )
    cascades = await connection.fetch(
        "SELECT relation.relname AS part, whole.relname AS whole FROM pg_constraint AS link"
        " JOIN pg_class AS relation ON relation.oid = conrelid JOIN pg_class AS whole ON whole.oid = confrelid"
        " WHERE contype = 'f' AND confdeltype = 'c' AND connamespace = 'config'::regnamespace"
    )
    await connection.close()
    goes = {table.name for table in GOES_WITH_ITS_PROJECT}
    goes |= {each["part"] for each in cascades if each["whole"] in goes}
    assert {row["table_name"] for row in rows} == goes | STAYS


async def test_a_project_that_is_configured_while_it_is_deleted(operator: Caller) -> None:
    """Whichever comes last wins as a whole: what is configured afterwards is in a project that exists."""
    await operator.create()

    async def add(number: int) -> None:
        await operator.create(name=f"P{number}")
        await made(operator)

    async def delete() -> None:
        await operator.call("DeleteProject", pb2.DeleteProjectRequest(id="shop", confirm="shop"))

    await asyncio.gather(add(1), add(2), delete(), add(3), add(4))
    links, keys = (await operator.resolve()).links, await listed(operator)
    there = [each.id for each in (await operator.call("ListProjects", pb2.ListProjectsRequest())).projects]
    assert there == (["shop"] if links or keys else [])


async def hashes(database_url: str) -> tuple[str, bytes]:
    """Which vault key seals the secret of all hashes, and the only key's hash."""
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow("SELECT key_id, hash FROM config.api_key_roll, config.api_keys")
    finally:
        await connection.close()
    return row["key_id"], row["hash"]


async def test_keys_outlive_the_vault_s_keys(database_url: str) -> None:
    """Their hashes are under a secret of their own, which is sealed anew; without a key that opens it nobody starts."""
    async with opened(a_settings(database_url)) as running, calling(running.address) as caller:
        await made(caller)
    sealed, before = await hashes(database_url)
    assert sealed == "old"
    with pytest.raises(WrongVaultKeys, match="secret of API keys"):
        async with opened(a_settings(database_url, vault_keys=NEW_KEY)):
            pass

    async def sealed_with() -> str:
        return (await hashes(database_url))[0]

    async with opened(a_settings(database_url, vault_keys=f"{NEW_KEY},{OLD_KEY}")):
        await eventually(sealed_with, "new")
    async with opened(a_settings(database_url, vault_keys=NEW_KEY)) as running, calling(running.address) as caller:
        assert (await hashes(database_url))[1] == before
        (kept,) = await listed(caller)
        assert kept.is_active
