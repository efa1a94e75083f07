"""Whom a project does not send to any more: what teaches it, how a list is read, and how a message to them ends."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from messagepipe.dispatch.v1.suppression_service_pb2 import ImportSuppressionsRequest
from messagepipe.type.v1.channel_pb2 import Channel as Code

from services.adapters.base import Address, Channel
from services.adapters.outcome import Outcome, Reason
from services.adapters.receipts import Receipt, ReceiptStatus
from services.chassis.auth import Principal, as_principal
from services.dispatch.content import Findings
from services.dispatch.failover import Finish, Situation, decide
from services.dispatch.message import EndReason, State
from services.dispatch.suppression import (
    Cause,
    Suppression,
    entry_of,
    recipients_of,
    sentence,
    taught_by_receipt,
    taught_by_result,
)
from services.dispatch.suppression_csv import MAX_LINES, Unreadable, lines_of
from services.dispatch.suppression_servicer import SuppressionServicer
from tests.builders import (
    MESSAGE_ID,
    NOON,
    PROJECT,
    a_chain,
    a_history,
    a_message,
    a_result,
    an_email,
    an_sms,
)

OPTED_OUT = a_result("invalid", reason=Reason.RECIPIENT_OPTED_OUT)


def a_receipt(status: ReceiptStatus, **values) -> Receipt:
    """What a provider told."""
    return Receipt(status=status, provider_message_id="a-1", **values)


def taught(receipt: Receipt, *everybody: str, channel: Channel = Channel.EMAIL) -> Suppression | None:
    """What the receipt teaches about a message to these recipients."""
    people = frozenset(everybody or ("ada@example.com",))
    return taught_by_receipt(receipt, message_id=MESSAGE_ID, project_id=PROJECT, channel=channel, everybody=people)


def situation(**values) -> Situation:
    """A message to somebody on the list."""
    given = {"message": a_message(), "history": (), "chain": a_chain(), "marks": {}, "now": NOON, "fraction": 0.5}
    return Situation(**{**given, "suppressed": "Suppressed: ada@example.com (OPT_OUT)", **values})


def test_an_address_is_kept_in_small_letters_as_a_whole():
    """Who complained as Ada@ must not get a mail as ada@; a number is what it is."""
    findings = Findings()
    assert entry_of(Channel.EMAIL, "Ada@EXAMPLE.com", "recipient", findings) == "ada@example.com"
    assert entry_of(Channel.SMS, "+2348031234567", "recipient", findings) == "+2348031234567"
    assert findings.violations == []
    assert entry_of(Channel.SMS, "0803", "recipient", findings) is None
    assert entry_of(Channel.EMAIL, "ada", "recipient", findings) is None
    assert [violation.field for violation in findings.violations] == ["recipient", "recipient"]


@pytest.mark.parametrize(("one", "other"), [("groß@example.com", "gross@example.com"), ("a@straße.de", "a@strasse.de")])
def test_small_letters_make_no_one_of_two_people(one: str, other: str):
    """An address that is only similar stays one that may be sent to."""
    entries = {entry_of(Channel.EMAIL, address, "recipient", Findings()) for address in (one, other)}
    assert entries == {one, other}


async def test_a_long_file_keeps_nobody_waiting():
    """It is read beside the event loop: messages are sent, and keys are checked, meanwhile."""

    class Nowhere:
        """A database that takes everything."""

        @asynccontextmanager
        async def connection(self):
            yield self

        async def fetch(self, *_arguments):
            return []

    lines = "".join(f"ü{number}@exämple{number}.com\n" for number in range(2000))
    request = ImportSuppressionsRequest(project_id=PROJECT, channel=Code.CHANNEL_EMAIL, csv=lines)
    with as_principal(Principal(subject="tests", projects=frozenset({PROJECT}), scopes=frozenset(), expires_at=0.0)):
        servicer: Any = SuppressionServicer(cast(Any, Nowhere()))
        asked = asyncio.create_task(servicer.ImportSuppressions(request, None))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert (await asked).already_there == 2000
    assert turns > 5


def test_everybody_whom_a_message_would_reach_is_looked_up():
    """Copies count, each person once, as the list has them."""
    ada, bob, eve = (Address(email=f"{name}@example.com") for name in ("Ada", "bob", "eve"))
    content = an_email(to=ada, cc=(bob, Address(email="ada@example.com")), bcc=(eve,))
    found = recipients_of(a_message(content=content))
    assert found == tuple((Channel.EMAIL, f"{name}@example.com") for name in ("ada", "bob", "eve"))
    assert recipients_of(a_message(channel=Channel.SMS, content=an_sms())) == ((Channel.SMS, "+2348031234567"),)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (ReceiptStatus.BOUNCED_HARD, Cause.HARD_BOUNCE),
        (ReceiptStatus.COMPLAINED, Cause.COMPLAINT),
        (ReceiptStatus.UNSUBSCRIBED, Cause.OPT_OUT),
        (ReceiptStatus.SUPPRESSED, Cause.PROVIDER_LIST),
        *(
            (status, None)
            for status in ReceiptStatus
            if status not in ("BOUNCED_HARD", "COMPLAINED", "UNSUBSCRIBED", "SUPPRESSED")
        ),
    ],
)
def test_what_each_receipt_teaches(status, cause):
    """Hard bounces, complaints, opt-outs and providers' own lists; no other word of a receipt."""
    learned = taught(a_receipt(status))
    assert (learned.reason if learned else None) == cause


