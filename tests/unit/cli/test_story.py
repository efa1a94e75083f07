"""One event as one line."""

import json
from typing import Any

from google.protobuf.duration_pb2 import Duration
from messagepipe.dispatch.v1.attempt_pb2 import Attempt
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.dispatch.v1.message_pb2 import Message

from cli.story import json_of, line_of, pending_line
from cli.terminal import Colour


def an_attempt(**more: object) -> Attempt:
    """The first attempt, through a provider called Primary."""
    return Attempt(number=1, kind="sendgrid", provider_name="Primary", **more)  # type: ignore[arg-type]


def finished(**more: object) -> DeliveryEvent:
    """The end of that attempt."""
    return DeliveryEvent(attempt_finished=DeliveryEvent.AttemptFinished(attempt=an_attempt(**more)))


def completed(**more: object) -> DeliveryEvent:
    """The end of the dispatch."""
    return DeliveryEvent(completed=DeliveryEvent.Completed(**more))  # type: ignore[arg-type]


def test_an_attempt_is_one_line_with_its_outcome_and_why() -> None:
    """Number, provider, outcome, reason, the provider's own code and words, and how long it took."""
    event = finished(
        outcome=Attempt.OUTCOME_DEFERRED,
        reason="UNAVAILABLE",
        provider_code="503",
        provider_text="try later",
        latency=Duration(nanos=121_000_000),
    )

    assert line_of(event) == (
        "  1  Primary (sendgrid)  deferred  UNAVAILABLE (503 try later)  121 ms",
        Colour.DOUBTFUL,
    )


def test_an_accepted_attempt_needs_no_reason() -> None:
    """Success is short."""
    event = finished(outcome=Attempt.OUTCOME_ACCEPTED, reason="ACCEPTED", latency=Duration(seconds=2))

    assert line_of(event) == ("  1  Primary (sendgrid)  accepted  2 s", Colour.GOOD)


def test_an_open_attempt_is_pending() -> None:
    """Its beginning is no line of its own; it is shown until the end of it comes."""
    event = DeliveryEvent(attempt_started=DeliveryEvent.AttemptStarted(attempt=an_attempt()))

    assert line_of(event) is None
    assert pending_line(event) == "  1  Primary (sendgrid)  …"


def test_the_end_says_the_state_and_why() -> None:
    """SENT says through whom; a failure says why; a possible duplicate is not hidden."""
    sent = completed(state=Message.STATE_SENT, kind="smtp", attempts=2, possible_duplicate=True)
    failed = completed(state=Message.STATE_FAILED, reason="NO_PROVIDER", attempts=0)

    assert line_of(sent) == ("  SENT through smtp after 2 attempts; it may arrive twice", Colour.GOOD)
    assert line_of(failed) == ("  FAILED after 0 attempts: NO_PROVIDER", Colour.BAD)


def test_every_kind_of_event_but_beginnings_has_a_line() -> None:
    """A new kind of event must be given its line."""
    kinds = [field.name for field in DeliveryEvent.DESCRIPTOR.oneofs_by_name["event"].fields]
    silent = []
    for kind in kinds:
        event = DeliveryEvent()
        getattr(event, kind).SetInParent()
        if line_of(event) is None:
            silent.append(kind)

    assert silent == ["queued", "attempt_started"]


def test_a_provider_can_not_colour_the_terminal() -> None:
    """Control codes in a provider's words are shown, not obeyed."""
    line = line_of(finished(outcome=Attempt.OUTCOME_DENIED, provider_text="\x1b[2Jgone\r\n"))

    assert line is not None
    assert "\x1b" not in line[0]
    assert "\n" not in line[0]


def test_json_has_the_names_and_bare_words_of_rest() -> None:
    """One line; camelCase; `provider` for the kind; enum words without their prefix."""
    line = json_of(finished(outcome=Attempt.OUTCOME_DEFERRED))

    assert "\n" not in line
    assert json.loads(line)["attemptFinished"]["attempt"]["outcome"] == "DEFERRED"
    assert json.loads(line)["attemptFinished"]["attempt"]["provider"] == "sendgrid"


def test_what_is_told_about_a_provider() -> None:
    """A line each: who is passed by and why, who carries its messages, who is back after how long."""
    who: dict[str, Any] = {"provider_id": "p-1", "kind": "ses", "provider_name": "Main"}
    down = DeliveryEvent.ProviderDegraded(**who, reason="DENIED", detail="CREDENTIALS", scope="country:NG")
    up = DeliveryEvent.ProviderRecovered(**who, reason="SUCCESS", after=Duration(seconds=60))
    moved = DeliveryEvent.FailoverEngaged(**who, from_provider="smtp", from_provider_name="Old", reason="DENIED")
    events = [
        DeliveryEvent(provider_degraded=down),
        DeliveryEvent(provider_recovered=up),
        DeliveryEvent(failover_engaged=moved),
    ]

    lines = [line[0].strip() for event in events if (line := line_of(event))]

    assert lines == [
        "!  Main (ses) is passed by for country:NG: DENIED (CREDENTIALS)",
        "!  Main (ses) is back after 1 min (SUCCESS)",
        "!  Main (ses) carries the messages of Old (smtp)",
    ]
