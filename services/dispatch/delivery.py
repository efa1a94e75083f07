"""One message from lease to settled: choose, begin, send, classify, decide, settle. Which messages, and when:
worker.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Adapter, Call, Channel
from services.adapters.http import unexpected
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.redaction import secret_values
from services.chassis.clock import Clock
from services.chassis.errors import ResourceExhausted, Unavailable
from services.chassis.log import get_logger
from services.dispatch import history as tell
from services.dispatch.attempt import NOT_SENT, Attempt, begin, interrupted, storable
from services.dispatch.chain import Chain
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.failover import Decision, Finish, Situation, Skip, Start, Wait, decide, possible_duplicate
from services.dispatch.health import Block, Mark, Marks, mark_from, scopes_of
from services.dispatch.ledger import Completion, Settled, Transition
from services.dispatch.limits import AtLimit, Limits, Permit, Unlimited, passed_by
from services.dispatch.message import Message
from services.dispatch.retry import DEFAULT_BACKOFF, Backoff

CONFIG_PAUSE, LONGEST_CONFIG_PAUSE = 1.0, 10.0
SETTLE_PAUSE, LONGEST_SETTLE_PAUSE = 0.1, 5.0
# How long a stopping process still tries to write what a provider answered; then the attempt stays open and becomes
# unknown.
SETTLE_ON_STOP = 3.0
# A hanging adapter is cut this long after its own time limit should have ended the call.
GRACE = 2.0


class Chains(Protocol):
    """Where chains come from."""

    async def get(self, project_id: str, channel: Channel) -> Chain:
        """The chain as it is now; raises ConfigUnavailable."""


class Ledger(Protocol):
    """Where transitions are written."""

    async def apply(self, transition: Transition) -> Settled:
        """Write one step, or learn that somebody else holds the message."""

    async def keep_evidence(self, transition: Transition) -> None:
        """Keep what was learned too late to settle."""


class Health(Protocol):
    """What is known about providers."""

    def marks(self) -> Marks:
        """Every mark by provider id."""

    def learned(self, mark: Mark) -> None:
        """The mark holds from now on in this process; the others see it when it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one message under one epoch; `waited` says that a wait after its last attempt is over,
    `waits_for` which provider it waited for because that one was at its limit, `ended` how its dispatch had ended
    before a receipt, or the want of one, brought it back.
    """

    message: Message
    epoch: int
    history: tuple[Attempt, ...] = ()
    last_sequence: int = 1
    waited: bool = False
    waits_for: str = ""
    ended: Completion | None = None

    @property
    def id(self) -> UUID:
        """The message's id."""
        return self.message.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a delivery works with; all of it is handed in by app.py."""

    chains: Chains
    ledger: Ledger
    health: Health
    adapters: Mapping[tuple[Channel, str], Adapter]
    clock: Clock
    database_now: Callable[[], datetime]
    fraction: Callable[[], float]
    publish: Callable[[UUID, str, Transition, datetime], None]
    lease_left: Callable[[UUID, int], float]
    limits: Limits = field(default_factory=Unlimited)
    public_url: str = ""
    backoff: Backoff = DEFAULT_BACKOFF

    def receipts_url(self, kind: str, provider_id: str) -> str:
        """Where a provider's receipts are taken; "" when the service was not told how it is known outside."""
        return f"{self.public_url}/receipts/{kind}/{provider_id}" if self.public_url else ""


class Fenced(Exception):
    """Somebody else holds the message: stop, they go on."""


