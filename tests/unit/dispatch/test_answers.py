"""What callers are answered: documented sentences, and the error that each end stands for."""

import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2 as pb
from messagepipe.dispatch.v1 import message_pb2
from messagepipe.dispatch.v1.delivery_event_pb2 import DeliveryEvent
from messagepipe.type.v1 import channel_pb2

from services.adapters.base import Channel
from services.chassis.errors import FieldViolation, ServiceError
from services.dispatch import answers
from services.dispatch import history as tell
from services.dispatch.acceptor import Accepted
from services.dispatch.attempt import Attempt
from services.dispatch.errors import (
    AllProvidersFailed,
    MessageEnded,
    MessageRejected,
    NoProvider,
    ProjectNotFound,
    StillSending,
)
from services.dispatch.explain import explain
from services.dispatch.failover import Finish
from services.dispatch.message import EndReason, State
from services.dispatch.records import Overview
from tests.builders import (
    MESSAGE_ID,
    NOON,
    PROJECT,
    a_chain,
    a_cooldown,
    a_history,
    a_message,
    a_provider,
    a_result,
    a_spec,
    an_sms,
    marks_of,
    seconds,
)

SENT, FAILED = message_pb2.Message.STATE_SENT, message_pb2.Message.STATE_FAILED
SMS = a_message(channel=Channel.SMS, content=an_sms())


def told(finish: Finish, *attempts: Attempt) -> list[DeliveryEvent]:
    """The events of a dispatch that ended so."""
    steps = [tell.queued(NOON)]
    for attempt in attempts:
        steps += [tell.attempt_started(attempt), tell.attempt_finished(attempt)]
    return [*steps, tell.completed(finish, attempts)]


def test_a_message_that_was_just_accepted() -> None:
    """QUEUED, with what its caller gave to find it by, and no attempts."""
    answer = answers.accepted(a_message(), a_spec(tags=["welcome"], metadata={"order": "7"}))

    assert (answer.id, answer.project_id, answer.recipient) == (str(MESSAGE_ID), PROJECT, "ada@example.com")
    assert answer.state == message_pb2.Message.STATE_QUEUED
    assert (list(answer.tags), dict(answer.metadata)) == (["welcome"], {"order": "7"})
    assert answer.deadline.ToDatetime(tzinfo=NOON.tzinfo) == NOON + seconds(3600)


def test_a_batch() -> None:
    """Each item has its own result, in order; the accepted and the refused are counted."""
    results: list[Accepted | ServiceError] = [
        Accepted(message=a_message()),
        ProjectNotFound(),
        Accepted(message=a_message(), replayed=True),
    ]

    answer = answers.batch(results)

    assert (answer.accepted, answer.refused) == (2, 1)
    assert [result.WhichOneof("result") for result in answer.results] == ["message_id", "error", "message_id"]
    assert [result.replayed for result in answer.results] == [False, False, True]
    assert answer.results[0].message_id == str(MESSAGE_ID)
    assert answer.results[1].error.message == "Project not found."


def test_a_stored_message() -> None:
    """Everything that is stored is shown; the content is not."""
    overview = Overview(
        id=MESSAGE_ID,
        project_id=PROJECT,
        channel=Channel.EMAIL,
        recipient="ada@example.com",
        labels=message_pb2.MessageSpec(tags=["t"], metadata={"k": "v"}).SerializeToString(),
        deadline=NOON + seconds(60),
        created_at=NOON,
        state=State.SENT,
        reason="",
        provider_id="b",
        kind="b",
        possible_duplicate=True,
        completed_at=NOON + seconds(1),
        next_attempt_in=None,
        chain_version=4,
    )

    answer = answers.message(overview, a_history(("A", "unknown"), ("B", "accepted")))

    assert (answer.state, answer.kind, answer.possible_duplicate, answer.chain_version) == (SENT, "b", True, 4)
    assert [attempt.provider_name for attempt in answer.attempts] == ["A", "B"]
    assert (list(answer.tags), dict(answer.metadata)) == (["t"], {"k": "v"})
    assert not answer.HasField("next_attempt_in")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [(a_message(), "Email sent successfully"), (SMS, "SMS sent successfully")],
    ids=["email", "sms"],
)
def test_the_documented_sentences(message, sentence: str) -> None:
    """The sentence of the channel, the provider that took it, and every attempt."""
    attempts = a_history(("A", "deferred"), ("B", "accepted"))

    answer = answers.sent(message, told(Finish(state=State.SENT, attempt=attempts[1]), *attempts))

    assert (answer.message, answer.kind, answer.state) == (sentence, "b", SENT)
    assert [attempt.provider_name for attempt in answer.attempts] == ["A", "B"]


