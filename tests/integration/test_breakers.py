"""failover.md R7 and X14 to X17: providers that keep failing are passed by, probed, and come back. Chain A > B."""

import asyncio
import functools

import pytest
from messagepipe.config.v1 import provider_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2

from services.adapters.outcome import Outcome, Result
from services.dispatch.breaker_book import BreakerBook
from services.dispatch.store import Store
from tests.integration.breakers import another_dispatcher, pass_time, rows, watching
from tests.integration.rig import Pipe, eventually, metadata, rig, struct

PASSED_BY = [("A", "BREAKER_OPEN")]
Hold = provider_pb2.Provider


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with the chain A > B."""
    async with rig(database_url) as running:
        await running.chain("A", "B")
        yield running


async def calls(pipe: Pipe, count: int) -> list[str]:
    """The attempts of so many messages, one after the other."""
    return [(await pipe.send()).calls for _ in range(count)]


async def opened(pipe: Pipe) -> None:
    """A keeps failing until its breaker is open."""
    pipe.script("A", "deferred")
    assert await calls(pipe, 5) == ["A:deferred B:accepted"] * 5


async def explained(pipe: Pipe) -> list[tuple[str, bool, str, str]]:
    """What ExplainRoute says of each provider."""
    request = dispatch_service_pb2.ExplainRouteRequest(message=pipe.spec())
    answer = await pipe.messages.ExplainRoute(request, metadata=metadata())
    return [(step.provider_name, step.eligible, step.skip_reason, step.breaker) for step in answer.steps]


async def is_primary(pipe: Pipe) -> bool:
    """Whether A may be tried again, as this dispatcher knows it: what another one wrote takes a moment."""
    return (await explained(pipe))[0][1]


async def test_x14_five_failures_open_the_breaker(pipe: Pipe) -> None:
    """X14: A always defers, six messages in a row: five times `A B`, then `B`; the project's stream says so once."""
    async with watching(pipe) as stream:
        await opened(pipe)
        sixth = await pipe.send()
        more = await calls(pipe, 3)
        await stream.tells("provider_degraded", "failover_engaged")

    assert (sixth.calls, sixth.skips()) == ("B:accepted", PASSED_BY)
    assert more == ["B:accepted"] * 3
    down, engaged = (event for event in stream.about_providers)
    assert (down.message_id, down.sequence, down.provider_degraded.provider_id) == ("", 1, pipe.ids["A"])
    assert (down.provider_degraded.reason, down.provider_degraded.kind) == ("BREAKER_OPEN", "a")
    assert down.provider_degraded.detail == "UNAVAILABLE: Provider A says deferred"
    assert (engaged.sequence, engaged.failover_engaged.provider_name) == (2, "B")
    assert (engaged.failover_engaged.from_provider_id, engaged.failover_engaged.reason) == (
        pipe.ids["A"],
        "BREAKER_OPEN",
    )
    skipped = next(event.provider_skipped for event in sixth.events if event.HasField("provider_skipped"))
    assert skipped.until == down.provider_degraded.until
    assert (await explained(pipe))[0] == ("A", False, "BREAKER_OPEN", "OPEN")


