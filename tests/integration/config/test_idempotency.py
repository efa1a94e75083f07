"""R9 for the configuration: the same key is the same write and the same answer, on two replicas, and never a secret."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import provider_pb2

from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from services.config.chain import PATIENCE_SECONDS
from services.config.key_book import sweep_keys
from services.config.store import Store, open_engine
from tests.integration.config.service import (
    EMAIL,
    NEW_KEY,
    NOWHERE,
    OLD_KEY,
    SMS,
    Caller,
    a_creation,
    a_settings,
    calling,
    opened,
)

REPLAYED = ("messagepipe-replayed", "true")
KEY = "write-7"
CANARY = "canary-api-key"


@pytest.fixture
async def callers(database_url: str) -> AsyncIterator[list[Caller]]:
    """A caller of each of two replicas on one database."""
    async with (
        opened(a_settings(database_url)) as one,
        opened(a_settings(database_url)) as two,
        calling(one.address) as first,
        calling(two.address) as second,
    ):
        yield [first, second]


async def asked(caller: Caller, method: str, request: Message) -> tuple[Any, bool]:
    """The answer, and whether it says that it repeats an earlier one."""
    call = getattr(caller.stub, method)(request, metadata=caller.metadata, timeout=10)
    answer = await call
    return answer, REPLAYED in [tuple(each) for each in await call.initial_metadata()]


def keyed(request: Any, key: str = KEY) -> Any:
    """The request with a key."""
    made = type(request)()
    made.CopyFrom(request)
    made.idempotency_key = key
    return made


async def run(database_url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """What the database answers."""
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def listed(caller: Caller) -> list[provider_pb2.Provider]:
    """The providers of the project."""
    return list((await caller.call("ListProviders", pb2.ListProvidersRequest(project_id="shop"))).providers)


async def test_fifty_callers_make_one_provider(callers: list[Caller]) -> None:
    """50 concurrent requests with one key, on two replicas: one provider, one answer, 49 of them marked."""
    request = keyed(a_creation(config={"apiKey": CANARY, "port": 25}))
    answers = await asyncio.gather(*(asked(callers[turn % 2], "CreateProvider", request) for turn in range(50)))

    assert len({answer.SerializeToString(deterministic=True) for answer, _ in answers}) == 1
    assert sum(replayed for _, replayed in answers) == 49
    assert len(await listed(callers[0])) == 1


async def test_every_write_is_done_once(callers: list[Caller]) -> None:
    """Each method of both replicas: the second time with its key it changes nothing and is answered as the first time,
    also when the world has moved on meanwhile.
    """
    one, two = callers
    first, second = await one.create(name="One"), await one.create(name="Two")
    sender = provider_pb2.ChannelConfig(channel=EMAIL, sender_email="a@shop.test")
    ids = [second.id, first.id]
    writes: list[tuple[str, Any]] = [
        ("UpdateProvider", pb2.UpdateProviderRequest(provider=provider_pb2.Provider(id=first.id, name="Renamed"))),
        ("ReorderProviders", pb2.ReorderProvidersRequest(project_id="shop", channel=EMAIL, provider_ids=ids)),
        ("CreateChannelConfig", pb2.CreateChannelConfigRequest(project_id="shop", channel_config=sender)),
        ("UpdateChannelConfig", pb2.UpdateChannelConfigRequest(project_id="shop", channel_config=sender)),
        ("DeleteProvider", pb2.DeleteProviderRequest(id=first.id)),
    ]
    told = [await asked(one, method, keyed(request, method)) for method, request in writes]
    version = (await one.resolve()).version
    again = [await asked(two, method, keyed(request, method)) for method, request in writes]

    assert [replayed for _, replayed in told] == [False] * len(writes)
    assert [replayed for _, replayed in again] == [True] * len(writes)
    assert [answer for answer, _ in again] == [answer for answer, _ in told]
    assert (await two.resolve()).version == version
    assert [each.name for each in await listed(two)] == ["Two"]


async def test_another_request_is_refused(callers: list[Caller]) -> None:
    """IDEMPOTENCY_KEY_REUSED for another content, another secret, another method; nothing is done."""
    one, two = callers
    await one.call("CreateProvider", keyed(a_creation()))
    made = (await listed(one))[0]
    others = [
        ("CreateProvider", a_creation(name="Another")),
        ("CreateProvider", a_creation(config={"apiKey": "another"})),
        ("CreateProvider", a_creation(channel=SMS)),
        ("DeleteProvider", pb2.DeleteProviderRequest(id=made.id)),
        ("UpdateProvider", pb2.UpdateProviderRequest(provider=provider_pb2.Provider(id=made.id, name="x"))),
    ]
    errors = [await two.refused(method, keyed(request)) for method, request in others]

    assert {(error.code.value, error.reason) for error in errors} == {("ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED")}
    assert await listed(two) == [made]


async def test_a_key_belongs_to_its_project(callers: list[Caller], database_url: str) -> None:
    """Another project's key is another key; and what another project's key did is told to nobody else."""
    async with opened(a_settings(database_url)) as running, calling(running.address, ("other",)) as stranger:
        await callers[0].call("CreateProvider", keyed(a_creation()))
        _, replayed = await asked(stranger, "CreateProvider", keyed(a_creation(project="other")))
        made = (await listed(callers[0]))[0]
        deletion = keyed(pb2.DeleteProviderRequest(id=made.id), "deletion")
        await callers[0].call("DeleteProvider", deletion)
        error = await stranger.refused("DeleteProvider", deletion)

    assert not replayed
    assert error.reason == "PROVIDER_NOT_FOUND"


async def test_a_refused_write_is_not_remembered(callers: list[Caller], database_url: str) -> None:
    """A request that broke a rule, before the transaction or in it, leaves its key free; a bad key is a violation."""
    one = callers[0]
    await one.refused("CreateProvider", keyed(a_creation(config={"port": 1})))
    await one.refused("DeleteProvider", keyed(pb2.DeleteProviderRequest(id=NOWHERE)))
    reordered = pb2.ReorderProvidersRequest(project_id="shop", channel=EMAIL, provider_ids=[NOWHERE])
    await one.refused("ReorderProviders", keyed(reordered))
    malformed = await one.refused("CreateProvider", keyed(a_creation(config={"port": 0}), "é"))

    assert await run(database_url, "SELECT * FROM config.idempotency_keys") == []
    assert "idempotencyKey" in [each.field for each in malformed.violations]
    assert "provider.config.port" in [each.field for each in malformed.violations]
    _, replayed = await asked(one, "CreateProvider", keyed(a_creation()))
    assert not replayed


async def test_no_secret_is_kept(callers: list[Caller], database_url: str) -> None:
    """Neither the request's secrets nor a hash that could be guessed; and no answer shows one."""
    request = keyed(a_creation(config={"apiKey": CANARY, "port": 25}))
    await callers[0].call("CreateProvider", request)
    answer, replayed = await asked(callers[1], "CreateProvider", request)
    (row,) = await run(database_url, "SELECT * FROM config.idempotency_keys")

    assert replayed
    assert CANARY not in str(answer)
    assert CANARY.encode() not in bytes(row["answer"]) + bytes(row["fingerprint"])
    assert (row["key_id"], len(row["fingerprint"])) == ("old", 32)


