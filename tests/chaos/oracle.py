"""What became of every message: what callers know x what the database says x what providers accepted. Pure, but for
`look` that reads the three.

A duplicate is explained only when the attempt before it was recorded unknown, or was refused by a receipt, whatever
became known of it later: what the database tells of an attempt now is not what it knew when the next one was made, so
that is read from the events.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from messagepipe.dispatch.v1.attempt_pb2 import RECEIPT_STATUS_DELIVERED, Attempt
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.message_pb2 import Message

from services.dispatch.attempt import LEASE_LOST, REFUSALS
from services.dispatch.convert import RECEIPT_CODES
from services.dispatch.ledger import Connection
from services.dispatch.provider_events import ABOUT_A_PROVIDER
from tests.chaos.site import LEASE_SECONDS, Site

UNKNOWN = Attempt.OUTCOME_UNKNOWN
REFUSED = frozenset(RECEIPT_CODES[status] for status in REFUSALS)
SHOWN = 20
LOOKS = 10
# A provider keeps a call this long after it came, at the most.
MOST_LATENCY = 0.5

Events = Mapping[str, list[tuple[int, DeliveryEvent]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt as the database has it; `outcome` None while it is open. `refused`: a receipt said at some time that
    it did not arrive; `doubted`: its outcome was unknown at some time. `sent` is false where its dispatcher saw in time
    that its lease was over.
    """

    number: int
    outcome: int | None
    refused: bool = False
    doubted: bool = False
    sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One message as the database has it. `told` are its events in order: sequence and word."""

    key: str
    state: int | None
    queued: bool
    tries: tuple[Try, ...]
    told: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known from the three sides; acceptances by message, as attempt numbers in the order of time.
    `late` counts the calls that reached a provider after the lease that their attempt began under; `others` are the
    events that belong to no message, by whatever they belong to: providers have events too.
    """

    sent: Mapping[str, bool]  # key → AT_MOST_ONCE
    acknowledged: Mapping[str, str]  # key → message id
    known: Mapping[str, Known]
    accepted: Mapping[str, tuple[int, ...]]
    late: int = 0
    others: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Verdict:
    """The counts of a run. All of `wrong` must be 0; `repeated` are duplicates that an unknown attempt explains."""

    sent: int = 0
    acknowledged: int = 0
    ok: int = 0
    lost: int = 0
    untrue: int = 0
    unexpected: int = 0
    duplicated: int = 0
    stuck: int = 0
    disordered: int = 0
    repeated: int = 0
    ambiguous: int = 0
    unacknowledged: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, int]:
        """What must never happen, and how often it did."""
        names = ("lost", "untrue", "unexpected", "duplicated", "stuck", "disordered")
        return {name: count for name in names if (count := getattr(self, name))}

    def table(self) -> str:
        """For people."""
        rows = [f"  {name:<15}{value:>9}" for name, value in asdict(self).items() if name != "problems"]
        return "\n".join([*rows, *(f"  ! {problem}" for problem in self.problems[:SHOWN])])


def judge(evidence: Evidence) -> Verdict:
    """The verdict over a run that has come to rest."""
    verdict = Verdict(sent=len(evidence.sent), acknowledged=len(evidence.acknowledged))
    for key, message_id in evidence.acknowledged.items():
        found = evidence.known.get(message_id)
        if found is None or found.key != key:
            verdict.lost += 1
            verdict.problems.append(f"lost: {message_id} was acknowledged and is not in the database")
    for message_id in evidence.accepted.keys() - evidence.known.keys():
        verdict.unexpected += 1
        verdict.problems.append(f"unexpected: a provider accepted {message_id}, which the database does not have")
    for key, count in Counter(known.key for known in evidence.known.values()).items():
        if count > 1:
            verdict.duplicated += 1
            verdict.problems.append(f"duplicated: {key} was handed over once and is {count} messages")
    for name, what in _strays(evidence.others):
        setattr(verdict, name, getattr(verdict, name) + 1)
        verdict.problems.append(f"{name}: {what}")
    acknowledged = set(evidence.acknowledged.values())
    for message_id, known in evidence.known.items():
        taken = evidence.accepted.get(message_id, ())
        wrongs = list(_wrongs(known, taken, evidence.sent.get(known.key)))
        for name, what in wrongs:
            setattr(verdict, name, getattr(verdict, name) + 1)
            verdict.problems.append(f"{name}: {message_id} {what}")
        verdict.ok += not wrongs and message_id in acknowledged
        verdict.unacknowledged += message_id not in acknowledged
        verdict.ambiguous += any(each.outcome == UNKNOWN for each in known.tries)
        verdict.repeated += len(taken) > 1 and not any(name == "duplicated" for name, _ in wrongs)
    return verdict