async def test_x15_one_probe_in_the_whole_cluster_and_primary_again(pipe: Pipe, database_url) -> None:
    """X15: 61 s later exactly one message of two dispatchers probes A, the others go to B meanwhile; when it succeeds,
    A is primary again for both.
    """
    async with another_dispatcher(pipe, database_url) as other:
        await opened(pipe)
        pipe.script("A", answer := asyncio.Event())
        before = len(pipe.adapters["A"].calls)
        await pass_time(database_url, 61)
        async with watching(other) as stream:
            sending = [asyncio.create_task(each.send()) for each in (pipe, other) * 10]
            done, waiting = await asyncio.wait(sending, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            while len(waiting) > 1:
                more, waiting = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
                done |= more
            assert len(pipe.adapters["A"].calls) == before + 1
            assert (await explained(pipe))[0] == ("A", False, "BREAKER_OPEN", "PROBING")
            answer.set()
            (probe,) = waiting
            assert (await probe).calls == "A:accepted"
            await stream.tells("failover_engaged", "provider_recovered")
        others = [task.result() for task in done]
        assert {story.calls for story in others} == {"B:accepted"}
        assert [story.skips() for story in others] == [PASSED_BY] * 19
        assert stream.about_providers[-1].provider_recovered.reason == "SUCCESS"
        assert stream.about_providers[-1].provider_recovered.after.seconds >= 61
        for each in (pipe, other):
            await eventually(functools.partial(is_primary, each))
            assert await calls(each, 3) == ["A:accepted"] * 3


async def test_x16_bad_recipients_leave_the_breaker_closed(pipe: Pipe, database_url) -> None:
    """X16: 100 messages to bad recipients, then a good one: A is called each time, and nothing is written of it."""
    pipe.script("A", *["invalid"] * 100, "accepted")

    bad = await asyncio.gather(*(pipe.send() for _ in range(100)))
    good = await pipe.send()

    assert {story.calls for story in bad} == {"A:invalid"}
    assert good.calls == "A:accepted"
    assert await rows(database_url, "SELECT * FROM dispatch.provider_health") == []


async def test_x17_what_one_worker_opens_the_other_passes_by_within_a_second(pipe: Pipe, database_url) -> None:
    """X17: one dispatcher opens A's breaker, the other skips A within 1 s; so do both after a restart."""
    async with another_dispatcher(pipe, database_url) as other:
        assert (await other.send()).calls == "A:accepted"
        await opened(pipe)
        await asyncio.sleep(1.0)
        seen = await other.send()
    async with another_dispatcher(pipe, database_url) as one, another_dispatcher(pipe, database_url) as two:
        restarted = [await each.send() for each in (one, two)]

    assert (seen.calls, seen.skips()) == ("B:accepted", PASSED_BY)
    assert [(story.calls, story.skips()) for story in restarted] == [("B:accepted", PASSED_BY)] * 2


async def test_x06_a_denied_provider_is_probed_too(pipe: Pipe, database_url) -> None:
    """§1: a denial ends by a probe that succeeds as well, after a wait that doubles with each that does not."""
    pipe.script("A", "denied")
    async with watching(pipe) as stream:
        first = await pipe.send()
        await pass_time(database_url, 61)
        again = await pipe.send()
        await pass_time(database_url, 61)
        too_early = await pipe.send()
        pipe.script("A", "accepted")
        await pass_time(database_url, 61)
        probe = await pipe.send()
        await stream.tells("provider_degraded", "failover_engaged", "provider_recovered")

    assert [story.calls for story in (first, again)] == ["A:denied B:accepted"] * 2
    assert (too_early.calls, too_early.skips()) == ("B:accepted", [("A", "DENIED")])
    assert probe.calls == "A:accepted"
    assert [event.sequence for event in stream.about_providers] == [1, 2, 3]


async def test_a_scoped_denial_is_probed_by_messages_in_its_scope(pipe: Pipe, database_url) -> None:
    """A denial for one sender is told with its scope, and ends when a message of that sender is taken."""
    scoped = Result(outcome=Outcome.DENIED, reason="SENDER_REFUSED", scope="sender:shop@example.com")
    pipe.script("A", scoped, "accepted")
    async with watching(pipe) as stream:
        await pipe.send()
        await pass_time(database_url, 61)
        other_sender = await pipe.send(sender="news@example.com")
        still = await rows(database_url, "SELECT 1 FROM dispatch.provider_health WHERE block <> ''")
        probe = await pipe.send()
        await stream.tells("provider_degraded", "provider_recovered")

    assert (other_sender.calls, probe.calls, len(still)) == ("A:accepted", "A:accepted", 1)
    assert {stream.about_providers[0].provider_degraded.scope, stream.about_providers[1].provider_recovered.scope} == {
        "sender:shop@example.com"
    }


async def test_r7_a_failed_probe_keeps_it_open_for_longer(pipe: Pipe, database_url) -> None:
    """R7: after a probe that fails nobody goes there for two minutes; the message itself goes on to B."""
    await opened(pipe)
    await pass_time(database_url, 61)

    probe = await pipe.send()
    await pass_time(database_url, 110)
    early = await pipe.send()
    await pass_time(database_url, 10)
    next_probe = await pipe.send()

    assert probe.calls == "A:deferred B:accepted"
    assert (early.calls, early.skips()) == ("B:accepted", PASSED_BY)
    assert next_probe.calls == "A:deferred B:accepted"


async def test_r7_a_probe_whose_dispatcher_died_is_given_to_another(pipe: Pipe, database_url) -> None:
    """R7: the right to probe ends by itself: 20 s after a prober that was never heard of again, the next one probes."""
    await opened(pipe)
    await pass_time(database_url, 61)
    taken = "prober = 'dead', probed_until = now() + interval '20 s', revision = revision + 1"
    await rows(database_url, f"UPDATE dispatch.provider_health SET {taken}")
    await asyncio.sleep(1.0)

    meanwhile = await pipe.send()
    pipe.script("A", "accepted")
    await pass_time(database_url, 21)
    after = await pipe.send()

    assert (meanwhile.calls, after.calls) == ("B:accepted", "A:accepted")


async def test_r7_all_open_tries_the_one_closest_to_recovery(pipe: Pipe, database_url) -> None:
    """R7: when all are open, the one that recovers first is tried, then the other: never an instant failure, never a
    loop; and whoever succeeds is closed by it.
    """
    pipe.script("A", "deferred")
    pipe.script("B", "deferred")
    assert await calls(pipe, 5) == ["A:deferred B:deferred"] * 5
    later = "UPDATE dispatch.provider_health SET until = until + interval '9 s', revision = 99 WHERE kind = 'a'"
    await rows(database_url, later)
    await asyncio.sleep(1.0)

    lost = await pipe.send()
    pipe.script("B", "accepted")
    saved = await pipe.send()
    after = await pipe.send()

    assert (lost.calls, lost.state) == ("B:deferred A:deferred", "FAILED")
    assert (saved.calls, saved.state) == ("B:accepted", "SENT")
    assert (after.calls, after.skips()) == ("B:accepted", PASSED_BY)


async def test_r7_a_busy_provider_with_few_failures_is_not_opened(pipe: Pipe, database_url) -> None:
    """ADR 0016: failures that are fewer than what was accepted, here or in another process, leave it closed."""
    async with another_dispatcher(pipe, database_url) as other:
        pipe.script("A", *["accepted"] * 20, *["deferred"] * 10, "accepted")
        await calls(pipe, 2)
        await calls(other, 18)
        first = await calls(pipe, 4)
        await asyncio.sleep(2.0)  # the other one sees that A is not clean, and tells what it saw
        then = await calls(pipe, 6)
        last = await pipe.send()

    assert first + then == ["A:deferred B:accepted"] * 10
    assert last.calls == "A:accepted"
    told = await rows(database_url, "SELECT accepted FROM dispatch.provider_answers ORDER BY accepted")
    assert [row["accepted"] for row in told][-1] == 18


async def test_r7_a_flood_returns_step_by_step(pipe: Pipe, database_url) -> None:
    """R7: what waits for a provider that works again does not fall upon it: few calls at a time, the rest by B."""
    await opened(pipe)
    pipe.script("A", "accepted")
    await pass_time(database_url, 61)
    assert (await pipe.send()).calls == "A:accepted"
    pipe.script("A", answer := asyncio.Event())
    before = len(pipe.adapters["A"].calls)

    sending = [asyncio.create_task(pipe.send()) for _ in range(30)]
    await eventually(lambda: sum(task.done() for task in sending) >= 28)
    during = len(pipe.adapters["A"].calls) - before
    answer.set()
    stories = [await task for task in sending]

    assert during in (1, 2)  # the probe itself is the first success
    passed_by = [story for story in stories if story.calls == "B:accepted"]
    assert {tuple(story.skips()) for story in passed_by} == {(("A", "RETURNING"),)}


async def test_r7_many_failures_at_once_are_told_once(pipe: Pipe, database_url) -> None:
    """R7: however many messages of two dispatchers fail at once, each breaker opens once, the events of a provider have
    no gap, and every message has its end.
    """
    pipe.script("A", "deferred")
    pipe.script("B", "unknown")
    async with another_dispatcher(pipe, database_url) as other, watching(pipe) as stream:
        stories = await asyncio.gather(*(each.send() for each in (pipe, other) * 30))
        await eventually(lambda: sum(each.event.HasField("completed") for each in stream.answers) == 60)

    assert {story.state for story in stories} == {"UNKNOWN"}
    for name in "AB":
        about = [event for event in stream.about_providers if pipe.ids[name] in str(event)]
        assert [event.WhichOneof("event") for event in about].count("provider_degraded") == 1
    found = await rows(database_url, "SELECT message_id, sequence FROM dispatch.events ORDER BY message_id, sequence")
    for name in "AB":
        numbers = [row["sequence"] for row in found if str(row["message_id"]) == pipe.ids[name]]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_r7_a_held_out_provider_is_never_tried(pipe: Pipe) -> None:
    """R7: held out by an operator, A is passed by with the reason HELD, also as a last resort; all held out is like
    none enabled, and says so.
    """
    await pipe.change("A", hold=Hold.HOLD_OUT)
    pipe.script("B", "deferred")

    passed_by = await pipe.send()
    await pipe.change("B", hold=Hold.HOLD_OUT)
    nobody = await pipe.send()
    explain = await explained(pipe)
    await pipe.change("A", hold=Hold.HOLD_AUTOMATIC)
    again = await pipe.send()

    assert (passed_by.calls, passed_by.state, passed_by.skips()) == ("B:deferred", "FAILED", [("A", "HELD")])
    assert (nobody.calls, nobody.end.reason) == ("", "NO_PROVIDER")
    assert nobody.end.detail == "An operator holds out every enabled provider of this channel."
    assert nobody.skips() == [("A", "HELD"), ("B", "HELD")]
    assert [step[:3] for step in explain] == [("A", False, "HELD"), ("B", False, "HELD")]
    assert again.calls == "A:accepted"


async def test_r7_a_held_in_provider_is_tried_whatever_its_breaker_says(pipe: Pipe) -> None:
    """R7: held in, A is called first by every message, though it keeps failing."""
    await pipe.change("A", hold=Hold.HOLD_IN)
    pipe.script("A", "deferred")

    assert await calls(pipe, 8) == ["A:deferred B:accepted"] * 8


async def test_what_is_told_about_a_provider_can_be_resumed(pipe: Pipe) -> None:
    """R10: a watcher that comes back with a token gets exactly what followed, events about providers among them."""
    async with watching(pipe) as stream:
        await opened(pipe)
        await pipe.send()
        await pipe.change("A", config=struct(apiKey="a new one"))
        pipe.script("A", "accepted")
        await pipe.send()
        await stream.tells("provider_degraded", "failover_engaged", "provider_recovered")
        await eventually(lambda: sum(each.event.HasField("completed") for each in stream.answers) == 7)
        whole = list(stream.answers)
    for place in (0, len(whole) // 2, len(whole) - 2):
        async with watching(pipe, whole[place].resume_token) as later:
            await eventually(lambda late=later, rest=whole[place + 1 :]: late.answers == rest)

    assert stream.about_providers[-1].provider_recovered.reason == "CONFIG_CHANGED"


async def test_the_happy_path_writes_nothing_about_health(pipe: Pipe, database_url) -> None:
    """Healthy providers have no row, however much they are used."""
    await asyncio.gather(*(pipe.send() for _ in range(50)))
    await asyncio.sleep(2.0)

    for table in ("provider_health", "provider_answers"):
        assert await rows(database_url, f"SELECT * FROM dispatch.{table}") == []


async def test_what_says_nothing_any_more_is_forgotten(pipe: Pipe, database_url) -> None:
    """The table does not only grow: closed breakers go after minutes, open ones that nobody wants after a day."""
    await opened(pipe)
    store = await Store.open(database_url, worker="sweeper", lease_seconds=30, connections=4)
    book = BreakerBook(store.connection, store.transaction, worker=store.worker)
    async with watching(pipe) as stream:
        await pass_time(database_url, 3600)
        await book.forget()
        kept = await book.breakers()
        await pass_time(database_url, 86_400)
        await book.forget()
        gone = await book.breakers()
        await stream.tells("provider_recovered")
    await store.close()

    assert ([each.kind for each in kept], gone) == (["a"], [])
    assert stream.about_providers[0].provider_recovered.reason == "EXPIRED"
