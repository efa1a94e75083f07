"""Analytics: what happened is counted once, whoever is killed, from roll-ups; nothing of another project."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from messagepipe.dispatch.v1 import log_service_pb2 as log

from services.chassis.status import from_rpc_error
from services.dispatch import rollup_book
from services.dispatch.housekeeping import count_events
from services.dispatch.store import Store
from tests.integration.rig import Pipe, metadata, rig


@pytest.fixture
async def pipe(database_url: str) -> AsyncIterator[Pipe]:
    """A messagepipe with two providers."""
    async with rig(database_url) as running:
        await running.chain("A", "B")
        yield running


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on the test's database."""
    opened = await Store.open(database_url, worker="w", lease_seconds=30, connections=6)
    yield opened
    await opened.close()


async def asked(pipe: Pipe, *projects: str, **wanted: Any) -> log.Analytics:
    """The analytics of a project."""
    return await pipe.log.GetAnalytics(log.GetAnalyticsRequest(**wanted), metadata=metadata(*projects))


async def some_messages(pipe: Pipe) -> None:
    """Two sent at once, one of them delivered, one bounced; one rescued; one that failed."""
    for status in ("DELIVERED", "BOUNCED_HARD"):
        story = await pipe.send(to=f"{status}@example.com")
        reference = story.events[-2].attempt_finished.attempt.provider_message_id
        await pipe.receipt("A", {"status": status, "provider_message_id": reference})
        await pipe.becomes(story.message_id, "DELIVERED" if status == "DELIVERED" else "UNDELIVERED")
    pipe.script("A", "deferred")
    await pipe.send()
    pipe.script("B", "deferred")
    await pipe.send()


def shown(counts: log.AnalyticsCounts) -> dict[str, int]:
    """What is not zero."""
    return {field.name: value for field, value in counts.ListFields() if field.name != "latency"}


async def test_what_happened_is_counted(pipe: Pipe, store: Store) -> None:
    """Sent, delivered, bounced, failed over, rescued and failed, each with its provider, by the hour and by the day."""
    await some_messages(pipe)
    await count_events(store)

    by_day = await asked(pipe, interval="day")
    by_hour = await asked(pipe)

    found = {row.kind: shown(row.counts) for row in by_day.data}
    assert found == {
        "a": {"sent": 2, "delivered": 1, "bounced": 1, "failed_over": 2, "attempts": 4},
        "b": {"sent": 1, "rescued": 1, "attempts": 2},
        "": {"failed": 1},
    }
    assert by_day.total == by_hour.total
    assert shown(by_day.total)["attempts"] == 6
    assert 0 < by_day.total.latency.p50 <= by_day.total.latency.p99 < 60_000
    assert {row.message_type for row in by_day.data} == {"email"}
    assert by_day.HasField("counted_at")


async def test_it_can_be_asked_for_a_part(pipe: Pipe, store: Store) -> None:
    """By provider (id or kind) and type; another project has nothing."""
    await some_messages(pipe)
    await count_events(store)

    assert shown((await asked(pipe, provider="b")).total) == {"sent": 1, "rescued": 1, "attempts": 2}
    assert (await asked(pipe, provider=pipe.ids["B"])).total == (await asked(pipe, provider="b")).total
    assert not (await asked(pipe, message_type="sms")).data
    assert not (await asked(pipe, message_type="app")).data
    assert not (await asked(pipe, "other")).data


async def test_nothing_is_counted_twice(pipe: Pipe, store: Store) -> None:
    """Counted again and again, and by a counter that dies before its commit, every event counts once."""
    await pipe.send()
    with pytest.raises(ZeroDivisionError):
        await _count_and_die(store)
    for _ in range(3):
        await count_events(store)
    first = await asked(pipe)
    await pipe.send()
    await count_events(store)

    assert shown(first.total) == {"sent": 1, "attempts": 1}
    assert shown((await asked(pipe)).total) == {"sent": 2, "attempts": 2}


async def _count_and_die(store: Store) -> None:
    async with store.transaction() as connection:
        await rollup_book.count(connection, "shop")
        raise ZeroDivisionError


async def test_many_are_counted_in_parts(pipe: Pipe, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than are read at once are counted all the same."""
    monkeypatch.setattr(rollup_book, "AT_ONCE", 3)
    for _ in range(4):
        await pipe.send()
    await count_events(store)

    assert shown((await asked(pipe)).total) == {"sent": 4, "attempts": 4}


async def test_everything_that_is_wrong_is_said_at_once(pipe: Pipe) -> None:
    """Each wrong value is named by its field."""
    request = log.GetAnalyticsRequest(project_id="a b", message_type="fax", interval="week", provider="\0")
    request.since.FromSeconds(0)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pipe.log.GetAnalytics(request, metadata=metadata())

    said = {violation.field for violation in from_rpc_error(raised.value).violations}
    assert said == {"projectId", "messageType", "interval", "provider", "since"}


async def test_more_than_one_answer_holds_is_refused(pipe: Pipe, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not cut off in silence: a sum of a part is no sum."""
    await some_messages(pipe)
    await count_events(store)
    rows = len((await asked(pipe, interval="hour")).data)
    monkeypatch.setattr(rollup_book, "MOST_ROWS", rows)
    assert len((await asked(pipe, interval="hour")).data) == rows
    monkeypatch.setattr(rollup_book, "MOST_ROWS", rows - 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(pipe, interval="hour")
    assert [each.field for each in from_rpc_error(caught.value).violations] == ["since"]
