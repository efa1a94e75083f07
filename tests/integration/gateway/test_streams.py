"""Server streams over HTTP: events as they happen, taken up again where they broke off, ended cleanly."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from messagepipe.dispatch.v1 import delivery_event_pb2
from messagepipe.dispatch.v1 import dispatch_service_pb2 as dispatch

from services.chassis.errors import NotFound, Unauthenticated, Unavailable
from tests.fakes.upstreams import Pause
from tests.integration.gateway.conftest import House

Event = delivery_event_pb2.DeliveryEvent
WATCH = "/v1/messages/m-1/events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event as an EventSource would see it."""

    id: str
    event: str
    data: str


def an_event(sequence: int, word: str) -> Event:
    """An event of message m-1."""
    made = Event(message_id="m-1", sequence=sequence)
    getattr(made, word).SetInParent()
    return made


async def frames(response: httpx.Response) -> AsyncIterator[Frame]:
    """The events of a stream, comments and hints left out."""
    found: dict[str, str] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            found[name] = value
            continue
        if "data" in found:
            yield Frame(id=found.get("id", ""), event=found.get("event", ""), data=found["data"])
        found = {}


async def test_every_event_is_seen_as_it_happens(house: House):
    """An event arrives while the next has not happened yet; id, word and JSON are the contract's."""
    more = asyncio.Event()
    house.dispatch.answers["WatchMessage"] = [
        an_event(1, "queued"),
        an_event(2, "attempt_started"),
        Pause(more),
        an_event(3, "completed"),
    ]
    async with house.client.stream("GET", WATCH) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        seen = frames(response)
        first = [await anext(seen), await anext(seen)]
        assert not more.is_set()
        more.set()
        rest = [frame async for frame in seen]

    assert [(each.id, each.event) for each in (*first, *rest)] == [
        ("1", "queued"),
        ("2", "attempt_started"),
        ("3", "completed"),
    ]
    assert json.loads(first[1].data) == {"messageId": "m-1", "sequence": "2", "attemptStarted": {}}


async def test_a_dispatch_streams_the_answer_to_its_own_post(house: House):
    """POST /v1/messages:dispatch is an SSE stream too."""
    house.dispatch.answers["DispatchMessage"] = [an_event(1, "queued"), an_event(2, "completed")]
    body = {"to": "a@example.com", "channel": "EMAIL"}
    async with house.client.stream("POST", "/v1/messages:dispatch", json=body) as response:
        assert [frame.event async for frame in frames(response)] == ["queued", "completed"]


async def test_last_event_id_resumes_and_wins_over_the_query(house: House):
    """A browser that reconnects keeps its old URL; the header says where it is."""
    house.dispatch.answers["WatchMessage"] = [an_event(6, "completed")]
    url = f"{WATCH}?afterSequence=2"
    async with house.client.stream("GET", url, headers={"last-event-id": "5"}) as response:
        assert [frame.id async for frame in frames(response)] == ["6"]

    assert house.dispatch.last.request == dispatch.WatchMessageRequest(message_id="m-1", after_sequence=5)


async def test_a_project_s_stream_resumes_by_its_token(house: House):
    """The SSE id is the resume token, the data the event itself."""
    answer = dispatch.WatchProjectResponse(event=an_event(4, "failover"), resume_token="t-9")
    house.dispatch.answers["WatchProject"] = [answer]
    url = "/v1/projects/demo/events"
    async with house.client.stream("GET", url, headers={"last-event-id": "t-8"}) as response:
        (frame,) = [frame async for frame in frames(response)]

    assert house.dispatch.last.request.resume_token == "t-8"
    assert (frame.id, frame.event, json.loads(frame.data)["sequence"]) == ("t-9", "failover", "4")


async def test_a_bad_last_event_id_is_refused(house: House):
    """400 naming the header."""
    response = await house.client.get(WATCH, headers={"last-event-id": "five"})

    assert response.status_code == 400
    assert response.json()["details"]["violations"][0]["field"] == "Last-Event-ID"


