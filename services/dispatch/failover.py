"""What to do next with a message: pure, over frozen values, and the whole of the failover policy (failover.md §1,
R1 to R5, R8).

`decide` is asked after every attempt and whenever a waiting message's time has come. It does nothing itself;
delivery.py acts.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.adapters.outcome import Outcome
from services.dispatch.attempt import Attempt
from services.dispatch.chain import Provider
from services.dispatch.decision import Decision as Decision
from services.dispatch.decision import Finish as Finish
from services.dispatch.decision import Situation as Situation
from services.dispatch.decision import Skip as Skip
from services.dispatch.decision import Start as Start
from services.dispatch.decision import Wait as Wait
from services.dispatch.health import Block, Mark, blocking_mark, recovery_order, scopes_of
from services.dispatch.message import EndReason, State, UnknownPolicy
from services.dispatch.verdict import standing

# A message is claimed a little early by the clock of the process that decides; not worth another wait.
CLOCK_SLACK = 0.1
# How long messages that wait for the same provider come apart, and how soon they look again at one that works again.
SPREAD, RETURN_PAUSE = 5.0, 0.5
# What says nothing against a provider but that it needs time.
_WAITED_FOR = frozenset({Block.COOLDOWN, Block.RATE_LIMITED})
_ONE_TRY = frozenset({Outcome.ACCEPTED, Outcome.DENIED, Outcome.UNFIT, Outcome.UNKNOWN})


def decide(situation: Situation) -> Decision:
    """The one next step of a message; never raises, never loops: every path ends in an attempt, a wait or the end."""
    decision = _next(situation)
    return _as_receipts_say(decision, situation.history) if isinstance(decision, Finish) else decision


def _next(situation: Situation) -> Decision:
    ended = _ended_by_last_attempt(situation) or _ended_by_deadline(situation)
    if ended:
        return ended
    if situation.suppressed:
        doubtful = any(attempt.outcome is Outcome.UNKNOWN for attempt in situation.history)
        ended = _unknown(situation, EndReason.RECIPIENT_SUPPRESSED, ()) if doubtful else None
        return ended or Finish(state=State.FAILED, reason=EndReason.RECIPIENT_SUPPRESSED, detail=situation.suppressed)
    order, skips = order_for(situation)
    refused = _refused_before_any_call(situation, order, skips)
    if refused:
        return refused
    if _bound_by_unknown(situation):
        # Nobody else may be called, so the one that may have it is asked again with its key, or it ends here.
        again = _same_again(situation, order, situation.history[-1].round, others=False)
        return replace(again, skips=skips) if again else _unknown(situation, EndReason.OUTCOME_UNKNOWN, skips)
    first_round = situation.history[-1].round if situation.history else 1
    for number in range(first_round, situation.message.policy.max_rounds + 1):
        step, passed = _step_in_round(situation, order, number)
        skips = (*skips, *passed)
        if step:
            return replace(step, skips=skips)
    return _exhausted(situation, skips)


def possible_duplicate(history: Sequence[Attempt]) -> bool:
    """Whether a message may arrive twice: an attempt became unknown, or was accepted and then not heard of, and another
    one was started after it.
    """
    return any(
        attempt.outcome is Outcome.UNKNOWN or (attempt.outcome is Outcome.ACCEPTED and not attempt.refused)
        for attempt in history[:-1]
    )


def summary(history: Sequence[Attempt]) -> str:
    """Every attempt's error in order, in words for a person (R8)."""
    return "; ".join(_error_of(attempt) for attempt in history)


def _error_of(attempt: Attempt) -> str:
    result = attempt.result
    if result is None:
        return f"{attempt.provider_name}: open"
    words = result.provider_text or result.reason
    code = f" [{result.provider_code}]" if result.provider_code else ""
    return f"{attempt.provider_name}: {words}{code}"


def _ended_by_last_attempt(situation: Situation) -> Finish | None:
    if not situation.history:
        return None
    last = situation.history[-1]
    for attempt in situation.history:
        if attempt.delivered:
            return Finish(state=State.DELIVERED, attempt=attempt)
    # By late truth: while nobody knew it, others were asked.
    for attempt in reversed(situation.history[:-1]):
        taken = attempt.outcome is Outcome.ACCEPTED and not attempt.refused and last.outcome is not Outcome.ACCEPTED
        ended = _ended_by_acceptance(situation, attempt) if taken else None
        if ended:
            return ended
    if last.refused:
        return None if _leads_on(situation, last) else Finish(state=State.UNDELIVERED, reason=last.receipt or "")
    if last.outcome is Outcome.ACCEPTED:
        return _ended_by_acceptance(situation, last)
    if last.outcome is Outcome.INVALID:
        return Finish(state=State.FAILED, reason=EndReason.REJECTED, detail=_error_of(last))
    if _stops_on_unknown(situation):
        return _unknown(situation, EndReason.OUTCOME_UNKNOWN, ())
    return None


