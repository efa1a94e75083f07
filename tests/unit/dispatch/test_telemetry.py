"""What a message's life adds to the counts, and what a breaker looks like from outside."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.adapters.base import Channel
from services.dispatch.breaker import Breaker
from services.dispatch.convert import stored_message
from services.dispatch.gauges import BREAKERS, MOST_BREAKERS, OPEN, STATES, show_breakers, state_of
from services.dispatch.generation import Generation
from services.dispatch.health import Block
from services.dispatch.ledger import Completion
from services.dispatch.message import Message, State
from services.dispatch.telemetry import Telemetry
from tests.builders import MESSAGE_ID, NOON, a_spec, an_attempt
from tests.fakes.meter import MemoryMeter
from tests.unit.dispatch.bench import Bench

A_BREAKER = Breaker(
    provider_id="a", project_id="shop", channel=Channel.EMAIL, kind="ses", provider_name="Primary", config_version=1
)


async def test_a_failover_counts_each_step_once(bench: Bench) -> None:
    """Two attempts, one failover from the kind that was left, one end with its time."""
    bench.script("A", "deferred")
    await bench.run()
    assert bench.meter.counted == {
        "attempts a EMAIL DEFERRED": 1,
        "failovers EMAIL a DEFERRED": 1,
        "attempts b EMAIL ACCEPTED": 1,
        "messages_completed EMAIL SENT": 1,
    }
    assert len(bench.meter.values["messagepipe_message_duration_seconds EMAIL SENT"]) == 1
    assert len(bench.meter.values["messagepipe_attempt_duration_seconds a EMAIL"]) == 1


def test_the_time_that_a_message_was_put_off_is_not_ours() -> None:
    """What `sendAt` puts off by a day and is sent in a second took a second."""
    meter = MemoryMeter()
    later = NOON + timedelta(days=1)
    spec = a_spec()
    spec.send_at.FromDatetime(later)
    read = stored_message(
        spec.SerializeToString(), message_id=MESSAGE_ID, project_id="shop", deadline=later, created_at=NOON
    )
    assert isinstance(read, Message)
    Telemetry(meter).ended(read, State.SENT, later + timedelta(seconds=1))
    assert meter.values["messagepipe_message_duration_seconds EMAIL SENT"] == [1.0]


async def test_a_lease_that_was_lost_is_counted(bench: Bench) -> None:
    """Who finds that somebody else has the message counts that, and neither an attempt nor a failover."""
    bench.ledger.epochs[MESSAGE_ID] = 2
    await bench.run(history=(an_attempt("A", "deferred"),))
    assert bench.meter.counted == {"leases_lost": 1}


async def test_an_attempt_that_was_cut_short_counts_as_unknown(bench: Bench) -> None:
    """Nobody measured how long it took."""
    await bench.run(history=(an_attempt("A", None),), last_sequence=2)
    assert bench.meter.counted["attempts a EMAIL UNKNOWN"] == 1
    assert "messagepipe_attempt_duration_seconds a EMAIL" not in bench.meter.values


async def test_a_retry_ends_again_without_a_time(bench: Bench) -> None:
    """The time to the end is that of the first dispatch; hours later it would say nothing about us."""
    ended = Completion(state=State.FAILED)
    generation = Generation(number=2, after_attempt=1, retrying=True)
    await bench.run(history=(an_attempt("A", "invalid"),), last_sequence=3, ended=ended, generation=generation)
    assert bench.meter.counted["messages_completed EMAIL SENT"] == 1
    assert not any(name.startswith("messagepipe_message_duration") for name in bench.meter.values)


def test_ends_that_no_delivery_makes_are_counted() -> None:
    """Canceled by its caller, or taken out of work unread."""
    meter = MemoryMeter()
    telemetry = Telemetry(meter)
    telemetry.canceled(Channel.SMS)
    telemetry.taken_out("QUARANTINED")
    assert meter.counted == {"messages_completed SMS CANCELED": 1, "messages_taken_out QUARANTINED": 1}


@pytest.mark.parametrize(
    ("breaker", "state"),
    [
        (A_BREAKER, "closed"),
        (replace(A_BREAKER, returned_at=NOON), "returning"),
        (replace(A_BREAKER, block=Block.BREAKER_OPEN), "open"),
        (replace(A_BREAKER, block=Block.DENIED, prober="m 1 1"), "probed"),
    ],
)
def test_a_breaker_has_one_state(breaker: Breaker, state: str) -> None:
    """Exactly one of its states is 1."""
    meter = MemoryMeter()
    show_breakers(meter, lambda: [breaker])
    shown = dict(meter.gauges[BREAKERS.name]())
    assert state_of(breaker) == state
    assert shown == {("a", "ses", "EMAIL", each): float(each == state) for each in STATES}


def test_of_a_providers_scopes_the_worst_is_shown() -> None:
    """Scopes have no series of their own: a sender's name is in them."""
    meter = MemoryMeter()
    scoped = replace(A_BREAKER, scope="sender:ada@example.com", block=Block.DENIED)
    show_breakers(meter, lambda: [A_BREAKER, scoped, replace(A_BREAKER, scope="country:NG")])
    shown = dict(meter.gauges[BREAKERS.name]())
    assert shown["a", "ses", "EMAIL", "open"] == 1
    assert len(shown) == len(STATES)
    assert dict(meter.gauges[OPEN.name]()) == {(): 1}


def test_the_providers_shown_are_bounded() -> None:
    """However many fail, at most MOST_BREAKERS are shown, the open ones first; all are counted."""
    meter = MemoryMeter()
    fine = [replace(A_BREAKER, provider_id=f"a{number}") for number in range(MOST_BREAKERS)]
    bad = [replace(A_BREAKER, provider_id=f"z{number}", block=Block.BREAKER_OPEN) for number in range(20)]
    show_breakers(meter, lambda: [*fine, *bad])
    shown = [labels[0] for labels, value in meter.gauges[BREAKERS.name]() if value]
    assert len(shown) == MOST_BREAKERS
    assert sum(provider_id.startswith("z") for provider_id in shown) == 20
    assert dict(meter.gauges[OPEN.name]()) == {(): 20}
