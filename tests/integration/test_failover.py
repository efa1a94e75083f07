"""failover.md §3 as tests: chain A > B > C, all healthy, maxTries 1, AT_LEAST_ONCE, unless said."""

import asyncio
from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.outcome import Outcome, Result
from services.dispatch.retry import Backoff
from tests.integration.rig import Pipe, eventually, rig, struct


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with the chain A > B > C."""
    async with rig(database_url) as running:
        await running.chain("A", "B", "C")
        yield running


async def test_x01_the_first_provider_accepts(pipe: Pipe) -> None:
    """X01: when A accepts, the message is SENT via A and nobody else is called."""
    story = await pipe.send()

    assert story.calls == "A:accepted"
    assert (story.state, story.end.kind) == ("SENT", "a")
    assert not pipe.adapters["B"].calls
    assert story.kinds() == ["queued", "attempt_started", "attempt_finished", "completed"]


async def test_x02_the_first_provider_defers(pipe: Pipe) -> None:
    """X02: when A defers, B sends it; the caller sees success and both attempts."""
    pipe.script("A", "deferred")

    story = await pipe.send()

    assert story.calls == "A:deferred B:accepted"
    assert (story.state, story.end.kind, story.end.attempts) == ("SENT", "b", 2)
    assert "failover" in story.kinds()
    assert not story.end.possible_duplicate


async def test_x03_the_same_provider_again_after_the_backoff(pipe: Pipe) -> None:
    """X03: with maxTries 2, A is asked again after the backoff, and its second answer counts."""
    pipe.script("A", "deferred", "accepted")

    story = await pipe.send(max_tries=2)

    assert story.calls == "A:deferred A:accepted"
    assert story.state == "SENT"
    waited = next(event.retry_scheduled for event in story.events if event.HasField("retry_scheduled"))
    first, second = pipe.adapters["A"].times
    assert second - first >= waited.delay.ToTimedelta().total_seconds()


async def test_x04_every_provider_defers(pipe: Pipe) -> None:
    """X04: when all defer, the message is FAILED and tells three errors in order."""
    for name in "ABC":
        pipe.script(name, "deferred")

    story = await pipe.send()

    assert story.calls == "A:deferred B:deferred C:deferred"
    assert (story.state, story.end.reason) == ("FAILED", "ALL_PROVIDERS_FAILED")
    places = [story.end.detail.index(f"Provider {name} says deferred") for name in "ABC"]
    assert places == sorted(places)


async def test_x05_an_invalid_recipient_ends_it(pipe: Pipe) -> None:
    """X05: when A says that the recipient is invalid, nobody else is called and A's health is untouched."""
    pipe.script("A", "invalid", "accepted")

    story = await pipe.send()
    after = await pipe.send()

    assert story.calls == "A:invalid"
    assert (story.state, story.end.reason) == ("FAILED", "REJECTED")
    assert after.calls == "A:accepted"


async def test_x06_a_denied_provider_is_skipped_until_its_config_changes(pipe: Pipe) -> None:
    """X06: after A's 401 the next message skips A at once and says why; when A's config changes, A is first again."""
    pipe.script("A", "denied", "accepted")

    first = await pipe.send()
    second = await pipe.send()
    await pipe.change("A", config=struct(apiKey="a new one"))
    third = await pipe.send()

    assert first.calls == "A:denied B:accepted"
    assert second.calls == "B:accepted"
    assert second.skips() == [("A", "DENIED")]
    assert third.calls == "A:accepted"


async def test_x06_a_denial_outlives_a_restart(database_url) -> None:
    """X06: what one dispatcher learned about A, a dispatcher that starts later knows."""
    async with rig(database_url) as first:
        await first.chain("A", "B")
        first.script("A", "denied")
        await first.send()
    async with rig(database_url) as second:
        story = await second.send()

    assert story.calls == "B:accepted"
    assert story.skips() == [("A", "DENIED")]


async def test_x06_a_denial_for_one_sender_skips_only_that_sender(pipe: Pipe) -> None:
    """X06: a denial with a scope passes A by for that sender only."""
    scoped = Result(outcome=Outcome.DENIED, reason="SENDER_REFUSED", scope="sender:shop@example.com")
    pipe.script("A", scoped, "accepted")

    first = await pipe.send()
    same_sender = await pipe.send()
    other_sender = await pipe.send(sender="news@example.com")

    assert [story.calls for story in (first, same_sender, other_sender)] == [
        "A:denied B:accepted",
        "B:accepted",
        "A:accepted",
    ]


async def test_x07_a_message_that_does_not_fit(pipe: Pipe) -> None:
    """X07: when A says 413, B sends it and A is first again for the next message."""
    pipe.script("A", "unfit", "accepted")

    first, second = await pipe.send(), await pipe.send()

    assert [first.calls, second.calls] == ["A:unfit B:accepted", "A:accepted"]


async def test_x08_a_throttled_provider_cools_down(pipe: Pipe) -> None:
    """X08: for as long as A's Retry-After asks, others skip it (COOLDOWN); then A is first again."""
    throttled = Result(outcome=Outcome.DEFERRED, reason="RATE_LIMITED", provider_code="429", retry_after=1.5)
    pipe.script("A", throttled, "accepted")

    first, during = await pipe.send(), await pipe.send()
    until = next(event.provider_skipped.until for event in during.events if event.HasField("provider_skipped"))
    await eventually(lambda: datetime.now(UTC) > until.ToDatetime(tzinfo=UTC))
    afterwards = await pipe.send()

    assert first.calls == "A:deferred B:accepted"
    assert (during.calls, during.skips()) == ("B:accepted", [("A", "COOLDOWN")])
    assert afterwards.calls == "A:accepted"


