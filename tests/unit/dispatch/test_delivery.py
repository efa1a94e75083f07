"""One message from lease to settled, with everything around it handed in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Address, Channel
from services.adapters.outcome import Outcome
from services.chassis.errors import Unavailable
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Chain
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.delivery import CONFIG_PAUSE, SETTLE_PAUSE, Delivery, Lease, Tools
from services.dispatch.health import Mark, Marks
from services.dispatch.ledger import Transition
from services.dispatch.message import Message, State
from tests.builders import (
    MESSAGE_ID,
    NOON,
    a_chain,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_attempt,
    an_email,
    at_most_once,
    marks_of,
    seconds,
    throttled,
)
from tests.fakes.adapter import ScriptedAdapter, scripted_adapters
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


@dataclass
class Bench:
    """A delivery's surroundings, all of them fakes; `run` delivers one lease."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(NOON))
    chain: Chain | Exception = field(default_factory=a_chain)
    known: Marks = field(default_factory=dict)
    lessons: list[Mark] = field(default_factory=list)
    published: list[Transition] = field(default_factory=list)
    left: float = 30.0

    def __post_init__(self) -> None:
        self.ledger = MemoryLedger(self.clock.now)
        self.adapters = scripted_adapters("ABCD", self.clock)

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain, as Chains promises."""
        if isinstance(self.chain, Exception):
            raise self.chain
        return self.chain

    def marks(self) -> Marks:
        """What is known, as Health promises."""
        return self.known

    def learned(self, mark: Mark) -> None:
        """A lesson, as Health promises."""
        self.lessons.append(mark)

    def publish(self, message_id: UUID, project_id: str, transition: Transition, at: datetime) -> None:
        """A transition was written."""
        self.published.append(transition)

    def script(self, name: str, *steps: object) -> None:
        """What a provider's adapter plays."""
        self.adapters[name].script(*steps)

    def delivery(self, message: Message | None = None, **lease: Any) -> Delivery:
        """The delivery of a freshly leased message."""
        tools = Tools(
            chains=self,
            ledger=self.ledger,
            health=self,
            adapters={(Channel.EMAIL, adapter.spec.kind): adapter for adapter in self.adapters.values()},
            clock=self.clock,
            database_now=self.clock.now,
            fraction=lambda: 0.5,
            publish=self.publish,
            lease_left=lambda _: self.left,
        )
        return Delivery(tools, Lease(**{"message": message or a_message(), "epoch": 1, **lease}))

    async def run(self, message: Message | None = None, **lease: Any) -> float | None:
        """Deliver, to its end or to a wait."""
        return await self.delivery(message, **lease).run()

    @property
    def events(self) -> list[DeliveryEvent]:
        """Every event that was written, in order."""
        return [DeliveryEvent.FromString(event.payload) for step in self.ledger.written for event in step.events]

    @property
    def kinds(self) -> list[str]:
        """The events by their word."""
        return [str(event.WhichOneof("event")) for event in self.events]

    @property
    def end(self) -> Transition:
        """The last step written."""
        return self.ledger.written[-1]

    @property
    def last(self) -> ScriptedAdapter:
        """The adapter of A."""
        return self.adapters["A"]


@pytest.fixture
def bench() -> Bench:
    """Chain A > B > C, everybody accepts."""
    return Bench()


def closed(step: Transition) -> Attempt:
    """The attempt that a step closes."""
    assert step.closes is not None
    return step.closes


async def test_the_attempt_is_recorded_before_the_wire(bench: Bench) -> None:
    """R11: when the adapter is called, the open attempt has been written already."""
    at_call: list[int] = []
    bench.ledger.before = lambda _: at_call.append(len(bench.last.calls))

    due = await bench.run()

    assert due is None
    assert at_call == [0, 1]
    assert bench.kinds == ["attempt_started", "attempt_finished", "completed"]
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.kind) == (State.SENT, "a")


async def test_failing_over_costs_one_commit(bench: Bench) -> None:
    """One step closes A's attempt and opens B's; the event of the failover stands between them, numbered without gaps."""
    bench.script("A", "deferred")

    await bench.run()

    assert len(bench.ledger.written) == 3
    step = bench.ledger.written[1]
    assert step.opens is not None
    assert (closed(step).provider_name, step.opens.provider_name) == ("A", "B")
    assert bench.kinds == [
        "attempt_started",
        "attempt_finished",
        "failover",
        "attempt_started",
        "attempt_finished",
        "completed",
    ]
    sequences = [event.sequence for written in bench.ledger.written for event in written.events]
    assert sequences == [2, 3, 4, 5, 6, 7]
    assert bench.published == bench.ledger.written


