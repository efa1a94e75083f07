"""Every answer that providers.md documents, fed to the code that reads it; and every row of every table, taken out.

The answers are in tests/contract/codes/, one file per kind. How a row is worded and where it is from stands there.
"""

import os
from collections.abc import Hashable
from pathlib import Path

import botocore.exceptions
import botocore.parsers
import httpx
import pytest

from services.adapters.aws_identity import AwsIdentity
from services.adapters.base import Channel
from services.adapters.egress import Egress
from services.adapters.email import mailgun, sendgrid, ses
from services.adapters.http import EXCEPTIONS, verdict_of
from services.adapters.identity import NotSigned
from services.adapters.outcome import Outcome, Reason
from services.adapters.registry import spec_for
from services.adapters.schema import settings_errors
from services.adapters.sms import sns, termii, twilio
from tests.contract.codes import aws as aws_codes
from tests.contract.codes import mailgun as mailgun_codes
from tests.contract.codes import sendgrid as sendgrid_codes
from tests.contract.codes import ses as ses_codes
from tests.contract.codes import smtp as smtp_codes
from tests.contract.codes import sns as sns_codes
from tests.contract.codes import termii as termii_codes
from tests.contract.codes import transport
from tests.contract.codes import twilio as twilio_codes
from tests.contract.codes.case import OWN, STATES, B, Case, Event, Table, Walk, put
from tests.fakes.clock import FakeClock

ANSWERS = (
    sendgrid_codes.WALK,
    mailgun_codes.WALK,
    ses_codes.WALK,
    smtp_codes.WALK,
    twilio_codes.WALK,
    termii_codes.WALK,
    sns_codes.WALK,
    transport.WALK,
)
RECEIPTS = (
    sendgrid_codes.RECEIPTS,
    mailgun_codes.RECEIPTS,
    ses_codes.RECEIPTS,
    twilio_codes.RECEIPTS,
    termii_codes.RECEIPTS,
    sns_codes.RECEIPTS,
)
WALKS = ANSWERS + RECEIPTS
ROWS = [
    pytest.param(walk, table, key, id=f"{walk.kind}-{table.name}-{key}")
    for walk in WALKS
    for table in walk.tables
    for key in table.keys
]


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.kind)
def test_what_is_documented(walk: Walk) -> None:
    """Each answer means what providers.md says, or what is said beside it; and by the row that is said to decide."""
    assert walk.mistakes() == []


@pytest.mark.parametrize(("walk", "table", "key"), ROWS)
def test_every_row_is_needed(walk: Walk, table: Table, key: Hashable) -> None:
    """A table without this row is noticed: no row is dead, and none can be deleted in silence."""
    with put({table: table.without(key)}):
        assert walk.mistakes() != []


@pytest.mark.parametrize("walk", ANSWERS, ids=lambda walk: walk.kind)
def test_every_deviation_has_a_reason(walk: Walk) -> None:
    """Where we differ from providers.md, or go beyond it, it is said why."""
    for case in walk.cases:
        assert isinstance(case, Case)
        assert case.sheet is not case.outcome, case
        assert case.why or (case.section != OWN and case.sheet is None), case


@pytest.mark.parametrize("walk", RECEIPTS, ids=lambda walk: walk.kind)
def test_every_deviation_of_a_receipt_has_a_reason(walk: Walk) -> None:
    """The same of what is said later, whose states providers.md names in words of its own."""
    for event in walk.cases:
        assert isinstance(event, Event)
        as_said = event.status in STATES.get(event.sheet, ())
        assert event.why or (event.section != OWN and as_said), event


READERS = {
    "sendgrid": (sendgrid.read, sendgrid_codes.CALL),
    "mailgun": (mailgun.read, mailgun_codes.CALL),
    "ses": (ses.read, ses_codes.CALL),
    "twilio": (twilio.read, twilio_codes.CALL),
    "termii": (termii.read, termii_codes.CALL),
    "sns": (sns.read, sns_codes.CALL),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("case", transport.CASES, ids=lambda case: str(case.status))
def test_foreign_words(kind: str, case: Case) -> None:
    """A status with a body that no provider wrote means the same whoever was asked, and the words are kept."""
    read, call = READERS[kind]
    result = read(httpx.Response(case.status, text=case.words), call)
    assert (result.outcome, result.reason, result.scope) == (case.outcome, case.reason, "")
    assert result.provider_text == case.words


@pytest.mark.parametrize("known", transport.BREAKS, ids=lambda known: known.error.__name__)
def test_broken_lines(known: transport.Break) -> None:
    """Each way a line breaks means what §0.2 says."""
    verdict = verdict_of(known.error("x"))
    assert verdict is not None
    assert (verdict.outcome, verdict.reason) == (known.outcome, known.reason)


def test_every_broken_line_is_listed() -> None:
    """The table of exceptions has each of them by its own name, and no other."""
    assert set(EXCEPTIONS) == {known.error for known in transport.BREAKS}


@pytest.mark.parametrize("boto", aws_codes.BOTO, ids=lambda boto: boto.name)
def test_errors_of_boto(boto: aws_codes.BotoError) -> None:
    """No exception of botocore is in our table, as it sends nothing for us; what comes in its place has its class."""
    raised = getattr(botocore.exceptions, boto.name, None) or getattr(botocore.parsers, boto.name)
    assert not any(kind in EXCEPTIONS for kind in raised.__mro__)
    if boto.ours is None:
        assert boto.why
        return
    verdict = verdict_of(boto.ours("x"))
    assert verdict is not None
    assert verdict.outcome is boto.sheet


@pytest.mark.parametrize(("channel", "kind"), [(Channel.EMAIL, "ses"), (Channel.SMS, "sns")])
@pytest.mark.parametrize("missing", ["accessKeyId", "secretAccessKey", "region"])
def test_keys_that_boto_would_miss(channel: Channel, kind: str, missing: str) -> None:
    """Settings without a key or a region are refused when they are stored, so that no attempt finds them missing."""
    spec = spec_for(channel, kind)
    assert spec is not None
    whole = {"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret", "region": "eu-west-1"}
    assert settings_errors(spec, whole) == []
    partial = {name: value for name, value in whole.items() if name != missing}
    assert missing in {path for path, _ in settings_errors(spec, partial)}


@pytest.mark.parametrize("half", ["", "[default]\naws_access_key_id = AKIDEXAMPLE\n"])
async def test_keys_that_the_host_does_not_have(half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host's own credentials are asked for, none or half of them are a denial, and nobody was asked."""
    (tmp_path / "credentials").write_text(half)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async def ask(_: httpx.Request) -> httpx.Response:
        raise AssertionError("asked somebody")

    with pytest.raises(NotSigned) as refused:
        await AwsIdentity(Egress(host_credentials=True), FakeClock()).resolve(
            {"hostCredentials": True, "region": "eu-west-1"}, ask
        )
    assert (refused.value.result.outcome, refused.value.result.reason) == (B, Reason.CREDENTIALS)


@pytest.mark.parametrize(("status", "meaning"), aws_codes.STATUS_OF_NO_CODE.items())
@pytest.mark.parametrize("kind", ["ses", "sns"])
def test_codes_of_tomorrow(kind: str, status: int, meaning: tuple[Outcome, str]) -> None:
    """A code of AWS that nobody knows is decided by its status."""
    read, call = READERS[kind]
    result = read(httpx.Response(status, json={"__type": "OfTomorrow", "message": "words"}), call)
    assert (result.outcome, result.reason, result.provider_code) == (*meaning, "OfTomorrow")
