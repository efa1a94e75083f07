"""ratePerSecond, maxConcurrency and what a message does at a limit: two dispatchers, PostgreSQL, real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2

from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch import limit_book
from services.dispatch.limit_book import AskGrant, AskSlots
from services.dispatch.limits import pace_of
from tests.integration.breakers import another_dispatcher
from tests.integration.rig import Pipe, eventually, metadata, rig, struct


@asynccontextmanager
async def two(pipe: Pipe, database_url: str) -> AsyncIterator[list[Any]]:
    """The stubs of two more dispatchers on the same database, with the same adapters."""
    async with another_dispatcher(pipe, database_url) as one, another_dispatcher(pipe, database_url) as other:
        yield [one.messages, other.messages]


async def create(pipe: Pipe, stubs: list[Any], count: int) -> list[str]:
    """Messages handed to the dispatchers in turn; their ids."""
    request = dispatch_service_pb2.CreateMessageRequest(message=pipe.spec())
    calls = [stubs[number % len(stubs)].CreateMessage(request, metadata=metadata()) for number in range(count)]
    return [message.id for message in await asyncio.gather(*calls)]


def most_in(times: list[float], seconds: float) -> int:
    """The most calls that began within so many seconds."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def test_a_rate_holds_across_dispatchers(database_url: str) -> None:
    """Two dispatchers together begin no more calls in any second than ratePerSecond, and use most of it."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", limits={"A": {"ratePerSecond": 20}})
        async with two(pipe, database_url) as stubs:
            ids = await create(pipe, stubs, 100)
            stories = await asyncio.gather(*(pipe.watch(each) for each in ids))

    times = sorted(pipe.adapters["A"].times)
    assert {story.calls for story in stories} == {"A:accepted"}
    assert len(times) == 100
    assert most_in(times, 1.0) <= 20
    assert times[-1] - times[0] < 15
    waits = [event.retry_scheduled for story in stories for event in story.events if event.HasField("retry_scheduled")]
    assert {wait.reason for wait in waits} == {"RATE_LIMITED"}
    # Waiting costs a message a step or two, not one per look.
    assert len(waits) <= 200


async def test_a_message_waits_for_its_provider(database_url: str) -> None:
    """Messages beyond a short limit are not spilled to the next provider."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", limits={"A": {"ratePerSecond": 2}})
        created = await asyncio.gather(*(pipe.create() for _ in range(8)))
        stories = await asyncio.gather(*(pipe.watch(message.id) for message in created))

    assert {story.calls for story in stories} == {"A:accepted"}
    assert most_in(sorted(pipe.adapters["A"].times), 1.0) <= 2


async def test_a_long_wait_passes_the_provider_by(database_url: str) -> None:
    """When the turn would come later than in 30 s the next provider is asked; the history says why."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", limits={"A": {"ratePerSecond": 0.01}})
        first = await pipe.send()
        second = await pipe.send()

    assert (first.calls, second.calls) == ("A:accepted", "B:accepted")
    assert second.skips() == [("A", "RATE_LIMITED")]


async def all_put_off(database_url: str, count: int) -> bool:
    """Whether so many messages wait for their provider, for longer than a few seconds."""
    connection = await asyncpg.connect(database_url)
    waiting = await connection.fetchval(
        "SELECT count(*) FROM dispatch.queue WHERE waits_for <> '' AND worker IS NULL"
        " AND due_at > now() + interval '5 seconds'"
    )
    await connection.close()
    return bool(waiting == count)


async def test_a_changed_limit_counts_for_those_that_wait(database_url: str) -> None:
    """Messages that were put off for minutes are called up when the provider allows more; until then nobody looks at
    them again and again.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", limits={"A": {"ratePerSecond": 0.01}})
        await pipe.send()
        created = [await pipe.create() for _ in range(5)]
        await eventually(lambda: all_put_off(database_url, 5), seconds=20)
        await asyncio.sleep(4)  # four looks at the line: the fact is that they do nothing
        await pipe.change("A", config=struct(ratePerSecond=50))
        stories = await asyncio.gather(*(pipe.watch(message.id) for message in created))

    assert {story.calls for story in stories} == {"A:accepted"}
    assert max(story.kinds().count("retry_scheduled") for story in stories) <= 2


