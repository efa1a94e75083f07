"""How a message is accepted: checked, then made durable (acceptor.py) whether its caller waits or not. Not how it is
sent.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol
from uuid import UUID

from google.protobuf.struct_pb2 import Struct
from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.chassis.auth import PROJECT_ID, Principal
from services.chassis.clock import Clock
from services.chassis.errors import FieldViolation, InvalidArgument, ServiceError
from services.chassis.tracing import NO_TRACES, Tracing
from services.dispatch import key_book
from services.dispatch.acceptor import Accepted, Acceptor, Checked
from services.dispatch.convert import Kinds, message_from_spec
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.delivery_log import CLOCKS_DIFFER
from services.dispatch.errors import ProjectNotFound
from services.dispatch.forms import Form, filled, quickly_filled
from services.dispatch.idempotency import key_of_bulk
from services.dispatch.message import Message, new_message_id
from services.dispatch.store import Store
from services.dispatch.telemetry import UNCOUNTED, Telemetry
from services.dispatch.watch import EventHub
from services.dispatch.worker import Worker

# Templates that are rendered at a time, apart from the quick ones.
RENDERING = 2
# What a batch may make of templates: a request of some kilobytes must not become gigabytes of messages.
MAX_MADE_BYTES = 64 * 1024 * 1024
MADE_TOO_MUCH = f"the messages before it, made of their templates, have {MAX_MADE_BYTES} bytes already: send it apart"


class Templates(Protocol):
    """Where templates come from."""

    async def get(self, project_id: str, template_id: str, version: int = 0) -> Form:
        """The template, its newest version for 0; raises TemplateNotFound, ServiceUnavailable."""


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
        templates: Templates,
        new_id: Callable[[], UUID] | None = None,
        telemetry: Telemetry = UNCOUNTED,
        tracing: Tracing = NO_TRACES,
    ) -> None:
        self._store = store
        self._acceptor = Acceptor(
            store=store, worker=worker, hub=hub, clock=clock, telemetry=telemetry, tracing=tracing
        )
        self._database_clock = database_clock
        self._max_message_bytes = max_message_bytes
        self._kinds = kinds
        self._templates = templates
        # Apart from asyncio's own: names of hosts are looked up there.
        self._threads = ThreadPoolExecutor(max_workers=RENDERING, thread_name_prefix="render")
        self._new_id = new_id or (lambda: new_message_id(_moment_of_an_id(clock.now(), database_clock.now())))

    async def check(
        self,
        spec: message_pb2.MessageSpec,
        principal: Principal,
        prefix: str = "message",
        now: datetime | None = None,
        form: Form | None = None,
        own: Struct | None = None,
    ) -> Checked | tuple[FieldViolation, ...]:
        """The message a spec asks for at `now`, by the database's clock, not yet accepted; or everything that is wrong
        with it. `form` is the template that it names, `own` are variables over its own. Raises ProjectNotFound and
        TemplateNotFound.
        """
        project = project_of(spec.project_id, principal, f"{prefix}.projectId")
        if isinstance(project, FieldViolation):
            return (project,)
        made = spec if form is None else await self._filled(spec, form, prefix, own)
        if not isinstance(made, message_pb2.MessageSpec):
            return made
        size = made.ByteSize()
        if size > self._max_message_bytes:
            limit = f"must be at most {self._max_message_bytes} bytes with its attachments; it has {size}"
            return (FieldViolation(prefix, limit),)
        message = message_from_spec(
            made,
            message_id=self._new_id(),
            project_id=project,
            now=now or self._database_clock.now(),
            prefix=prefix,
            kinds=self._kinds,
        )
        return Checked(message, made, spec) if isinstance(message, Message) else message

    async def _filled(
        self, spec: message_pb2.MessageSpec, form: Form, prefix: str, own: Struct | None
    ) -> message_pb2.MessageSpec | tuple[FieldViolation, ...]:
        made = quickly_filled(spec, form, prefix, own)
        if made is not None:
            return made
        # A template may take a second, and leases are renewed on the event loop.
        return await asyncio.get_running_loop().run_in_executor(self._threads, filled, spec, form, prefix, own)

    async def checked(self, spec: message_pb2.MessageSpec, principal: Principal) -> Checked:
        """As `check`, its template found; raises InvalidArgument with every violation, and what `form_of` raises."""
        found = await self.check(
            spec, principal, form=await self.form_of(spec, principal) if spec.template_id else None
        )
        if not isinstance(found, Checked):
            raise InvalidArgument(violations=found)
        return found

    async def form_of(self, spec: message_pb2.MessageSpec, principal: Principal) -> Form | None:
        """The template that a spec names, None for none. Raises ProjectNotFound, TemplateNotFound, ServiceUnavailable;
        what is wrong with the project's name is `check`'s to say.
        """
        if not spec.template_id:
            return None
        project = project_of(spec.project_id, principal, "")
        if isinstance(project, FieldViolation):
            return None
        return await self._templates.get(project, spec.template_id, spec.template_version)

    async def accept(self, checked: Checked) -> Accepted:
        """The message, durable: it will reach a final state whatever dies. With a key that was used before with this
        content it is the message that was made then. Raises IdempotencyKeyReused for another content;
        ServiceUnavailable: nobody knows, so not accepted.
        """
        # In a task of its own: a caller who goes away in the middle of the commit must not leave a message without
        # anybody working on it until its lease runs out.
        return await asyncio.shield(asyncio.create_task(self._acceptor.accept(checked)))

    async def accept_batch(
        self, specs: Sequence[message_pb2.MessageSpec], principal: Principal
    ) -> list[Accepted | ServiceError]:
        """Each of them checked and accepted by itself (R12): as `accept` answers it, or what refused it, in order."""
        now = self._database_clock.now()
        checked, made = list[Checked | ServiceError](), 0
        for place, spec in enumerate(specs):
            if spec.template_id and made > MAX_MADE_BYTES:
                checked.append(InvalidArgument(violations=[FieldViolation(f"messages[{place}]", MADE_TOO_MUCH)]))
                continue
            one = await self._checked_item(place, spec, principal, now)
            checked.append(one)
            made += one.spec.ByteSize() if spec.template_id and isinstance(one, Checked) else 0
        accepted = iter(await self.accept_each([one for one in checked if isinstance(one, Checked)]))
        return [next(accepted) if isinstance(one, Checked) else one for one in checked]

    async def accept_each(self, wanted: Sequence[Checked], together: str = "") -> list[Accepted | ServiceError]:
        """As `accept` for each of them, all at once: the messages, or what `accept` would have raised, in order.
        `together` names the bulk request that they are of.
        """
        # As in `accept`: a task for all of them.
        answers = await asyncio.shield(asyncio.create_task(self._acceptor.accept_each(wanted, together)))
        return [_or_raise(answer) for answer in answers]

    async def _checked_item(
        self, place: int, spec: message_pb2.MessageSpec, principal: Principal, now: datetime
    ) -> Checked | ServiceError:
        try:
            form = await self.form_of(spec, principal) if spec.template_id else None
            found = await self.check(spec, principal, f"messages[{place}]", now, form)
        except ServiceError as refusal:
            return refusal
        return found if isinstance(found, Checked) else InvalidArgument(violations=found)

    async def bind(self, request: dispatch_service_pb2.SendBulkMessagesRequest, project_id: str) -> None:
        """The key of a bulk request stands for it, durably, before any of its messages is accepted: so it can not be
        used for another one, and a repeat goes on where a first one broke off. Raises IdempotencyKeyReused.
        """
        if request.message.idempotency_key:
            key = key_of_bulk(request, project_id)
            async with self._store.transaction() as connection:
                await key_book.bind(connection, project_id, key, self._store.idempotency_hours)


def _or_raise(answer: Accepted | Exception) -> Accepted | ServiceError:
    """What is no refusal is our fault, and the whole request's answer."""
    if isinstance(answer, Accepted | ServiceError):
        return answer
    raise answer


def _moment_of_an_id(here: datetime, there: datetime) -> datetime:
    """The host's clock, unless it is far from the database's: by the time in its id a message is found, and forgotten
    (delivery_log.py, partitions.py).
    """
    return here if abs(here - there) < CLOCKS_DIFFER / 2 else there


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
