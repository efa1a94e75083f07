"""What providers told, in the database: kept, matched to an attempt, and made to take effect. Not what the effect is:
verdict.py.

A message's events are written by whoever holds it: its worker while there is one, a receipt otherwise. So a receipt
for a message that is in work waits, like one that came before its attempt was recorded, and is looked at again.
Receipts of one message take turns by the lock on its row in `messages`; the queue row is locked next.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from messagepipe.dispatch.v1 import message_pb2

from services.adapters.base import Channel
from services.adapters.receipts import Receipt, ReceiptStatus
from services.chassis.failpoints import failpoint
from services.dispatch import ledger
from services.dispatch.attempt import Attempt
from services.dispatch.convert import CHANNELS, state_from_code, state_to_proto
from services.dispatch.message import State
from services.dispatch.records import attempt_from_row
from services.dispatch.suppression import Suppression, normalised, taught_by_receipt
from services.dispatch.verdict import Case, Effect, Next

KEPT_HOURS = 72
BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """A receipt with the message that it is about, which nobody else can write to until the transaction ends."""

    id: int
    receipt: Receipt
    message_id: UUID
    project_id: str
    channel: Channel
    recipient: str
    case: Case
    last_sequence: int
    at: datetime

    @property
    def attempt(self) -> Attempt:
        """The attempt it is about."""
        return self.case.history[self.case.number - 1]


async def keep(connection: ledger.Connection, provider_id: str, body: bytes, receipts: Sequence[Receipt]) -> int:
    """Make what a provider sent durable; answers how many of its receipts were not known before."""
    rows = await connection.fetch(
        _KEEP,
        provider_id,
        body,
        [event_id_of(each) for each in receipts],
        [each.status.value for each in receipts],
        [_clean(each.provider_message_id) for each in receipts],
        [_uuid(each.message_id) for each in receipts],
        [each.occurred_at for each in receipts],
        [_clean(each.recipient) for each in receipts],
        [each.route_at_fault for each in receipts],
        [_clean(each.provider_status) for each in receipts],
        [_clean(each.detail) for each in receipts],
    )
    return len(rows)


def event_id_of(receipt: Receipt) -> str:
    """What tells a receipt from another of the same provider: its own id for it, else all that it says."""
    if receipt.event_id:
        return _clean(receipt.event_id)
    moment = receipt.occurred_at.isoformat() if receipt.occurred_at else ""
    said = (receipt.status, receipt.provider_message_id, receipt.message_id, moment, receipt.recipient)
    whole = "\0".join((*said, receipt.provider_status))
    return "sha256:" + hashlib.sha256(whole.encode(errors="replace")).hexdigest()


async def due(connection: ledger.Connection) -> list[int]:
    """Some receipts that have to be looked at, for this process alone for a few seconds."""
    return [row["id"] for row in await connection.fetch(_DUE, BATCH)]


async def expire(connection: ledger.Connection) -> None:
    """Drop what fitted no attempt for 72 hours, and what providers sent before that."""
    await connection.execute(_EXPIRE_RECEIPTS, KEPT_HOURS)
    await connection.execute(_EXPIRE_CALLS, KEPT_HOURS)


async def take_up(connection: ledger.Connection, receipt_id: int) -> Matter | None:
    """The receipt with its message, locked; None when it is done, fits no attempt yet, or its message is in work."""
    row = await connection.fetchrow(_RECEIPT, receipt_id)
    if row is None:
        return None
    receipt = _receipt_from_row(row)
    match = await connection.fetchrow(_MATCH, row["provider_id"], receipt.provider_message_id, row["our_message_id"])
    message = match and await connection.fetchrow(_MESSAGE, match["message_id"])
    if match is None or message is None or await connection.fetchval(_IN_WORK, match["message_id"]):
        await connection.execute(_LATER, receipt_id)
        return None
    message_id, number = match["message_id"], match["number"]
    now = await connection.fetchrow(_NOW, message_id)
    attempts = await connection.fetch(_ATTEMPTS, message_id)
    told = await connection.fetch(_TOLD, message_id, number)
    labels = message_pb2.MessageSpec.FromString(message["labels"])
    return Matter(
        id=receipt_id,
        receipt=receipt,
        message_id=message_id,
        project_id=message["project_id"],
        channel=CHANNELS[message["channel"]],
        recipient=message["recipient"],
        case=Case(
            history=tuple(attempt_from_row(each) for each in attempts),
            number=number,
            ended=None if now["state"] is None else state_from_code(now["state"]),
            failover_on_receipt=labels.failover_on_receipt,
            copies=_copies(labels, message["recipient"]),
            told=frozenset((ReceiptStatus(each["status"]), each["recipient"]) for each in told),
        ),
        last_sequence=now["last_sequence"],
        at=now["at"],
    )


async def settle(connection: ledger.Connection, matter: Matter, effect: Effect, event: ledger.Event | None) -> None:
    """Write what a receipt changed: it is done."""
    number = matter.case.number
    await connection.execute(_SETTLE, matter.id, matter.message_id, number, event is not None)
    if effect.attempt is not None:
        status = effect.attempt.receipt or ""
        await connection.execute(_ATTEMPT, matter.message_id, number, status, effect.attempt.route_at_fault)
    if event is not None:
        await connection.execute(_EVENT, matter.message_id, event.sequence, matter.project_id, event.payload)
    await _write_completion(connection, matter, effect)
    await ledger.suppress(connection, _learned(matter) if effect.tell else ())
    if effect.next is Next.WAKE:
        await connection.execute(_WAKE, matter.message_id)
        failpoint("receipt.woken")
    elif effect.next is Next.END:
        await connection.execute(_END, matter.message_id)


async def _write_completion(connection: ledger.Connection, matter: Matter, effect: Effect) -> None:
    if effect.state is None or effect.owed_to is None:
        await connection.execute(_COUNT, matter.message_id, effect.duplicates)
        return
    reason = "" if effect.state is State.DELIVERED else matter.receipt.status.value
    owed_to = effect.owed_to
    await connection.execute(
        _COMPLETION,
        matter.message_id,
        state_to_proto(effect.state),
        reason,
        owed_to.provider_id,
        owed_to.kind,
        effect.duplicates,
    )


def _learned(matter: Matter) -> list[Suppression]:
    """What it says about a recipient for good: once, so that a repeat undoes nothing that people decided since."""
    everybody = frozenset(normalised(matter.channel, each) for each in (matter.recipient, *matter.case.copies))
    learned = taught_by_receipt(
        matter.receipt,
        message_id=matter.message_id,
        project_id=matter.project_id,
        channel=matter.channel,
        everybody=everybody,
    )
    return [learned] if learned else []


def _receipt_from_row(row: asyncpg.Record) -> Receipt:
    names = ("provider_message_id", "occurred_at", "recipient", "route_at_fault", "provider_status", "detail")
    return Receipt(status=ReceiptStatus(row["status"]), **{name: row[name] for name in names})


def _copies(labels: message_pb2.MessageSpec, recipient: str) -> frozenset[str]:
    return frozenset(address.lower() for address in (*labels.cc, *labels.bcc)) - {recipient.lower()}


def _clean(text: str) -> str:
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()[:500]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


_KEEP = """
WITH call AS (
    INSERT INTO dispatch.receipt_calls (provider_id, body) VALUES ($1, $2) RETURNING id
)
INSERT INTO dispatch.receipts (provider_id, call_id, event_id, status, provider_message_id, our_message_id, occurred_at,
                               recipient, route_at_fault, provider_status, detail)
