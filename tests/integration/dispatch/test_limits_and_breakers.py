"""A provider with a limit whose breaker is open: two dispatchers, PostgreSQL, real gRPC. Chain A > B."""

import asyncio

import pytest

from tests.integration.breakers import another_dispatcher, pass_time, rows
from tests.integration.rig import rig

PROBER = "SELECT prober FROM dispatch.provider_health WHERE prober <> ''"


@pytest.mark.parametrize("limits", [{"ratePerSecond": 5}, {"maxConcurrency": 2}], ids=["rate", "concurrency"])
async def test_a_limited_provider_is_probed_by_one_message(database_url: str, limits: dict[str, float]) -> None:
    """R7: of twenty messages that come at once to two dispatchers exactly one probes A, whoever stands in line before
    its gate; the others go to B meanwhile, and A is first again when the probe was accepted.
    """
    async with rig(database_url) as pipe, another_dispatcher(pipe, database_url) as other:
        await pipe.chain("A", "B", limits={"A": limits})
        pipe.script("A", "deferred")
        assert [(await pipe.send()).calls for _ in range(5)] == ["A:deferred B:accepted"] * 5
        pipe.script("A", answer := asyncio.Event())
        before = len(pipe.adapters["A"].calls)
        await pass_time(database_url, 61)

        waiting = {asyncio.create_task(each.send()) for each in (pipe, other) * 10}
        others = set()
        async with asyncio.timeout(10):
            while len(waiting) > 1:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                others |= {task.result().calls for task in done}
        assert (len(pipe.adapters["A"].calls), others) == (before + 1, {"B:accepted"})
        answer.set()
        (probe,) = waiting
        assert (await probe).calls == "A:accepted"
        assert (await pipe.send()).calls == "A:accepted"

    assert await rows(database_url, PROBER) == []