def _wrongs(known: Known, taken: tuple[int, ...], at_most_once: bool | None) -> Iterable[tuple[str, str]]:
    """Everything that is wrong with one message, each as the count it goes to and why."""
    if at_most_once is None:
        yield "unexpected", "was never sent"
        return
    if known.state is None:
        yield "stuck", "has no end" if known.queued else "has no end and is not in the queue"
    story = _disorder(known)
    if story:
        yield "disordered", story
    yield from _duplicates(known, taken, at_most_once=at_most_once)
    yield from _untruths(known, taken)


def _strays(others: Mapping[str, tuple[tuple[int, str], ...]]) -> Iterable[tuple[str, str]]:
    """What is wrong with the events that belong to no message: they are those of providers, numbered without gaps."""
    for owner, told in others.items():
        strange = {word for _, word in told} - ABOUT_A_PROVIDER
        if strange:
            yield "unexpected", f"{owner} has events {sorted(strange)} and is no message"
        elif [sequence for sequence, _ in told] != list(range(1, len(told) + 1)):
            yield "disordered", f"provider {owner} has events {[sequence for sequence, _ in told]}"


def _duplicates(known: Known, taken: tuple[int, ...], *, at_most_once: bool) -> Iterable[tuple[str, str]]:
    if len(taken) < 2:
        return
    refused = {each.number for each in known.tries if each.refused}
    unknown = {each.number for each in known.tries if each.outcome == UNKNOWN or each.doubted}
    earlier = set(sorted(taken)[:-1])
    if len(set(taken)) < len(taken):
        yield "duplicated", f"was handed over twice in one attempt: {taken}"
    elif not earlier <= unknown | refused:
        yield "duplicated", f"was accepted in attempts {taken}, unknown are {sorted(unknown)}"
    elif at_most_once and not earlier <= refused:
        yield "duplicated", f"was accepted in attempts {taken} under AT_MOST_ONCE"


def _untruths(known: Known, taken: tuple[int, ...]) -> Iterable[tuple[str, str]]:
    tries = {each.number: each for each in known.tries}
    for number in set(taken) - tries.keys():
        yield "untrue", f"was accepted in attempt {number}, which was never recorded"
    for each in known.tries:
        if each.outcome == Attempt.OUTCOME_ACCEPTED and each.number not in taken:
            yield "untrue", f"attempt {each.number} is recorded accepted, no provider has it"
        elif each.outcome not in (None, UNKNOWN, Attempt.OUTCOME_ACCEPTED) and each.number in taken:
            yield "untrue", f"attempt {each.number} is recorded as not accepted, a provider has it"
    sure = [tries[number] for number in taken if number in tries and tries[number].outcome != UNKNOWN]
    unsent = (Message.STATE_FAILED, Message.STATE_EXPIRED, Message.STATE_CANCELED)
    if known.state in (Message.STATE_SENT, Message.STATE_DELIVERED) and not taken:
        yield "untrue", f"is {_word(known.state)}, no provider has it"
    elif known.state in unsent and any(not each.refused for each in sure):
        yield "untrue", f"is {_word(known.state)}, a provider has it"


def _word(state: int | None) -> str:
    words: dict[int, str] = {number: word for word, number in Message.State.items()}
    return words.get(state or 0, "").removeprefix("STATE_")


def _disorder(known: Known) -> str:
    """What is wrong with the history; "" when nothing is."""
    if [sequence for sequence, _ in known.told] != list(range(1, len(known.told) + 1)):
        return f"has events {[sequence for sequence, _ in known.told]}"
    words = Counter(word for _, word in known.told)
    if words["queued"] != 1 or known.told[0][1] != "queued":
        return "does not begin with queued"
    if words["completed"] != (known.state is not None):
        return f"has {words['completed']} completed"
    if words["attempt_started"] != len(known.tries):
        return f"tells {words['attempt_started']} attempts of {len(known.tries)}"
    closed = sum(each.outcome is not None for each in known.tries)
    if known.state is not None and closed != len(known.tries):
        return "has ended with an open attempt"
    if words["attempt_finished"] != closed:
        return f"tells {words['attempt_finished']} ends of {closed}"
    return ""


def tried(number: int, outcome: int | None, history: Sequence[DeliveryEvent]) -> Try:
    """One attempt: its outcome as it is by now, and what its message's events, in order, say of it on the way."""
    doubted = refused = arrived = unsent = False
    for event in history:
        if event.attempt_finished.attempt.number == number:
            ended = event.attempt_finished.attempt
            doubted |= ended.outcome == UNKNOWN
            unsent = (ended.outcome, ended.reason) == (Attempt.OUTCOME_DEFERRED, LEASE_LOST)
        elif event.receipt.attempt == number and outcome in (Attempt.OUTCOME_ACCEPTED, UNKNOWN):
            refused |= not arrived and event.receipt.status in REFUSED
            arrived |= event.receipt.status == RECEIPT_STATUS_DELIVERED
    return Try(number=number, outcome=outcome, refused=refused, doubted=doubted, sent=not unsent)