SELECT $1, call.id, r.* FROM call, unnest($3::text[], $4::text[], $5::text[], $6::uuid[], $7::timestamptz[], $8::text[],
                                          $9::bool[], $10::text[], $11::text[]) AS r
ON CONFLICT (provider_id, event_id) DO NOTHING RETURNING id
"""
_DUE = """
UPDATE dispatch.receipts SET look_at = now() + interval '5 seconds'
WHERE id IN (SELECT id FROM dispatch.receipts WHERE look_at <= now() ORDER BY look_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
_EXPIRE_RECEIPTS = (
    "DELETE FROM dispatch.receipts WHERE look_at IS NOT NULL AND received_at < now() - $1 * interval '1 h'"
)
_EXPIRE_CALLS = "DELETE FROM dispatch.receipt_calls WHERE received_at < now() - $1 * interval '1 h'"
_RECEIPT = "SELECT * FROM dispatch.receipts WHERE id = $1 AND look_at IS NOT NULL FOR UPDATE"
# By the provider's id for the message, which the answer gave or came too late to settle; else by ours, the last attempt
# through this very provider: what a provider says about messages it was never given fits nothing.
_MATCH = """
SELECT message_id, number FROM (
    SELECT message_id, number, 1 AS preference FROM dispatch.attempts
    WHERE provider_id = $1 AND provider_message_id = $2 AND $2 <> ''
    UNION ALL
    SELECT e.message_id, e.number, 2 FROM dispatch.evidence e
    JOIN dispatch.attempts a ON a.message_id = e.message_id AND a.number = e.number AND a.provider_id = $1
    WHERE e.provider_message_id = $2 AND $2 <> ''
    UNION ALL
    SELECT message_id, number, 3 FROM dispatch.attempts WHERE message_id = $3 AND provider_id = $1
) AS found ORDER BY preference, message_id DESC, number DESC LIMIT 1
"""
_MESSAGE = "SELECT project_id, channel, recipient, labels FROM dispatch.messages WHERE id = $1 FOR NO KEY UPDATE"
_IN_WORK = "SELECT worker IS NOT NULL FROM dispatch.queue WHERE id = $1 FOR UPDATE"
_LATER = """
UPDATE dispatch.receipts SET look_at = now() + greatest((now() - received_at) / 2, interval '0.2 seconds') WHERE id = $1
"""
_NOW = """
SELECT now() AS at, (SELECT state FROM dispatch.completions WHERE message_id = $1 AND NOT retrying) AS state,
       (SELECT max(sequence) FROM dispatch.events WHERE message_id = $1) AS last_sequence
"""
_ATTEMPTS = "SELECT * FROM dispatch.attempts WHERE message_id = $1 ORDER BY number"
_TOLD = "SELECT status, recipient FROM dispatch.receipts WHERE message_id = $1 AND number = $2 AND told"
_SETTLE = "UPDATE dispatch.receipts SET look_at = NULL, message_id = $2, number = $3, told = $4 WHERE id = $1"
_ATTEMPT = """
UPDATE dispatch.attempts SET receipt = $3, route_at_fault = $4, receipt_at = now() WHERE message_id = $1 AND number = $2
"""
_EVENT = "INSERT INTO dispatch.events (message_id, sequence, project_id, payload) VALUES ($1, $2, $3, $4)"
_COUNT = "UPDATE dispatch.completions SET duplicates = $2 WHERE message_id = $1 AND duplicates <> $2"
_COMPLETION = """
UPDATE dispatch.completions SET state = $2, reason = $3, provider_id = $4, kind = $5, duplicates = $6
WHERE message_id = $1
"""
_WAKE = """
INSERT INTO dispatch.queue (id, due_at, epoch, project_id)
SELECT $1, now(), coalesce((SELECT epoch FROM dispatch.completions WHERE message_id = $1), 0), m.project_id
FROM dispatch.messages m WHERE m.id = $1
ON CONFLICT (id) DO UPDATE SET due_at = now()
"""
_END = "DELETE FROM dispatch.queue WHERE id = $1"