async def test_x09_an_unknown_outcome_goes_on_and_says_so(database_url) -> None:
    """X09: when A's read times out, B sends it and the message is flagged as a possible duplicate."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", timeouts={"A": 0.2})
        pipe.script("A", "hang")

        story = await pipe.send()
        message = await pipe.get(story.message_id)

    assert story.calls == "A:unknown B:accepted"
    assert story.end.possible_duplicate
    assert message.possible_duplicate


async def test_x10_at_most_once_stops_after_an_unknown_outcome(pipe: Pipe) -> None:
    """X10: under AT_MOST_ONCE nobody else is called after an unknown attempt; the message is UNKNOWN."""
    pipe.script("A", "unknown")

    story = await pipe.send(unknown_policy=message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE)

    assert story.calls == "A:unknown"
    assert (story.state, story.end.kind) == ("UNKNOWN", "a")
    assert not pipe.adapters["B"].calls


async def test_x11_an_exception_nobody_knows(pipe: Pipe) -> None:
    """X11: what an adapter raises becomes unknown with reason UNEXPECTED; nothing of it reaches the stream."""
    pipe.script("A", RuntimeError("password=hunter2"))

    story = await pipe.send()

    assert story.calls == "A:unknown B:accepted"
    attempt = next(event.attempt_finished.attempt for event in story.events if event.HasField("attempt_finished"))
    assert attempt.reason == "UNEXPECTED"
    assert "hunter2" not in str(story.events)


async def test_x12_calls_are_cut_by_their_timeout_and_the_deadline(database_url) -> None:
    """X12: A and B hang and are cut at their timeouts; C gets no more time than the deadline leaves."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B", "C", timeouts={"A": 0.4, "B": 0.4, "C": 0.4})
        pipe.script("A", "hang")
        pipe.script("B", "hang")

        story = await pipe.send(ttl=Duration(nanos=1_000_000_000 - 1))

    assert story.calls == "A:unknown B:unknown C:accepted"
    assert pipe.adapters["C"].calls[0].timeout <= 0.2
    assert pipe.adapters["A"].calls[0].timeout == pytest.approx(0.4)


async def test_x13_a_deadline_that_is_past(pipe: Pipe) -> None:
    """X13: a message whose deadline is past is accepted and expires without any call."""
    past = Timestamp()
    past.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))

    story = await pipe.send(deadline=past)

    assert (story.calls, story.state) == ("", "EXPIRED")
    assert story.kinds() == ["queued", "completed"]


async def test_x18_the_preferred_provider_goes_first(pipe: Pipe) -> None:
    """X18: a preferred C is tried first, then the chain in order, C not twice."""
    pipe.script("C", "deferred")
    pipe.script("A", "deferred")
    pipe.script("B", "deferred")

    story = await pipe.send(preferred_provider="c")

    assert story.calls == "C:deferred A:deferred B:deferred"


async def test_x19_a_provider_disabled_while_the_message_waits(database_url) -> None:
    """X19: A is disabled while the message waits for its second try: no further call to A, it goes on to B."""
    async with rig(database_url, backoff=Backoff(base=60, cap=60)) as pipe:
        await pipe.chain("A", "B")
        asked_to_wait = Result(outcome=Outcome.DEFERRED, reason="UNAVAILABLE", retry_after=1.0)
        pipe.script("A", asked_to_wait)
        message = await pipe.create(max_tries=3)
        await eventually(lambda: pipe.adapters["A"].calls)
        await pipe.change("A", enabled=False)

        story = await pipe.watch(message.id)

    assert story.calls == "A:deferred B:accepted"
    assert len(pipe.adapters["A"].calls) == 1


async def test_x20_a_raised_provider_is_first_for_every_message_after_the_write(pipe: Pipe) -> None:
    """X20: once the write that raised B is acknowledged, every message starts with B, during traffic and without a
    restart.
    """
    stop = asyncio.Event()

    async def traffic() -> None:
        while not stop.is_set():
            await pipe.send()

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(traffic())
        for priority in range(10, 20):
            await pipe.change("A", priority=priority)
            await pipe.change("B", priority=0)
            raised = await asyncio.gather(*(pipe.send() for _ in range(5)))
            await pipe.change("B", priority=priority)
            await pipe.change("A", priority=0)
            lowered = await asyncio.gather(*(pipe.send() for _ in range(5)))
            assert {story.calls for story in raised} == {"B:accepted"}
            assert {story.calls for story in lowered} == {"A:accepted"}
        stop.set()


async def test_x25_a_watcher_comes_late(pipe: Pipe) -> None:
    """X25: a watcher with after_sequence 2 gets 3, 4, … to completed, nothing twice; one from behind the end gets
    nothing.
    """
    pipe.script("A", "deferred")
    story = await pipe.send()

    late = await pipe.watch(story.message_id, after=2)
    behind = await pipe.watch(story.message_id, after=99)

    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))
    assert late.events == story.events[2:]
    assert behind.events == []