def _leads_on(situation: Situation, refused: Attempt) -> bool:
    """Whether another provider is asked after a receipt that says "not delivered": the route was at fault (R6)."""
    asked_for = situation.message.policy.failover_on_receipt or refused.outcome is Outcome.UNKNOWN
    return refused.route_at_fault and asked_for


def _ended_by_acceptance(situation: Situation, last: Attempt) -> Finish | None:
    """The end, unless the provider has been silent for as long as the message's `receipt_timeout` (R6)."""
    silence = situation.message.policy.receipt_timeout
    if silence is None:
        return Finish(state=State.SENT, attempt=last)
    if last.finished_at is not None:
        silence -= (situation.now - last.finished_at).total_seconds()
    if silence <= CLOCK_SLACK:
        return None
    # No call starts after the deadline, so nothing is gained by listening beyond it.
    return Finish(state=State.SENT, attempt=last, listen=silence if silence < situation.time_left else None)


def _as_receipts_say(finish: Finish, history: Sequence[Attempt]) -> Finish:
    """The end as it is by all that the providers told, in answers and in receipts."""
    stands = standing(history)
    told = any(attempt.outcome is Outcome.ACCEPTED or attempt.refused for attempt in history)
    if stands is None or not told or stands[0] is finish.state is State.SENT:
        return finish
    state, attempt = stands
    if state in (State.SENT, State.DELIVERED):
        return replace(finish, state=state, attempt=attempt, reason="", detail="")
    return replace(finish, state=state, attempt=attempt)


def _bound_by_unknown(situation: Situation) -> bool:
    """Whether AT_MOST_ONCE forbids to call anybody but the provider that may have taken the message already (R5)."""
    at_most_once = situation.message.policy.on_unknown is UnknownPolicy.AT_MOST_ONCE
    return at_most_once and any(attempt.doubtful for attempt in situation.history)


def _stops_on_unknown(situation: Situation) -> bool:
    """AT_MOST_ONCE: after an unknown attempt nobody is called, but the same provider with the same idempotency key."""
    if not _bound_by_unknown(situation):
        return False
    last = situation.history[-1]
    unknown = {attempt.provider_id for attempt in situation.history if attempt.doubtful}
    return unknown != {last.provider_id} or not _may_repeat_with_key(situation, last.provider_id)


def _may_repeat_with_key(situation: Situation, provider_id: str) -> bool:
    provider = next((p for p in situation.chain.providers if p.id == provider_id), None)
    tries = sum(attempt.provider_id == provider_id and attempt.counts for attempt in situation.history)
    return (
        provider is not None
        and provider.startable
        and provider.idempotent
        and tries < situation.message.policy.max_tries
    )


def _ended_by_deadline(situation: Situation) -> Finish | None:
    if situation.time_left > 0:
        return None
    if any(attempt.outcome is Outcome.UNKNOWN for attempt in situation.history):
        return _unknown(situation, EndReason.DEADLINE_PASSED, ())
    return Finish(state=State.EXPIRED, reason=EndReason.DEADLINE_PASSED, detail=summary(situation.history))


def order_for(situation: Situation) -> tuple[tuple[Provider, ...], tuple[Skip, ...]]:
    """The enabled providers in the order of this message, those held out among them, and why a preferred one is not
    first (R1, R2).
    """
    chain, preferred = situation.chain, situation.message.policy.preferred_provider
    enabled = tuple(provider for provider in chain.providers if provider.enabled)
    if not preferred:
        return enabled, ()
    named = [provider for provider in chain.providers if preferred in (provider.id, provider.kind)]
    first = tuple(provider for provider in named if provider.startable)
    if first:
        return first + tuple(provider for provider in enabled if provider not in first), ()
    if named:
        reason = EndReason.PREFERRED_PROVIDER_DISABLED
        how = "held out by an operator" if named[0].enabled else "disabled"
        return enabled, (Skip(provider=named[0], reason=reason, detail=f"The preferred provider is {how}."),)
    detail = f"The project has no provider {preferred!r} on this channel."
    return enabled, (Skip(provider=None, reason=EndReason.PREFERRED_PROVIDER_NOT_FOUND, detail=detail),)


def _refused_before_any_call(
    situation: Situation, order: tuple[Provider, ...], skips: tuple[Skip, ...]
) -> Finish | None:
    if situation.history:
        return None
    if not situation.chain.enabled:
        detail = "The project has switched this channel off."
        return Finish(state=State.FAILED, reason=EndReason.CHANNEL_DISABLED, detail=detail)
    if skips and situation.message.policy.strict:
        return Finish(state=State.FAILED, reason=skips[0].reason, detail=skips[0].detail, skips=skips)
    if any(provider.startable for provider in order):
        return None
    if not order:
        detail = "The project has no enabled provider on this channel."
        return Finish(state=State.FAILED, reason=EndReason.NO_PROVIDER, detail=detail, skips=skips)
    held = tuple(Skip(provider=provider, reason=Block.HELD, detail="An operator holds it out.") for provider in order)
    detail = "An operator holds out every enabled provider of this channel."
    return Finish(state=State.FAILED, reason=EndReason.NO_PROVIDER, detail=detail, skips=(*skips, *held))