async def test_the_call_carries_what_the_decision_said(bench: Bench) -> None:
    """R4: the adapter is told the provider's settings and version, its timeout and the time to the deadline."""
    provider = a_provider("A", version=7, config={"timeoutSeconds": 4, "apiKey": "k"})
    bench.chain = a_chain(provider, version=12)

    await bench.run(a_message(deadline=NOON + seconds(60)))

    (call,) = bench.last.calls
    assert (call.message_id, call.attempt, call.provider_id) == (str(MESSAGE_ID), 1, "a")
    assert (call.config, call.config_version, call.timeout, call.time_left) == (provider.config, 7, 4.0, 60.0)
    assert bench.ledger.written[0].chain_version == 12


@pytest.mark.parametrize(
    ("own", "projects", "expected"),
    [
        (Address(email="own@example.com"), Address(email="project@example.com"), "own@example.com"),
        (None, Address(email="project@example.com"), "project@example.com"),
        (None, None, None),
        (None, "Shop", None),
    ],
)
async def test_the_project_is_the_sender_when_the_message_names_none(
    bench: Bench, own: Address | None, projects: Address | str | None, expected: str | None
) -> None:
    """The message's own sender wins; else the project's, if it is one of this channel; else the adapter's settings."""
    bench.chain = a_chain(sender=projects)

    await bench.run(a_message(content=an_email(sender=own)))

    sender = bench.last.calls[0].content.sender
    assert getattr(sender, "email", None) == expected


async def test_a_wait_gives_the_message_back(bench: Bench) -> None:
    """R3: the wait is written with the attempt it follows, and answered in seconds; nobody is called meanwhile."""
    bench.script("A", "deferred")

    due = await bench.run(a_message(max_tries=2))

    assert due == bench.end.due_in == 0.5
    assert closed(bench.end).provider_name == "A"
    assert bench.kinds == ["attempt_started", "attempt_finished", "retry_scheduled"]


async def test_after_the_wait_the_same_provider_is_asked(bench: Bench) -> None:
    """R3: taken up again after its wait, the message goes on with the second try of A."""
    await bench.run(a_message(max_tries=2), epoch=2, history=a_history(("A", "deferred")), waited=True, last_sequence=4)

    assert [call.attempt for call in bench.last.calls] == [2]
    assert bench.ledger.written == []  # epoch 1 holds it


async def test_what_an_adapter_raises_becomes_unknown(bench: Bench) -> None:
    """X11: nothing escapes; the next provider is called and the exception's text is in no event."""
    bench.script("A", RuntimeError("password=hunter2"))

    await bench.run()

    result = closed(bench.ledger.written[1]).result
    assert result is not None
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, "UNEXPECTED")
    assert "hunter2" not in str(bench.events)
    assert bench.end.completes is not None
    assert bench.end.completes.possible_duplicate


@pytest.mark.parametrize("nonsense", [None, "accepted?", 3])
async def test_an_answer_that_is_none_becomes_unknown(bench: Bench, nonsense: object) -> None:
    """X11: an adapter that breaks its promise about what it returns is decided like one that raises."""
    bench.adapters["A"].send = answers(nonsense)  # type: ignore[method-assign]

    await bench.run()

    assert closed(bench.ledger.written[1]).outcome is Outcome.UNKNOWN
    assert [len(bench.adapters[name].calls) for name in "BC"] == [1, 0]


def answers(value: Any) -> Callable[[object], Any]:
    """A `send` that returns this."""

    async def send(call: object) -> Any:
        return value

    return send


async def test_a_hanging_adapter_is_cut(bench: Bench) -> None:
    """R4: a call that outlives its own limit is cut soon after and becomes unknown with reason TIMEOUT."""
    bench.chain = a_chain(a_provider("A", timeout=0.01))
    bench.script("A", asyncio.Event())

    await bench.run(a_message(deadline=NOON + seconds(0.02)))

    result = closed(bench.end).result
    assert result is not None
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, "TIMEOUT")


