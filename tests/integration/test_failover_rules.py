"""The rules of failover.md §2 that its table does not show, over the whole service: chain A > B > C unless said."""

import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.dispatch.retry import Backoff
from tests.integration.rig import Pipe, metadata, rig


@pytest.fixture
async def pipe(database_url):
    """A messagepipe with the chain A > B > C."""
    async with rig(database_url) as running:
        await running.chain("A", "B", "C")
        yield running


async def test_all_denied_tries_one_rather_than_failing_at_once(database_url) -> None:
    """R7: when every provider is passed by, one is tried all the same: never an instant failure, never a loop."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        pipe.script("A", "denied")

        first, second = await pipe.send(), await pipe.send()

    assert [first.calls, second.calls] == ["A:denied", "A:denied"]


async def test_r2_the_preferred_provider_by_id(pipe: Pipe) -> None:
    """R2: a provider may be preferred by its id."""
    story = await pipe.send(preferred_provider=pipe.ids["B"])

    assert story.calls == "B:accepted"


async def test_r2_an_unknown_preferred_provider_is_told_and_passed_over(pipe: Pipe) -> None:
    """R2: an unknown or disabled preferred provider leaves the chain as it is, and the reason is in the stream."""
    unknown = await pipe.send(preferred_provider="nobody")
    await pipe.change("C", enabled=False)
    disabled = await pipe.send(preferred_provider="c")

    assert (unknown.calls, unknown.skips()) == ("A:accepted", [("", "PREFERRED_PROVIDER_NOT_FOUND")])
    assert (disabled.calls, disabled.skips()) == ("A:accepted", [("C", "PREFERRED_PROVIDER_DISABLED")])


async def test_r2_strict_fails_before_any_call(pipe: Pipe) -> None:
    """R2: with strict, an unknown or disabled preferred provider fails the message before any call."""
    unknown = await pipe.send(preferred_provider="nobody", preferred_provider_strict=True)
    await pipe.change("C", enabled=False)
    disabled = await pipe.send(preferred_provider="c", preferred_provider_strict=True)

    assert [(story.calls, story.state, story.end.reason) for story in (unknown, disabled)] == [
        ("", "FAILED", "PREFERRED_PROVIDER_NOT_FOUND"),
        ("", "FAILED", "PREFERRED_PROVIDER_DISABLED"),
    ]


async def test_r8_no_provider_is_configured(database_url) -> None:
    """R8: without any provider the message is FAILED at once, reason NO_PROVIDER, zero attempts."""
    async with rig(database_url) as pipe:
        story = await pipe.send()

    assert (story.calls, story.state, story.end.reason, story.end.attempts) == ("", "FAILED", "NO_PROVIDER", 0)


async def test_r3_rounds_walk_the_whole_chain_again(database_url) -> None:
    """R3: with maxRounds 2 the whole chain is walked twice, with a pause between the rounds."""
    async with rig(database_url, backoff=Backoff(base=0.3)) as pipe:
        await pipe.chain("A", "B")
        pipe.script("A", "deferred")
        pipe.script("B", "deferred", "accepted")

        story = await pipe.send(max_rounds=2)

    assert story.calls == "A:deferred B:deferred A:deferred B:accepted"
    assert story.kinds().count("retry_scheduled") == 1


async def test_r5_an_idempotent_provider_is_asked_again_with_the_same_key(database_url) -> None:
    """R5: a provider that declares an idempotency key may be asked again after unknown, also under AT_MOST_ONCE."""
    async with rig(database_url, backoff=Backoff(base=0.1)) as pipe:
        await pipe.chain("D", "A")
        pipe.script("D", "unknown", "accepted")

        story = await pipe.send(max_tries=2, unknown_policy=message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE)

    assert story.calls == "D:unknown D:accepted"
    assert len({call.message_id for call in pipe.adapters["D"].calls}) == 1


async def test_nobody_took_it_for_sure(pipe: Pipe) -> None:
    """R5, R8: when the chain is exhausted after an unknown attempt, calling it FAILED would be a lie: it is UNKNOWN."""
    pipe.script("A", "unknown")
    pipe.script("B", "deferred")
    pipe.script("C", "deferred")

    story = await pipe.send()

    assert story.calls == "A:unknown B:deferred C:deferred"
    assert (story.state, story.end.reason) == ("UNKNOWN", "ALL_PROVIDERS_FAILED")


async def test_r12_a_batch_answers_item_by_item(pipe: Pipe) -> None:
    """R12: 97 good and 3 bad items are 97 accepted and 3 refused, each with its own violations."""
    specs = [pipe.spec(to="nobody" if place in (3, 50, 99) else f"u{place}@example.com") for place in range(100)]

    request = dispatch_service_pb2.BatchCreateMessagesRequest(messages=specs)
    answer = await pipe.messages.BatchCreateMessages(request, metadata=metadata())

    assert (answer.accepted, answer.refused) == (97, 3)
    refused = [place for place, result in enumerate(answer.results) if result.HasField("error")]
    assert refused == [3, 50, 99]
    assert "messages[3].to" in answer.results[3].error.message


async def test_r10_everybody_sees_the_same_history(pipe: Pipe) -> None:
    """R10: the dispatch stream, a late watcher, the project's stream and GetMessage tell the same events in the same
    order.
    """
    project = pipe.messages.WatchProject(
        dispatch_service_pb2.WatchProjectRequest(project_id="shop"), metadata=metadata()
    )
    await project.initial_metadata()
    pipe.script("A", "deferred")

    story = await pipe.send()
    watched = await pipe.watch(story.message_id)
    seen = []
    async for answer in project:
        seen.append(answer.event)
        if answer.event.HasField("completed"):
            break
    message = await pipe.get(story.message_id)

    assert watched.events == story.events == seen
    finished = [event.attempt_finished.attempt for event in story.events if event.HasField("attempt_finished")]
    assert [attempt.outcome for attempt in message.attempts] == [attempt.outcome for attempt in finished]
    assert story.kinds().count("completed") == 1
