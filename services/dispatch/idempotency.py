"""What an idempotency key stands for: one content in one project (failover.md R9). Pure; the rows are key_book.py's.

A key is decided in the very commit that accepts its message, so there is no state "in progress" that a crash could
leave behind: either the key and its message are there, or neither is.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from messagepipe.dispatch.v1 import dispatch_service_pb2, message_pb2

from services.chassis.idempotency import content_of


@dataclass(frozen=True, slots=True)
class Key:
    """A key that came with a request, and what the request asks for, as SHA-256."""

    text: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A message that is durable: its id and times as they are stored. `replayed`: an earlier request made it."""

    message_id: UUID
    created_at: datetime
    deadline: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a key is bound to: a content, and the message made of it; the key of a whole bulk request has no message."""

    fingerprint: bytes
    standing: Standing | None


def key_of(spec: message_pb2.MessageSpec, project_id: str) -> Key | None:
    """The key of one message; None without one. A project that the token implied counts as if it had been said."""
    if not spec.idempotency_key:
        return None
    content = content_of(spec, without=("idempotency_key", "project_id"))
    return Key(spec.idempotency_key, _hash(project_id.encode(), content))


def key_of_bulk(request: dispatch_service_pb2.SendBulkMessagesRequest, project_id: str) -> Key:
    """The key of a bulk request as a whole, its recipients included."""
    content = content_of(request, without=("message.idempotency_key", "message.project_id"))
    return Key(request.message.idempotency_key, _hash(project_id.encode(), content))


def key_for_recipient(key: str, recipient: str) -> str:
    """The key of one recipient's message within a bulk request: a repeat of the request derives the same one."""
    return f"bulk:{_hash(key.encode(), recipient.encode()).hex()}"


def standing_for(message_id: UUID, key: Key, binding: Binding) -> Standing | None:
    """What a request that would have made message `message_id` is answered; None when its key stands for another
    content.
    """
    if binding.standing is None or binding.fingerprint != key.fingerprint:
        return None
    return replace(binding.standing, replayed=binding.standing.message_id != message_id)


def _hash(scope: bytes, content: bytes) -> bytes:
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    return hashlib.sha256(len(scope).to_bytes(4, "big") + scope + content).digest()