async def test_nobody_waits_for_a_provider_that_is_disabled(database_url: str) -> None:
    """X19 at a limit: those that wait for it go on to the next one."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", limits={"A": {"ratePerSecond": 0.05}})
        await pipe.send()
        message = await pipe.create()
        await eventually(lambda: all_put_off(database_url, 1))
        await pipe.change("A", enabled=False)
        story = await pipe.watch(message.id)

    assert story.calls == "B:accepted"


async def test_open_calls_are_limited_across_dispatchers(database_url: str) -> None:
    """Dispatchers together never have more than maxConcurrency calls open; all of it is used."""
    async with rig(database_url) as pipe:
        pipe.adapters["A"].seconds = 0.05
        await pipe.chain("A", limits={"A": {"maxConcurrency": 3}})
        async with two(pipe, database_url) as stubs:
            ids = await create(pipe, stubs, 60)
            stories = await asyncio.gather(*(pipe.watch(each) for each in ids))

    assert {story.calls for story in stories} == {"A:accepted"}
    assert pipe.adapters["A"].most_open == 3


async def test_a_dispatcher_that_shrank_gets_through(database_url: str) -> None:
    """Time-outs and 429s make this process call less at a time, never less than one; everything is sent in the end."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        throttled = Result(outcome=Outcome.DEFERRED, reason=Reason.RATE_LIMITED)
        pipe.script("A", *[throttled] * 20, "accepted")
        created = await asyncio.gather(*(pipe.create(max_tries=5) for _ in range(40)))
        stories = await asyncio.gather(*(pipe.watch(message.id) for message in created))

    assert {story.state for story in stories} == {"SENT"}


async def test_how_many_calls_at_a_time_can_be_seen(database_url: str) -> None:
    """ExplainRoute tells the limit that 429s have left, and tells none of a provider that never refused."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        pipe.adapters["A"].seconds = 0.5
        pipe.script("A", Result(outcome=Outcome.DEFERRED, reason=Reason.RATE_LIMITED))
        await asyncio.gather(*(pipe.send(max_tries=1) for _ in range(4)))
        request = dispatch_service_pb2.ExplainRouteRequest(message=pipe.spec())
        first, second = (await pipe.messages.ExplainRoute(request, metadata=metadata())).steps

    assert 1 <= first.concurrency <= 2
    assert not second.HasField("concurrency")


async def test_without_limits_nothing_is_written(database_url: str) -> None:
    """A provider without limits has no row and takes no turn in the database."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        await asyncio.gather(*(pipe.send() for _ in range(10)))
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetchval("SELECT count(*) FROM dispatch.provider_limits")
    await connection.close()

    assert rows == 0


@pytest.fixture
async def connections(database_url):
    """Two connections to the tables, with provider `p` enrolled."""
    one, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await limit_book.enrol(one, "p", "shop")
    yield one, other
    await one.close()
    await other.close()


def ask(calls: int, rate: float) -> AskGrant:
    """A grant of so many calls at the pace of a rate."""
    pace = pace_of(rate)
    return AskGrant(provider_id="p", calls=calls, spacing=pace.spacing, longest=pace.spacing * pace.chunk)


async def test_a_slower_pace_is_over_when_the_settings_change(connections) -> None:
    """After one call per thousand seconds a provider that now allows ten a second is not waited for for long."""
    one, _ = connections
    assert (await limit_book.grants(one, [ask(1, 0.001)]))["p"].calls == 1
    assert (await limit_book.grants(one, [ask(1, 0.001)]))["p"].calls == 0
    assert (await limit_book.grants(one, [ask(1, 10)]))["p"].again_in < 0.5

    async def granted() -> bool:
        return (await limit_book.grants(one, [ask(1, 10)]))["p"].calls == 1

    await eventually(granted, seconds=3)


async def test_slots_are_never_given_twice(connections) -> None:
    """Two workers that ask at the same time get no more slots together than there are."""
    one, other = connections
    for _ in range(30):
        asks = [AskSlots(provider_id="p", most=5, slots=4, in_use=0)]
        first, second = await asyncio.gather(
            limit_book.slots(one, "one", asks, 60.0), limit_book.slots(other, "other", asks, 60.0)
        )
        assert sorted([first["p"], second["p"]]) == [1, 4]
        await limit_book.give_back(one, "one")
        await limit_book.give_back(one, "other")


async def test_a_dead_workers_slots_run_out(connections) -> None:
    """What a worker held that does not renew is there for others when its time is over, not before."""
    one, other = connections
    asks = [AskSlots(provider_id="p", most=2, slots=2, in_use=0)]
    assert await limit_book.slots(one, "dead", asks, 1.0) == {"p": 2}
    assert await limit_book.slots(other, "alive", asks, 60.0) == {"p": 0}

    async def free() -> bool:
        return await limit_book.slots(other, "alive", asks, 60.0) == {"p": 2}

    await eventually(free, seconds=5)
