"""Which providers a message would be tried through now, in order, and which would be passed by: failover's view,
without
acting.
"""

from dataclasses import dataclass
from datetime import datetime

from services.dispatch.chain import Chain, Provider
from services.dispatch.failover import Finish, Situation, Start, decide, order_for
from services.dispatch.health import Block, Marks, blocking_mark, scopes_of
from services.dispatch.message import Message, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One provider seen from one message; `skip_reason` is empty when it would be tried."""

    provider: Provider
    skip_reason: str = ""
    skip_until: datetime | None = None
    breaker: str = "CLOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What would happen to a message if every provider accepted: SENT, or the state and reason of an end before any
    call.
    """

    steps: tuple[Step, ...]
    state: State
    reason: str = ""


def explain(message: Message, chain: Chain, marks: Marks, now: datetime) -> Route:
    """The route of a message that was never tried; disabled providers come last."""
    situation = Situation(message=message, history=(), chain=chain, marks=marks, now=now, fraction=0.0)
    first = decide(situation)
    order, _ = order_for(situation)
    scopes = scopes_of(message, chain)
    # When all are passed by, one is tried all the same (R7).
    anyway = first.provider.id if isinstance(first, Start) else ""
    steps = []
    for provider in order:
        mark = blocking_mark(provider, scopes, marks, now)
        state = _breaker_of(provider, scopes, marks, now)
        if mark is None or mark.probe_due(now) or provider.id == anyway:
            steps.append(Step(provider=provider, breaker=state))
        else:
            step = Step(provider=provider, skip_reason=mark.block, skip_until=mark.look_again_at, breaker=state)
            steps.append(step)
    steps += [Step(provider=provider, skip_reason="DISABLED") for provider in chain.providers if not provider.enabled]
    if isinstance(first, Finish):
        return Route(steps=tuple(steps), state=first.state, reason=first.reason)
    return Route(steps=tuple(steps), state=State.SENT)


def _breaker_of(provider: Provider, scopes: frozenset[str], marks: Marks, now: datetime) -> str:
    """The provider's breaker in a word, an operator's hold left aside."""
    known = [mark for mark in marks.get(provider.id, ()) if mark.scope in scopes and mark.holds(provider, now)]
    opened = [mark for mark in known if mark.is_open]
    if not opened:
        return "RETURNING" if any(mark.block is Block.RETURNING for mark in known) else "CLOSED"
    if all(mark.probe_due(now) for mark in opened):
        return "PROBE_DUE"
    return "PROBING" if any(mark.probed_until and mark.probed_until > now for mark in opened) else "OPEN"