class Delivery:
    """Walks one leased message to its end, to a wait, or until the lease is lost."""

    def __init__(self, tools: Tools, lease: Lease) -> None:
        self._tools = tools
        self._lease = lease
        self._unsettled: Attempt | None = None
        self._mark: Mark | None = None
        self._at_limit: dict[str, float] = {}
        self._skips_told: set[tuple[str, str]] = set()
        self._log = get_logger(message=str(lease.id), epoch=lease.epoch)

    async def run(self) -> float | None:
        """Seconds until the message is due again; None when its dispatch has ended or somebody else has it."""
        self._close_interrupted()
        try:
            while True:
                decision, chain = await self._decide()
                match decision:
                    case Finish():
                        await self._finish(decision)
                        return None
                    case Wait():
                        await self._put_off(decision)
                        return decision.delay
                    case Start():
                        await self._at_the_gate(decision, chain)
        except Fenced:
            self._log.warning("lease_lost")
            return None

    def _close_interrupted(self) -> None:
        """An attempt that is open although we only just took the lease was cut short: it becomes unknown (R11)."""
        if self._lease.history and self._lease.history[-1].result is None:
            self._unsettled = interrupted(self._lease.history[-1])
            self._lease = replace(self._lease, history=(*self._lease.history[:-1], self._unsettled), waited=False)

    async def _decide(self) -> tuple[Decision, Chain]:
        message = self._lease.message
        try:
            chain = await self._tools.chains.get(message.project_id, message.channel)
        except ConfigUnavailable:
            nothing = Chain(project_id=message.project_id, channel=message.channel)
            return self._without_configuration(), nothing
        return decide(self._situation(chain)), chain

    def _without_configuration(self) -> Decision:
        """Wait for ConfigService, but not past the deadline, and not with an end that is already certain."""
        nothing = Chain(project_id=self._lease.message.project_id, channel=self._lease.message.channel)
        situation = self._situation(nothing)
        settled = {Outcome.ACCEPTED, Outcome.INVALID}
        last = self._lease.history[-1].outcome if self._lease.history else None
        if (last in settled and self._lease.ended is None) or situation.time_left <= 0:
            return decide(situation)
        # Half of its age each time: a long outage writes few events, and the end of it is noticed soon all the same.
        age = (situation.now - self._lease.message.created_at).total_seconds()
        pause = min(max(age / 2, CONFIG_PAUSE), LONGEST_CONFIG_PAUSE) * (0.5 + self._tools.fraction())
        return Wait(delay=min(pause, situation.time_left), provider=None, reason="CONFIGURATION_UNAVAILABLE")

    def _situation(self, chain: Chain) -> Situation:
        now = self._tools.database_now()
        return Situation(
            message=self._lease.message,
            history=self._lease.history,
            chain=chain,
            marks=passed_by(self._tools.health.marks(), self._at_limit, chain, now, self._tools.backoff.cap),
            at_limit=self._at_limit,
            now=now,
            fraction=self._tools.fraction(),
            waited=self._lease.waited,
            backoff=self._tools.backoff,
        )

    async def _at_the_gate(self, start: Start, chain: Chain) -> None:
        """One attempt, if the provider's limits allow it and, after a moment in line, it is still what comes next."""
        permit = await self._tools.limits.enter(start.provider, self._lease.message, waited_for=self._lease.waits_for)
        if isinstance(permit, AtLimit):
            self._at_limit[start.provider.id] = permit.wait
            return
        sent: tuple[Result | None, float | None] = None, None
        try:
            if permit.waited:
                now, chain = await self._decide()
                if not isinstance(now, Start) or now.provider.id != start.provider.id:
                    return
                start = now
            sent = await self._attempt(start, chain, permit)
        finally:
            permit.end(*sent)
        self._at_limit.clear()

    async def _attempt(self, start: Start, chain: Chain, permit: Permit) -> tuple[Result | None, float | None]:
        """One attempt: recorded, sent, understood. It is settled together with what comes next."""
        attempt = begin(start.provider, self._lease.history, round_number=start.round, epoch=self._lease.epoch)
        previous = self._lease.history[-1] if self._lease.history else None
        events = [*self._finished(), *self._skipped(start.skips)]
        if previous is not None and previous.provider_id != attempt.provider_id:
            events.append(tell.failover(previous, attempt))
        events.append(tell.attempt_started(attempt))
        started = await self._write(self._transition(opens=attempt, chain_version=chain.version), events)
        attempt = replace(attempt, started_at=started.at)
        result, latency = await self._send(start, chain, attempt, permit)
        self._unsettled = attempt.finished(result, latency=latency)
        self._lease = replace(self._lease, history=(*self._lease.history, self._unsettled), waited=False)
        self._log.info(
            "attempt_finished", attempt=attempt.number, kind=attempt.kind, outcome=result.outcome, reason=result.reason
        )
        scopes = scopes_of(self._lease.message, chain)
        self._mark = mark_from(start.provider, result, self._tools.database_now(), scopes)
        if self._mark is not None:
            self._tools.health.learned(self._mark)
        return (None if latency is None else result), latency

    async def _send(self, start: Start, chain: Chain, attempt: Attempt, permit: Permit) -> tuple[Result, float | None]:
        """The call itself, cut off when it outlives every limit; whatever happens becomes a result."""
        adapter = self._tools.adapters.get((self._lease.message.channel, start.provider.kind))
        if adapter is None:
            text = f"This dispatcher has no adapter for kind {start.provider.kind!r}."
            return Result(outcome=Outcome.UNFIT, reason=Reason.FEATURE_UNSUPPORTED, provider_text=text), None
        if not await permit.ready():
            return NOT_SENT, None
        # The last look before the first byte: a process that was paused past its lease must not send any more.
        if self._tools.lease_left(self._lease.id, self._lease.epoch) <= 0:
            return NOT_SENT, None
        began = self._tools.clock.boottime()
        limit = min(start.timeout + adapter.spec.verdict_seconds, start.time_left) + GRACE
        call = self._call(start, chain, attempt)
        try:
            async with asyncio.timeout(limit):
                result = storable(await adapter.send(call))
        except TimeoutError:
            result = Result(
                outcome=Outcome.UNKNOWN, reason=Reason.TIMEOUT, provider_text="The call outlived its time limit."
            )
        except Exception as error:  # noqa: BLE001 - failover.md X11: nothing escapes
            # The adapter's promise is to raise nothing; one that does may have sent before it did.
            result = unexpected(error, call, secret_values(adapter.spec, call.config), self._log)
        return result, self._tools.clock.boottime() - began

    def _call(self, start: Start, chain: Chain, attempt: Attempt) -> Call:
        return Call(
            message_id=str(self._lease.id),
            attempt=attempt.number,
            content=self._lease.message.content,
            project_sender=chain.sender,
            options=self._lease.message.options.get(start.provider.kind, {}),
            receipts_url=self._tools.receipts_url(start.provider.kind, start.provider.id),
            config=start.provider.config,
            provider_id=start.provider.id,
            config_version=start.provider.version,
            timeout=start.timeout,
            time_left=start.time_left,
        )

    async def _finish(self, finish: Finish) -> None:
        attempts = self._lease.history
        completion = Completion(
            state=finish.state,
            reason=finish.reason,
            provider_id=finish.attempt.provider_id if finish.attempt else "",
            kind=finish.attempt.kind if finish.attempt else "",
            possible_duplicate=possible_duplicate(attempts),
        )
        events = [*self._finished(), *self._skipped(finish.skips), *self._end(finish, completion)]
        await self._write(self._transition(completes=completion, due_in=finish.listen), events)
        self._log.info("dispatch_completed", state=finish.state, reason=finish.reason, attempts=len(attempts))

    def _end(self, finish: Finish, completion: Completion) -> list[DeliveryEvent]:
        """`completed` is told once; later ends are told when there is something new about them."""
        if self._lease.ended is None:
            return [tell.completed(finish, self._lease.history)]
        news = self._unsettled is not None or completion != self._lease.ended
        return [tell.ended_again(finish, self._lease.history)] if news else []

    async def _put_off(self, wait: Wait) -> None:
        events = [*self._finished(), *self._skipped(wait.skips), tell.retry_scheduled(wait)]
        waits_for = wait.provider.id if wait.provider and wait.reason == Block.RATE_LIMITED else ""
        await self._write(replace(self._transition(due_in=wait.delay), waits_for=waits_for), events)

    def _transition(
        self,
        *,
        opens: Attempt | None = None,
        completes: Completion | None = None,
        due_in: float | None = None,
        chain_version: int = 0,
    ) -> Transition:
        return Transition(
            message_id=self._lease.id,
            project_id=self._lease.message.project_id,
            epoch=self._lease.epoch,
            closes=self._unsettled,
            opens=opens,
            completes=completes,
            due_in=due_in,
            chain_version=chain_version,
            mark=self._mark,
        )

    def _finished(self) -> list[DeliveryEvent]:
        return [tell.attempt_finished(self._unsettled)] if self._unsettled is not None else []

    def _skipped(self, skips: tuple[Skip, ...]) -> list[DeliveryEvent]:
        """Each provider that is passed by is told once per reason, however often it is looked at."""
        fresh = []
        for skip in skips:
            key = (skip.provider.id if skip.provider else "", skip.reason)
            if key not in self._skips_told:
                self._skips_told.add(key)
                fresh.append(tell.provider_skipped(skip))
        return fresh

    async def _write(self, transition: Transition, events: list[DeliveryEvent]) -> Settled:
        """Make a step durable and tell it; Fenced when somebody else has the message, or when a start can not be
        recorded.
        """
        transition = replace(transition, events=tell.numbered(self._lease.last_sequence, events))
        settled = await _outlives_cancellation(self._persist(transition))
        if not settled.held and transition.closes is not None and transition.opens is not None:
            # The lease ended while the provider answered. If nobody took the message yet, the answer still counts.
            given_up = replace(transition, opens=None, due_in=0.0, events=transition.events[:1])
            settled = await _outlives_cancellation(self._persist(given_up))
            if settled.held:
                self._tools.publish(self._lease.id, transition.project_id, given_up, settled.at)
            else:
                await self._tools.ledger.keep_evidence(transition)
            raise Fenced
        if not settled.held:
            if transition.closes is not None:
                await self._tools.ledger.keep_evidence(transition)
            raise Fenced
        self._unsettled, self._mark = None, None
        self._lease = replace(self._lease, last_sequence=self._lease.last_sequence + len(events))
        self._tools.publish(self._lease.id, transition.project_id, transition, settled.at)
        return settled

    async def _persist(self, transition: Transition) -> Settled:
        """Write until it is known what became of it; a start that brings no result only for as long as the lease
        lives.
        """
        pause = SETTLE_PAUSE
        while True:
            try:
                return await self._tools.ledger.apply(transition)
            except (Unavailable, ResourceExhausted) as error:
                self._log.warning("settle_failed", cause=type(error.__cause__).__name__)
                if transition.closes is None and self._tools.lease_left(self._lease.id, self._lease.epoch) <= 0:
                    raise Fenced from error
            await self._tools.clock.sleep(pause)
            pause = min(pause * 2, LONGEST_SETTLE_PAUSE)


async def _outlives_cancellation(writing: Awaitable[Settled]) -> Settled:
    """What a provider answered is written even when this task is told to stop meanwhile; then the stop goes on."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=SETTLE_ON_STOP)
        task.cancel()
        raise
