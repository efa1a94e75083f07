"""One message from lease to settled: choose, begin, send, classify, decide, settle. Which messages, and when:
worker.py.
"""

from dataclasses import replace

from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent

from services.adapters.base import Call
from services.adapters.http import unexpected
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.redaction import secret_values
from services.chassis.failpoints import failpoint
from services.chassis.log import get_logger
from services.dispatch import history as tell
from services.dispatch.attempt import CUT, NOT_SENT, Attempt, begin, interrupted, storable
from services.dispatch.breaker import Engagement, Lesson, engagement_of, is_news, signal_in, told_by
from services.dispatch.chain import Chain
from services.dispatch.config_client import ConfigUnavailable
from services.dispatch.failover import Decision, Finish, Situation, Skip, Start, Wait, possible_duplicate
from services.dispatch.generation import decide_in
from services.dispatch.health import Block, scopes_of
from services.dispatch.late_truth import as_known_by_now, is_lost
from services.dispatch.lease_bound import LeaseEnding, still_ours, within_lease
from services.dispatch.ledger import Completion, Settled, Transition
from services.dispatch.limits import AtLimit, Permit, passed_by
from services.dispatch.ports import Lease, Tools
from services.dispatch.settler import Fenced, Settler
from services.dispatch.suppression import recipients_of, sentence, taught_by_result
from services.dispatch.tracing import attempt_span

Sent = tuple[Result | None, float | None]

CONFIG_PAUSE, LONGEST_CONFIG_PAUSE = 1.0, 10.0
# A hanging adapter is cut this long after its own time limit should have ended the call.
GRACE = 2.0
# How long after the longest call the right to probe ends: what it taught is settled by then, or its dispatcher died.
PROBE_MARGIN = 5.0