async def test_a_resumed_stream_with_nothing_left_tells_the_browser_to_stop(house: House):
    """204, because an EventSource would otherwise ask for ever."""
    house.dispatch.answers["WatchMessage"] = []

    assert (await house.client.get(WATCH, headers={"last-event-id": "3"})).status_code == 204
    assert (await house.client.get(WATCH)).status_code == 200


async def test_an_error_before_the_first_event_is_an_http_status(house: House):
    """404 in JSON, not an empty stream."""
    house.dispatch.answers["WatchMessage"] = [NotFound("No such message.", reason="MESSAGE_NOT_FOUND")]
    response = await house.client.get(WATCH)

    assert (response.status_code, response.json()["reason"]) == (404, "MESSAGE_NOT_FOUND")


async def test_an_error_in_the_middle_is_the_last_event(house: House):
    """The token ran out: an `error` event carries the body that a status would have had."""
    expired = Unauthenticated("The token has expired.", reason="TOKEN_EXPIRED")
    house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), expired]
    async with house.client.stream("GET", WATCH) as response:
        seen = [frame async for frame in frames(response)]

    assert [each.event for each in seen] == ["queued", "error"]
    assert json.loads(seen[1].data)["reason"] == "TOKEN_EXPIRED"


async def test_a_reader_that_goes_away_cancels_the_rpc(house: House):
    """The service learns that nobody watches."""
    house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), Pause(asyncio.Event())]
    async with house.client.stream("GET", WATCH) as response:
        await anext(frames(response))

    await asyncio.wait_for(house.dispatch.cancelled["WatchMessage"].wait(), 5)


async def test_the_events_so_far_come_as_one_document(house: House):
    """With Accept: application/json a watch is given up when nothing new comes."""
    house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), an_event(2, "failover"), Pause(asyncio.Event())]
    response = await house.client.get(WATCH, headers={"accept": "application/json"})

    assert [each["sequence"] for each in response.json()["events"]] == ["1", "2"]
    assert response.json()["lastEventId"] == "2"


async def test_a_failing_stream_as_json_is_an_error(house: House):
    """Half a history must not look like a whole one."""
    house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), Unavailable("Later.", retry_after=1)]
    response = await house.client.get(WATCH, headers={"accept": "application/json"})

    assert response.status_code == 503


async def test_a_gateway_that_stops_tells_its_streams_to_come_back(house: House):
    """Open streams end with an event of their own, under the id to go on from, instead of a broken connection."""
    house.dispatch.answers["WatchMessage"] = [an_event(1, "queued"), Pause(asyncio.Event())]
    async with house.client.stream("GET", WATCH) as response:
        seen = frames(response)
        await anext(seen)
        draining = asyncio.create_task(house.gateway.drain())
        last = [frame async for frame in seen]
        await draining

    assert [(each.id, json.loads(each.data)["reason"]) for each in last] == [("1", "SHUTTING_DOWN")]
    with pytest.raises(httpx.ConnectError):
        await house.client.get("/healthz")


async def test_a_gateway_that_stops_ends_streams_in_which_much_happens(house: House):
    """A stream that is never quiet ends as soon as one in which nothing happens."""
    house.dispatch.answers["WatchMessage"] = [an_event(number, "queued") for number in range(1, 20_000)]
    async with house.client.stream("GET", WATCH) as response:
        seen = frames(response)
        await anext(seen)
        draining = asyncio.create_task(house.gateway.drain())
        last = [frame async for frame in seen][-1]
        async with asyncio.timeout(1):
            await draining

    assert json.loads(last.data)["reason"] == "SHUTTING_DOWN"
    # The first one was seen before it stopped; how many more depends on who is quicker.
    assert 1 <= int(last.id) < 20_000 - 1


async def test_a_stream_begins_even_when_nothing_happens(house: House):
    """The head is sent within a second, so that a watcher knows that it is listening."""
    house.dispatch.answers["WatchProject"] = [Pause(asyncio.Event())]
    async with asyncio.timeout(5), house.client.stream("GET", "/v1/projects/demo/events") as response:
        assert response.status_code == 200
