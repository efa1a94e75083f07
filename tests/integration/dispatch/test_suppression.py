"""The list of suppressed recipients on a real database: what puts people there, what it keeps from being sent, and who
may see and change it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from messagepipe.dispatch.v1 import dispatch_service_pb2
from messagepipe.dispatch.v1 import suppression_service_pb2 as pb
from messagepipe.dispatch.v1.suppression_service_pb2_grpc import SuppressionServiceStub
from messagepipe.type.v1 import channel_pb2

from services.adapters.outcome import Outcome, Reason, Result
from services.chassis.errors import ServiceError
from services.chassis.status import from_rpc_error
from tests.integration.rig import EMAIL, PROJECT, Pipe, Story, eventually, metadata, rig

ADA = "ada@example.com"
MANUAL, COMPLAINT = pb.Suppression.REASON_MANUAL, pb.Suppression.REASON_COMPLAINT
OPTED_OUT = Result(outcome=Outcome.INVALID, reason=Reason.RECIPIENT_OPTED_OUT, provider_text="STOP was said")
STRANGER = metadata("other")
NOWHERE = "01920000-0000-7000-8000-000000000000"


class People:
    """A messagepipe with the hands to use its list."""

    def __init__(self, pipe: Pipe, channel: grpc.aio.Channel) -> None:
        self.pipe = pipe
        self.stub: Any = SuppressionServiceStub(channel)

    async def add(self, recipient: str = ADA, caller: Any = None, **fields: Any) -> pb.Suppression:
        """One recipient, put on the list by hand."""
        entry = pb.Suppression(channel=EMAIL, recipient=recipient, **fields)
        request = pb.CreateSuppressionRequest(project_id=PROJECT, suppression=entry)
        added: pb.Suppression = await self.stub.CreateSuppression(request, metadata=caller or metadata())
        return added

    async def listed(self, **filters: Any) -> list[tuple[str, str]]:
        """Who is on the list and why, newest first."""
        request = pb.ListSuppressionsRequest(project_id=PROJECT, **filters)
        answer = await self.stub.ListSuppressions(request, metadata=metadata())
        word = pb.Suppression.Reason.Name
        return [(each.recipient, word(each.reason).removeprefix("REASON_")) for each in answer.suppressions]

    async def are(self, *wanted: tuple[str, str]) -> None:
        """Returns when exactly these are on the list, in any order."""

        async def there() -> bool:
            return sorted(await self.listed()) == sorted(wanted)

        await eventually(there)

    async def imports(self, csv: str, **fields: Any) -> pb.ImportSuppressionsResponse:
        """A file, put on the list."""
        request = pb.ImportSuppressionsRequest(project_id=PROJECT, csv=csv, **fields)
        answer: pb.ImportSuppressionsResponse = await self.stub.ImportSuppressions(request, metadata=metadata())
        return answer

    async def refused(self, method: str, request: Any, caller: Any = STRANGER) -> ServiceError:
        """The error that a call ends with."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await getattr(self.stub, method)(request, metadata=caller)
        return from_rpc_error(raised.value)


@pytest.fixture
async def people(database_url):
    """A messagepipe with the chain A > B."""
    async with rig(database_url) as pipe:
        await pipe.chain("A", "B")
        async with grpc.aio.insecure_channel(pipe.dispatch.address) as channel:
            yield People(pipe, channel)


def ended_unsent(story: Story) -> tuple[str, str, list[str]]:
    """How a message ended and what its events are."""
    return story.state, story.end.reason, story.kinds()


UNSENT = ("FAILED", "RECIPIENT_SUPPRESSED", ["queued", "completed"])


async def test_nobody_is_called_for_a_recipient_on_the_list(people: People):
    """The message ends FAILED with its reason and events, however its address is written; no attempt is recorded."""
    await people.add("Ada@Example.com")

    stories = [await people.pipe.send(to=to) for to in (ADA, "ADA@example.com", "Ada <ada@EXAMPLE.com>")]

    assert list(map(ended_unsent, stories)) == [UNSENT] * 3
    assert stories[0].end.detail == f"Suppressed: {ADA} (MANUAL)"
    assert people.pipe.adapters["A"].calls == []
    message = await people.pipe.get(stories[0].message_id)
    assert (list(message.attempts), message.reason) == ([], "RECIPIENT_SUPPRESSED")
    assert (await people.pipe.send(to="bob@example.com")).state == "SENT"