async def test_keys_outlive_the_rotation_of_the_vault(database_url: str) -> None:
    """With the old key still in the ring the write is known; once it is removed, the key is refused rather than done
    again.
    """
    request = keyed(a_creation())
    found = []
    for keys in (OLD_KEY, f"{NEW_KEY},{OLD_KEY}"):
        async with opened(a_settings(database_url, vault_keys=keys)) as running, calling(running.address) as caller:
            found.append((await asked(caller, "CreateProvider", request))[1])
    await run(database_url, "DELETE FROM config.providers")
    async with opened(a_settings(database_url, vault_keys=NEW_KEY)) as running, calling(running.address) as caller:
        error = await caller.refused("CreateProvider", request)

    assert found == [False, True]
    assert error.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_who_comes_second_waits_and_then_repeats(callers: list[Caller], database_url: str) -> None:
    """While the first one's transaction holds the key the second waits; if that is undone, the second does the work."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("BEGIN")
    await connection.execute(
        "INSERT INTO config.idempotency_keys VALUES ($1, 'shop', 'old', '', '', NULL, NULL, now() + interval '1 day')",
        KEY,
    )
    second = asyncio.ensure_future(asked(callers[0], "CreateProvider", keyed(a_creation())))
    while not await run(database_url, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.01)
    await connection.execute("ROLLBACK")
    await connection.close()

    _, replayed = await second
    assert not replayed
    assert len(await listed(callers[0])) == 1


async def test_a_repeat_promises_what_the_first_one_does(callers: list[Caller]) -> None:
    """While a dispatcher has not acknowledged the change, the answer to a repeat waits for its word as the first one's
    does, until the patience is over.
    """
    watch = callers[1].watch()
    await watch.write(pb2.WatchChainsRequest())
    await watch.read()
    await callers[0].call("CreateProvider", keyed(a_creation()))
    told = await asyncio.wait_for(watch.read(), 20)
    loop = asyncio.get_running_loop()
    began = loop.time()
    _, replayed = await asked(callers[1], "CreateProvider", keyed(a_creation()))
    waited = loop.time() - began
    watch.cancel()

    assert replayed
    assert [each.project_id for each in told.changes] == ["shop"]
    assert waited >= PATIENCE_SECONDS


async def test_a_key_whose_time_is_over_is_new_and_swept(callers: list[Caller], database_url: str) -> None:
    """Before the sweep it counts as new; the sweep takes only what is over."""
    for key in ("k1", "k2"):
        await callers[0].call("CreateProvider", keyed(a_creation(), key))
    await run(database_url, "UPDATE config.idempotency_keys SET expires_at = now()")
    _, replayed = await asked(callers[1], "CreateProvider", keyed(a_creation(name="Another"), "k1"))
    engine = open_engine(database_url)
    swept = await sweep_keys(Store(engine))
    await engine.dispose()

    assert (replayed, swept) == (False, 1)
    assert [row["key"] for row in await run(database_url, "SELECT key FROM config.idempotency_keys")] == ["k1"]
    assert len(await listed(callers[0])) == 3


async def test_an_error_of_the_real_service_reads_as_documented(callers: list[Caller]) -> None:
    """What a client sees is the ErrorInfo of error_reason.proto."""
    await callers[0].call("CreateProvider", keyed(a_creation()))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await callers[0].call("CreateProvider", keyed(a_creation(name="Another")))

    error: ServiceError = from_rpc_error(raised.value)
    assert (error.reason, error.metadata) == ("IDEMPOTENCY_KEY_REUSED", {})
