"""Bytes are places too: what a worker has in work is bounded in both."""

import asyncio

from services.dispatch.room import Room
from services.dispatch.worker import CLAIM_BYTES
from tests.unit.dispatch.shop import Shop, a_claim, until


async def test_a_room_is_full_in_places_or_in_bytes() -> None:
    """Whichever is used up first; the last one may stand out of it, and what moves out makes room."""
    room = Room(2, 100)
    room.take(1, 99)
    assert (room.places, room.bytes_left) == (1, 1)
    room.take(1, 50)
    assert room.places == 0
    room.give_back(1, 50)
    room.take(0, 1)
    assert (room.places, room.bytes_left) == (0, 0)
    waiting = asyncio.create_task(room.empty())
    await asyncio.sleep(0)
    assert not waiting.done()
    room.give_back(1, 100)
    await asyncio.wait_for(waiting, 1)
    assert (room.places, room.bytes_left) == (2, 100)


async def test_never_more_than_there_are_bytes() -> None:
    """The message that reaches the bound is the last, until one has ended."""
    shop = Shop(places=100, max_bytes=1000)

    assert [shop.worker.reserve(600) for _ in range(3)] == [True, True, False]
    claiming = asyncio.create_task(shop.worker.claim_forever())
    await asyncio.sleep(0.05)
    assert shop.queue.most == []  # no room, no question
    shop.worker.release_place(600)
    await asyncio.sleep(0.05)
    claiming.cancel()

    assert shop.queue.most
    assert set(shop.queue.most) == {400}


async def test_what_a_claim_did_not_bring_is_room_again() -> None:
    """While a claim is under way it holds the room it asked for; afterwards what came holds its own bytes."""
    shop = Shop(places=100, max_bytes=10_000)
    shop.queue.due = [a_claim(1), a_claim(2)]
    size = len(a_claim().spec)
    claiming = asyncio.create_task(shop.worker.claim_forever())
    await until(lambda: len(shop.deliveries.leases) == 2)
    await until(lambda: shop.queue.most[-1] == 10_000 - 2 * size)
    shop.deliveries.go.set()
    await until(lambda: shop.queue.most[-1] == 10_000)
    claiming.cancel()

    assert CLAIM_BYTES > 10_000  # otherwise it is what a claim asks for
