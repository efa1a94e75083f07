"""Too much at once at the gateway: 429 with Retry-After before any work, and nothing for who is let in."""

import asyncio

from services.chassis.admission import Admission, Limits
from tests.fakes.upstreams import Pause
from tests.integration.gateway.conftest import a_house
from tests.integration.gateway.test_streams import WATCH, an_event


async def test_one_stream_too_many_is_429() -> None:
    """Over the bound the answer is 429 OVERLOADED with Retry-After; health still answers; afterwards there is room."""
    async with a_house(admission=Admission(Limits(calls=1, streams=1))) as house:
        house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), Pause(asyncio.Event())]
        async with house.client.stream("GET", WATCH) as first:
            assert first.status_code == 200
            second = await house.client.get(WATCH)
            alive = await house.client.get("/healthz")
        house.dispatch.answers["WatchMessage"] = [an_event(1, "queued")]
        async with asyncio.timeout(5):
            while (third := await house.client.get(WATCH)).status_code == 429:
                await asyncio.sleep(0.01)

    assert (second.status_code, second.json()["reason"]) == (429, "OVERLOADED")
    assert int(second.headers["retry-after"]) >= 1
    assert (alive.status_code, third.status_code) == (200, 200)
    assert len(house.dispatch.asked) == 2
