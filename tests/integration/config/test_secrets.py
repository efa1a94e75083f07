"""No secret comes back out: canaries in every secret of every kind, looked for in answers, logs and tables."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import asyncpg
import pytest
from google.protobuf.json_format import MessageToJson
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from services.adapters.base import ProviderSpec, secret_paths
from services.adapters.registry import specs
from services.chassis import log
from services.config.convert import channel_number
from tests.integration.config.service import NOWHERE, Caller, a_settings, a_struct, calling, opened

CANARY = "canary5ecret"


def with_canaries(spec: ProviderSpec, number: int) -> dict[str, Any]:
    """Settings with a different canary in every secret and nothing else; most kinds will refuse them."""
    config: dict[str, Any] = {}
    for index, path in enumerate(secret_paths(spec)):
        below = config
        for name in path[:-1]:
            below = below.setdefault(name, {})
        below[path[-1]] = f"{CANARY}{number}x{index}"
    return config


def open_schema(spec: ProviderSpec) -> ProviderSpec:
    """The same kind with its secrets, taking anything: what is tested is where secrets go, not what a kind refuses."""
    properties = _loose(spec.config_schema)
    return ProviderSpec(
        kind=spec.kind,
        channel=spec.channel,
        title=spec.title,
        description=spec.description,
        documentation_url=spec.documentation_url,
        config_schema=properties,
    )


def _loose(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"writeOnly": True} if schema.get("writeOnly") else {}
    below = {name: _loose(part) for name, part in schema.get("properties", {}).items()}
    return {**kept, "properties": below} if below else dict(kept)


@pytest.fixture
async def open_caller(database_url: str, capfd: pytest.CaptureFixture[str]) -> AsyncIterator[Caller]:
    """A caller of a service with every installed kind, whose log is written as in production, at its most talkative."""
    log.configure(service="config", json=True, level="debug")
    kinds = [open_schema(spec) for spec in specs()]
    async with opened(a_settings(database_url), kinds) as running, calling(running.address) as caller:
        yield caller


def a_provider(spec: ProviderSpec, config: Mapping[str, Any], **values: Any) -> provider_pb2.Provider:
    """A provider of this kind."""
    channel = channel_number(spec.channel)
    return provider_pb2.Provider(channel=channel, kind=spec.kind, name="x", config=a_struct(config), **values)


async def every_answer(caller: Caller, kinds: Iterable[ProviderSpec]) -> list[str]:
    """Does everything with a provider of each kind, and answers what everybody but a dispatcher sees."""
    seen = []
    for number, spec in enumerate(kinds):
        provider = a_provider(spec, with_canaries(spec, number))
        # The first one stays as it was made.
        await caller.call("CreateProvider", pb2.CreateProviderRequest(provider=provider))
        made = await caller.call("CreateProvider", pb2.CreateProviderRequest(provider=provider))
        changed = provider_pb2.Provider(id=made.id, name="y", config=a_struct(with_canaries(spec, 1000 + number)))
        seen += [
            MessageToJson(made),
            MessageToJson(await caller.call("UpdateProvider", pb2.UpdateProviderRequest(provider=changed))),
            MessageToJson(await caller.call("GetProvider", pb2.GetProviderRequest(id=made.id))),
        ]
        order = pb2.ReorderProvidersRequest(channel=made.channel, provider_ids=[made.id, NOWHERE])
        error = await caller.refused("ReorderProviders", order)
        seen.append(repr((error.message, error.violations, error.metadata)))
    seen.append(MessageToJson(await caller.call("ListProviders", pb2.ListProvidersRequest())))
    return seen


async def test_no_secret_in_answers_logs_or_tables(
    open_caller: Caller, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A canary in every secret of every kind is in no answer, in no log line and nowhere in the database."""
    kinds = [spec for spec in specs() if secret_paths(spec)]
    assert kinds
    seen = await every_answer(open_caller, kinds)
    assert not [answer for answer in seen if CANARY in answer]
    written = capfd.readouterr()
    assert "rpc" in written.err
    assert CANARY not in written.err + written.out
    assert CANARY not in await everything_in(database_url)


async def test_every_secret_reaches_the_dispatcher(open_caller: Caller) -> None:
    """The canaries are not lost: a chain's opened credentials hold each of them."""
    for number, spec in enumerate(spec for spec in specs() if secret_paths(spec)):
        provider = a_provider(spec, with_canaries(spec, number))
        await open_caller.call("CreateProvider", pb2.CreateProviderRequest(provider=provider))
        chain = await open_caller.resolve(channel=channel_number(spec.channel))
        assert chain.links[-1].opened_config == a_struct(with_canaries(spec, number))


async def test_no_secret_in_a_refusal(database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The real schemas refuse canaries beside wrong settings, and say so without repeating one."""
    log.configure(service="config", json=True, level="debug")
    async with opened(a_settings(database_url), specs()) as running, calling(running.address) as caller:
        for number, spec in enumerate(specs()):
            config = {**with_canaries(spec, number), "noSuchSetting": True}
            request = pb2.CreateProviderRequest(provider=a_provider(spec, config))
            error = await caller.refused("CreateProvider", request)
            told = repr((error.message, error.violations, error.metadata))
            assert "noSuchSetting" in told
            assert CANARY not in told
    assert CANARY not in capfd.readouterr().err


async def test_sealed_text_does_not_open_in_another_row(database_url: str) -> None:
    """Whoever may write to the table can not read a secret by moving it to a provider of their own."""
    async with opened(a_settings(database_url)) as running, calling(running.address, ["shop", "thief"]) as caller:
        await caller.create(config={"apiKey": CANARY})
        await caller.create(project="thief")
        await execute(
            database_url,
            "UPDATE config.providers SET sealed = (SELECT sealed FROM config.providers WHERE project_id = 'shop')"
            " WHERE project_id = 'thief'",
        )
        request = pb2.ResolveChainRequest(project_id="thief", channel=channel_number(specs()[0].channel))
        error = await caller.refused("ResolveChain", request)
        assert error.reason == "INTERNAL"
        assert CANARY not in str(error)


async def execute(database_url: str, statement: str) -> None:
    """Runs one statement on the test's database."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def everything_in(database_url: str) -> str:
    """Every row of every table of ours as text, bytes as hexadecimal and as the characters they may stand for."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'config'")
        assert {row["tablename"] for row in tables} >= {"providers", "channel_configs", "chains"}
        rows = [row for table in tables for row in await connection.fetch(f"SELECT * FROM config.{table['tablename']}")]
    finally:
        await connection.close()
    return "\n".join(
        value.decode("latin-1") + value.hex() if isinstance(value, bytes) else str(value)
        for row in rows
        for value in row.values()
    )
