"""Which providers a message would be tried through now, in order, and which would be passed by: failover's view,
without
acting.
"""

from dataclasses import dataclass
from datetime import datetime

from services.dispatch.chain import Chain, Provider
from services.dispatch.failover import Finish, Situation, Start, decide, order_for
from services.dispatch.health import Marks, blocking_mark, scopes_of
from services.dispatch.message import Message, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One provider seen from one message; `skip_reason` is empty when it would be tried."""

    provider: Provider
    skip_reason: str = ""
    skip_until: datetime | None = None


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
        mark = None if provider.id == anyway else blocking_mark(provider, scopes, marks, now)
        steps.append(
            Step(provider=provider, skip_reason=mark.block, skip_until=mark.until) if mark else Step(provider=provider)
        )
    steps += [Step(provider=provider, skip_reason="DISABLED") for provider in chain.providers if not provider.enabled]
    if isinstance(first, Finish):
        return Route(steps=tuple(steps), state=first.state, reason=first.reason)
    return Route(steps=tuple(steps), state=State.SENT)