class Delivery:
    """Walks one leased message to its end, to a wait, or until the lease is lost."""

    def __init__(self, tools: Tools, lease: Lease) -> None:
        self._tools = tools
        self._lease = lease
        self._unsettled: Attempt | None = None
        self._amended: tuple[Attempt, ...] = ()
        self._lesson: Lesson | None = None
        self._at_limit: dict[str, float] = {}
        self._skips_told: set[tuple[str, str]] = set()
        self._suppressed = ""
        self._log = get_logger(message=str(lease.id), epoch=lease.epoch)
        self._settler = Settler(tools, lease.id, lease.epoch)

    async def run(self) -> float | None:
        """Seconds until the message is due again; None when its dispatch has ended or somebody else has it."""
        self._tools.tracing.go_on(self._lease.trace)
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
            self._tools.telemetry.lost()
            self._tools.give_up(self._lease.id, self._lease.epoch)
            return None

    def _close_interrupted(self) -> None:
        """An attempt that is open although we only just took the lease was cut short: it becomes unknown (R11)."""
        if self._lease.history and self._lease.history[-1].result is None:
            failpoint("rescue.interrupted")
            self._unsettled = cut = interrupted(self._lease.history[-1])
            self._tools.telemetry.attempted(cut.kind, self._lease.message.channel, Outcome.UNKNOWN, None)
            self._lease = replace(self._lease, history=(*self._lease.history[:-1], self._unsettled), waited=False)

    async def _learn_late_truth(self) -> None:
        """What the dispatchers of lost attempts learned after all counts before anything is decided."""
        before = self._lease.history
        if not any(map(is_lost, before)):
            return
        evidence = await self._settler.until_answered(
            lambda: self._tools.ledger.late_results(self._lease.id), for_ever=self._unsettled is not None
        )
        now = as_known_by_now(before, evidence)
        self._lease = replace(self._lease, history=now)
        for attempt in (new for old, new in zip(before, now, strict=True) if new is not old):
            if self._unsettled is not None and self._unsettled.number == attempt.number:
                self._unsettled = attempt
            else:
                self._amended = (*self._amended, attempt)

    async def _decide(self) -> tuple[Decision, Chain]:
        message = self._lease.message
        await self._learn_late_truth()
        try:
            chain = await self._tools.chains.get(message.project_id, message.channel)
        except ConfigUnavailable:
            nothing = Chain(project_id=message.project_id, channel=message.channel)
            return self._without_configuration(), nothing
        return decide_in(self._lease.generation, self._situation(chain)), chain

    def _without_configuration(self) -> Decision:
        """Wait for ConfigService, but not past the deadline, and not with an end that is already certain."""
        nothing = Chain(project_id=self._lease.message.project_id, channel=self._lease.message.channel)
        situation = self._situation(nothing)
        settled = {Outcome.ACCEPTED, Outcome.INVALID}
        last = self._lease.history[-1].outcome if self._lease.history else None
        if (last in settled and self._lease.ended is None) or situation.time_left <= 0:
            return decide_in(self._lease.generation, situation)
        # Half of its age each time: a long outage writes few events, and the end of it is noticed soon all the same.
        age = (situation.now - self._lease.message.may_begin).total_seconds()
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
            suppressed=self._suppressed,
            backoff=self._tools.backoff,
        )

    async def _at_the_gate(self, start: Start, chain: Chain) -> None:
        """One attempt, if the provider's limits allow it and, after a moment in line, it is still what comes next."""
        permit = await self._tools.limits.enter(start.provider, self._lease.message, waited_for=self._lease.waits_for)
        if isinstance(permit, AtLimit):
            self._at_limit[start.provider.id] = permit.wait
            return
        sent: Sent = None, None
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

    async def _attempt(self, start: Start, chain: Chain, permit: Permit) -> Sent:
        """One attempt: recorded, sent, understood. It is settled together with what comes next. None at all when it
        would have been a probe and another message is the one. Answers what came of what was sent.
        """
        scopes = scopes_of(self._lease.message, chain)
        probe = f"{self._lease.id} {len(self._lease.history) + 1} {self._lease.epoch}" if start.probe else ""
        seconds = self._limit(start) + permit.patience + PROBE_MARGIN
        if probe and not await self._tools.health.take_probe(start.provider, scopes, probe, seconds):
            return None, None
        history, accepted = self._lease.history, False
        self._tools.health.begins(start.provider.id)
        try:
            called = await self._call_provider(start, chain, permit)
            if called is None:
                return None, None
            attempt, result = called
            accepted = result.outcome is Outcome.ACCEPTED
        finally:
            self._tools.health.ended(start.provider.id, accepted=accepted)
        signal = signal_in(history, start.provider, result, probe=bool(probe))
        if is_news(start.provider, signal, scopes, self._tools.health.marks(), probe):
            self._lesson = Lesson(
                provider=start.provider,
                project_id=self._lease.message.project_id,
                channel=self._lease.message.channel,
                result=result,
                signal=signal,
                scopes=scopes,
                scope=told_by(result.scope, scopes),
                started_at=attempt.started_at or self._tools.database_now(),
                probe=probe,
                accepted=self._tools.health.accepted(start.provider.id),
            )
        return (None if attempt.latency is None else result), attempt.latency

    async def _call_provider(self, start: Start, chain: Chain, permit: Permit) -> tuple[Attempt, Result] | None:
        """The attempt and what came of it; the attempt waits to be settled. None when there may be none: a recipient is
        suppressed, which is known for the next decision.
        """
        attempt = begin(start.provider, self._lease.history, round_number=start.round, epoch=self._lease.epoch)
        previous = next(reversed(self._lease.generation.of(self._lease.history)), None)
        events = [*self._finished(), *self._skipped(start.skips)]
        left = previous if previous is not None and previous.provider_id != attempt.provider_id else None
        if left is not None:
            events.append(tell.failover(left, attempt))
        events.append(tell.attempt_started(attempt))
        failpoint("attempt.before_record")
        passed_by = frozenset(skip.provider.id for skip in start.skips if skip.provider)
        engagement = engagement_of(chain, start.provider, passed_by, self._tools.health.marks())
        step = self._transition(opens=attempt, chain_version=chain.version, engagement=engagement)
        started = await self._write(replace(step, recipients=recipients_of(self._lease.message)), events)
        if started.suppressed:
            self._suppressed = sentence(started.suppressed)
            return None
        failpoint("attempt.recorded")
        if left is not None:
            self._tools.telemetry.failed_over(self._lease.message.channel, left.kind, left.outcome)
        attempt = replace(attempt, started_at=started.at)
        with attempt_span(self._tools.tracing, self._lease.message, attempt) as span:
            result, latency = await self._send(start, chain, attempt, permit)
            span.ended(result)
        self._unsettled = attempt.finished(result, latency=latency)
        self._lease = replace(self._lease, history=(*self._lease.history, self._unsettled), waited=False)
        self._tools.telemetry.attempted(attempt.kind, self._lease.message.channel, result.outcome, latency)
        self._log.info(
            "attempt_finished", attempt=attempt.number, kind=attempt.kind, outcome=result.outcome, reason=result.reason
        )
        return self._unsettled, result

    def _limit(self, start: Start) -> float:
        """When a call that still hangs is cut, in seconds."""
        adapter = self._tools.adapters.get((self._lease.message.channel, start.provider.kind))
        verdict_seconds = adapter.spec.verdict_seconds if adapter else 0.0
        return min(start.timeout + verdict_seconds, start.time_left) + GRACE

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
        call = self._call(start, chain, attempt)
        try:
            # Never longer than our lease: when it can not be renewed, another dispatcher must not send meanwhile.
            left = lambda: self._tools.lease_left(self._lease.id, self._lease.epoch)  # noqa: E731
            async with within_lease(self._limit(start), left):
                failpoint("send.before_wire")
                result = storable(await self._tools.joint.send(adapter, call, lambda: still_ours(left)))
                failpoint("send.answered")
        except LeaseEnding:
            result = CUT
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
            together=self._lease.together,
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
        failpoint("finish.before_record")
        settled = await self._write(self._transition(completes=completion, due_in=finish.listen), events)
        failpoint("finish.recorded")
        if self._lease.ended is None or self._lease.generation.retrying:
            first = self._lease.ended is None
            self._tools.telemetry.ended(self._lease.message, finish.state, settled.at if first else None)
        self._log.info("dispatch_completed", state=finish.state, reason=finish.reason, attempts=len(attempts))

    def _end(self, finish: Finish, completion: Completion) -> list[DeliveryEvent]:
        """`completed` is told once; later ends are told when there is something new about them."""
        if self._lease.ended is None:
            return [tell.completed(finish, self._lease.history)]
        news = self._unsettled or self._amended or self._lease.generation.retrying or completion != self._lease.ended
        return [tell.ended_again(finish, self._lease.history)] if news else []

    async def _put_off(self, wait: Wait) -> None:
        events = [*self._finished(), *self._skipped(wait.skips), tell.retry_scheduled(wait)]
        waits_for = wait.provider.id if wait.provider and wait.reason == Block.RATE_LIMITED else ""
        await self._write(replace(self._transition(due_in=wait.delay), waits_for=waits_for), events)
        failpoint("put_off.recorded")

    def _transition(
        self,
        *,
        opens: Attempt | None = None,
        completes: Completion | None = None,
        due_in: float | None = None,
        chain_version: int = 0,
        engagement: Engagement | None = None,
    ) -> Transition:
        return Transition(
            message_id=self._lease.id,
            project_id=self._lease.message.project_id,
            epoch=self._lease.epoch,
            closes=self._unsettled,
            amends=self._amended,
            opens=opens,
            completes=completes,
            due_in=due_in,
            chain_version=chain_version,
            lesson=self._lesson,
            engagement=engagement,
            suppresses=taught_by_result(self._lease.message, self._unsettled.result) if self._unsettled else None,
        )

    def _finished(self) -> list[DeliveryEvent]:
        own = () if self._unsettled is None else (self._unsettled,)
        return [tell.attempt_finished(attempt) for attempt in (*own, *self._amended)]

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
        settled = await self._settler.write(
            replace(transition, events=tell.numbered(self._lease.last_sequence, events))
        )
        if settled.suppressed:
            return settled
        self._unsettled, self._amended, self._lesson = None, (), None
        self._lease = replace(self._lease, last_sequence=self._lease.last_sequence + len(events))
        return settled