def _step_in_round(
    situation: Situation, order: tuple[Provider, ...], number: int
) -> tuple[Start | Wait | None, tuple[Skip, ...]]:
    """The next step within one round; None when the round is over, with the providers that health passed by."""
    in_round = [attempt for attempt in situation.history if attempt.round == number and attempt.counts]
    tried = {attempt.provider_id for attempt in in_round}
    fresh = [provider for provider in order if provider.id not in tried and not _spent(situation, provider)]
    again = _same_again(situation, order, number, others=any(provider.startable for provider in fresh))
    if again:
        return again, ()
    blocked: list[tuple[Provider, Mark]] = []
    for provider in fresh:
        mark = _mark_on(situation, provider)
        if mark is None or _may_probe(situation, mark):
            skips = tuple(_skip(*pair) for pair in blocked)
            return _begin(situation, provider, number, probe=mark is not None), skips
        blocked.append((provider, mark))
    step = _when_all_are_passed_by(situation, number, blocked, tried=bool(tried))
    asked = step.provider if isinstance(step, Start) else None
    return step, tuple(_skip(*pair) for pair in blocked if pair[0] is not asked)


def _may_probe(situation: Situation, mark: Mark) -> bool:
    """Whether this message may probe a provider now: at its limit nobody waits for that while others can be asked."""
    return mark.probe_due(situation.now) and mark.provider_id not in situation.at_limit


def _when_all_are_passed_by(
    situation: Situation, number: int, blocked: list[tuple[Provider, Mark]], *, tried: bool
) -> Start | Wait | None:
    """Nobody is left but providers that health passes by: the one closest to recovery is tried rather than failing at
    once (R7); what was asked before waits for better times, and who is held out is not asked at all.
    """
    open_to = [pair for pair in blocked if pair[1].block is not Block.HELD]
    if tried and number in (1, situation.message.policy.max_rounds):
        worth = [pair for pair in open_to if _worth_a_try(situation, number, *pair)]
        open_to = worth or [pair for pair in open_to if pair[1].block in _WAITED_FOR]
    elif tried:
        open_to = [pair for pair in open_to if pair[1].block in _WAITED_FOR]
    if not open_to:
        return None
    provider, mark = min(open_to, key=lambda pair: recovery_order(pair[1]))
    if mark.block in _WAITED_FOR and tried:
        return _cooled_down(situation, provider, mark)
    if mark.block is Block.RETURNING or (mark.block is Block.BREAKER_OPEN and number > 1):
        return _until_news(situation, provider, mark) or _begin(situation, provider, number)
    return _begin(situation, provider, number)


def _worth_a_try(situation: Situation, number: int, provider: Provider, mark: Mark) -> bool:
    """Whether one that is passed by is asked after another one failed in the same round: failing with an open provider
    untried could lose the message for nothing, but as long as there are rounds left nothing is lost by waiting.
    """
    if mark.block is Block.BREAKER_OPEN:
        untried = all(attempt.provider_id != provider.id for attempt in situation.history)
        return untried and number == situation.message.policy.max_rounds
    return mark.block is Block.RETURNING and number == 1


def _cooled_down(situation: Situation, provider: Provider, mark: Mark) -> Wait | None:
    """The others had their try: one that only cools down is waited for as long as a backoff may take, and then
    asked.
    """
    if mark.until is None:
        return None
    delay = (mark.until - situation.now).total_seconds()
    # Nothing speaks against one that is at its limit but the time it takes.
    longest = situation.time_left if mark.block is Block.RATE_LIMITED else situation.backoff.cap
    if delay > min(longest, situation.time_left):
        return None
    return Wait(delay=delay, provider=provider, reason=mark.block)


def _until_news(situation: Situation, provider: Provider, mark: Mark) -> Wait | None:
    """The wait for a provider that everybody waits for, spread so that not all come back at once; None when the
    deadline is nearer.
    """
    moment = mark.look_again_at
    if mark.block is Block.RETURNING or moment is None:
        delay = RETURN_PAUSE * (0.5 + situation.fraction)
    else:
        delay = max((moment - situation.now).total_seconds(), 0.0) + SPREAD * (0.1 + situation.fraction)
    return Wait(delay=delay, provider=provider, reason=mark.block) if delay < situation.time_left else None