@pytest.mark.parametrize("where", ["cc", "bcc"])
async def test_a_suppressed_copy_stops_the_whole_message(people: People, where: str):
    """Nobody is dropped in silence: the caller learns who it was and decides."""
    await people.add("bob@example.com")

    story = await people.pipe.send(**{where: ["Bob@example.com"]})

    assert ended_unsent(story) == UNSENT
    assert "bob@example.com" in story.end.detail


async def test_who_is_taken_off_is_sent_to_again(people: People):
    """Also by a retry of what had ended because of the list."""
    entry = await people.add()
    story = await people.pipe.send()
    await people.stub.DeleteSuppression(pb.DeleteSuppressionRequest(id=entry.id), metadata=metadata())

    assert (await people.pipe.send()).state == "SENT"
    await people.pipe.messages.RetryMessage(
        dispatch_service_pb2.RetryMessageRequest(id=story.message_id), metadata=metadata()
    )
    await people.pipe.becomes(story.message_id, "SENT")


async def test_a_message_that_waited_sees_who_came_on_the_list_meanwhile(people: People):
    """Between two tries: the answer of the first is kept, the second never begins."""
    people.pipe.script("A", "deferred", "accepted")
    people.pipe.script("B", "deferred", "accepted")
    message = await people.pipe.create(max_rounds=2)

    async def waits() -> bool:
        now = await people.pipe.get(message.id)
        return len(now.attempts) == 2 and now.HasField("next_attempt_in")

    await eventually(waits)
    await people.add()
    ended = await people.pipe.becomes(message.id, "FAILED")

    assert ended.reason == "RECIPIENT_SUPPRESSED"
    assert [attempt.outcome for attempt in ended.attempts] == [5, 5]
    assert [len(people.pipe.adapters[name].calls) for name in "AB"] == [1, 1]


async def test_an_opt_out_in_an_answer_puts_the_recipient_there(people: People):
    """The next message is not tried any more; a bad address alone teaches nothing."""
    people.pipe.script("A", "invalid", OPTED_OUT)
    await people.pipe.send()
    assert await people.listed() == []

    story = await people.pipe.send()

    assert await people.listed() == [(ADA, "OPT_OUT")]
    assert ended_unsent(await people.pipe.send()) == UNSENT
    answer = await people.stub.ListSuppressions(pb.ListSuppressionsRequest(project_id=PROJECT), metadata=metadata())
    assert answer.suppressions[0].source_message_id == story.message_id


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("BOUNCED_HARD", "HARD_BOUNCE"),
        ("COMPLAINED", "COMPLAINT"),
        ("UNSUBSCRIBED", "OPT_OUT"),
        ("SUPPRESSED", "PROVIDER_LIST"),
    ],
)
async def test_receipts_put_recipients_there(people: People, status: str, reason: str):
    """What the provider tells later, with the receipt's own transaction; and the reason that came first stays."""
    story = await people.pipe.send()
    reference = (await people.pipe.get(story.message_id)).attempts[0].provider_message_id
    await people.pipe.receipt("A", {"status": status, "provider_message_id": reference, "recipient": ADA})

    await people.are((ADA, reason))
    assert ended_unsent(await people.pipe.send()) == UNSENT
    assert (await people.add(reason=MANUAL)).reason == pb.Suppression.Reason.Value(f"REASON_{reason}")