async def test_a_kind_without_an_adapter_is_unfit(bench: Bench) -> None:
    """A provider of a kind that this dispatcher does not have is passed on from, and the attempt says why."""
    bench.chain = a_chain(a_provider("Z"), "B")

    await bench.run()

    result = closed(bench.ledger.written[1]).result
    assert result is not None
    assert (result.outcome, result.reason) == (Outcome.UNFIT, "FEATURE_UNSUPPORTED")
    assert "'z'" in result.provider_text


async def test_nothing_is_sent_when_the_lease_ran_out(bench: Bench) -> None:
    """X22: a process that was paused past its lease calls nobody."""
    bench.left = 0.0

    await bench.run()

    assert [adapter.calls for adapter in bench.adapters.values()] == [[], [], [], []]
    assert {closed(step).outcome for step in bench.ledger.written if step.closes} == {Outcome.DEFERRED}


async def test_a_denial_is_learned_at_once_and_written_with_its_attempt(bench: Bench) -> None:
    """R7: this process knows a denial at once, the others by the step that closes the attempt; no other step has it."""
    bench.script("A", a_result("denied", provider_text="401\x00"))

    await bench.run()

    (mark,) = bench.lessons
    assert mark == a_mark("A", detail="401\N{REPLACEMENT CHARACTER}")
    assert [step.mark for step in bench.ledger.written] == [None, mark, None]


async def test_a_retry_after_without_end_is_bounded(bench: Bench) -> None:
    """A plug-in that asks to wait for ever cools its provider down for a day, and nothing breaks."""
    bench.script("A", throttled(float("inf")))

    await bench.run()

    assert bench.lessons[0].until == NOON + seconds(24 * 3600)


async def test_invalid_teaches_nothing(bench: Bench) -> None:
    """X05: an invalid recipient ends the message as rejected and marks nobody."""
    bench.script("A", "invalid")

    await bench.run()

    assert bench.lessons == []
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.reason) == (State.FAILED, "REJECTED")


async def test_a_skip_is_told_once(bench: Bench) -> None:
    """A provider that stays passed by is told when it is first passed by, not with every further decision."""
    bench.known = marks_of(a_mark("A"))
    bench.script("B", "deferred")
    bench.chain = a_chain("A", "B", "C")

    await bench.run()

    assert bench.kinds.count("provider_skipped") == 1
    assert bench.kinds[0] == "provider_skipped"


async def test_an_open_attempt_of_a_dead_dispatcher_becomes_unknown(bench: Bench) -> None:
    """R11, X21: AT_LEAST_ONCE goes on to the next provider and closes the lost attempt in the same step."""
    await bench.run(history=(an_attempt("A", None),), last_sequence=2)

    lost = closed(bench.ledger.written[0])
    assert (lost.number, lost.outcome) == (1, Outcome.UNKNOWN)
    assert lost.result is not None
    assert lost.result.reason == "LEASE_LOST"
    assert [len(bench.adapters[name].calls) for name in "AB"] == [0, 1]


async def test_an_open_attempt_under_at_most_once_ends_unknown(bench: Bench) -> None:
    """R11, X21: AT_MOST_ONCE calls nobody and ends as UNKNOWN via the lost attempt."""
    await bench.run(at_most_once(), history=(an_attempt("A", None),), last_sequence=2)

    assert not any(adapter.calls for adapter in bench.adapters.values())
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.provider_id) == (State.UNKNOWN, "a")


async def test_configuration_that_can_not_be_had_is_waited_for(bench: Bench) -> None:
    """Without ConfigService a message waits and is not failed."""
    bench.chain = ConfigUnavailable()

    due = await bench.run()

    assert due == CONFIG_PAUSE + 0.5
    assert bench.kinds == ["retry_scheduled"]
    assert bench.events[0].retry_scheduled.reason == "CONFIGURATION_UNAVAILABLE"


@pytest.mark.parametrize(
    ("history", "deadline", "state"),
    [
        (a_history(("A", "accepted")), 3600, State.SENT),
        (a_history(("A", "invalid")), 3600, State.FAILED),
        ((), 0, State.EXPIRED),
        (a_history(("A", "unknown")), 0, State.UNKNOWN),
    ],
)
async def test_an_end_that_is_certain_needs_no_configuration(
    bench: Bench, history: tuple[Attempt, ...], deadline: float, state: State
) -> None:
    """What is decided already, or past its deadline, ends without ConfigService."""
    bench.chain = ConfigUnavailable()

    await bench.run(a_message(deadline=NOON + seconds(deadline)), history=history)

    assert bench.end.completes is not None
    assert bench.end.completes.state is state


