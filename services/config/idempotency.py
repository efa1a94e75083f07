"""What an idempotency key of a write stands for: one request of one project. Pure; the rows are key_book.py's.

The requests hold credentials, and a plain hash of one could be guessed at leisure by whoever reads the table. So what
is kept of a request is a MAC under a key of the vault; of its answer, which never holds a secret, everything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from messagepipe.config.v1 import config_service_pb2 as pb2
from messagepipe.config.v1 import template_service_pb2

from services.chassis.errors import FieldViolation
from services.chassis.idempotency import content_of, key_problem
from services.config.chain import ChangedChain

# The project is said in one of several places, or implied; the key's scope has it anyway.
_CREATED = ("project_id", "provider.project_id")
_SENDER = ("project_id", "channel_config.project_id")
_NOT_CONTENT: dict[type[Message], tuple[str, ...]] = {
    pb2.CreateProviderRequest: _CREATED,
    pb2.ReorderProvidersRequest: ("project_id",),
    pb2.CreateChannelConfigRequest: _SENDER,
    pb2.UpdateChannelConfigRequest: _SENDER,
    template_service_pb2.CreateTemplateRequest: ("project_id", "template.project_id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """A write that came with a key: what it asks for, which may hold secrets, and how its answer is written down."""

    key: str
    content: bytes
    write_down: Callable[[Any], bytes]

    def __repr__(self) -> str:
        return f"Once({self.key!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """An earlier write with the same key and content: its answer as it was written down, and the chain it changed."""

    answer: bytes
    change: ChangedChain | None


def once_of(request: Any, write_down: Callable[[Any], bytes]) -> Once | None:
    """What a write request's key stands for; None without one. The key was checked."""
    if not request.idempotency_key:
        return None
    counted = type(request)()
    counted.CopyFrom(request)
    if "update_mask" in request.DESCRIPTOR.fields_by_name:
        counted.update_mask.paths[:] = sorted(set(counted.update_mask.paths))
    content = content_of(counted, without=("idempotency_key", *_NOT_CONTENT.get(type(request), ())))
    return Once(key=request.idempotency_key, content=content, write_down=write_down)


def key_violations(request: Any) -> list[FieldViolation]:
    """What is wrong with the key of a request; nothing for one that has none, or takes none."""
    key = getattr(request, "idempotency_key", "")
    problem = key_problem(key) if key else None
    return [FieldViolation("idempotencyKey", problem)] if problem else []
