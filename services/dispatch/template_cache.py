"""Templates as ConfigService has them, read once and kept. A version never changes; which one is the newest is asked
anew after a second.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import grpc
from messagepipe.config.v1 import template_pb2, template_service_pb2
from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceStub

from services.adapters.base import Channel
from services.chassis.clock import Clock
from services.chassis.log import get_logger
from services.dispatch.errors import ServiceUnavailable, TemplateNotFound
from services.dispatch.forms import Form
from services.templates.parts import parse_parts

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.template_service_pb2_grpc import TemplateServiceAsyncStub

# A change of a template counts for every message that is accepted so many seconds later.
FRESH_SECONDS = 1.0
# Characters of the sources of what is kept, some more for each: read, a template takes a few times as much.
KEPT_CHARS = 8 * 1024 * 1024
KEPT_AT_LEAST = 4096
# How long ConfigService is waited for; where the last version is known, only so long that nobody's message is late.
TIMEOUT, SHORT_TIMEOUT = 5.0, 1.0
# Longer ones are read in a thread: it takes up to a second, and leases are renewed on the event loop.
QUICK_CHARS = 8 * 1024
_GONE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_CHANNELS = {
    template_pb2.Template.TYPE_EMAIL: frozenset({Channel.EMAIL}),
    template_pb2.Template.TYPE_SMS: frozenset({Channel.SMS}),
    template_pb2.Template.TYPE_MESSAGE: frozenset({Channel.SMS}),
}

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Kept:
    form: Form
    size: int
    asked_at: float  # by the boot-time clock, before the question


class TemplateCache:
    """Templates by project, id and version; version 0 is the newest."""

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str], clock: Clock) -> None:
        self._stub: TemplateServiceAsyncStub = TemplateServiceStub(channel)
        self._token = token
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._flights: dict[Key, asyncio.Task[Form]] = {}
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read template")
        self._log = get_logger()

    async def get(self, project_id: str, template_id: str, version: int = 0) -> Form:
        """The template; raises TemplateNotFound, and ServiceUnavailable when nobody can tell."""
        key = (project_id, template_id, version)
        kept = self._kept.get(key)
        if kept is not None and (version or self._clock.boottime() - kept.asked_at < FRESH_SECONDS):
            self._kept.move_to_end(key)
            return kept.form
        flight = self._flights.get(key)
        if flight is None:
            # Whoever comes meanwhile waits for the same answer, and may go away without taking it from the others.
            flight = self._flights[key] = asyncio.create_task(self._renewed(key, kept), name="resolve template")
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    def _landed(self, key: Key, flight: "asyncio.Task[Form]") -> None:
        self._flights.pop(key, None)
        if not flight.cancelled():
            flight.exception()  # nobody may be left to look at it

    async def _renewed(self, key: Key, kept: _Kept | None) -> Form:
        now = self._clock.boottime()
        try:
            found = await self._ask(key, TIMEOUT if kept is None else SHORT_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() in _GONE:
                self._kept.pop(key, None)
                raise TemplateNotFound(key[1]) from None
            if kept is not None and error.code() in _AWAY:
                # Nobody can change it meanwhile either; and who comes in the next moment does not ask in vain.
                self._keep(key, replace(kept, asked_at=self._clock.boottime()))
                return kept.form
            self._log.warning("template_unresolved", code=error.code().name)
            raise ServiceUnavailable("ConfigService") from None
        sources = _sources_of(found)
        size = sum(map(len, sources.values()))
        known = kept is not None and kept.form.version == found.version
        form = kept.form if kept is not None and known else await self._read(found, sources, size)
        self._keep(key, _Kept(form, size + KEPT_AT_LEAST, now))
        return form

    async def _read(self, found: template_pb2.Template, sources: Mapping[str, str], size: int) -> Form:
        if size <= QUICK_CHARS:
            return _form_of(found, sources)
        return await asyncio.get_running_loop().run_in_executor(self._threads, _form_of, found, sources)

    def _keep(self, key: Key, one: _Kept) -> None:
        self._kept[key] = one
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(each.size for each in self._kept.values()) > KEPT_CHARS:
            self._kept.popitem(last=False)

    async def _ask(self, key: Key, timeout: float) -> template_pb2.Template:
        project_id, template_id, version = key
        request = template_service_pb2.ResolveTemplateRequest(
            project_id=project_id, template_id=template_id, version=version
        )
        metadata = (("authorization", f"Bearer {self._token()}"),)
        found: template_pb2.Template = await self._stub.ResolveTemplate(request, metadata=metadata, timeout=timeout)
        return found


def _sources_of(found: template_pb2.Template) -> dict[str, str]:
    sources = {name: getattr(found, name) for name in ("subject", "html", "text") if found.HasField(name)}
    return sources | ({"text": found.body} if found.HasField("body") else {})


def _form_of(found: template_pb2.Template, sources: Mapping[str, str]) -> Form:
    # It parsed when it was saved: if it does not any more that is our fault, and the answer is INTERNAL.
    return Form(id=found.id, version=found.version, channels=_CHANNELS[found.type], parts=parse_parts(sources))
