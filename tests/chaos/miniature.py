"""One dispatch process in miniature: the real worker, delivery, intake and receipts over a Pair, and providers that
answer when they are told to. What surrounds it: world.py.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

from services.adapters.base import Adapter, Call, Channel, ProviderSpec
from services.adapters.outcome import Outcome, Reason, Result
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.delivery import Delivery
from services.dispatch.intake import Intake
from services.dispatch.peers import Share
from services.dispatch.ports import Tools
from services.dispatch.receipts import ReceiptDesk
from services.dispatch.retry import Backoff
from services.dispatch.settings import MEBIBYTE
from services.dispatch.store import Store
from services.dispatch.suspects import Suspects
from services.dispatch.watch import EventHub
from services.dispatch.worker import Worker
from tests.chaos.pair import Pair
from tests.chaos.quiet import Boot, Quiet
from tests.fakes.adapter import SCHEMA
from tests.fakes.receipts import ScriptedReader

if TYPE_CHECKING:
    from tests.chaos.world import World

LEASE_SECONDS = 10.0
KEY_HOURS = 0.02  # a minute and a bit
LETTERS = "ab"
RESULTS: Mapping[str, Result] = {
    "deferred": Result(outcome=Outcome.DEFERRED, reason=Reason.UNAVAILABLE),
    "unknown": Result(outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT),
    "unknown but taken": Result(outcome=Outcome.UNKNOWN, reason=Reason.CONNECTION_LOST),
    "invalid": Result(outcome=Outcome.INVALID, reason=Reason.RECIPIENT_INVALID),
}


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A call that a provider took, whether or not anybody heard of it."""

    message_id: UUID
    attempt: int
    provider_id: str
    reference: str


@dataclass(eq=False, kw_only=True)
class Waiting:
    """A call that a provider has not answered yet."""

    call: Call
    answer: "asyncio.Future[str]"


@dataclass(eq=False)
class Provider:
    """An adapter of one process that waits to be told what to answer."""

    letter: str
    pair: Pair
    world: "World"

    @property
    def spec(self) -> ProviderSpec:
        """What it is."""
        return ProviderSpec(
            kind=self.letter,
            channel=Channel.EMAIL,
            title=self.letter,
            description="Waits.",
            documentation_url="",
            config_schema=SCHEMA,
        )

    async def send(self, call: Call) -> Result:
        """What the test says, when it says it; heard of only while the process runs."""
        if not self.world.model.leased(UUID(call.message_id), call.attempt):
            self.world.sins.append(f"I4: {call.message_id} was sent in attempt {call.attempt} without a lease")
        waiting = Waiting(call=call, answer=asyncio.get_running_loop().create_future())
        self.world.calling.append(waiting)
        self.pair.standing += 1
        try:
            word = await waiting.answer
        finally:
            self.pair.standing -= 1
            if waiting in self.world.calling:
                self.world.calling.remove(waiting)
        reference = f"{self.letter}-{call.message_id}-{call.attempt}"
        if word in ("accepted", "unknown but taken"):
            self.world.take(UUID(call.message_id), call.attempt, call.provider_id, reference)
        await self.pair.pass_gate()
        accepted = Result(outcome=Outcome.ACCEPTED, reason=Reason.ACCEPTED, provider_message_id=reference)
        return RESULTS.get(word, accepted)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(kw_only=True)
class Process:
    """One dispatch process as far as messages go."""

    pair: Pair
    worker: Worker
    intake: Intake
    desk: ReceiptDesk
    suspects: Suspects


def begin_process(world: "World", place: int) -> Process:
    """A fresh process that knows nothing of what there was before."""
    store = Store(
        world.database.pool,
        world.database.pool,
        worker=f"p{place}:{uuid4().hex[:4]}",
        lease_seconds=LEASE_SECONDS,
        idempotency_hours=KEY_HOURS,
    )
    pair, clock, hub, quiet = Pair(store, world.model, world.turn), Boot(world.database), EventHub(), Quiet()
    database_clock = DatabaseClock(clock)
    database_clock.learn(world.database.now)
    share = Share(place, 2)
    worker = Worker(cast(Any, pair), clock, database_clock, max_in_flight=1000, max_bytes=MEBIBYTE, share=lambda: share)
    adapters: dict[tuple[Channel, str], Adapter] = {
        (Channel.EMAIL, letter): Provider(letter, pair, world) for letter in LETTERS
    }
    tools = Tools(
        chains=quiet,
        ledger=pair,
        health=quiet,
        adapters=adapters,
        clock=clock,
        database_now=database_clock.now,
        fraction=lambda: 0.5,
        publish=hub.publish,
        lease_left=worker.lease_left,
        give_up=worker.give_up,
        backoff=Backoff(),
    )
    worker.deliver_with(lambda lease: Delivery(tools, lease).run())
    rules: dict[str, Any] = {"max_message_bytes": 10_000, "kinds": {}, "templates": None}
    intake = Intake(cast(Any, pair), worker, hub, clock, database_clock, **rules)
    readers = {(Channel.EMAIL, letter): ScriptedReader() for letter in LETTERS}
    desk = ReceiptDesk(store, quiet, readers, clock, hub.publish)
    suspects = Suspects(cast(Any, pair), worker, clock, lambda _id, _project, step, _at: world.model.take_out(step))
    return Process(pair=pair, worker=worker, intake=intake, desk=desk, suspects=suspects)