async def test_a_repeated_receipt_does_not_undo_what_people_decided(people: People):
    """Somebody took the recipient off the list; the provider telling the same again changes nothing."""
    story = await people.pipe.send()
    reference = (await people.pipe.get(story.message_id)).attempts[0].provider_message_id
    bounce = {"status": "BOUNCED_HARD", "provider_message_id": reference, "recipient": ADA}
    await people.pipe.receipt("A", bounce | {"event_id": "1"})
    await people.are((ADA, "HARD_BOUNCE"))
    (entry,) = (
        await people.stub.ListSuppressions(pb.ListSuppressionsRequest(project_id=PROJECT), metadata=metadata())
    ).suppressions
    await people.stub.DeleteSuppression(pb.DeleteSuppressionRequest(id=entry.id), metadata=metadata())

    await people.pipe.receipt("A", bounce | {"event_id": "2"})
    await people.pipe.receipt("A", {"status": "OPENED", "provider_message_id": reference, "event_id": "3"})

    async def applied() -> bool:
        return (await people.pipe.watch(story.message_id)).kinds().count("receipt") == 2

    await eventually(applied)
    assert await people.listed() == []


async def test_the_list_is_the_project_s_and_the_channel_s_own(people: People):
    """The same address in another project, and the list of another channel, stop nothing."""
    other = pb.Suppression(channel=EMAIL, recipient=ADA)
    await people.stub.CreateSuppression(
        pb.CreateSuppressionRequest(project_id="other", suppression=other), metadata=STRANGER
    )
    sms = pb.Suppression(channel=channel_pb2.CHANNEL_SMS, recipient="+2348031234567")
    await people.stub.CreateSuppression(
        pb.CreateSuppressionRequest(project_id=PROJECT, suppression=sms), metadata=metadata()
    )

    assert (await people.pipe.send()).state == "SENT"
    assert await people.listed() == [("+2348031234567", "MANUAL")]
    assert await people.listed(channel=EMAIL) == []


ASKED: dict[str, Callable[[str], Any]] = {
    "ListSuppressions": lambda it: pb.ListSuppressionsRequest(project_id=it),
    "CreateSuppression": lambda it: pb.CreateSuppressionRequest(
        suppression=pb.Suppression(project_id=it, channel=EMAIL, recipient=ADA)
    ),
    "ImportSuppressions": lambda it: pb.ImportSuppressionsRequest(project_id=it, channel=EMAIL, csv=ADA),
}


@pytest.mark.parametrize("method", ASKED)
async def test_a_foreign_project_answers_like_an_unknown_one(people: People, method: str):
    """PROJECT_NOT_FOUND for one that is used and one that is not, in every field that names it."""
    await people.add()
    errors = [await people.refused(method, ASKED[method](project)) for project in (PROJECT, "nobody")]
    beside = pb.CreateSuppressionRequest(project_id=PROJECT, suppression=pb.Suppression(channel=EMAIL, recipient=ADA))
    errors.append(await people.refused("CreateSuppression", beside))
    assert {(error.reason, error.message) for error in errors} == {("PROJECT_NOT_FOUND", "Project not found.")}


async def test_a_foreign_entry_answers_like_an_unknown_one(people: People):
    """Another project's entry, an id of nothing and a text that is no id; and the entry is still there."""
    mine = (await people.add()).id
    errors = [
        await people.refused("DeleteSuppression", pb.DeleteSuppressionRequest(id=it)) for it in (mine, NOWHERE, "no-id")
    ]
    assert {(error.reason, error.message) for error in errors} == {("SUPPRESSION_NOT_FOUND", "Suppression not found.")}
    assert await people.listed() == [(ADA, "MANUAL")]


async def test_pages_have_everybody_once(people: People):
    """By key and not by place, under each filter; a token of another filter is refused."""
    await people.imports("\n".join(f"p{number}@example.com" for number in range(25)), channel=EMAIL)
    await people.add(reason=COMPLAINT)
    found, token = [], ""
    while True:
        request = pb.ListSuppressionsRequest(project_id=PROJECT, reason=MANUAL, page_size=10, page_token=token)
        answer = await people.stub.ListSuppressions(request, metadata=metadata())
        found += [each.recipient for each in answer.suppressions]
        token = answer.next_page_token or ""
        if not token:
            break
        wrong = pb.ListSuppressionsRequest(project_id=PROJECT, page_token=token)
        assert (await people.refused("ListSuppressions", wrong, metadata())).reason == "INVALID_ARGUMENT"
    assert sorted(found) == sorted(f"p{number}@example.com" for number in range(25))
    assert await people.listed(recipient="ADA@example.com") == [(ADA, "COMPLAINT")]


