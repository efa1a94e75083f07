"""SNS as moto plays it: our adapter's text arrives as it was meant, and moto's refusals are understood."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx
import pytest

from services.adapters import aws
from services.adapters.base import Call, Channel, SmsContent
from services.adapters.check import CheckVerdict
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.sms import sns
from tests.strangers.conftest import Adapters, Checked
from tests.strangers.emulator import Moto
from tests.strangers.maker import Case
from tests.strangers.makers.amazon import KEYS, client
from tests.strangers.makers.sns import CASES
from tests.strangers.texts import NUMBER, a_text
from tests.unit.adapters.calls import a_call


def _call(moto: Moto, content: SmsContent | None = None) -> Call:
    return a_call(content or a_text(), {**KEYS, "endpointUrl": moto.url})


async def _sent(adapters: Adapters, call: Call) -> Result:
    return await adapters[Channel.SMS, "sns"].send(call)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_text_arrives_as_it_was_meant(case: Case, moto: Moto, adapters: Adapters) -> None:
    """moto takes the text whole and keeps it for the number, under the id that we were given."""
    assert isinstance(case.content, SmsContent)
    settings = {**KEYS, "endpointUrl": moto.url, **case.settings}

    result = await _sent(adapters, a_call(case.content, settings, **case.call))

    (kept,) = moto.recorded("sns", "SMS")
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, kept["message_id"])
    assert (kept["phone_number"], kept["message"]) == (case.content.to, case.content.text)


async def test_1600_bytes_arrive_and_one_more_never_leaves(moto: Moto, adapters: Adapters) -> None:
    """The longest text goes out whole; a longer one is refused before the wire, in bytes and not characters."""
    before = moto.calls("/")

    fits = await _sent(adapters, _call(moto, a_text("é" * 800)))
    too_long = [await _sent(adapters, _call(moto, a_text(text))) for text in ("x" * 1601, "é" * 801)]

    assert fits.outcome is Outcome.ACCEPTED
    assert {(result.outcome, result.reason) for result in too_long} == {(Outcome.UNFIT, Reason.TOO_LARGE)}
    assert moto.calls("/") == before + 1
    assert [each["message"] for each in moto.recorded("sns", "SMS")] == ["é" * 800]


async def test_a_number_that_opted_out(moto: Moto, adapters: Adapters) -> None:
    """An opted-out number is accepted, as SNS does it: only its delivery log would tell."""
    out = "+14155550199"
    assert client("sns", moto.url).check_if_phone_number_is_opted_out(phoneNumber=out)["isOptedOut"]

    result = await _sent(adapters, _call(moto, a_text(to=out)))

    assert result.outcome is Outcome.ACCEPTED
    assert [each["phone_number"] for each in moto.recorded("sns", "SMS")] == [out]


async def test_a_number_that_is_none(moto: Moto, adapters: Adapters) -> None:
    """moto's words for a number that is none are understood as such."""
    result = await _sent(adapters, _call(moto, a_text(to="+0123")))

    assert (result.outcome, result.reason) == (Outcome.INVALID, Reason.RECIPIENT_INVALID)
    assert moto.recorded("sns", "SMS") == []


def test_a_text_that_moto_finds_too_long(moto: Moto) -> None:
    """Should our own limit ever be wrong, a stranger's refusal of the length is understood too."""
    form = {"Action": "Publish", "Version": "2010-03-31", "PhoneNumber": NUMBER, "Message": "x" * 1601}
    request = aws.signed_post(
        f"{moto.url}/",
        service="sns",
        body=urlencode(form).encode(),
        content_type="application/x-www-form-urlencoded",
        config=KEYS,
        now=datetime.now(UTC),
    )
    with httpx.Client() as wire:
        result = sns.read(wire.send(request), _call(moto))

    assert (result.outcome, result.reason, result.provider_code) == (
        Outcome.UNFIT,
        Reason.TOO_LARGE,
        "InvalidParameter",
    )


async def test_the_check_of_good_keys(moto: Moto, checked: Checked) -> None:
    """Keys that may read the SMS settings are GOOD, and the spend limit is told."""
    client("sns", moto.url).set_sms_attributes(attributes={"MonthlySpendLimit": "7"})

    result = await checked("sns", {**KEYS, "endpointUrl": moto.url})

    assert result.verdict is CheckVerdict.GOOD
    assert "USD 7" in result.message


async def test_the_check_of_keys_that_may_only_send(moto: Moto, checked: Checked) -> None:
    """Good keys that may not read the settings are not called bad: STS says whose they are."""
    keys = moto.user("sns:Publish")
    moto.check_credentials()

    result = await checked("sns", {**KEYS, "endpointUrl": moto.url, **keys})

    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert "user/sender" in result.message


async def test_the_check_of_bad_keys(moto: Moto, checked: Checked) -> None:
    """Keys that IAM never made are BAD, and so is a wrong secret."""
    keys = moto.user("sns:GetSMSAttributes")
    moto.check_credentials()

    results = [
        await checked("sns", {**KEYS, "endpointUrl": moto.url, **more})
        for more in ({}, {**keys, "secretAccessKey": "another/secret"})
    ]

    assert [result.verdict for result in results] == [CheckVerdict.BAD, CheckVerdict.BAD]
