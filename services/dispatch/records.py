"""What the store reads, as values, and how its rows become them. Of the statements only the long one of an overview;
store.py has the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.adapters.base import Channel
from services.adapters.receipts import ReceiptStatus
from services.dispatch.attempt import Attempt
from services.dispatch.convert import CHANNELS, result_from_columns, state_from_code
from services.dispatch.generation import FIRST, Generation
from services.dispatch.ledger import Completion
from services.dispatch.message import State

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A message taken under a fresh epoch, with all that was written about it; `ended` when its dispatch had ended and
    receipts, or their absence, or a retry brought it back.
    """

    id: UUID
    epoch: int
    claims: int
    project_id: str
    spec: bytes
    deadline: datetime
    created_at: datetime
    attempts: tuple[Attempt, ...]
    last_sequence: int
    at: datetime
    waits_for: str = ""
    ended: Completion | None = None
    generation: Generation = FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as read: `position` orders the events of a project."""

    message_id: UUID
    sequence: int
    at: datetime
    payload: bytes
    transaction_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A message as GetMessage and ListMessages show it."""

    id: UUID
    project_id: str
    channel: Channel
    recipient: str
    labels: bytes
    deadline: datetime
    created_at: datetime
    state: State
    reason: str
    provider_id: str
    kind: str
    possible_duplicate: bool
    completed_at: datetime | None
    next_attempt_in: float | None
    chain_version: int
    duplicates: int = 0
    generation: int = 1
    retrying: bool = False


def attempt_from_row(row: Row) -> Attempt:
    """One row of `dispatch.attempts`."""
    return Attempt(
        number=row["number"],
        round=row["round"],
        provider_id=row["provider_id"],
        kind=row["kind"],
        provider_name=row["provider_name"],
        epoch=row["epoch"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        result=None if row["outcome"] is None else result_from_columns(row),
        latency=row["latency"],
        receipt=ReceiptStatus(row["receipt"]) if row["receipt"] else None,
        route_at_fault=row["route_at_fault"],
        receipt_at=row["receipt_at"],
    )


def completion_from_row(row: Row) -> Completion | None:
    """How a dispatch ended, from a row that may have no completion."""
    if row["state"] is None:
        return None
    return Completion(
        state=state_from_code(row["state"]),
        reason=row["reason"],
        provider_id=row["provider_id"],
        kind=row["kind"],
        possible_duplicate=row["possible_duplicate"],
    )


def generation_from_row(row: Row) -> Generation:
    """Which time a message is dispatched, from a row that may have no completion."""
    if row["generation"] is None:
        return FIRST
    return Generation(
        number=row["generation"],
        after_attempt=row["after_attempt"],
        deadline=row["deadline"],
        retrying=row["retrying"],
    )


def overview_from_row(row: Row) -> Overview:
    """One row of the overview statement."""
    return Overview(
        id=row["id"],
        project_id=row["project_id"],
        channel=CHANNELS[row["channel"]],
        recipient=row["recipient"],
        labels=row["labels"],
        deadline=row["deadline"],
        created_at=row["created_at"],
        state=State(row["live_state"]) if row["state"] is None else state_from_code(row["state"]),
        reason=row["reason"] or "",
        provider_id=row["provider_id"] or "",
        kind=row["kind"] or "",
        possible_duplicate=bool(row["possible_duplicate"]),
        completed_at=row["completed_at"],
        next_attempt_in=row["next_attempt_in"],
        chain_version=row["chain_version"],
        duplicates=row["duplicates"] or 0,
        generation=row["generation"] or 1,
        retrying=bool(row["retrying"]),
    )


def event_from_row(row: Row) -> StoredEvent:
    """One row of `dispatch.events`."""
    return StoredEvent(
        message_id=row["message_id"],
        sequence=row["sequence"],
        at=row["occurred_at"],
        payload=row["payload"],
        transaction_id=row["transaction_id"],
    )


def claim_from_rows(row: Mapping[str, Any], standing: Mapping[str, Any], attempts: Sequence[Attempt]) -> Claim:
    """A message that was taken, from what the claim answered, how it stands, and its attempts."""
    generation = generation_from_row(standing)
    return Claim(
        id=row["id"],
        epoch=row["epoch"],
        claims=row["claims"],
        project_id=row["project_id"],
        spec=row["spec"],
        deadline=generation.deadline or row["deadline"],
        created_at=row["created_at"],
        attempts=tuple(attempts),
        last_sequence=standing["last_sequence"],
        at=row["at"],
        waits_for=row["waits_for"],
        ended=completion_from_row(standing),
        generation=generation,
    )