def test_a_refusal_that_blames_the_route_teaches_nothing():
    """A spam filter says nothing about the mailbox."""
    assert taught(a_receipt(ReceiptStatus.BOUNCED_HARD, route_at_fault=True)) is None


def test_a_copy_that_bounced_is_the_one_that_is_suppressed():
    """A receipt is about whom it names; one that names nobody of several, or a stranger, teaches nothing."""
    people = ("ada@example.com", "bob@example.com")
    learned = taught(a_receipt(ReceiptStatus.BOUNCED_HARD, recipient="Bob@example.com"), *people)
    assert learned is not None
    assert learned.recipient == "bob@example.com"
    assert taught(a_receipt(ReceiptStatus.BOUNCED_HARD), *people) is None
    assert taught(a_receipt(ReceiptStatus.BOUNCED_HARD, recipient="eve@example.com")) is None
    number = taught(
        a_receipt(ReceiptStatus.UNSUBSCRIBED, recipient="2348031234567"), "+2348031234567", channel=Channel.SMS
    )
    assert number is not None
    assert number.recipient == "+2348031234567"


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (OPTED_OUT, Cause.OPT_OUT),
        (a_result("invalid", provider_code="550", provider_text="5.1.1 No such user"), Cause.HARD_BOUNCE),
        (a_result("invalid", provider_code="550 5.1.10"), Cause.HARD_BOUNCE),
        (a_result("invalid", provider_code="550", provider_text="5.1.19 something else"), None),
        (a_result("invalid", provider_code="400", provider_text="not a valid address"), None),
        (a_result("invalid", reason=Reason.CONTENT_REFUSED, provider_text="5.1.1"), None),
        (a_result("deferred", reason=Reason.RECIPIENT_UNAVAILABLE, provider_text="5.1.1"), None),
    ],
)
def test_what_each_answer_teaches(result, cause):
    """An opt-out, and a mailbox that its own server says does not exist; nothing that could be a typing error."""
    learned = taught_by_result(a_message(), result)
    assert (learned.reason if learned else None) == cause


def test_an_answer_about_a_mail_with_copies_teaches_nothing():
    """It does not say whom of them it means."""
    content = an_email(cc=(Address(email="bob@example.com"),))
    assert taught_by_result(a_message(content=content), OPTED_OUT) is None


def test_a_suppressed_recipient_ends_the_message():
    """FAILED with the reason, whatever providers there are."""
    for chain in (a_chain(), a_chain(enabled=False)):
        end = decide(situation(chain=chain))
        assert isinstance(end, Finish)
        assert (end.state, end.reason) == (State.FAILED, EndReason.RECIPIENT_SUPPRESSED)
        assert end.detail == "Suppressed: ada@example.com (OPT_OUT)"


def test_what_may_have_been_taken_stays_unknown():
    """A recipient that comes on the list between two attempts does not make FAILED of what somebody may have taken."""
    end = decide(situation(history=a_history(("A", "unknown"))))
    assert isinstance(end, Finish)
    assert (end.state, end.reason) == (State.UNKNOWN, EndReason.RECIPIENT_SUPPRESSED)
    end = decide(situation(history=a_history(("A", "deferred"))))
    assert isinstance(end, Finish)
    assert end.state is State.FAILED


