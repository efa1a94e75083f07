"""A message of a bulk request that waits for others before its first byte."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.adapters.base import Call
from services.adapters.outcome import Outcome, Result
from services.dispatch.attempt import LEASE_LOST
from services.dispatch.message import State
from tests.builders import at_most_once
from tests.fakes.adapter import ScriptedAdapter
from tests.unit.dispatch.bench import Bench, closed


@dataclass
class JointAdapter(ScriptedAdapter):
    """Takes many at a time; `joined` is called when somebody waits for others."""

    joined: Any = None
    marks: list[str] = field(default_factory=list)
    most_together: int = 9

    def joinable(self, call: Call) -> str:
        """Everybody."""
        self.marks.append(call.together)
        if self.joined:
            self.joined()
        return "ada@example.com"

    async def send_together(self, calls: Sequence[Call]) -> Sequence[Result | None]:
        """Nobody comes so far here."""
        raise AssertionError("there is only one")


def bench_with() -> tuple[Bench, JointAdapter]:
    """A bench whose first provider takes many at a time."""
    bench = Bench()
    adapter = JointAdapter(spec=bench.first.spec, clock=bench.clock)
    bench.adapters = {**bench.adapters, "A": adapter}
    return bench, adapter


async def test_the_mark_reaches_the_adapter() -> None:
    """A message of a bulk request says so in its call; whoever waits in vain is sent alone."""
    bench, adapter = bench_with()

    await bench.run(together="bulk-1")

    assert adapter.marks == ["bulk-1"]
    assert [call.together for call in adapter.calls] == ["bulk-1"]


async def test_any_other_message_has_none() -> None:
    """A message alone does not wait for others."""
    bench, adapter = bench_with()

    await bench.run()

    assert (adapter.marks, len(adapter.calls)) == ([], 1)


async def test_a_lease_that_ends_while_it_waits() -> None:
    """Nothing is sent under a lease that is over: another dispatcher may have the message by now."""
    bench, adapter = bench_with()
    adapter.joined = lambda: setattr(bench, "left", 0.0)

    await bench.run(at_most_once(), together="bulk-1")

    assert adapter.calls == []
    attempt = closed(bench.end)
    assert (attempt.outcome, attempt.result and attempt.result.reason) == (Outcome.UNKNOWN, LEASE_LOST)
    assert bench.end.completes is not None
    assert bench.end.completes.state is State.UNKNOWN