def words_of(history: Sequence[tuple[int, DeliveryEvent]]) -> tuple[tuple[int, str], ...]:
    """The events of one message as sequence and word; an attempt that was thought lost may be told of again, as
    `attempt_amended`.
    """
    told, lost = [], set()
    for sequence, event in history:
        word, attempt = str(event.WhichOneof("event")), event.attempt_finished.attempt
        if word == "attempt_finished" and attempt.number in lost:
            word = "attempt_amended"
        elif word == "attempt_finished" and (attempt.outcome, attempt.reason) == (UNKNOWN, LEASE_LOST):
            lost.add(attempt.number)
        told.append((sequence, word))
    return tuple(told)


async def undisturbed(
    read: Callable[[], Awaitable[Evidence]], mark: Callable[[], Awaitable[object]], pause: float = 1.0
) -> Evidence:
    """What is read while nothing happens, which the same `mark` before and after shows; None marks that something goes
    on. Whoever never comes to rest is taken as it is.

    A receipt may bring back a message that had ended, and the sides are not read at the same instant.
    """
    looks = 0
    while True:
        before = await mark()
        evidence = await read()
        looks += 1
        if looks == LOOKS or (before is not None and before == await mark()):
            return evidence
        await asyncio.sleep(pause)


async def look(site: Site) -> Evidence:
    """The three sides, of the same moment."""

    async def mark() -> object:
        (row,) = await site.query(_MARK)
        return None if row["busy"] else row["events"]

    return await undisturbed(lambda: _look(site), mark)


_MARK = "SELECT (SELECT count(*) FROM dispatch.events) AS events, EXISTS (SELECT FROM dispatch.queue) AS busy"


async def _look(site: Site) -> Evidence:
    sent: dict[str, bool] = {}
    acknowledged: dict[str, str] = {}
    for line in _lines(site.folder / "client.jsonl"):
        if "sent" in line:
            sent[line["sent"]] = line["at_most_once"]
        else:
            acknowledged[line["acknowledged"]] = line["id"]
    accepted: dict[str, list[int]] = defaultdict(list)
    async with site.snapshot() as connection:
        events = await _events(connection)
        known, began = await _known(connection, events), await _beginnings(connection)
    late = 0
    for line in _lines(site.ledger):
        accepted[line["message"]].append(line["attempt"])
        start = began.get((line["message"], line["attempt"]))
        late += start is not None and line["at"] - start > LEASE_SECONDS + MOST_LATENCY
    return Evidence(
        sent=sent,
        acknowledged=acknowledged,
        known=known,
        accepted={message_id: tuple(numbers) for message_id, numbers in accepted.items()},
        late=late,
        others={key: words_of(history) for key, history in events.items() if key not in known},
    )


def _lines(path: Path) -> Iterable[Any]:
    if not path.exists():
        return []
    whole = path.read_text().splitlines()
    return [json.loads(line) for line in whole if line.endswith("}")]


async def _beginnings(connection: Connection) -> dict[tuple[str, int], float]:
    """When each attempt began, by this machine's clock, which the database shares."""
    rows = await connection.fetch(
        "SELECT message_id, number, extract(epoch FROM started_at)::float8 AS at FROM dispatch.attempts"
    )
    return {(str(row["message_id"]), row["number"]): row["at"] for row in rows}


async def _events(connection: Connection) -> dict[str, list[tuple[int, DeliveryEvent]]]:
    """Every event in order, by the message or the provider that it is about."""
    found: dict[str, list[tuple[int, DeliveryEvent]]] = defaultdict(list)
    for row in await connection.fetch("SELECT message_id, sequence, payload FROM dispatch.events ORDER BY 1, 2"):
        found[str(row["message_id"])].append((row["sequence"], DeliveryEvent.FromString(row["payload"])))
    return found


async def _known(connection: Connection, events: Events) -> dict[str, Known]:
    tries: dict[str, list[Try]] = defaultdict(list)
    for row in await connection.fetch("SELECT message_id, number, outcome FROM dispatch.attempts ORDER BY 1, 2"):
        history = [event for _, event in events[str(row["message_id"])]]
        tries[str(row["message_id"])].append(tried(row["number"], row["outcome"], history))
    rows = await connection.fetch(_MESSAGES)
    return {
        str(row["id"]): Known(
            key=row["recipient"].partition("@")[0],
            state=row["state"],
            queued=row["queued"],
            tries=tuple(tries[str(row["id"])]),
            told=words_of(events[str(row["id"])]),
        )
        for row in rows
    }


_MESSAGES = """
SELECT m.id, m.recipient, c.state, q.id IS NOT NULL AS queued FROM dispatch.messages m
LEFT JOIN dispatch.completions c ON c.message_id = m.id LEFT JOIN dispatch.queue q ON q.id = m.id
"""