def test_an_unknown_end_is_no_error() -> None:
    """A message that may have been sent is answered as such, not as a failure that invites a second one."""
    (attempt,) = a_history(("A", "unknown"))

    answer = answers.sent(a_message(), told(Finish(state=State.UNKNOWN, attempt=attempt, detail="A: TIMEOUT"), attempt))

    assert answer.message == "Email may have been sent: A: TIMEOUT"


@pytest.mark.parametrize(
    ("finish", "error"),
    [
        (Finish(state=State.FAILED, reason=EndReason.NO_PROVIDER), NoProvider),
        (Finish(state=State.FAILED, reason=EndReason.CHANNEL_DISABLED), NoProvider),
        (Finish(state=State.FAILED, reason=EndReason.PREFERRED_PROVIDER_NOT_FOUND), NoProvider),
        (Finish(state=State.FAILED, reason=EndReason.PREFERRED_PROVIDER_DISABLED), NoProvider),
        (Finish(state=State.FAILED, reason=EndReason.REJECTED), MessageRejected),
        (Finish(state=State.FAILED, reason=EndReason.ALL_PROVIDERS_FAILED), AllProvidersFailed),
        (Finish(state=State.EXPIRED, reason=EndReason.DEADLINE_PASSED), MessageEnded),
        (Finish(state=State.CANCELED, reason=EndReason.CANCELED_BY_CALLER), MessageEnded),
    ],
    ids=lambda value: getattr(value, "reason", ""),
)
def test_every_other_end_is_one_error(finish: Finish, error: type[ServiceError]) -> None:
    """SendMessage raises the error that the contract names for the end, with or without attempts."""
    with pytest.raises(error):
        answers.sent(a_message(), told(finish))
    with pytest.raises(error):
        answers.sent(a_message(), told(finish, *a_history(("A", "deferred"))))


def test_the_providers_own_words_are_the_error() -> None:
    """X04, R8: "All providers failed: " and each provider's words, else its reason, in order; their number beside."""
    finish = Finish(state=State.FAILED, reason=EndReason.ALL_PROVIDERS_FAILED)
    spoken = a_history(("A", "deferred"), ("B", a_result("deferred", provider_text="SMTP connect error")))

    with pytest.raises(AllProvidersFailed) as with_words:
        answers.sent(a_message(), told(finish, *spoken))
    with pytest.raises(AllProvidersFailed, match="All providers failed: UNAVAILABLE"):
        answers.sent(a_message(), told(finish, *spoken[:1]))

    assert with_words.value.message == "All providers failed: UNAVAILABLE; SMTP connect error"
    assert with_words.value.metadata["attempts"] == "2"


def test_attempts_are_told_once_and_in_order() -> None:
    """An attempt that has finished is shown finished; an open one as it was started."""
    first, second = a_history(("A", "deferred"), ("B", "accepted"))
    events = [tell.attempt_started(first), tell.attempt_finished(first), tell.attempt_started(second)]

    found = answers.attempts_of(events)

    assert [(attempt.number, attempt.reason) for attempt in found] == [(1, "UNAVAILABLE"), (2, "ACCEPTED")]


