"""From a checked message to a durable one: written in a shared commit, told, and handed to this process's worker. Not
what is checked (intake.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from messagepipe.dispatch.v1 import message_pb2

from services.chassis.clock import Clock
from services.chassis.failpoints import failpoint
from services.chassis.tracing import NO_TRACES, Tracing
from services.dispatch import history as tell
from services.dispatch.convert import labels_of
from services.dispatch.idempotency import Standing, key_of
from services.dispatch.ledger import Acceptance, Event
from services.dispatch.message import Message
from services.dispatch.ports import Lease
from services.dispatch.store import Store
from services.dispatch.telemetry import UNCOUNTED, Telemetry
from services.dispatch.tracing import accept_span
from services.dispatch.watch import EventHub
from services.dispatch.worker import Worker


@dataclass(frozen=True, slots=True)
class Checked:
    """A message that is fine and not accepted yet: `spec` is what is kept of it, `asked` is what its caller said."""

    message: Message
    spec: message_pb2.MessageSpec
    asked: message_pb2.MessageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that is durable; `replayed`: an earlier request with its idempotency key made it."""

    message: Message
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptor:
    """What it answers is durable, and whatever it reserved is begun or given back."""

    store: Store
    worker: Worker
    hub: EventHub
    clock: Clock
    telemetry: Telemetry = UNCOUNTED
    tracing: Tracing = NO_TRACES

    async def accept(self, checked: Checked) -> Accepted:
        """The message as it is durable now. Raises what Store.accept raises."""
        since = self.clock.boottime()
        with accept_span(self.tracing, 1) as span:
            acceptance = self._admit(checked)
            try:
                standing = _written(await self.store.accept(acceptance))
            except BaseException:
                self._give_place_back(acceptance)
                raise
            span.note(messagepipe__message__id=str(standing.message_id))
            return self._take_on(acceptance, standing, since, "")

    async def accept_each(self, wanted: Sequence[Checked], together: str = "") -> list[Accepted | Exception]:
        """As `accept` for each of them, all at once: the messages, or what `accept` would have raised, in order.
        `together` is their leases'.
        """
        with accept_span(self.tracing, len(wanted)):
            return await self._accept_each(wanted, together)

    async def _accept_each(self, wanted: Sequence[Checked], together: str) -> list[Accepted | Exception]:
        since = self.clock.boottime()
        acceptances: list[Acceptance] = []
        try:
            acceptances.extend(map(self._admit, wanted))
            answers = await self.store.accept_each(acceptances)
        except BaseException:
            for acceptance in acceptances:
                self._give_place_back(acceptance)
            raise
        return [
            self._answered(item, answer, since, together) for item, answer in zip(acceptances, answers, strict=True)
        ]

    def _answered(
        self, acceptance: Acceptance, answer: Standing | Exception, since: float, together: str
    ) -> Accepted | Exception:
        try:
            standing = _written(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other messages are begun
            self._give_place_back(acceptance)
            return error
        return self._take_on(acceptance, standing, since, together)

    def _admit(self, checked: Checked) -> Acceptance:
        """What is to be written; with a place for the message if there is one."""
        message, spec = checked.message, checked.spec
        stored, labels = spec.SerializeToString(), labels_of(spec, message).SerializeToString()
        key, events = key_of(checked.asked, message.project_id), _queued(message.deadline)
        # What is to be sent later takes no place meanwhile.
        here = message.send_at is None and self.worker.reserve(message.project_id, len(stored))
        worker = self.store.worker if here else None
        return Acceptance(message=message, spec=stored, labels=labels, events=events, worker=worker, key=key)

    def _take_on(self, acceptance: Acceptance, standing: Standing, since: float, together: str) -> Accepted:
        """What was written is told, and begun if it has a place."""
        message = acceptance.message
        accepted = replace(message, id=standing.message_id, created_at=standing.created_at, deadline=standing.deadline)
        if standing.replayed:
            # Somebody works on it already, or it has ended.
            self._give_place_back(acceptance)
            return Accepted(message=accepted, replayed=True)
        self.telemetry.accepted(message.channel)
        self.hub.tell(message.id, message.project_id, acceptance.events, standing.created_at)
        if acceptance.worker:
            lease = Lease(message=accepted, epoch=1, together=together, trace=self.tracing.current())
            self.worker.start(lease, since=since, size=len(acceptance.spec))
        return Accepted(message=accepted)

    def _give_place_back(self, acceptance: Acceptance) -> None:
        """Nobody here works on it. If it was written all the same, its lease runs out and any worker takes it up."""
        if acceptance.worker:
            self.worker.release_place(acceptance.message.project_id, len(acceptance.spec))


def _written(answer: Standing | Exception) -> Standing:
    if isinstance(answer, Exception):
        raise answer
    failpoint("accept.before_answer")
    return answer


# The messages of a batch that name no deadline have the same one.
@lru_cache(maxsize=64)
def _queued(deadline: datetime) -> tuple[Event, ...]:
    return tell.numbered(0, [tell.queued(deadline)])
