"""One event of a message as one line for people, or one line of JSON. Pure; it shows nothing itself."""

import json

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.message_pb2 import Message

from cli.duration import show_duration
from cli.terminal import Colour
from services.chassis.log import neutralise

Line = tuple[str, Colour | None]

_OUTCOME_COLOUR = {
    Attempt.OUTCOME_ACCEPTED: Colour.GOOD,
    Attempt.OUTCOME_UNKNOWN: Colour.DOUBTFUL,
    Attempt.OUTCOME_DEFERRED: Colour.DOUBTFUL,
}
_STATE_COLOUR = {
    Message.STATE_SENT: Colour.GOOD,
    Message.STATE_DELIVERED: Colour.GOOD,
    Message.STATE_UNKNOWN: Colour.DOUBTFUL,
}


def line_of(event: DeliveryEvent) -> Line | None:
    """The line an event is shown as; None for those that only begin something (see `pending_line`)."""
    match event.WhichOneof("event"):
        case "attempt_finished":
            return _attempt(event.attempt_finished.attempt)
        case "provider_skipped":
            skipped = event.provider_skipped
            who = _who(skipped.provider_name, skipped.kind) or "preferred provider"
            return _clean(f"  -  {who}  skipped: {_words(skipped.reason, skipped.detail)}"), Colour.QUIET
        case "failover":
            moved = event.failover
            why = moved.reason if moved.outcome == Attempt.OUTCOME_ACCEPTED else _outcome(moved.outcome)
            text = f"  ↳  {why}: failing over from {moved.from_provider} to {moved.to_provider}"
            return _clean(text), Colour.QUIET
        case "retry_scheduled":
            retry = event.retry_scheduled
            return _clean(f"  …  {retry.kind} again in {_span(retry.delay)} ({retry.reason})"), Colour.QUIET
        case "receipt":
            return _clean(f"  ✉  the provider says: {event.receipt.provider_status}"), None
        case "completed" | "ended_again" as end:
            return _completed(getattr(event, end))
        case "retried" | "provider_degraded" | "provider_recovered" | "failover_engaged":
            return _seldom(event)
        case _:
            return None


def _seldom(event: DeliveryEvent) -> Line:
    """What is not part of one walk down the chain: a retry by hand, and what is told of providers."""
    if event.HasField("retried"):
        return f"  ↻  retried: dispatch {event.retried.generation}", Colour.QUIET
    if event.HasField("provider_degraded"):
        down = event.provider_degraded
        scope = f" for {down.scope}" if down.scope else ""
        who = _who(down.provider_name, down.kind)
        return _clean(f"  !  {who} is passed by{scope}: {_words(down.reason, down.detail)}"), Colour.BAD
    if event.HasField("provider_recovered"):
        up = event.provider_recovered
        text = f"  !  {_who(up.provider_name, up.kind)} is back after {_span(up.after)} ({up.reason})"
        return _clean(text), Colour.GOOD
    moved = event.failover_engaged
    instead = _who(moved.from_provider_name, moved.from_provider)
    return _clean(f"  !  {_who(moved.provider_name, moved.kind)} carries the messages of {instead}"), Colour.DOUBTFUL


def pending_line(event: DeliveryEvent) -> str | None:
    """The line to show until the next event comes; None when there is nothing to wait for."""
    if event.WhichOneof("event") != "attempt_started":
        return None
    attempt = event.attempt_started.attempt
    return _clean(f"  {attempt.number}  {_who(attempt.provider_name, attempt.kind)}  …")


def json_of(event: DeliveryEvent) -> str:
    """The event as one line of JSON with the names REST clients know; enum words without their prefix."""
    return json.dumps(_bare(MessageToDict(event)), ensure_ascii=False)


def state_word(state: Message.State.ValueType) -> str:
    """`SENT` for STATE_SENT."""
    return Message.State.Name(state).removeprefix("STATE_")


def _attempt(attempt: Attempt) -> Line:
    accepted = attempt.outcome == Attempt.OUTCOME_ACCEPTED
    said = " ".join(part for part in (attempt.provider_code, attempt.provider_text) if part)
    why = "" if accepted else _words(attempt.reason, said)
    parts = (
        f"  {attempt.number}  {_who(attempt.provider_name, attempt.kind)}",
        _outcome(attempt.outcome),
        why,
        _span(attempt.latency),
    )
    return _clean("  ".join(part for part in parts if part)), _OUTCOME_COLOUR.get(attempt.outcome, Colour.BAD)


def _completed(completed: DeliveryEvent.Completed) -> Line:
    attempts = f"{completed.attempts} attempt{'' if completed.attempts == 1 else 's'}"
    through = f" through {completed.kind}" if completed.kind else ""
    doubt = "; it may arrive twice" if completed.possible_duplicate else ""
    good = completed.state in (Message.STATE_SENT, Message.STATE_DELIVERED)
    why = "" if good else f": {_words(completed.reason, completed.detail)}"
    text = f"  {state_word(completed.state)}{through} after {attempts}{doubt}{why.removesuffix(': ')}"
    return _clean(text), _STATE_COLOUR.get(completed.state, Colour.BAD)


def _who(name: str, kind: str) -> str:
    return f"{name} ({kind})" if name and kind else name or kind


def _outcome(outcome: Attempt.Outcome.ValueType) -> str:
    return Attempt.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()


def _words(reason: str, detail: str) -> str:
    return f"{reason} ({detail})" if reason and detail else reason or detail


def _span(duration: Duration) -> str:
    return show_duration(duration.seconds + duration.nanos / 1e9)


def _clean(text: str) -> str:
    # A provider's own words may hold anything, a terminal's control codes included.
    return neutralise(text)


def _bare(value: object) -> object:
    if isinstance(value, dict):
        return {key: _bare_word(key, inner) for key, inner in value.items()}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value


def _bare_word(key: str, value: object) -> object:
    receipt = "RECEIPT_STATUS_"
    prefixes = {"state": "STATE_", "outcome": "OUTCOME_", "status": receipt, "receipt": receipt, "channel": "CHANNEL_"}
    if key in prefixes and isinstance(value, str):
        return value.removeprefix(prefixes[key])
    return _bare(value)
