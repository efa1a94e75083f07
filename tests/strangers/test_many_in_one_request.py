"""One request for many, beside what SendGrid's and Mailgun's own libraries make of the same messages."""

import json
from dataclasses import replace
from urllib.parse import parse_qs

import httpx
from mailgun.builders import MailgunMessageBuilder
from sendgrid.helpers import mail as official

from services.adapters.base import Address, Call
from services.adapters.email import mailgun, sendgrid
from tests.unit.adapters.calls import an_email

PEOPLE = [Address(email="ada@example.net", name="Ada"), Address(email="bob@example.org")]
MAILGUN = {"apiKey": "key", "domain": "mg.example.com"}


def calls(config: dict[str, str]) -> list[Call]:
    """A message to each of them."""
    return [replace(an_email(config, to=to), message_id=f"id-{to.email}") for to in PEOPLE]


def test_sendgrid() -> None:
    """The body is the library's for several mails that do not see each other."""
    mail = official.Mail(
        from_email=official.From("shop@example.com", "Shop"),
        to_emails=[official.To(to.email, to.name or None) for to in PEOPLE],
        subject="Your receipt",
        plain_text_content="Thank you.",
        is_multiple=True,
    )
    for place, to in enumerate(reversed(PEOPLE)):  # what is added last, the library puts first
        mail.add_custom_arg(official.CustomArg("messagepipe_id", f"id-{to.email}", p=place))
        mail.add_custom_arg(official.CustomArg("messagepipe_attempt", "1", p=place))

    ours = sendgrid.build_together(calls({"apiKey": "SG.key"}))

    assert isinstance(ours, httpx.Request)
    theirs = mail.get()
    theirs["personalizations"].reverse()
    assert json.loads(ours.content) == theirs


def test_mailgun() -> None:
    """The fields are the library's for a batch with recipient variables."""
    builder = MailgunMessageBuilder('"Shop" <shop@example.com>').set_subject("Your receipt").set_text("Thank you.")
    for recipient in ('"Ada" <ada@example.net>', "<bob@example.org>"):
        builder.add_recipient(recipient)
    builder.set_recipient_variables(
        {to.email: {"messagepipe_id": f"id-{to.email}", "messagepipe_attempt": "1"} for to in PEOPLE}
    )
    payload, _ = builder.build()

    ours = mailgun.build_together(calls(MAILGUN))

    assert isinstance(ours, httpx.Request)
    fields = parse_qs(ours.content.decode())
    # what an event tells of a message is a variable of its own, filled in per recipient
    assert fields.pop("v:messagepipe_id") == ["%recipient.messagepipe_id%"]
    assert fields.pop("v:messagepipe_attempt") == ["%recipient.messagepipe_attempt%"]
    assert json.loads(fields.pop("recipient-variables")[0]) == json.loads(payload.pop("recipient-variables"))
    fields["to"] = [",".join(fields["to"])]
    del payload["h:X-Idempotency-Key"]  # the library's own, of which the vendor's documentation says nothing
    assert fields == {name: value if isinstance(value, list) else [value] for name, value in payload.items()}
