"""A server that both sides send to, and our adapters as the services build them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from services.adapters.base import Adapter, Call, Channel
from services.adapters.check import Checker, CheckResult
from services.adapters.outcome import Outcome
from services.adapters.registry import build_adapters, kind_for
from services.chassis.clock import SystemClock
from tests.contract.dialects import DIALECTS
from tests.contract.test_adapters import LOOPBACK
from tests.fakes.vendor import Received, VendorServer
from tests.strangers.emulator import Moto, running_moto

Adapters = Mapping[tuple[Channel, str], Adapter]
Checked = Callable[[str, Mapping[str, Any]], Awaitable[CheckResult]]
BothSend = Callable[[str, Call, Callable[[], object]], Awaitable[tuple[Received, Received]]]


@pytest.fixture
async def adapters() -> AsyncIterator[Adapters]:
    """Every kind's own adapter, allowed to reach loopback."""
    built = build_adapters(LOOPBACK, SystemClock())
    yield built
    for each in built.values():
        await each.close()


@pytest.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A server that takes whatever comes and keeps it."""
    async with VendorServer() as server:
        yield server


@pytest.fixture
def both_send(adapters: Adapters, vendor: VendorServer) -> BothSend:
    """Sends our call of a kind through its whole adapter, then lets the maker's library send; gives both requests."""

    async def send(kind: str, call: Call, theirs: Callable[[], object]) -> tuple[Received, Received]:
        dialect = next(each for each in DIALECTS if each.kind == kind)
        vendor.default, vendor.received = dialect.accepted, []
        result = await adapters[dialect.channel, kind].send(call)
        assert result.outcome is Outcome.ACCEPTED, result
        await asyncio.to_thread(theirs)
        mine, official = vendor.received
        return mine, official

    return send


@pytest.fixture(scope="session")
def moto_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """One moto for all tests that ask for it."""
    with running_moto(tmp_path_factory.mktemp("moto")) as moto:
        yield moto


@pytest.fixture
def moto(moto_process: Moto) -> Moto:
    """moto with nothing in it."""
    moto_process.reset()
    return moto_process


@pytest.fixture
async def checked() -> AsyncIterator[Checked]:
    """Asks a kind's own checker whether these settings are good."""
    made: list[Checker] = []

    async def ask(kind: str, config: Mapping[str, Any]) -> CheckResult:
        found = kind_for(Channel.EMAIL, kind) or kind_for(Channel.SMS, kind)
        assert found is not None
        assert found.check is not None
        made.append(found.check(LOOPBACK, SystemClock()))
        return await made[-1].check(config, timeout=5)

    yield ask
    for checker in made:
        await checker.close()
