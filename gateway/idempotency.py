"""`Idempotency-Key` in, `Idempotency-Replayed` out: the header as the request's own key, and how an answer says that it
repeats an earlier one. Which key stands for what is the services' to know.

The key may stand bare, `Idempotency-Key: order-7`, or as a structured string, `"order-7"` (RFC 9651 §3.3.3, as the
IETF's draft of this header has it): both are the same key.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from messagepipe.auth.v1 import scope_pb2
from starlette.datastructures import Headers

from gateway.descriptors import message_of
from gateway.routes import FieldPath, field_at
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.idempotency import REPLAYED, key_problem

HEADER = "Idempotency-Key"
ANSWER = "idempotency-replayed"
REPEATED = {ANSWER: "true"}

_FIELD = "idempotency_key"
_PLACES: tuple[FieldPath, ...] = ((_FIELD,), ("message", _FIELD))
_STRUCTURED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """Where a request keeps its key: at `path`, nowhere (None), or with each of its items."""

    path: FieldPath | None
    per_item: bool

    def put(self, request: Message, headers: Headers) -> None:
        """The header's key is the request's; InvalidArgument when it is malformed or contradicts the request."""
        if HEADER not in headers or (self.path is None and not self.per_item):
            return
        key = _key_in(headers.getlist(HEADER))
        if self.path is None:
            raise _refused("does not go with a batch: give each message an idempotencyKey of its own")
        owner: Any = request
        for step in self.path[:-1]:
            owner = getattr(owner, step)
        if getattr(owner, _FIELD) not in ("", key):
            raise _refused("is not what idempotencyKey says: give one of them")
        setattr(owner, _FIELD, key)


def rule_of(rpc: MethodDescriptor) -> KeyRule:
    """What the contract says of an RPC; one that only reads takes no key."""
    reads = rpc.GetOptions().Extensions[scope_pb2.required_scope].endswith(":read")
    path = next((each for each in _PLACES if not reads and field_at(rpc.input_type, each) is not None), None)
    items = (field for field in rpc.input_type.fields if field.is_repeated and field.message_type is not None)
    return KeyRule(path=path, per_item=not reads and any(_FIELD in message_of(f).fields_by_name for f in items))


def marks(metadata: Iterable[Any] | None) -> dict[str, str]:
    """The header that tells of a repeated answer, from the metadata that came before it."""
    return REPEATED if (REPLAYED, "true") in [(each[0], each[1]) for each in metadata or ()] else {}


def _key_in(values: list[str]) -> str:
    if len(values) > 1:
        raise _refused("must be given once")
    key = values[0]
    if key.startswith('"'):
        match = _STRUCTURED.fullmatch(key)
        if match is None:
            raise _refused('begins with " and is no string in the sense of RFC 9651')
        key = re.sub(r"\\(.)", r"\1", match[1])
    if problem := key_problem(key):
        raise _refused(problem)
    return key


def _refused(what: str) -> InvalidArgument:
    return InvalidArgument(violations=[FieldViolation(HEADER, what)])
