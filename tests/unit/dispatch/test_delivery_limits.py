"""What a delivery does at the gate of its provider: when it waits, and what it holds meanwhile."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.adapters.outcome import Result
from services.dispatch.chain import Provider
from services.dispatch.limits import AtLimit, Permit
from services.dispatch.message import Message
from tests.builders import MESSAGE_ID, NOON, a_chain, a_mark, marks_of
from tests.unit.dispatch.bench import Bench, settle


@dataclass
class Gates:
    """Gates that open when a test says so; `at_limit` are providers with a wait in seconds, `ends` what calls gave."""

    at_limit: dict[str, float] = field(default_factory=dict)
    line: bool = False
    lapsed: bool = False
    patience: float = 0.0
    waited: bool = False
    opens: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)

    async def enter(self, provider: Provider, message: Message, *, waited_for: str) -> Permit | AtLimit:
        """As Limits promises."""
        self.asked.append(f"{provider.id} {waited_for}".strip())
        if provider.id in self.at_limit:
            return AtLimit(wait=self.at_limit[provider.id])
        if self.line:
            self.waited = True
            await self.opens.wait()
        return self

    async def ready(self) -> bool:
        """As Permit promises."""
        return not self.lapsed

    def end(self, result: Result | None, seconds: float | None) -> None:
        """As Permit promises."""
        self.ends.append(result and result.outcome)


@pytest.fixture
def gates(bench: Bench) -> Gates:
    """The gates before the bench's providers."""
    bench.limits = gates = Gates()
    return gates


def probes(bench: Bench) -> list[str]:
    """The rights to probe that were asked for."""
    return [each for each in bench.told if each.startswith("probe")]


async def test_the_probe_is_taken_behind_the_gate(bench: Bench, gates: Gates) -> None:
    """R7: while a message stands in line, the provider can be probed by any other; nothing is held or recorded."""
    bench.known = marks_of(a_mark("A", until=NOON))
    gates.line = True
    running = asyncio.create_task(bench.run())
    await settle()
    assert (probes(bench), bench.ledger.written) == ([], [])
    gates.opens.set()
    await running

    assert probes(bench) == [f"probe a {MESSAGE_ID} 1 1 17"]
    assert [lesson.probe for lesson in bench.lessons] == [f"{MESSAGE_ID} 1 1"]


async def test_who_stood_in_line_while_another_probed_goes_on(bench: Bench, gates: Gates) -> None:
    """What changed in the meantime counts: the provider is open and probed by now, so the right to call goes back."""
    gates.line = True
    running = asyncio.create_task(bench.run())
    await settle()
    bench.known = marks_of(a_mark("A"))
    gates.line = False
    gates.opens.set()
    await running

    assert not bench.first.calls
    assert gates.ends[0] is None
    assert len(bench.adapters["B"].calls) == 1


async def test_at_the_limit_nobody_probes(bench: Bench, gates: Gates) -> None:
    """R7: a provider that is both open and at its limit costs no message a wait, and no right to probe is taken."""
    bench.known = marks_of(a_mark("A", until=NOON))
    gates.at_limit = {"a": 5.0}

    await bench.run()

    assert probes(bench) == []
    assert gates.asked == ["a", "b"]
    assert bench.kinds[0] == "provider_skipped"
    assert len(bench.adapters["B"].calls) == 1


async def test_the_right_to_probe_outlives_a_right_to_call_that_is_got_anew(bench: Bench, gates: Gates) -> None:
    """The probe is held for as long as the permit may take once more, or another would probe at the same time."""
    bench.known = marks_of(a_mark("A", until=NOON))
    gates.patience = 10.0

    await bench.run()

    assert probes(bench) == [f"probe a {MESSAGE_ID} 1 1 27"]


async def test_a_probe_without_a_permit_gives_the_right_back(bench: Bench, gates: Gates) -> None:
    """A permit that lapsed and could not be got anew: nothing is sent, and the lesson frees the probe for the next."""
    bench.chain = a_chain("A")
    bench.known = marks_of(a_mark("A", until=NOON))
    gates.lapsed = True

    await bench.run()

    assert not bench.first.calls
    assert [(lesson.probe, str(lesson.signal)) for lesson in bench.lessons] == [(f"{MESSAGE_ID} 1 1", "NOTHING")]
    assert gates.ends == [None]


async def test_a_message_at_a_limit_is_put_off_for_its_provider(bench: Bench, gates: Gates) -> None:
    """It waits in the queue under the provider's name, without an attempt; called up, it says whom it waited for."""
    gates.at_limit = {"a": 5.0}
    assert await bench.run() == 5.0
    assert (bench.end.waits_for, bench.end.due_in, bench.kinds) == ("a", 5.0, ["retry_scheduled"])
    gates.at_limit = {}
    await bench.run(waits_for="a")

    assert gates.asked == ["a", "a a"]


async def test_every_permit_ends(bench: Bench, gates: Gates) -> None:
    """A lost lease gives the permit back, as a call does with what came of it."""
    await bench.run()
    bench.ledger.epochs[MESSAGE_ID] = 9
    await bench.run()

    assert [str(each) for each in gates.ends] == ["ACCEPTED", "None"]
