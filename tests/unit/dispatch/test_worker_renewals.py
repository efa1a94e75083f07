"""How a worker keeps its leases while the database does not answer."""

import asyncio
from uuid import UUID

import pytest

from services.dispatch.ports import Lease
from services.dispatch.worker import RENEW_AGAIN
from tests.builders import a_message
from tests.unit.dispatch.shop import LEASE, SAFE, SIZE, Shop, until


async def renewing_without_a_database(shop: Shop) -> "asyncio.Task[None]":
    """The worker, with one lease that could not be renewed a third of a lease after it began."""
    assert shop.worker.reserve(SIZE)
    shop.worker.start(Lease(message=a_message(), epoch=1), since=0.0, size=SIZE)
    renewing = asyncio.create_task(shop.worker.renew_forever())
    await asyncio.sleep(0)
    shop.queue.away = True
    shop.clock.advance(LEASE / 3)
    await asyncio.sleep(0.01)
    return renewing


async def test_renewing_outlives_the_database(shop: Shop) -> None:
    """A renewal that fails makes no lease longer and ends nothing."""
    renewing = await renewing_without_a_database(shop)

    assert not renewing.done()
    assert shop.worker.lease_left(a_message().id, 1) == pytest.approx(SAFE - LEASE / 3)
    renewing.cancel()


async def test_a_renewal_that_failed_is_tried_again_soon(shop: Shop) -> None:
    """A database that is away for a moment does not cost a third of a lease."""
    renewing = await renewing_without_a_database(shop)
    shop.queue.away = False
    shop.clock.advance(LEASE * RENEW_AGAIN)
    await until(lambda: shop.queue.renewed)
    await asyncio.sleep(0)

    assert shop.worker.lease_left(a_message().id, 1) == SAFE
    renewing.cancel()


async def test_a_renewal_that_hangs_holds_up_no_other() -> None:
    """A renewal without an answer makes no lease longer, and the next one is made all the same."""
    shop = Shop(lease=0.09)
    hanging, answers = asyncio.Event(), shop.queue.renew

    async def hang(leases: dict[UUID, int]) -> frozenset[UUID]:
        hanging.set()
        shop.queue.renew = answers  # type: ignore[method-assign]
        await asyncio.Event().wait()
        return frozenset()

    shop.queue.renew = hang  # type: ignore[method-assign]
    assert shop.worker.reserve(SIZE)
    shop.worker.start(Lease(message=a_message(), epoch=1), since=0.0, size=SIZE)
    renewing = asyncio.create_task(shop.worker.renew_forever())
    await asyncio.sleep(0)
    shop.clock.advance(0.03)
    await hanging.wait()
    assert shop.worker.lease_left(a_message().id, 1) == pytest.approx(0.045)
    await asyncio.sleep(0.05)
    shop.clock.advance(0.01)
    await until(lambda: shop.queue.renewed)

    assert not renewing.done()
    renewing.cancel()
