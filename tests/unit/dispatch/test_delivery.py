"""One message from lease to its end or its wait, with everything around it handed in."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.adapters.base import Address
from services.adapters.email.sender import sender_of
from services.adapters.outcome import Outcome
from services.chassis import log
from services.dispatch.breaker import Signal
from services.dispatch.message import State
from tests.builders import (
    MESSAGE_ID,
    NOON,
    a_chain,
    a_history,
    a_mark,
    a_message,
    a_provider,
    a_result,
    an_email,
    marks_of,
    seconds,
    throttled,
)
from tests.unit.dispatch.bench import Bench, closed


async def test_the_attempt_is_recorded_before_the_wire(bench: Bench) -> None:
    """R11: when the adapter is called, the open attempt has been written already."""
    at_call: list[int] = []
    bench.ledger.before = lambda _: at_call.append(len(bench.first.calls))

    due = await bench.run()

    assert due is None
    assert at_call == [0, 1]
    assert bench.kinds == ["attempt_started", "attempt_finished", "completed"]
    assert bench.end.completes is not None
    assert (bench.end.completes.state, bench.end.completes.kind) == (State.SENT, "a")


async def test_failing_over_costs_one_commit(bench: Bench) -> None:
    """One step closes A's attempt and opens B's; the failover's event stands between, no number left out."""
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

    (call,) = bench.first.calls
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

    sender = sender_of(bench.first.calls[0])
    assert getattr(sender, "email", None) == expected


async def test_a_call_carries_the_options_of_its_kind_alone(bench: Bench) -> None:
    """Each provider sees what the message says to its own kind, and nothing of what it says to others."""
    bench.script("A", "deferred")

    await bench.run(a_message(options={"a": {"x": 1}, "c": {"y": 2}}))

    calls = [*bench.adapters["A"].calls, *bench.adapters["B"].calls]
    assert [dict(call.options) for call in calls] == [{"x": 1}, {}]


async def test_a_call_knows_where_its_receipts_are_taken(bench: Bench) -> None:
    """The public address of the provider's receipts goes along when the service knows its own."""
    bench.public_url = "https://mail.example.com"

    await bench.run()

    assert bench.first.calls[0].receipts_url == "https://mail.example.com/receipts/a/a"


async def test_a_wait_gives_the_message_back(bench: Bench) -> None:
    """R3: the wait is written with the attempt it follows, and answered in seconds; nobody is called meanwhile."""
    bench.script("A", "deferred")

    due = await bench.run(a_message(max_tries=2))

    assert due == bench.end.due_in == 0.5
    assert closed(bench.end).provider_name == "A"
    assert bench.kinds == ["attempt_started", "attempt_finished", "retry_scheduled"]


async def test_after_the_wait_the_same_provider_is_asked(bench: Bench) -> None:
    """R3: taken up again after its wait, the message goes on with the second try of A."""
    bench.ledger.epochs[MESSAGE_ID] = 2
    history = a_history(("A", "deferred"))

    await bench.run(a_message(max_tries=2), epoch=2, history=history, waited=True, last_sequence=4)

    assert [call.attempt for call in bench.first.calls] == [2]
    assert bench.ledger.written[0].closes is None
    assert bench.ledger.written[0].events[0].sequence == 5


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


async def test_what_an_adapter_raises_is_logged_without_its_secrets(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """X11: the trace is in the log for the operators; a credential that the exception repeats is not."""
    log.configure(service="test", json=True)
    bench.chain = a_chain(a_provider("A", config={"apiKey": "canary-api-key"}), "B")
    bench.script("A", RuntimeError("refused: canary-api-key"))

    await bench.run()

    told = capsys.readouterr().err
    assert "RuntimeError: refused: ***" in told
    assert "canary-api-key" not in told


@pytest.mark.parametrize("nonsense", [None, "accepted?", 3])
async def test_an_answer_that_is_none_becomes_unknown(bench: Bench, nonsense: object) -> None:
    """X11: an adapter that breaks its promise about what it returns is decided like one that raises."""
    bench.adapters["A"].send = answers(nonsense)  # type: ignore[method-assign, assignment]

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


async def test_a_lesson_keeps_nobody_waiting(bench: Bench) -> None:
    """R7: what an attempt taught is written once, after the step that fails over."""
    bench.script("A", a_result("denied", provider_text="401\x00"))

    await bench.run()

    (lesson,) = bench.lessons
    assert (lesson.provider.name, lesson.signal) == ("A", Signal.DENIED)
    assert lesson.result.provider_text == "401\N{REPLACEMENT CHARACTER}"
    assert (lesson.accepted, lesson.started_at, lesson.probe) == (7, NOON, "")
    assert [step.lesson for step in bench.ledger.written] == [None, None, None]
    assert [(step.lesson, step.engagement) for step in bench.ledger.taught] == [(lesson, None)]


async def test_a_retry_after_without_end_is_bounded(bench: Bench) -> None:
    """A plug-in that asks to wait for ever cools its provider down for a day, and nothing breaks."""
    bench.script("A", throttled(float("inf")))

    await bench.run()

    assert bench.lessons[0].result.retry_after == 24 * 3600


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


async def test_a_probe_is_asked_for_first(bench: Bench) -> None:
    """R7: who may probe calls the provider and says so with what it learned; the right covers the whole call."""
    bench.known = marks_of(a_mark("A", until=NOON))

    await bench.run()

    name = f"{MESSAGE_ID} 1 1"
    assert bench.told[0] == f"probe a {name} 17"
    assert [lesson.probe for lesson in bench.lessons] == [name]
    assert len(bench.first.calls) == 1


async def test_who_may_not_probe_goes_on(bench: Bench) -> None:
    """R7: another message has the probe: this one passes A by and is sent through B, nothing is recorded of A."""
    bench.known = marks_of(a_mark("A", until=NOON))
    bench.may_probe = False

    await bench.run()

    assert not bench.first.calls
    assert bench.kinds == ["provider_skipped", "attempt_started", "attempt_finished", "completed"]
    assert [each for each in bench.told if each.startswith("begins")] == ["begins b"]


@pytest.mark.parametrize("end", ["accepted", "deferred", "a lost lease"])
async def test_every_call_that_begins_ends(bench: Bench, end: str) -> None:
    """Whatever happens, the board is told that the call is over: nothing stays counted."""
    bench.chain = a_chain("A")
    if end == "a lost lease":
        bench.ledger.epochs[MESSAGE_ID] = 9
    else:
        bench.script("A", end)

    await bench.run()

    assert [each for each in bench.told if "learned" not in each] == ["begins a", f"ended a {end == 'accepted'}"]


async def test_what_takes_the_place_of_an_open_provider_says_so(bench: Bench) -> None:
    """The step that opens the first attempt through B carries the engagement; with one that is told already, none."""
    bench.known = marks_of(a_mark("A"))
    await bench.run()
    first = [step.engagement for step in bench.ledger.written]
    bench.known = marks_of(a_mark("A", engaged=True))
    await bench.run()

    assert [bool(each) for each in first] == [True, False]
    assert not any(step.engagement for step in bench.ledger.written[2:])