async def test_a_file_is_taken_line_by_line(people: People):
    """Good lines are on the list; those that were, and wrong ones, are told by number; again changes nothing."""
    await people.add()
    text = f"email,reason\n{ADA},\nbob@example.com,complaint\nnobody,\nBOB@example.com,\n"
    status = pb.ImportSuppressionsResponse.Status.Name

    answers = [await people.imports(text, channel=EMAIL) for _ in range(2)]

    told = [[(each.line, status(each.status).removeprefix("STATUS_")) for each in answer.results] for answer in answers]
    assert told[0] == [(2, "ALREADY_THERE"), (3, "ADDED"), (4, "WRONG"), (5, "ALREADY_THERE")]
    assert told[1] == [(2, "ALREADY_THERE"), (3, "ALREADY_THERE"), (4, "WRONG"), (5, "ALREADY_THERE")]
    assert [(each.added, each.already_there, each.wrong) for each in answers] == [(1, 2, 1), (0, 3, 1)]
    assert sorted(await people.listed()) == [(ADA, "MANUAL"), ("bob@example.com", "COMPLAINT")]


async def test_two_imports_of_the_same_people_do_not_stop_each_other(people: People):
    """In whatever order their lines are, both end and everybody is there once."""
    names = [f"p{number}@example.com" for number in range(500)]
    answers = await asyncio.gather(
        *(people.imports("\n".join(order), channel=EMAIL) for order in (names, names[::-1]) for _ in range(3))
    )
    assert sum(answer.added for answer in answers) == 500


async def test_everything_that_is_wrong_is_told_at_once(people: People):
    """Each field by its JSON path."""
    entry = pb.Suppression(channel=EMAIL, recipient="nobody", reason=99)  # type: ignore[arg-type]
    wrong = pb.CreateSuppressionRequest(project_id=PROJECT, suppression=entry)
    error = await people.refused("CreateSuppression", wrong, metadata())
    assert sorted(violation.field for violation in error.violations) == ["suppression.reason", "suppression.recipient"]
    both = pb.ImportSuppressionsRequest(project_id=PROJECT, channel=7)  # type: ignore[arg-type]
    error = await people.refused("ImportSuppressions", both, metadata())
    assert sorted(violation.field for violation in error.violations) == ["channel", "csv"]
    empty = await people.refused("CreateSuppression", pb.CreateSuppressionRequest(project_id=PROJECT), metadata())
    assert [violation.field for violation in empty.violations] == ["suppression"]


async def test_reading_and_changing_are_two_scopes(people: People):
    """config:read sees the list, config:write changes it; those who may only send do neither."""
    for scope, method in (("messages:send", "ListSuppressions"), ("config:read", "CreateSuppression")):
        caller = metadata(PROJECT, scopes=scope)
        assert (await people.refused(method, ASKED[method](PROJECT), caller)).reason == "SCOPE_MISSING"


async def test_one_of_a_bulk_request_does_not_hold_up_the_others(people: People):
    """It fails with the reason, the others are sent; the sentence counts both."""
    await people.add("bob@example.com")
    content = people.pipe.spec()
    content.to = ""
    request = dispatch_service_pb2.SendBulkMessagesRequest(
        message=content, recipients=[ADA, "bob@example.com", "cem@example.com"]
    )

    answer = await people.pipe.messages.SendBulkMessages(request, metadata=metadata())

    assert answer.message == "Bulk email processed: 2 sent, 1 failed"
    assert [result.success for result in answer.results] == [True, False, True]
    assert answer.results[1].error == "Suppressed: bob@example.com (MANUAL)"


async def test_who_waits_for_the_end_is_told_that_it_was_rejected(people: People):
    """As for a message that no provider would take, with the reason; nothing was asked."""
    await people.add()
    request = dispatch_service_pb2.SendMessageRequest(message=people.pipe.spec())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await people.pipe.messages.SendMessage(request, metadata=metadata())
    error = from_rpc_error(raised.value)
    assert (error.reason, error.metadata["attemptReason"]) == ("MESSAGE_REJECTED", "RECIPIENT_SUPPRESSED")
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
