"""Dead letters: listed, and dispatched anew by RetryMessage, against the real pipe."""

import asyncio
import io
import json
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2

from cli.client import Caller
from cli.deadletters import Letters, replay, show_dead_letters
from cli.problem import Problem
from cli.terminal import Terminal
from services.chassis.status import from_rpc_error
from services.dispatch import overviews
from services.dispatch.message import State
from tests.integration.dispatch.queue_rows import queued, shard_id
from tests.integration.rig import PROJECT, Pipe, Story, eventually, metadata, rig

AT_MOST_ONCE = message_pb2.UNKNOWN_POLICY_AT_MOST_ONCE
PUT_OFF = "UPDATE dispatch.queue SET due_at = now() + interval '1 h' WHERE worker IS NULL RETURNING id"
FAILED, UNKNOWN = message_pb2.Message.STATE_FAILED, message_pb2.Message.STATE_UNKNOWN


async def retry(pipe: Pipe, message_id: str, **fields: Any) -> message_pb2.Message:
    """Ask for a new generation."""
    return await pipe.messages.RetryMessage(pb.RetryMessageRequest(id=message_id, **fields), metadata=metadata())


async def refused(pipe: Pipe, message_id: str, **fields: Any) -> tuple[str, str]:
    """Why a retry is refused: the code's name and the reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await retry(pipe, message_id, **fields)
    return caught.value.code().name, from_rpc_error(caught.value).reason


async def test_a_failed_message_is_dispatched_anew(database_url: str) -> None:
    """The same message, further attempt numbers, as much time as at first, one `completed`, then `retried` and
    `ended_again`; whoever watches sees it to its new end.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        for name in "AB":
            pipe.script(name, "deferred")
        failed = await pipe.send()
        before = await pipe.get(failed.message_id)
        pipe.script("B", "accepted")
        begun = await retry(pipe, failed.message_id)
        story = await pipe.watch(failed.message_id)
        after = await pipe.get(failed.message_id)

    assert failed.state == "FAILED"
    assert (begun.state, begun.retrying, begun.generation) == (FAILED, True, 2)
    assert begun.deadline.ToDatetime() > before.deadline.ToDatetime()
    assert story.calls == "A:deferred B:deferred A:deferred B:accepted"
    assert story.kinds().count("completed") == 1
    assert [kind for kind in story.kinds() if kind in ("completed", "retried", "ended_again")] == [
        "completed",
        "retried",
        "ended_again",
    ]
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))
    assert (after.state, after.kind, after.retrying, after.reason) == (message_pb2.Message.STATE_SENT, "b", False, "")
    assert [attempt.number for attempt in after.attempts] == [1, 2, 3, 4]
    assert not after.possible_duplicate


async def test_a_retry_resumes_its_stream(database_url: str) -> None:
    """R10: who comes back with the last number seen before the retry sees what follows, up to the new end."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        pipe.script("A", "deferred")
        failed = await pipe.send()
        pipe.script("A", "accepted")
        await retry(pipe, failed.message_id)
        rest = await pipe.watch(failed.message_id, after=len(failed.events))
        again = await pipe.watch(failed.message_id, after=len(failed.events) + len(rest.events))

    assert rest.kinds() == ["retried", "attempt_started", "attempt_finished", "ended_again"]
    assert again.events == []


async def test_a_retry_that_fails_again_can_be_retried_again(database_url: str) -> None:
    """Each generation ends once; a third one works, too."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        pipe.script("A", "deferred")
        message_id = (await pipe.send()).message_id
        await retry(pipe, message_id)
        assert (await pipe.watch(message_id)).kinds()[-1] == "ended_again"
        pipe.script("A", "accepted")
        assert (await retry(pipe, message_id, generation=2)).generation == 3
        story = await pipe.watch(message_id)

    assert story.calls == "A:deferred A:deferred A:accepted"
    assert story.kinds().count("ended_again") == 2


