"""Everything that can happen to messages, in any order: workers that work, stand still and die, a clock that moves,
receipts, cancellations, a database that fails at a statement. The same is done to PostgreSQL and to a small model, and
after each step they must agree and the invariants I1 to I9 of the design must hold (I10, secrets, has tests of its
own).
"""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.adapters.outcome import Outcome
from services.adapters.receipts import ReceiptStatus
from services.dispatch.message import EndReason
from tests.chaos.invariants import hold
from tests.chaos.miniature import LEASE_SECONDS
from tests.chaos.pair import FAILURES, fail_next, fail_no_more
from tests.chaos.walk import OUTCOMES, Walker
from tests.chaos.world import World

EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "8"))
STEPS = int(os.environ.get("CHAOS_STEPS", "30"))
WALK = int(os.environ.get("CHAOS_WALK", "600"))
WALK_SEED = int(os.environ.get("CHAOS_SEED", "1"))

places = st.integers(min_value=0, max_value=1)
which = st.integers(min_value=0, max_value=50)


class Machine(RuleBasedStateMachine):
    """Two processes on one database, and whatever befalls them."""

    world: World
    run: Callable[[Any], Any]

    def __init__(self) -> None:
        super().__init__()
        fail_no_more()
        self.run(self.world.begin_anew())

    def teardown(self) -> None:
        """Nothing of this story reaches into the next."""
        fail_no_more()
        self.run(self.world.end())

    @initialize(
        wishes=st.lists(st.tuples(places, st.booleans(), st.integers(1, 3), st.booleans()), min_size=2, max_size=4)
    )
    def begin(self, wishes: list[tuple[int, bool, int, bool]]) -> None:
        """There are some messages already."""
        for place, at_most_once, tries, again in wishes:
            self.accept(place, at_most_once, tries, again, 3600)

    @rule(
        place=places,
        at_most_once=st.booleans(),
        tries=st.integers(1, 3),
        again=st.booleans(),
        ttl=st.sampled_from([5, 60, 3600]),
    )
    def accept(self, place: int, at_most_once: bool, tries: int, again: bool, ttl: int) -> None:
        """A caller hands over a message."""
        self.run(self.world.accept(place, at_most_once=at_most_once, tries=tries, again=again, ttl=ttl))

    @rule(place=places, key=st.sampled_from("kl"), subject=st.sampled_from(["Hello", "Goodbye"]))
    def accept_keyed(self, place: int, key: str, subject: str) -> None:
        """A caller hands over a message with an idempotency key, or the same once more, or another one."""
        self.run(self.world.accept_keyed(place, key, subject))

    @rule(place=places)
    def claim(self, place: int) -> None:
        """A worker takes whatever is due."""
        self.run(self.world.claim(place))

    @rule(place=places)
    def renew(self, place: int) -> None:
        """A worker renews its leases."""
        self.run(self.world.renew(place))

    @precondition(lambda self: self.world.waiting())
    @rule(place=places, one=which, outcome=st.sampled_from(OUTCOMES))
    def renew_late(self, place: int, one: int, outcome: str) -> None:
        """A provider answers while a renewal is on its way."""
        self.run(self.world.renew_late(place, one, outcome))

    @rule(place=places, at_once=st.booleans())
    def drain(self, place: int, at_once: bool) -> None:
        """A process is told to stop and starts again."""
        self.run(self.world.drain(place, at_once=at_once))

    @rule(place=places)
    def look(self, place: int) -> None:
        """A worker cuts the calls whose lease is over."""
        self.run(self.world.look(place))

    @rule(place=places)
    def stand_before_the_wire(self, place: int) -> None:
        """A process stands still past its lease when it has recorded an attempt and sent nothing of it."""
        self.run(self.world.stand_before_the_wire(place))

    @rule(place=places)
    def suspect(self, place: int) -> None:
        """A dispatcher takes one message that others died of, or takes it out of work."""
        self.run(self.world.suspect(place))

    @precondition(lambda self: self.world.accepted)
    @rule(one=which, accept_duplicate=st.booleans())
    def retry(self, one: int, accept_duplicate: bool) -> None:
        """A caller wants a message dispatched anew."""
        self.run(self.world.retry(one, accept_duplicate=accept_duplicate))

    @precondition(lambda self: self.world.waiting())
    @rule(one=which, outcome=st.sampled_from(OUTCOMES))
    def answer(self, one: int, outcome: str) -> None:
        """A provider answers."""
        self.run(self.world.answer(one, outcome))

    @precondition(lambda self: self.world.waiting())
    @rule(words=st.lists(st.tuples(which, st.sampled_from(OUTCOMES)), min_size=1, max_size=6))
    def work(self, words: list[tuple[int, str]]) -> None:
        """Both workers look for work, and providers answer some calls."""
        for one, outcome in words:
            for place in range(2):
                self.run(self.world.claim(place))
            if self.world.waiting():
                self.run(self.world.answer(one, outcome))

    @rule(place=places)
    def pause(self, place: int) -> None:
        """A process stands still."""
        self.run(self.world.pause(place))

    @rule(place=places)
    def resume(self, place: int) -> None:
        """A process goes on."""
        self.run(self.world.resume(place))

    @rule(place=places)
    def pause_past_the_lease(self, place: int) -> None:
        """A process stands still for longer than its leases, while the other takes over."""
        self.run(self.world.pause(place))
        self.run(self.world.advance(LEASE_SECONDS + 1))
        self.run(self.world.claim(1 - place))

    @rule(place=places, one=which, outcome=st.sampled_from(OUTCOMES))
    def sleep_through_a_takeover(self, place: int, one: int, outcome: str) -> None:
        """A process stands still, hears an answer meanwhile, is taken over from, and goes on."""
        self.run(self.world.pause(place))
        if self.world.waiting():
            self.run(self.world.answer(one, outcome))
        self.run(self.world.advance(LEASE_SECONDS + 1))
        self.run(self.world.claim(1 - place))
        self.run(self.world.resume(place))

    @rule(place=places)
    def crash(self, place: int) -> None:
        """A process is killed and starts again with nothing in its memory."""
        self.run(self.world.crash(place))

    @rule(died=st.lists(places, min_size=1, max_size=3), at_once=st.booleans())
    def die_of_it(self, died: list[int], at_once: bool) -> None:
        """Dispatchers die in a row, whatever they have in work, and their leases run out."""
        for place in died:
            self.run(self.world.die_of_it(place, at_once=at_once))

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 11.0, 31.0]))
    def advance(self, seconds: float) -> None:
        """Time goes by."""
        self.run(self.world.advance(seconds))

    @precondition(lambda self: self.world.accepted)
    @rule(one=which)
    def cancel(self, one: int) -> None:
        """A caller cancels a message."""
        self.run(self.world.cancel(one))

    @precondition(lambda self: self.world.calls)
    @rule(
        one=which,
        status=st.sampled_from([ReceiptStatus.DELIVERED, ReceiptStatus.BOUNCED_SOFT, ReceiptStatus.BOUNCED_HARD]),
    )
    def receipt(self, one: int, status: ReceiptStatus) -> None:
        """A provider tells what became of a call that it took."""
        self.run(self.world.receipt(one, status))

    @rule(name=st.sampled_from(sorted(FAILURES)))
    def fail(self, name: str) -> None:
        """The next statement of this kind loses its connection, before its commit or after it."""
        fail_next(name)

    @invariant()
    def all_is_well(self) -> None:
        """The two sides agree, and no promise is broken."""
        self.run(hold(self.world))


