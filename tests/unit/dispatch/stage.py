"""A message driven through `decide` to its end, without I/O: what the table of failover.md calls a row. No tests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.adapters.outcome import Outcome, Result
from services.dispatch.attempt import Attempt, begin
from services.dispatch.breaker import Breaker, Lesson, closed, is_news, learn, probing, signal_in, told_by
from services.dispatch.chain import Chain
from services.dispatch.failover import Finish, Situation, Skip, Start, Wait, decide
from services.dispatch.health import Mark, Marks, scopes_of
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
Breakers = dict[tuple[str, str], Breaker]
"""Breakers by provider and scope."""


def play(
    answers: Mapping[str, Sequence[Result | str]] | None = None,
    *,
    message: Message | None = None,
    chain: Chain | Chains | None = None,
    marks: Marks | None = None,
    fraction: float = 0.5,
    call_seconds: float = 0.1,
    shared: Breakers | None = None,
    now: datetime = NOON,
) -> Play:
    """Drive one message to its end. A provider that is not in `answers` accepts; the last answer counts for ever.

    A call takes `call_seconds`, or its whole timeout when the answer is `unknown`. `shared` collects what is learned,
    for the next message. Whoever may probe does.
    """
    told = Play(message=message or a_message())
    chain_at = chain if callable(chain) else lambda _: chain or a_chain()
    breakers = {} if shared is None else shared
    scripts = {name: list(script) for name, script in (answers or {}).items()}
    waited = False
    for _ in range(MOST_STEPS):
        situation = Situation(
            message=told.message,
            history=tuple(told.attempts),
            chain=chain_at(len(told.attempts)),
            marks=_marks(marks or {}, breakers),
            now=now,
            fraction=fraction,
            waited=waited,
        )
        step = decide(situation)
        told.decisions.append(step)
        told.times.append(now)
        if isinstance(step, Finish):
            return told
        if isinstance(step, Wait):
            now, waited = now + seconds(step.delay), True
            continue
        result = _answer(scripts, step)
        probe = str(now) if step.probe else ""
        _probe(breakers, step, probe, now)
        started_at = now
        attempt = begin(step.provider, told.attempts, round_number=step.round, epoch=1)
        now += seconds(step.timeout if result.outcome is Outcome.UNKNOWN else min(call_seconds, step.timeout))
        told.attempts.append(replace(attempt, result=result))
        told.learned += teach(breakers, lesson_of(situation, step, result, started_at, probe), situation.marks, now)
        waited = False
    raise AssertionError(f"no end after {MOST_STEPS} steps: {told.calls[:200]}")


def lesson_of(situation: Situation, step: Start, result: Result, started_at: datetime, probe: str = "") -> Lesson:
    """What an attempt taught, as delivery.py says it."""
    scopes = scopes_of(situation.message, situation.chain)
    return Lesson(
        provider=step.provider,
        project_id=situation.message.project_id,
        channel=situation.message.channel,
        result=result,
        signal=signal_in(situation.history, step.provider, result, probe=bool(probe)),
        scopes=scopes,
        scope=told_by(result.scope, scopes),
        started_at=started_at,
        probe=probe,
    )


def teach(breakers: Breakers, lesson: Lesson, marks: Marks, now: datetime) -> list[Mark]:
    """The lesson taken in as breaker_book.py does; answers the marks that came of it."""
    provider = lesson.provider
    if not is_news(provider, lesson.signal, lesson.scopes, marks, lesson.probe):
        return []
    for scope in sorted({*lesson.scopes, lesson.scope}):
        before = breakers.get((provider.id, scope)) or closed(lesson, scope)
        after, _ = learn(before, lesson, now, 0)
        if after != before:
            breakers[provider.id, scope] = after
    return [mark for key, breaker in breakers.items() if key[0] == provider.id for mark in breaker.marks]


def _marks(given: Marks, breakers: Breakers) -> Marks:
    known: dict[str, list[Mark]] = {key: list(each) for key, each in given.items()}
    for breaker in breakers.values():
        known.setdefault(breaker.provider_id, []).extend(breaker.marks)
    return known


def _probe(breakers: Breakers, step: Start, probe: str, now: datetime) -> None:
    for key, breaker in breakers.items():
        if probe and key[0] == step.provider.id and breaker.block is not None:
            breakers[key] = probing(breaker, probe, now + seconds(step.timeout))


def _answer(scripts: dict[str, list[Result | str]], step: Start) -> Result:
    script = scripts.get(step.provider.name) or ["accepted"]
    answer = script.pop(0) if len(script) > 1 else script[0]
    return a_result(answer) if isinstance(answer, str) else answer