async def test_a_retry_happens_once(database_url: str) -> None:
    """Twenty callers, a call that is made again, one that names a generation that was followed: one retry."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        pipe.script("A", "deferred")
        message_id = (await pipe.send()).message_id
        answer = asyncio.Event()
        pipe.script("A", answer)
        answers = await asyncio.gather(*(retry(pipe, message_id, generation=1) for _ in range(20)))
        answer.set()
        await pipe.becomes(message_id, "SENT")
        late = await retry(pipe, message_id, generation=1)
        story = await pipe.watch(message_id)
        code = await refused(pipe, message_id, generation=3)

    assert {message.generation for message in answers} == {2}
    assert late.state == message_pb2.Message.STATE_SENT
    assert story.calls == "A:deferred A:accepted"
    assert story.kinds().count("retried") == 1
    assert code[0] == "INVALID_ARGUMENT"


async def test_an_unknown_message_is_only_retried_by_who_accepts_a_second_copy(database_url: str) -> None:
    """UNKNOWN: refused with a reason of its own, then done on demand, also under AT_MOST_ONCE; the message may arrive
    twice and says so.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        pipe.script("A", "unknown")
        story = await pipe.send(unknown_policy=AT_MOST_ONCE)
        why = await refused(pipe, story.message_id)
        pipe.script("A", "deferred")
        await retry(pipe, story.message_id, accept_duplicate=True)
        story = await pipe.watch(story.message_id)
        message = await pipe.get(story.message_id)

    assert why == ("FAILED_PRECONDITION", "DUPLICATE_POSSIBLE")
    assert story.calls == "A:unknown A:deferred B:accepted"
    assert message.possible_duplicate


async def test_an_unknown_message_stays_so_when_its_retry_fails(database_url: str) -> None:
    """Nobody took the second copy either, and the first one is as doubtful as before."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        pipe.script("A", "unknown", "deferred")
        story = await pipe.send()
        await retry(pipe, story.message_id, accept_duplicate=True)
        story = await pipe.watch(story.message_id)
        message = await pipe.get(story.message_id)

    assert (story.calls, message.state, message.retrying) == ("A:unknown A:deferred", UNKNOWN, False)


async def test_other_ends_are_not_retried(database_url: str) -> None:
    """SENT, CANCELED, EXPIRED, and what has not ended: WRONG_STATE. Nothing happens."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        sent = await pipe.send()
        pipe.script("A", asyncio.Event())
        working = await pipe.create()
        codes = [await refused(pipe, each) for each in (sent.message_id, working.id)]
        kinds = (await pipe.watch(sent.message_id)).kinds()

    assert codes == [("FAILED_PRECONDITION", "WRONG_STATE")] * 2
    assert "retried" not in kinds