async def test_waiting_for_configuration_stops_at_the_deadline(bench: Bench) -> None:
    """A wait for ConfigService never goes past the deadline."""
    bench.chain = ConfigUnavailable()

    assert await bench.run(a_message(deadline=NOON + seconds(0.3))) == pytest.approx(0.3)


async def test_a_start_under_a_lost_epoch_calls_nobody(bench: Bench) -> None:
    """X22: when somebody else holds the message, nothing is called, written, told or kept."""
    bench.ledger.epochs[MESSAGE_ID] = 2

    assert await bench.run() is None

    assert not bench.last.calls
    assert (bench.ledger.written, bench.published, bench.ledger.evidence) == ([], [], [])


@pytest.mark.parametrize("answer", ["accepted", "deferred"], ids=["at the end", "before a failover"])
async def test_a_result_under_a_lost_epoch_is_kept_as_evidence(bench: Bench, answer: str) -> None:
    """X22: a result that comes after a takeover settles nothing, is told to nobody, and is not thrown away."""
    bench.script("A", answer)
    bench.ledger.before = lambda step: bench.ledger.epochs.update({MESSAGE_ID: 2 if step.closes else 1})

    assert await bench.run() is None

    assert len(bench.ledger.written) == len(bench.published) == 1
    assert [closed(step).outcome for step in bench.ledger.evidence] == [Outcome(answer.upper())]
    assert not bench.adapters["B"].calls


async def test_a_result_counts_when_the_lease_ended_and_nobody_took_over(bench: Bench) -> None:
    """The answer of A is written and the message given back at once; B is not started by this holder."""
    bench.script("A", "deferred")
    bench.ledger.before = lambda step: bench.ledger.expired.add(MESSAGE_ID) if step.closes else None

    assert await bench.run() is None

    assert (closed(bench.end).outcome, bench.end.opens, bench.end.due_in) == (Outcome.DEFERRED, None, 0.0)
    assert bench.kinds == ["attempt_started", "attempt_finished"]
    assert not bench.adapters["B"].calls
    assert bench.ledger.evidence == []


async def test_a_result_is_written_when_the_database_comes_back(bench: Bench) -> None:
    """What a provider answered is written as soon as the database answers again, however long that takes."""
    task = asyncio.create_task(bench.run())
    bench.ledger.before = lambda step: step.closes and away_for_twice(bench)
    await settle()
    for _ in range(5):
        bench.clock.advance(SETTLE_PAUSE * 10)
        await settle()

    assert task.done()
    assert len(bench.last.calls) == 1
    assert bench.end.completes is not None
    assert bench.end.completes.state is State.SENT


def away_for_twice(bench: Bench) -> None:
    """The database is away for the next two writes."""
    bench.ledger.before = lambda _: None
    bench.ledger.failures = [Unavailable(), Unavailable()]


async def test_a_start_that_can_not_be_recorded_is_given_up_with_the_lease(bench: Bench) -> None:
    """R11: while the lease lives the start is tried again; when it is over, this holder stops and nobody was called."""
    bench.ledger.failures = [Unavailable() for _ in range(1000)]
    task = asyncio.create_task(bench.run())
    await settle()
    assert not task.done()
    bench.left = 0.0
    bench.clock.advance(60)
    await settle()

    assert task.done()
    assert task.result() is None
    assert not bench.last.calls


async def test_a_result_outlives_the_stop(bench: Bench) -> None:
    """A delivery that is told to stop while it writes a result writes it, then stops."""
    writing, go = asyncio.Event(), asyncio.Event()
    apply = bench.ledger.apply

    async def slow(transition: Transition) -> Any:
        if transition.closes is not None:
            writing.set()
            await go.wait()
        return await apply(transition)

    bench.ledger.apply = slow  # type: ignore[method-assign]
    task = asyncio.create_task(bench.run())
    await writing.wait()
    task.cancel()
    await settle()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert bench.end.completes is not None
    assert bench.end.completes.state is State.SENT


async def test_a_lease_is_told_by_its_message() -> None:
    """A lease has the id of its message."""
    message = replace(a_message(), id=UUID(int=5))

    assert Lease(message=message, epoch=1).id == UUID(int=5)


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(30):
        await asyncio.sleep(0)
