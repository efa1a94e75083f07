"""One request over ASGI, played from a list of messages."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from gateway.errors import Refusal
from gateway.exchange import BodyBudget, ClientGone, Exchange
from services.chassis.errors import InvalidArgument, ResourceExhausted

JSON = {"content-type": "application/json"}


class Wire:
    """The server's side of ASGI: what arrives, in order, and what was sent. After the last message it stays silent."""

    def __init__(self, *arrives: Message) -> None:
        self.arrives, self.sent = list(arrives), list[Message]()

    async def receive(self) -> Message:
        if not self.arrives:
            await asyncio.Event().wait()
        return self.arrives.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)


def chunk(data: bytes, *, more: bool = False) -> Message:
    """A piece of a body."""
    return {"type": "http.request", "body": data, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


def an_exchange(wire: Wire, headers: dict[str, str], path: str = "/", query: str = "") -> Exchange:
    """A POST with these headers."""
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": "POST", "raw_path": path.encode(), "headers": pairs}
    return Exchange(scope | {"query_string": query.encode()}, wire.receive, wire.send)


async def body_of(exchange: Exchange, limit: int = 100, budget: int = 1000, seconds: float = 5) -> bytes:
    """The body, read within limits."""
    async with exchange.json_body(limit, BodyBudget(budget), seconds) as body:
        return body


async def test_a_body_is_put_together():
    """From all of its pieces."""
    wire = Wire(chunk(b'{"a"', more=True), chunk(b": 1}"))

    assert await body_of(an_exchange(wire, JSON | {"transfer-encoding": "chunked"})) == b'{"a": 1}'


async def test_no_body_is_empty_and_needs_no_content_type():
    """A POST without anything is not waited for."""
    assert await body_of(an_exchange(Wire(), {})) == b""
    assert await body_of(an_exchange(Wire(), {"content-length": "0", "content-type": "text/plain"})) == b""


async def test_a_body_over_its_limit_is_refused_as_soon_as_that_is_known():
    """By its announced length without reading a byte, otherwise at the piece that goes over."""
    with pytest.raises(Refusal):
        await body_of(an_exchange(Wire(), JSON | {"content-length": "101"}))
    wire = Wire(chunk(b"x" * 60, more=True), chunk(b"x" * 60, more=True), chunk(b"never read"))
    with pytest.raises(Refusal):
        await body_of(an_exchange(wire, JSON | {"transfer-encoding": "chunked"}))
    assert len(wire.arrives) == 1


async def test_bodies_in_memory_are_bounded_over_all_requests():
    """The one too many is shed and the bytes of the others come back."""
    budget = BodyBudget(100)
    async with an_exchange(Wire(chunk(b"x" * 80)), JSON | {"content-length": "80"}).json_body(100, budget):
        with pytest.raises(ResourceExhausted):
            async with an_exchange(Wire(chunk(b"x" * 30)), JSON | {"content-length": "30"}).json_body(100, budget):
                pass
    async with an_exchange(Wire(chunk(b"x" * 100)), JSON | {"content-length": "100"}).json_body(100, budget) as body:
        assert len(body) == 100


async def test_a_body_that_does_not_come_is_not_waited_for():
    """408 after the limit."""
    with pytest.raises(Refusal) as refused:
        await body_of(an_exchange(Wire(), JSON | {"content-length": "5"}), seconds=0.01)

    assert refused.value.problem.status == 408


async def test_a_caller_that_leaves_in_the_middle_of_its_body_is_gone():
    """Nothing is made of half a body."""
    with pytest.raises(ClientGone):
        await body_of(an_exchange(Wire(chunk(b"x", more=True), GONE), JSON | {"content-length": "5"}))


async def test_two_lengths_are_refused():
    """They are how requests are smuggled."""
    with pytest.raises(InvalidArgument):
        await body_of(an_exchange(Wire(), JSON | {"content-length": "5", "transfer-encoding": "chunked"}))


async def test_work_is_cancelled_when_the_caller_goes():
    """And its answer returned when the caller stays."""
    cancelled = asyncio.Event()

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    async def done() -> str:
        return "done"

    with pytest.raises(ClientGone):
        await an_exchange(Wire(GONE), {}).or_gone(work())
    await asyncio.wait_for(cancelled.wait(), 1)
    assert await an_exchange(Wire(), {}).or_gone(done()) == "done"


async def test_an_early_answer_lets_the_rest_of_the_body_come_in():
    """The caller hears why before the connection is closed."""
    wire = Wire(chunk(b"x", more=True), chunk(b"x"))
    exchange = an_exchange(wire, JSON | {"content-length": "2"})
    await exchange.respond(413, {}, b"no")
    kinds = [(message["type"], message.get("body"), message.get("more_body", False)) for message in wire.sent]

    assert kinds[1:] == [("http.response.body", b"no", True), ("http.response.body", b"", False)]
    assert (b"connection", b"close") in wire.sent[0]["headers"]
    assert wire.arrives == []


@pytest.mark.parametrize(("target", "path"), [("/a/b", "/a/b"), ("http://x/a", "/a"), ("*", "*"), ("http://x", "")])
def test_targets_are_paths(target: str, path: str):
    """The absolute form loses its host."""
    assert an_exchange(Wire(), {}, target).path == path


def test_queries_that_can_not_be_read_are_refused():
    """Not UTF-8, or hundreds of parameters."""
    assert an_exchange(Wire(), {}, "/", "a=1&b=&a=%C3%BC").query() == [("a", "1"), ("b", ""), ("a", "ü")]
    for query in ("a=%ff", "&".join(["a=1"] * 300)):
        with pytest.raises(InvalidArgument):
            an_exchange(Wire(), {}, "/", query).query()
