"""A message driven through `decide` to its end, without I/O: what the table of failover.md calls a row. No tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.adapters.outcome import Outcome, Result
from services.dispatch.attempt import Attempt, begin
from services.dispatch.chain import Chain
from services.dispatch.failover import Finish, Situation, Skip, Start, Wait, decide
from services.dispatch.health import Mark, Marks, mark_from, scopes_of
from services.dispatch.message import Message, State
from tests.builders import NOON, a_chain, a_message, a_result, seconds

MOST_STEPS = 1000


@dataclass
class Play:
    """What became of a message: every decision in order, the attempts, the marks that were learned."""

    message: Message
    decisions: list[Start | Wait | Finish] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    learned: list[Mark] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)

    @property
    def calls(self) -> str:
        """The attempts as the table writes them: `A:deferred B:accepted`."""
        return " ".join(f"{attempt.provider_name}:{str(attempt.outcome).lower()}" for attempt in self.attempts)

    @property
    def end(self) -> Finish:
        """The last decision."""
        last = self.decisions[-1]
        assert isinstance(last, Finish)
        return last

    @property
    def state(self) -> State:
        """The final state."""
        return self.end.state

    @property
    def starts(self) -> list[Start]:
        """The decisions that began an attempt."""
        return [step for step in self.decisions if isinstance(step, Start)]

    @property
    def waits(self) -> list[Wait]:
        """The decisions to wait."""
        return [step for step in self.decisions if isinstance(step, Wait)]

    @property
    def skips(self) -> list[tuple[str, str]]:
        """Who was passed by at any moment, and why; each once."""
        found: dict[tuple[str, str], Skip] = {}
        for step in self.decisions:
            for skip in step.skips:
                found.setdefault((skip.provider.name if skip.provider else "", skip.reason), skip)
        return list(found)


Chains = Callable[[int], Chain]
"""The chain as it stands when so many attempts were made."""


def play(
    answers: Mapping[str, Sequence[Result | str]] | None = None,
    *,
    message: Message | None = None,
    chain: Chain | Chains | None = None,
    marks: Marks | None = None,
    fraction: float = 0.5,
    call_seconds: float = 0.1,
    shared: list[Mark] | None = None,
    now: datetime = NOON,
) -> Play:
    """Drive one message to its end. A provider that is not in `answers` accepts; the last answer counts for ever.

    A call takes `call_seconds`, or its whole timeout when the answer is `unknown`. `shared` collects what is learned,
    for the next message.
    """
    told = Play(message=message or a_message())
    chain_at = chain if callable(chain) else lambda _: chain or a_chain()
    known: dict[str, list[Mark]] = {key: list(each) for key, each in (marks or {}).items()}
    for mark in shared or ():
        known.setdefault(mark.provider_id, []).append(mark)
    scripts = {name: list(script) for name, script in (answers or {}).items()}
    waited = False
    for _ in range(MOST_STEPS):
        situation = Situation(
            message=told.message,
            history=tuple(told.attempts),
            chain=chain_at(len(told.attempts)),
            marks=known,
            now=now,
            fraction=fraction,
            waited=waited,
        )
        step = decide(situation)
        told.decisions.append(step)
        told.times.append(now)
        if isinstance(step, Finish):
            if shared is not None:
                shared.extend(told.learned)
            return told
        if isinstance(step, Wait):
            now, waited = now + seconds(step.delay), True
            continue
        result = _answer(scripts, step)
        attempt = begin(step.provider, told.attempts, round_number=step.round, epoch=1)
        now += seconds(step.timeout if result.outcome is Outcome.UNKNOWN else min(call_seconds, step.timeout))
        told.attempts.append(replace(attempt, result=result))
        lesson = mark_from(step.provider, result, now, scopes_of(situation.message, situation.chain))
        if lesson is not None:
            told.learned.append(lesson)
            known.setdefault(lesson.provider_id, []).append(lesson)
        waited = False
    raise AssertionError(f"no end after {MOST_STEPS} steps: {told.calls[:200]}")


def _answer(scripts: dict[str, list[Result | str]], step: Start) -> Result:
    script = scripts.get(step.provider.name) or ["accepted"]
    answer = script.pop(0) if len(script) > 1 else script[0]
    return a_result(answer) if isinstance(answer, str) else answer
