"""SES as moto plays it: our adapter's mail arrives as it was meant, and moto's refusals are understood."""

import pytest

from services.adapters.base import Address, Call, Channel, EmailContent
from services.adapters.check import CheckVerdict
from services.adapters.outcome import Outcome, Reason, Result
from tests.strangers.conftest import Adapters, Checked
from tests.strangers.emails import EMAILS, SENDER, an_email
from tests.strangers.emulator import ACCOUNT, Moto
from tests.strangers.makers.amazon import KEYS, client
from tests.strangers.meaning import mailbox
from tests.strangers.mime import lines, mime_meaning
from tests.unit.adapters.calls import a_call

PATH = "/v2/email/outbound-emails"


# moto counts the recipients of the envelope and those of the headers: fifty would be too many for it.
SMALL_EMAILS = {name: content for name, content in EMAILS.items() if len(content.cc) + len(content.bcc) < 24}


def _verified(moto: Moto) -> None:
    client("sesv2", moto.url).create_email_identity(EmailIdentity=SENDER.email.partition("@")[2])


def _call(moto: Moto, content: EmailContent | None = None) -> Call:
    return a_call(content or an_email(), {**KEYS, "endpointUrl": moto.url})


async def _sent(adapters: Adapters, call: Call) -> Result:
    return await adapters[Channel.EMAIL, "ses"].send(call)


@pytest.mark.parametrize("content", SMALL_EMAILS.values(), ids=SMALL_EMAILS)
async def test_a_mail_arrives_as_it_was_meant(content: EmailContent, moto: Moto, adapters: Adapters) -> None:
    """moto takes the mail, keeps it under the id that we were given, and what it kept says what the message says."""
    _verified(moto)

    result = await _sent(adapters, _call(moto, content))

    (kept,) = moto.recorded("ses", "RawMessage")
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, kept["id"])
    mail = mime_meaning(kept["raw_data"].encode())
    assert mail["mail from"] == [[_mailbox(content.sender or SENDER)]]
    assert mail["mail to"] == [[_mailbox(content.to)]]
    assert mail.get("mail cc", [[]]) == [[_mailbox(each) for each in content.cc]]
    assert mail.get("mail reply-to", [[]]) == [[_mailbox(each) for each in (content.reply_to,) if each]]
    assert "mail bcc" not in mail
    assert mail["mail subject"] == [content.subject.strip()]
    assert (mail["body plain"] or "", mail["body html"] or "") == (lines(content.text), lines(content.html))
    for name, value in content.headers:
        assert mail[f"mail {name.lower()}"] == [value]
    files = [(part.filename, part.content_type, part.content_id or None, part.content) for part in content.attachments]
    found = [(each["name"], each["type"], each["content id"], each["content"]) for each in _files(mail)]
    assert sorted(found, key=repr) == sorted(files, key=repr)
    # moto adds the headers' recipients again: the first of each are those of our envelope
    envelope = [_mailbox(each)[1] for each in (content.to, *content.cc, *content.bcc)]
    assert kept["destinations"][: len(envelope)] == envelope


def _mailbox(address: Address) -> tuple[str, str]:
    return mailbox(address.name, address.email)


def _files(mail: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    return [*mail["attached"], *mail["inline"]]


async def test_an_unverified_sender(moto: Moto, adapters: Adapters) -> None:
    """moto's refusal of a sender that it does not know denies this sender only, and nothing is kept."""
    result = await _sent(adapters, _call(moto))

    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.SENDER_REFUSED)
    assert result.scope == f"sender:{SENDER.email}"
    assert moto.recorded("ses", "RawMessage") == []


async def test_fifty_one_recipients_never_leave(moto: Moto, adapters: Adapters) -> None:
    """More recipients than SES takes are refused before the wire: nothing arrives at all."""
    _verified(moto)
    many = tuple(Address(email=f"c{number}@example.org") for number in range(50))
    before = moto.calls(PATH)

    result = await _sent(adapters, _call(moto, an_email(cc=many)))

    assert (result.outcome, result.reason) == (Outcome.UNFIT, Reason.TOO_MANY_RECIPIENTS)
    assert moto.calls(PATH) == before
    assert (await _sent(adapters, _call(moto))).outcome is Outcome.ACCEPTED
    assert moto.calls(PATH) == before + 1


async def test_the_check_of_good_keys(moto: Moto, checked: Checked) -> None:
    """moto has no GetAccount: STS then says whose the keys are, and the check that it can not verify more."""
    result = await checked("ses", {**KEYS, "endpointUrl": moto.url})

    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert f"arn:aws:sts::{ACCOUNT}:user/moto" in result.message


async def test_the_check_of_bad_keys(moto: Moto, checked: Checked) -> None:
    """Keys that IAM never made are BAD."""
    moto.check_credentials()

    result = await checked("ses", {**KEYS, "endpointUrl": moto.url})

    assert result.verdict is CheckVerdict.BAD
