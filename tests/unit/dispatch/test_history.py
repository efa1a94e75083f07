"""What is told when something happens: every event with what the contract says about it."""

from messagepipe.dispatch.v1 import attempt_pb2, message_pb2

from services.dispatch import history as tell
from services.dispatch.failover import Finish, Skip, Wait
from services.dispatch.health import Block
from services.dispatch.message import EndReason, State
from services.dispatch.records import StoredEvent
from tests.builders import MESSAGE_ID, NOON, a_history, a_provider, an_attempt, seconds


def test_events_are_numbered_without_gaps() -> None:
    """Numbers follow the last one; the payload holds neither message nor number nor time."""
    events = tell.numbered(4, [tell.queued(NOON), tell.attempt_started(an_attempt("A", None))])

    assert [event.sequence for event in events] == [5, 6]
    bare = tell.queued(NOON)
    assert events[0].payload == bare.SerializeToString()
    assert (bare.message_id, bare.sequence, bare.HasField("time")) == ("", 0, False)


def test_a_stored_event_is_shown_with_its_place_and_time() -> None:
    """Message, number and the database's time stand in the event, and the time in the attempt it tells of."""
    start = tell.attempt_started(an_attempt("A", None))
    finish = tell.attempt_finished(an_attempt("A"))
    shown = [
        tell.shown(StoredEvent(message_id=MESSAGE_ID, sequence=3, at=NOON, payload=event.SerializeToString()))
        for event in (start, finish)
    ]

    assert [(event.message_id, event.sequence) for event in shown] == [(str(MESSAGE_ID), 3)] * 2
    assert shown[0].attempt_started.attempt.started_at == shown[0].time
    assert not shown[0].attempt_started.attempt.HasField("finished_at")
    assert shown[1].attempt_finished.attempt.finished_at == shown[1].time


def test_an_event_is_the_same_handed_over_or_read_back() -> None:
    """R10: who is told directly and who reads the database see the same event."""
    (event,) = tell.numbered(0, [tell.queued(NOON)])
    read_back = StoredEvent(
        message_id=MESSAGE_ID, sequence=1, at=NOON + seconds(1), payload=event.payload, transaction_id=77
    )

    assert tell.shown(tell.just_told(MESSAGE_ID, event, NOON + seconds(1))) == tell.shown(read_back)


def test_a_skip() -> None:
    """Who is passed by, why, in which words, until when; a preferred provider that does not exist has no id."""
    cooling = Skip(provider=a_provider("A"), reason=Block.COOLDOWN, detail="slow down", until=NOON)
    missing = Skip(provider=None, reason=EndReason.PREFERRED_PROVIDER_NOT_FOUND)

    told, nobody = tell.provider_skipped(cooling).provider_skipped, tell.provider_skipped(missing).provider_skipped

    assert (told.provider_id, told.kind, told.provider_name) == ("a", "a", "A")
    assert (told.reason, told.detail, told.until.ToDatetime(tzinfo=NOON.tzinfo)) == ("COOLDOWN", "slow down", NOON)
    assert (nobody.provider_id, nobody.reason) == ("", "PREFERRED_PROVIDER_NOT_FOUND")
    assert not nobody.HasField("until")


def test_a_failover() -> None:
    """From whom, to whom, and the outcome and reason that led to it."""
    told = tell.failover(an_attempt("A", "deferred"), an_attempt("B", None)).failover

    assert (told.from_provider_id, told.from_provider) == ("a", "a")
    assert (told.to_provider_id, told.to_provider) == ("b", "b")
    assert (told.outcome, told.reason) == (attempt_pb2.Attempt.OUTCOME_DEFERRED, "UNAVAILABLE")


def test_a_wait() -> None:
    """How long, for whom, why; nobody is named while the configuration is away."""
    told = tell.retry_scheduled(Wait(delay=1.5, provider=a_provider("A"), reason="BACKOFF")).retry_scheduled
    nobody = tell.retry_scheduled(Wait(delay=1, provider=None, reason="CONFIGURATION_UNAVAILABLE")).retry_scheduled

    assert (told.delay.ToTimedelta(), told.kind, told.reason) == (seconds(1.5), "a", "BACKOFF")
    assert (nobody.provider_id, nobody.kind) == ("", "")


def test_an_end() -> None:
    """The state, why, through whom, after how many attempts, and whether it may arrive twice."""
    attempts = a_history(("A", "unknown"), ("B", "accepted"))

    told = tell.completed(Finish(state=State.SENT, attempt=attempts[1]), attempts).completed
    failed = tell.completed(Finish(state=State.FAILED, reason=EndReason.NO_PROVIDER, detail="none"), ()).completed

    assert (told.state, told.kind, told.attempts) == (message_pb2.Message.STATE_SENT, "b", 2)
    assert told.possible_duplicate
    assert (failed.reason, failed.detail, failed.provider_id, failed.attempts) == ("NO_PROVIDER", "none", "", 0)
    assert not failed.possible_duplicate