def test_what_was_accepted_stays_sent():
    """A recipient that comes on the list after the message was taken changes nothing about it."""
    end = decide(situation(history=a_history(("A", "accepted"))))
    assert isinstance(end, Finish)
    assert end.state is State.SENT


def test_the_sentence_names_who_and_why():
    """In words for a person; nothing for nobody."""
    assert (
        sentence((("b@x.org", "OPT_OUT"), ("a@x.org", "MANUAL"))) == "Suppressed: a@x.org (MANUAL), b@x.org (OPT_OUT)"
    )
    assert sentence(()) == ""


def test_no_log_shows_a_recipient():
    """The entry's own text has its reason only."""
    learned = taught(a_receipt(ReceiptStatus.COMPLAINED))
    assert "ada" not in repr(learned)


def lines(text: str, channel: Channel | None = Channel.EMAIL) -> list[tuple[int, str]]:
    """Each line's number with the recipient and reason, or with its problem."""
    found = lines_of(text, project_id=PROJECT, channel=channel)
    return [(one.number, f"{one.entry.recipient} {one.entry.reason}" if one.entry else one.problem) for one in found]


def test_a_file_without_a_header_is_a_column_of_recipients():
    """Empty lines are passed by, numbers are the file's, and a mark at its start is none of the text."""
    assert lines("\ufeffada@example.com,x\r\n\r\nBob@example.com\n") == [
        (1, "ada@example.com MANUAL"),
        (3, "bob@example.com MANUAL"),
    ]


def test_a_file_with_a_header_says_channel_and_reason_by_line():
    """Columns in any order, unknown ones passed by, words in any case; what is not said comes from the request."""
    text = (
        "reason,Email,when,channel\n"
        "complaint,ada@example.com,yesterday,\n"
        'OPT_OUT,"+2348031234567",,sms\n'
        "bored,x@example.com,,email\n"
        ",y@example.com,,FAX\n"
        ",nobody,,\n"
    )
    found = lines(text)
    assert found[:2] == [(2, "ada@example.com COMPLAINT"), (3, "+2348031234567 OPT_OUT")]
    assert [number for number, _ in found] == [2, 3, 4, 5, 6]
    assert found[2][1].startswith("reason: must be one of HARD_BOUNCE")
    assert found[3][1] == "channel: must be EMAIL or SMS"
    assert found[4][1].startswith("recipient: is not a valid email address")


def test_a_line_has_to_say_its_channel_if_the_request_does_not():
    """No channel is guessed from how a recipient looks."""
    assert lines("ada@example.com", channel=None) == [(1, "channel: is required: EMAIL or SMS")]


@pytest.mark.parametrize("text", ['"ada@example.com', "a@example.com\n" * (MAX_LINES + 1), '"a"b\n'])
def test_a_file_that_is_none_is_refused_as_a_whole(text):
    """Broken quotes, and more lines than are taken."""
    with pytest.raises(Unreadable):
        lines(text)


async def test_nothing_of_an_attempt_that_may_not_begin_is_written(bench):
    """The ledger answers `suppressed` once; the end that follows is the first thing written, and no call was made."""
    bench.ledger.suppressed = (("ada@example.com", "COMPLAINT"),)

    due = await bench.run()

    assert due is None
    assert bench.first.calls == []
    assert bench.kinds == ["completed"]
    assert bench.end.completes.reason == EndReason.RECIPIENT_SUPPRESSED
    assert [event.sequence for step in bench.ledger.written for event in step.events] == [2]


async def test_what_an_attempt_learned_is_kept_when_the_next_may_not_begin(bench):
    """A recipient that comes on the list between two attempts: the first one's answer is written with the end."""
    bench.script("A", "deferred")

    def suppress(step):
        if step.closes is not None:
            bench.ledger.suppressed = (("ada@example.com", "MANUAL"),)

    bench.ledger.before = suppress
    await bench.run()

    assert bench.kinds == ["attempt_started", "attempt_finished", "completed"]
    assert bench.end.closes is not None
    assert bench.end.closes.outcome is Outcome.DEFERRED
    assert bench.end.completes.state is State.FAILED


async def test_an_opt_out_is_learned_with_the_answer_that_said_so(bench):
    """The very step that closes the attempt puts the recipient on the list."""
    bench.script("A", OPTED_OUT)

    await bench.run()

    (learned,) = [step.suppresses for step in bench.ledger.written if step.suppresses]
    assert bench.end.suppresses is learned
    assert (learned.recipient, learned.reason) == ("ada@example.com", Cause.OPT_OUT)