def _mark_on(situation: Situation, provider: Provider) -> Mark | None:
    scopes = scopes_of(situation.message, situation.chain)
    return blocking_mark(provider, scopes, situation.marks, situation.now)


def _spent(situation: Situation, provider: Provider) -> bool:
    """Whether this message must not be given to a provider again, in any round."""
    return any(
        attempt.provider_id == provider.id
        and attempt.outcome in _ONE_TRY
        and not (attempt.outcome is Outcome.UNKNOWN and provider.idempotent)
        for attempt in situation.history
    )


def _same_again(situation: Situation, order: tuple[Provider, ...], number: int, *, others: bool) -> Start | Wait | None:
    """The provider that was just asked, once more, when it deferred (or is idempotent and unknown) and has tries left
    (R3).
    """
    last = situation.history[-1] if situation.history else None
    if last is None or last.round != number or last.result is None:
        return None
    provider = next((candidate for candidate in order if candidate.id == last.provider_id), None)
    here = [each for each in situation.history if each.provider_id == last.provider_id and each.round == number]
    tries = sum(attempt.counts for attempt in here)
    if provider is None or tries >= situation.message.policy.max_tries or _spent(situation, provider):
        return None
    mark = _mark_on(situation, provider)
    if mark is not None and _closed_to_repeats(situation, mark, others=others):
        return None
    if mark is not None and mark.block is Block.BREAKER_OPEN:
        # Only this provider is left: the message waits for its probe with all the others, if it has the time.
        if mark.probe_due(situation.now):
            return _begin(situation, provider, number, probe=True)
        if patience := _until_news(situation, provider, mark):
            return patience
    asked = last.result.retry_after
    if situation.waited and not _rest(situation, last):
        too_long = others and situation.at_limit.get(provider.id, 0.0) > situation.backoff.cap
        return None if too_long else _begin(situation, provider, number)
    if situation.waited:
        delay = _rest(situation, last)
    else:
        delay = asked if asked is not None else situation.backoff.delay(tries, situation.fraction)
    # Another provider now is better than this one after a long wait; the last one is waited for as long as it takes.
    if delay > (min(situation.backoff.cap, situation.time_left) if others else situation.time_left):
        return None
    return Wait(delay=delay, provider=provider, reason="BACKOFF" if asked is None else "RETRY_AFTER")


def _closed_to_repeats(situation: Situation, mark: Mark, *, others: bool) -> bool:
    """Whether the provider is not asked again: held out, or it keeps failing and there is somebody else to ask, or
    others have learned, while this message waited, that it will not work for us.
    """
    if mark.block is Block.BREAKER_OPEN:
        return others
    return mark.block is Block.HELD or (situation.waited and mark.block is Block.DENIED)


def _rest(situation: Situation, last: Attempt) -> float:
    """What is left of the Retry-After of an attempt that was settled some time ago, in seconds; 0 when nothing is."""
    if last.finished_at is None or last.result is None or last.result.retry_after is None:
        return 0.0
    rest = last.result.retry_after - (situation.now - last.finished_at).total_seconds()
    return rest if rest > CLOCK_SLACK else 0.0


def _begin(situation: Situation, provider: Provider, number: int, *, probe: bool = False) -> Start | Wait:
    last = situation.history[-1] if situation.history else None
    if last is not None and last.round < number and not situation.waited:
        delay = min(situation.backoff.delay(number - 1, situation.fraction), situation.time_left)
        return Wait(delay=delay, provider=provider, reason="BACKOFF")
    left = situation.time_left
    if provider.id in situation.at_limit:
        return Wait(delay=min(situation.at_limit[provider.id], left), provider=provider, reason=Block.RATE_LIMITED)
    return Start(provider=provider, round=number, timeout=min(provider.timeout, left), time_left=left, probe=probe)


def _skip(provider: Provider, mark: Mark) -> Skip:
    return Skip(provider=provider, reason=mark.block, detail=mark.detail or mark.reason, until=mark.look_again_at)


def _exhausted(situation: Situation, skips: tuple[Skip, ...]) -> Finish:
    if any(attempt.outcome is Outcome.UNKNOWN for attempt in situation.history):
        return _unknown(situation, EndReason.ALL_PROVIDERS_FAILED, skips)
    detail = summary(situation.history)
    return Finish(state=State.FAILED, reason=EndReason.ALL_PROVIDERS_FAILED, detail=detail, skips=skips)


def _unknown(situation: Situation, reason: EndReason, skips: tuple[Skip, ...]) -> Finish:
    """Nobody took it for sure and somebody may have: calling that FAILED would invite a second copy."""
    attempt = next(attempt for attempt in situation.history if attempt.outcome is Outcome.UNKNOWN)
    return Finish(state=State.UNKNOWN, reason=reason, detail=summary(situation.history), attempt=attempt, skips=skips)
