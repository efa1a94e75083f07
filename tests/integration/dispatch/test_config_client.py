"""The kept chains of a dispatcher against a ConfigService that really speaks gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from services.adapters.base import Channel
from services.chassis.clock import SystemClock
from services.dispatch.config_client import ChainCache, ConfigUnavailable
from tests.fakes.config_service import FakeConfigService, serving


@pytest.fixture
def service() -> FakeConfigService:
    """A ConfigService whose project shop has A > B."""
    made = FakeConfigService()  # type: ignore[abstract] # the other methods answer UNIMPLEMENTED
    made.put("shop", "A", "B")
    return made


@pytest.fixture
async def address(service: FakeConfigService) -> AsyncIterator[str]:
    """Where the service is."""
    async with serving(service) as at:
        yield at


@asynccontextmanager
async def watching(address: str, **options: object) -> AsyncIterator[ChainCache]:
    """A cache whose watch stands."""
    async with cache(address) as made:
        task = asyncio.create_task(made.run())
        await until(lambda: made.watching)
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def cache(address: str) -> AsyncIterator[ChainCache]:
    """A cache without a watch."""
    made = ChainCache(address, lambda: "a token", SystemClock(), idempotent_kinds=frozenset({(Channel.EMAIL, "b")}))
    try:
        yield made
    finally:
        await made.close()


async def until(condition: Callable[[], object]) -> None:
    """Returns when the condition is true."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def names(made: ChainCache, project_id: str = "shop") -> str:
    """The chain as the dispatcher would use it now."""
    chain = await made.get(project_id, Channel.EMAIL)
    return "".join(provider.name for provider in chain.providers)


async def test_a_chain_is_asked_for_once(service: FakeConfigService, address: str) -> None:
    """While the watch stands, a chain is resolved once, with our token, and knows which kinds are idempotent."""
    async with watching(address) as made:
        assert [await names(made) for _ in range(3)] == ["AB"] * 3
        chain = await made.get("shop", Channel.EMAIL)

    assert service.resolved == ["shop"]
    assert service.tokens == ["Bearer a token"]
    assert [provider.idempotent for provider in chain.providers] == [False, True]


async def test_many_askers_share_one_call(service: FakeConfigService, address: str) -> None:
    """Fifty messages of one project at once cost one call, and one that gives up does not cut it off."""
    service.go.clear()
    async with watching(address) as made:
        asking = [asyncio.create_task(names(made)) for _ in range(50)]
        await until(lambda: service.resolved)
        asking[0].cancel()
        service.go.set()
        answers = await asyncio.gather(*asking[1:])

    assert (set(answers), service.resolved) == ({"AB"}, ["shop"])


async def test_after_an_acknowledged_change_the_new_chain_is_used(service: FakeConfigService, address: str) -> None:
    """X20: when the change has been acknowledged, the next use has the new chain; other projects stay kept."""
    service.put("other", "X")
    async with watching(address) as made:
        await names(made), await names(made, "other")
        for order in ("BA", "AB", "CBA", ""):
            await service.change("shop", *order)
            assert await names(made) == order
        assert await names(made, "other") == "X"

    assert service.resolved.count("other") == 1


async def test_an_answer_that_a_change_overtook_is_not_kept(service: FakeConfigService, address: str) -> None:
    """X20: a chain that was on its way while it changed is used by who asked before, and by nobody after."""
    async with watching(address) as made:
        service.go.clear()
        before = asyncio.create_task(names(made))
        await until(lambda: service.resolved)
        await service.change("shop", "B", "A")
        after = asyncio.create_task(names(made))
        await until(lambda: len(service.resolved) == 2)
        service.go.set()

        assert (await before, await after) == ("AB", "BA")
        assert await names(made) == "BA"


async def test_without_a_watch_every_use_asks(service: FakeConfigService, address: str) -> None:
    """What nobody would tell us about is not trusted: without a watch each use asks anew."""
    async with cache(address) as made:
        assert await names(made) == "AB"
        service.put("shop", "B")
        assert await names(made) == "B"

    assert len(service.resolved) == 2


async def test_a_watch_that_breaks_is_taken_up_again(service: FakeConfigService, address: str) -> None:
    """After a break nothing that was kept before is believed, whatever changed meanwhile."""
    async with watching(address) as made:
        assert await names(made) == "AB"
        service.refuse_watch = True
        service.hang_up()
        await until(lambda: not made.watching)
        service.put("shop", "B", "A")
        service.refuse_watch = False
        await until(lambda: made.watching)

        assert await names(made) == "BA"
    assert service.watched == 2


async def test_a_watch_that_breaks_leaves_nothing_behind(service: FakeConfigService, address: str) -> None:
    """However often the watch breaks, no reader of our acknowledgements keeps waiting for the next one."""

    def readers() -> int:
        return sum("_consume_request_iterator" in repr(task.get_coro()) for task in asyncio.all_tasks())

    async with watching(address) as made:
        for watches in range(2, 7):
            service.hang_up()
            await until(lambda: not made.watching)
            await until(lambda: made.watching)
            assert service.watched == watches
        await until(lambda: readers() == 1)
    await until(lambda: readers() == 0)


async def test_what_was_kept_serves_while_configservice_is_down(service: FakeConfigService) -> None:
    """When ConfigService is gone nobody can write either: what was kept is used, and what was not is unavailable."""
    async with serving(service) as address:
        made = ChainCache(address, lambda: "a token", SystemClock())
        task = asyncio.create_task(made.run())
        await until(lambda: made.watching)
        assert await names(made) == "AB"
    await until(lambda: not made.watching)

    assert await names(made) == "AB"
    with pytest.raises(ConfigUnavailable):
        await names(made, "other")
    async with serving(service, address):
        service.put("shop", "C")
        await until(lambda: made.watching)
        assert await names(made) == "C"
    task.cancel()
    await asyncio.wait([task])
    await made.close()


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL])
async def test_a_refusal_is_no_reason_to_use_what_was_kept(
    service: FakeConfigService, address: str, code: grpc.StatusCode
) -> None:
    """A ConfigService that answers and refuses is not away: nothing old is used, and nothing of it is kept."""
    async with cache(address) as made:
        assert await names(made) == "AB"
        service.failure = code
        with pytest.raises(ConfigUnavailable):
            await names(made)
        service.failure = None
        assert await names(made) == "AB"


async def test_a_failed_call_is_not_kept(service: FakeConfigService, address: str) -> None:
    """While the watch stands too, a failure is forgotten with the call that met it."""
    async with watching(address) as made:
        service.failure = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ConfigUnavailable):
            await names(made)
        service.failure = None

        assert await names(made) == "AB"


async def test_a_project_without_providers_has_an_empty_chain(address: str) -> None:
    """Nothing configured is an answer: an enabled channel of version 0 with nobody on it."""
    async with watching(address) as made:
        chain = await made.get("nobody", Channel.EMAIL)

    assert (chain.version, chain.providers, chain.enabled) == (0, (), True)


async def test_closing_in_the_middle_of_a_call_ends(service: FakeConfigService, address: str) -> None:
    """Closing cuts off calls that are on their way and does not wait for them."""
    service.go.clear()
    async with asyncio.timeout(5), watching(address) as made:
        asking = asyncio.create_task(names(made))
        await until(lambda: service.resolved)
    asking.cancel()
    await asyncio.wait([asking])
    service.go.set()