@pytest.mark.timeout(3600 if EXAMPLES > 50 else 180)
def test_whatever_happens_in_whatever_order(world: tuple[World, asyncio.Runner]) -> None:
    """PostgreSQL does what the model does, and the invariants hold after every step."""
    made, runner = world

    class Here(Machine):
        world = made
        run = staticmethod(runner.run)

    profile = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=EXAMPLES <= 50,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Here, settings=profile)


@pytest.mark.timeout(3600 if WALK > 1000 else 180)
def test_a_long_walk(world: tuple[World, asyncio.Runner]) -> None:
    """The same in one long story by seed: what only comes late is seen too."""
    made, runner = world
    runner.run(made.begin_anew())
    walker = Walker(world=made, dice=random.Random(WALK_SEED))
    try:
        runner.run(walker.walk(WALK))
    finally:
        fail_no_more()
        runner.run(made.end())

    kept = made.model.messages.values()
    outcomes = {attempt.outcome for each in kept for attempt in each.attempts}
    assert {Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.UNKNOWN, Outcome.INVALID} <= outcomes
    assert any(each.evidence for each in kept), "no answer came after its lease was lost"
    assert any(each.generation.number > 1 for each in kept), "nothing was retried"
    quarantined = [each for each in kept if each.completion and each.completion.reason == EndReason.QUARANTINED]
    assert quarantined, "no message was taken out of work"
    assert any(len(each.attempts) > 1 for each in kept), "no message went further than one attempt"