@pytest.mark.parametrize(
    ("channel", "good", "bad", "sentence", "success"),
    [
        (channel_pb2.CHANNEL_EMAIL, 2, 1, "Bulk email processed: 2 sent, 1 failed", False),
        (channel_pb2.CHANNEL_SMS, 3, 0, "Bulk sms processed: 3 sent, 0 failed", True),
    ],
)
def test_a_bulk_answer(channel, good: int, bad: int, sentence: str, success: bool) -> None:
    """R12: it counts what was sent and what was not, and is a success only when all are."""
    sent = pb.SendBulkMessagesResponse.Result(success=True)
    results = [sent] * good + [pb.SendBulkMessagesResponse.Result()] * bad

    answer = answers.bulk(channel, results)

    assert (answer.message, answer.success) == (sentence, success)


def test_the_results_of_a_bulk() -> None:
    """R12: each recipient has its own result: sent, failed with the errors, refused with the violations, or unsent."""
    attempts = a_history(("A", "accepted"))
    sent = answers.bulk_result("a", MESSAGE_ID, told(Finish(state=State.SENT, attempt=attempts[0]), *attempts))
    failed = answers.bulk_result("b", MESSAGE_ID, told(Finish(state=State.FAILED, reason="X", detail="A: busy")))
    refused = answers.refused("c", [FieldViolation("message.to", "is required"), FieldViolation("x", "is wrong")])
    late = answers.unsent("d", StillSending(MESSAGE_ID), replayed=True)
    unsent = answers.unsent("e", ServiceError("no database"))

    assert (sent.success, sent.error, sent.kind, sent.message_id) == (True, "", "a", str(MESSAGE_ID))
    assert (failed.success, failed.error, failed.state) == (False, "A: busy", FAILED)
    assert (refused.success, refused.error, refused.message_id) == (False, "is required; x is wrong", "")
    assert (late.message_id, late.delivery_log_id, late.replayed) == (str(MESSAGE_ID), str(MESSAGE_ID), True)
    assert (unsent.message_id, unsent.error) == ("", "no database")


def test_a_route_needs_no_content() -> None:
    """ExplainRoute fills in what a route does not depend on, and keeps what was given."""
    email = answers.with_any_content(message_pb2.MessageSpec(channel=channel_pb2.CHANNEL_EMAIL))
    sms = answers.with_any_content(message_pb2.MessageSpec(channel=channel_pb2.CHANNEL_SMS, to="+2348031234567"))

    assert all((email.to, email.subject, email.text))
    assert (sms.to, sms.subject) == ("+2348031234567", "")


def test_a_route() -> None:
    """Each step says whether it would be tried, why not, and until when."""
    chain = a_chain("A", "C", a_provider("B", enabled=False), version=8)
    found = explain(a_message(), chain, marks_of(a_cooldown("A", ends_in=60)), NOON)

    answer = answers.route(found, chain, {"a": 7})

    assert [(step.provider_name, step.eligible, step.skip_reason) for step in answer.steps] == [
        ("A", False, "COOLDOWN"),
        ("C", True, ""),
        ("B", False, "DISABLED"),
    ]
    assert answer.steps[0].skip_until.ToDatetime(tzinfo=NOON.tzinfo) == NOON + seconds(60)
    assert not answer.steps[2].HasField("skip_until")
    assert [(step.HasField("concurrency"), step.concurrency) for step in answer.steps[:2]] == [(True, 7), (False, 0)]
    assert (answer.chain_version, answer.state) == (8, SENT)


def test_a_route_when_all_are_passed_by() -> None:
    """When every provider cools down, the one closest to recovery is the one that would be tried (R7)."""
    chain = a_chain("A", "B")
    marks = marks_of(a_cooldown("A", ends_in=60), a_cooldown("B", ends_in=30))

    answer = answers.route(explain(a_message(), chain, marks, NOON), chain, {})

    assert [(step.provider_name, step.eligible) for step in answer.steps] == [("A", False), ("B", True)]


def test_what_is_wrong_with_one_of_ten_thousand_recipients_is_said_briefly() -> None:
    """All of it together has to fit into one answer."""
    violations = [FieldViolation(f"message.variables.{'n' * 200}{number}", "is missing") for number in range(100)]
    told = answers.refused("a@example.com", violations)
    assert len(told.error) == answers.MAX_TOLD_CHARS
    assert told.error.startswith("variables.n")