async def test_a_receipt_ends_a_retry(database_url: str) -> None:
    """While a retried message waits, the first provider says that it delivered it: DELIVERED, nobody is called."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        pipe.script("A", "unknown")
        story = await pipe.send(unknown_policy=AT_MOST_ONCE, max_tries=5)
        pipe.script("A", "deferred")
        await retry(pipe, story.message_id, accept_duplicate=True)
        connection = await asyncpg.connect(database_url)

        async def waiting() -> bool:
            return bool(await connection.fetch(PUT_OFF))

        await eventually(waiting)
        await connection.close()
        await pipe.receipt("A", {"status": "DELIVERED", "message_id": story.message_id, "event_id": "e1"})
        message = await pipe.becomes(story.message_id, "DELIVERED")
        story = await pipe.watch(story.message_id)

    assert not message.retrying
    assert story.kinds()[-1] == "ended_again"
    assert not pipe.adapters["B"].calls


async def test_a_quarantined_message_is_retried(database_url: str) -> None:
    """What no dispatcher survived is a dead letter like others: once the cause is mended it is sent."""
    poison = shard_id(1, 5)
    connection = await asyncpg.connect(database_url)
    await queued(connection, [poison], claims=3, worker="dead", epoch=3)
    await connection.close()
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        assert (await pipe.watch(str(poison))).end.reason == "QUARANTINED"
        await retry(pipe, str(poison))
        story = await pipe.watch(str(poison))
        message = await pipe.get(str(poison))

    assert story.calls == "A:accepted"
    assert (message.state, message.reason) == (message_pb2.Message.STATE_SENT, "")


async def test_the_list_of_dead_letters_walks_its_own_index(database_url: str) -> None:
    """A few dead letters among many messages are found by their index, not by reading everything."""
    connection = await asyncpg.connect(database_url)
    ids = [shard_id(number, number % 1024) for number in range(1, 20_001)]
    await queued(connection, ids)
    await connection.execute("DELETE FROM dispatch.queue")
    await connection.execute(
        "INSERT INTO dispatch.completions (message_id, state, reason, provider_id, kind, possible_duplicate)"
        " SELECT id, CASE WHEN place % 1000 = 0 THEN 6 ELSE 3 END, '', '', '', false"
        " FROM unnest($1::uuid[]) WITH ORDINALITY AS t (id, place)",
        ids,
    )
    await connection.execute("ANALYZE")
    plan = await connection.fetch("EXPLAIN " + overviews._PAGE_ENDED, PROJECT, None, None, None, 51, FAILED)
    found = await overviews.page(
        connection, overviews.Wanted(project_id=PROJECT, state=State.FAILED), before=None, limit=51
    )
    await connection.close()

    assert "completions_dead" in "\n".join(row[0] for row in plan)
    assert [overview.id for overview in found] == ids[999::1000][::-1]


def a_caller(pipe: Pipe) -> Caller:
    """Whom the command calls as."""
    return Caller(target=pipe.dispatch.address, metadata=metadata)


class Screen:
    """A terminal that remembers."""

    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.terminal = Terminal(self.out, self.err, {})

    @property
    def lines(self) -> list[str]:
        """What was said."""
        return self.out.getvalue().splitlines()


async def dead(pipe: Pipe, count: int) -> list[Story]:
    """So many messages that FAILED."""
    pipe.script("A", "deferred")
    stories = await asyncio.gather(*(pipe.send() for _ in range(count)))
    pipe.script("A", "accepted")
    return list(stories)


async def test_the_command_lists_and_replays(database_url: str) -> None:
    """`deadletters list` shows them without recipients, `replay` dispatches them anew, not faster than it may; a second
    replay finds none.
    """
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        stories = await dead(pipe, 5)
        letters, caller = Letters(project=PROJECT), a_caller(pipe)
        screens = [Screen() for _ in range(4)]
        await show_dead_letters(letters, caller, terminal=screens[0].terminal)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        code = await replay(letters, caller, rate=20, accept_duplicates=False, terminal=screens[1].terminal)
        took = loop.time() - begun
        for story in stories:
            await pipe.becomes(story.message_id, "SENT")
        await replay(letters, caller, rate=20, accept_duplicates=False, terminal=screens[2].terminal)
        await show_dead_letters(letters, caller, terminal=screens[3].terminal)

    assert len(screens[0].lines) == 6
    assert all("ALL_PROVIDERS_FAILED" in line for line in screens[0].lines[:5])
    assert "ada@" not in screens[0].out.getvalue()
    assert (code, screens[1].lines[-1].split(";")[0]) == (0, "5 retried, 0 refused")
    assert took >= 4 / 20
    assert screens[2].lines[-1].startswith("0 retried")
    assert screens[3].lines == ["0 failed"]


async def test_the_command_speaks_json_and_knows_its_limits(database_url: str) -> None:
    """One JSON object a line; `--limit` and `--reason` hold; UNKNOWN needs a word about second copies."""
    async with rig(database_url) as pipe:
        await pipe.chain("A")
        await dead(pipe, 3)
        caller, listed, replayed = a_caller(pipe), Screen(), Screen()
        letters = Letters(project=PROJECT, limit=2, as_json=True)
        await show_dead_letters(letters, caller, terminal=listed.terminal)
        await replay(letters, caller, rate=100, accept_duplicates=False, terminal=replayed.terminal)
        none = Screen()
        await show_dead_letters(Letters(project=PROJECT, reason="QUARANTINED"), caller, terminal=none.terminal)
        with pytest.raises(Problem) as problem:
            await replay(
                Letters(project=PROJECT, state="unknown"),
                caller,
                rate=1,
                accept_duplicates=False,
                terminal=none.terminal,
            )

    told = [json.loads(line) for line in listed.lines]
    assert [(each["state"], each["reason"], each["generation"]) for each in told] == [
        ("FAILED", "ALL_PROVIDERS_FAILED", 1)
    ] * 2
    assert [UUID(each["id"]) for each in told]
    answers = [json.loads(line) for line in replayed.lines]
    assert [each["retried"] for each in answers] == [True, True, 2]
    assert none.lines == ["0 failed"]
    assert problem.value.exit_code == 2
