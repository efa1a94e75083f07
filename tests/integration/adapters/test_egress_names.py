"""Names that mean one address now and another one later, or several at once (reliability.md S14): DNS rebinding.

127.0.0.2 stands for a public address, as the one that is allowed; 127.0.0.3 is inside. Both have real listeners.
"""

import asyncio
import time
from collections.abc import Callable

import aiohttp.connector
import pytest

from services.adapters.egress import Egress, parse_networks
from tests.fakes.network import network
from tests.integration.adapters.egress_ways import SENDING, Told, Way
from tests.integration.adapters.test_egress_forms import both_loops, every_way, refused

PUBLIC, INSIDE = "127.0.0.2", "127.0.0.3"
ONLY_PUBLIC = Egress(allow=parse_networks((f"{PUBLIC}/32",)))
Loop = Callable[[], asyncio.AbstractEventLoop]


@both_loops
@pytest.mark.parametrize("way", SENDING, ids=lambda way: way.name)
def test_a_name_that_is_public_first_and_private_later(way: Way, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is asked once per connection; what it said is checked and connected to. The next attempt does it anew."""

    async def scenario() -> tuple[Told, list[str], list[str], Told, int, int]:
        async with way.listen(PUBLIC, 0) as (public, port), way.listen(INSIDE, port) as (inside, _):
            async with way.open(ONLY_PUBLIC) as attempt:
                first = await attempt("rebind.test", port)
                asked, connected = list(played.asked), list(played.connected)
                # aiohttp keeps an answer for 30 s; a minute later it is asked for again
                monkeypatch.setattr(aiohttp.connector, "monotonic", lambda: time.monotonic() + 60)
                second = await attempt("rebind.test", port)
            return first, asked, connected, second, public.connections, inside.connections

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        played.means("rebind.test", [PUBLIC], [INSIDE])
        first, asked, connected, second, public, inside = runner.run(scenario())
    assert (first.outcome, asked, connected, public) == (way.well, ["rebind.test"], [PUBLIC], 1)
    assert refused(second), second
    assert (played.asked, played.connected, inside) == (["rebind.test"] * 2, [PUBLIC], 0)


@both_loops
@every_way
@pytest.mark.parametrize("answer", [[INSIDE, PUBLIC], [PUBLIC, INSIDE]], ids=["inside-first", "inside-last"])
def test_several_answers_and_a_public_one_that_listens(way: Way, loop: Loop, answer: list[str]) -> None:
    """Of several addresses the refused one is passed by, wherever it stands, and the allowed one is used."""

    async def scenario() -> tuple[Told, int]:
        async with (
            way.listen(PUBLIC, 0) as (_, port),
            way.listen(INSIDE, port) as (inside, _),
            way.open(ONLY_PUBLIC) as attempt,
        ):
            return await attempt("several.test", port), inside.connections

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        played.means("several.test", answer)
        told, inside = runner.run(scenario())
    assert (told.outcome, inside) == (way.well, 0)
    assert set(played.connected) == {PUBLIC}


@both_loops
@every_way
@pytest.mark.parametrize("answer", [[INSIDE, PUBLIC], [PUBLIC, INSIDE]], ids=["inside-first", "inside-last"])
def test_several_answers_and_a_public_one_that_is_dead(way: Way, loop: Loop, answer: list[str]) -> None:
    """When the allowed address is dead, nobody falls back to the refused one, and whether that listens is not told."""

    async def scenario() -> tuple[Told, int, Told]:
        async with way.open(ONLY_PUBLIC) as attempt:
            async with way.listen(INSIDE, 0) as (inside, port):
                listening = await attempt("dead.test", port)
            return listening, inside.connections, await attempt("dead.test", port)

    with network() as played, asyncio.Runner(loop_factory=loop) as runner:
        played.means("dead.test", answer)
        listening, inside, closed = runner.run(scenario())
    assert inside == 0
    assert set(played.connected) == {PUBLIC}
    assert listening == closed
    assert refused(listening), listening
