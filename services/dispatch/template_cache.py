"""Templates as ConfigService has them, read once and kept. A version never changes; which one is the newest is asked
anew after a second.
"""

from collections import OrderedDict
from collections.abc import Callable
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
KEPT = 256
TIMEOUT = 5.0
_GONE = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_CHANNELS = {
    template_pb2.Template.TYPE_EMAIL: frozenset({Channel.EMAIL}),
    template_pb2.Template.TYPE_SMS: frozenset({Channel.SMS}),
    template_pb2.Template.TYPE_MESSAGE: frozenset({Channel.SMS}),
}

Key = tuple[str, str, int]


class TemplateCache:
    """Templates by project, id and version; version 0 is the newest."""

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str], clock: Clock) -> None:
        self._stub: TemplateServiceAsyncStub = TemplateServiceStub(channel)
        self._token = token
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[Form, float]] = OrderedDict()
        self._log = get_logger()

    async def get(self, project_id: str, template_id: str, version: int = 0) -> Form:
        """The template; raises TemplateNotFound, and ServiceUnavailable when nobody can tell."""
        key = (project_id, template_id, version)
        kept = self._kept.get(key)
        if kept is not None and (version or self._clock.boottime() - kept[1] < FRESH_SECONDS):
            self._kept.move_to_end(key)
            return kept[0]
        try:
            form = await self._ask(key)
        except grpc.aio.AioRpcError as error:
            if error.code() in _GONE:
                self._kept.pop(key, None)
                raise TemplateNotFound(template_id) from None
            if kept is not None and error.code() in _AWAY:
                return kept[0]  # nobody can change it meanwhile either
            self._log.warning("template_unresolved", code=error.code().name)
            raise ServiceUnavailable("ConfigService") from None
        self._kept[key] = (form, self._clock.boottime())
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return form

    async def _ask(self, key: Key) -> Form:
        project_id, template_id, version = key
        request = template_service_pb2.ResolveTemplateRequest(
            project_id=project_id, template_id=template_id, version=version
        )
        metadata = (("authorization", f"Bearer {self._token()}"),)
        found: template_pb2.Template = await self._stub.ResolveTemplate(request, metadata=metadata, timeout=TIMEOUT)
        # Parsed when it was saved: what does not parse any more is our fault, and said so.
        sources = {name: getattr(found, name) for name in ("subject", "html", "text") if found.HasField(name)}
        if found.HasField("body"):
            sources["text"] = found.body
        return Form(id=found.id, version=found.version, channels=_CHANNELS[found.type], parts=parse_parts(sources))
