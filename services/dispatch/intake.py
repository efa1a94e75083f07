"""How a message is accepted: checked, made durable in a shared commit, and handed to this process's worker. Not how it
is sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.chassis.auth import PROJECT_ID, Principal
from services.chassis.clock import Clock
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.failpoints import failpoint
from services.dispatch import history as tell
from services.dispatch import key_book
from services.dispatch.convert import Kinds, labels_of, message_from_spec
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.errors import ProjectNotFound
from services.dispatch.idempotency import key_of, key_of_bulk
from services.dispatch.ledger import Acceptance, Transition
from services.dispatch.message import Message, new_message_id
from services.dispatch.ports import Lease
from services.dispatch.store import Store
from services.dispatch.watch import EventHub
from services.dispatch.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that is durable; `replayed`: an earlier request with its idempotency key made it."""

    message: Message
    replayed: bool = False


class Intake:
    """The door: what it answers is durable."""

    def __init__(
        self,
        store: Store,
        worker: Worker,
        hub: EventHub,
        clock: Clock,
        database_clock: DatabaseClock,
        *,
        max_message_bytes: int,
        kinds: Kinds,
        new_id: Callable[[], UUID] | None = None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._hub = hub
        self._clock = clock
        self._database_clock = database_clock
        self._max_message_bytes = max_message_bytes
        self._kinds = kinds
        self._new_id = new_id or (lambda: new_message_id(clock.now()))

    def check(
        self, spec: message_pb2.MessageSpec, principal: Principal, prefix: str = "message"
    ) -> Message | tuple[FieldViolation, ...]:
        """The message a spec asks for, not yet accepted, or everything that is wrong with it. Raises
        ProjectNotFound.
        """
        size = spec.ByteSize()
        if size > self._max_message_bytes:
            limit = f"must be at most {self._max_message_bytes} bytes with its attachments; it has {size}"
            return (FieldViolation(prefix, limit),)
        project = project_of(spec.project_id, principal, f"{prefix}.projectId")
        if isinstance(project, FieldViolation):
            return (project,)
        now = self._database_clock.now()
        return message_from_spec(
            spec, message_id=self._new_id(), project_id=project, now=now, prefix=prefix, kinds=self._kinds
        )

    def checked(self, spec: message_pb2.MessageSpec, principal: Principal) -> Message:
        """As `check`; raises InvalidArgument with every violation."""
        message = self.check(spec, principal)
        if not isinstance(message, Message):
            raise InvalidArgument(violations=message)
        return message

    async def accept(self, message: Message, spec: message_pb2.MessageSpec, together: str = "") -> Accepted:
        """The message, durable: it will reach a final state whatever dies. With a key that was used before with this
        content it is the message that was made then. Raises IdempotencyKeyReused for another content;
        ServiceUnavailable: nobody knows, so not accepted. `together` names the bulk request it is one of.
        """
        # In a task of its own: a caller who goes away in the middle of the commit must not leave a message without
        # anybody working on it until its lease runs out.
        return await asyncio.shield(asyncio.create_task(self._accept(message, spec, together)))

    async def bind(self, request: dispatch_service_pb2.SendBulkMessagesRequest, project_id: str) -> None:
        """The key of a bulk request stands for it, durably, before any of its messages is accepted: so it can not be
        used for another one, and a repeat goes on where a first one broke off. Raises IdempotencyKeyReused.
        """
        if request.message.idempotency_key:
            key = key_of_bulk(request, project_id)
            async with self._store.transaction() as connection:
                await key_book.bind(connection, project_id, key, self._store.idempotency_hours)

    async def _accept(self, message: Message, spec: message_pb2.MessageSpec, together: str) -> Accepted:
        stored = spec.SerializeToString()
        place = self._worker.reserve(message.project_id, len(stored))
        since = self._clock.boottime()
        event = tell.numbered(0, [tell.queued(message.deadline)])
        acceptance = Acceptance(
            message=message,
            spec=stored,
            labels=labels_of(spec, message).SerializeToString(),
            events=event,
            worker=self._store.worker if place else None,
            key=key_of(spec, message.project_id),
        )
        try:
            standing = await self._store.accept(acceptance)
            failpoint("accept.before_answer")
        except BaseException:
            # If it was written all the same, its lease runs out and any worker takes it up.
            if place:
                self._worker.release_place(message.project_id, len(stored))
            raise
        accepted = replace(message, id=standing.message_id, created_at=standing.created_at, deadline=standing.deadline)
        if standing.replayed:
            # Somebody works on it already, or it has ended.
            if place:
                self._worker.release_place(message.project_id, len(stored))
            return Accepted(message=accepted, replayed=True)
        step = Transition(message_id=message.id, project_id=message.project_id, epoch=1, events=event)
        self._hub.publish(message.id, message.project_id, step, standing.created_at)
        if place:
            self._worker.start(Lease(message=accepted, epoch=1, together=together), since=since, size=len(stored))
        return Accepted(message=accepted)


def project_of(asked: str, principal: Principal, path: str) -> str | FieldViolation:
    """The project a request is about: the one it names, else the token's only one. ProjectNotFound for any other."""
    if not asked:
        only = principal.project_filter()
        if only is not None and len(only) == 1:
            return only[0]
        return FieldViolation(path, "is required: the token allows more than one project")
    if not PROJECT_ID.match(asked):
        return FieldViolation(path, "must be 1-64 characters of A-Z a-z 0-9 _ -")
    if not principal.may_use(asked):
        raise ProjectNotFound
    return asked
