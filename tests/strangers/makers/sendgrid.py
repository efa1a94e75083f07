"""SendGrid's own library, and what a request to its Mail Send API means."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import sendgrid
from sendgrid.helpers import mail as official

from services.adapters.base import Address, Attachment, EmailContent
from tests.fakes.vendor import Received
from tests.strangers.emails import EMAILS, SENDER, an_email
from tests.strangers.maker import ATTEMPT, MESSAGE_ID, Case, Maker, plain
from tests.strangers.meaning import ACCEPT, AGENT, CONNECTION, LENGTH, Meaning, envelope, mailbox

KEY = "SG.key-of-a-test.value"


def _set(name: str, value: Any) -> Callable[[official.Mail], None]:
    return lambda mail: setattr(mail, name, value)


CASES: Mapping[str, Case] = {
    **plain(EMAILS),
    "the project's sender": Case(content=an_email(sender=None), call={"project_sender": SENDER}),
    "the sender of the settings": Case(
        content=an_email(sender=None), settings={"fromEmail": SENDER.email, "fromName": SENDER.name}
    ),
    "an address twice in one list": Case(
        content=an_email(cc=(Address(email="c@example.org"), Address(email="C@EXAMPLE.ORG")))
    ),
    "ten tags": Case(content=an_email(tags=tuple("abcdefghij"))),
    "a subuser": Case(content=an_email(), settings={"onBehalfOf": "sub-1"}),
    "an IP pool": Case(
        content=an_email(), settings={"ipPoolName": "fast"}, theirs=_set("ip_pool_name", official.IpPoolName("fast"))
    ),
    "sandbox mode": Case(
        content=an_email(),
        settings={"sandboxMode": True},
        theirs=_set("mail_settings", official.MailSettings(sandbox_mode=official.SandBoxMode(enable=True))),
    ),
    "an unsubscribe group": Case(
        content=an_email(),
        call={"options": {"asm": {"group_id": 12, "groups_to_display": [12, 13]}}},
        theirs=_set("asm", official.Asm(official.GroupId(12), official.GroupsToDisplay([12, 13]))),
    ),
    "tracking": Case(
        content=an_email(),
        call={
            "options": {
                "tracking_settings": {
                    "click_tracking": {"enable": True, "enable_text": False},
                    "open_tracking": {"enable": False},
                }
            }
        },
        theirs=_set(
            "tracking_settings",
            official.TrackingSettings(
                click_tracking=official.ClickTracking(enable=True, enable_text=False),
                open_tracking=official.OpenTracking(enable=False),
            ),
        ),
    ),
}


def _official(case: Case) -> official.Mail:
    content = case.content
    assert isinstance(content, EmailContent)
    mail = official.Mail(
        from_email=_named(official.From, content.sender or SENDER),
        to_emails=_named(official.To, content.to),
        subject=content.subject,
        plain_text_content=content.text or None,
        html_content=content.html or None,
    )
    for address in content.cc:
        mail.add_cc(_named(official.Cc, address))
    for address in content.bcc:
        mail.add_bcc(_named(official.Bcc, address))
    if content.reply_to:
        mail.reply_to = _named(official.ReplyTo, content.reply_to)
    # what is added last, the library puts first
    for part in reversed(content.attachments):
        mail.add_attachment(_file(part))
    for tag in reversed(content.tags):
        mail.add_category(official.Category(tag))
    for name, value in content.headers:
        mail.add_header(official.Header(name, value))
    for name, value in (*content.metadata, ("messagepipe_id", MESSAGE_ID), ("messagepipe_attempt", ATTEMPT)):
        mail.add_custom_arg(official.CustomArg(name, value, p=0))
    if case.theirs:
        case.theirs(mail)
    return mail


def _named(kind: Callable[..., Any], address: Address) -> Any:
    return kind(address.email, address.name or None)


def _file(part: Attachment) -> official.Attachment:
    return official.Attachment(
        file_content=official.FileContent(b64encode(part.content).decode()),
        file_name=official.FileName(part.filename),
        file_type=official.FileType(part.content_type),
        disposition=official.Disposition("inline" if part.content_id else "attachment"),
        content_id=official.ContentId(part.content_id) if part.content_id else None,
    )


def _send(case: Case, url: str) -> object:
    client = sendgrid.SendGridAPIClient(KEY, host=url, impersonate_subuser=case.settings.get("onBehalfOf"))
    return client.send(_official(case))


def meaning(received: Received) -> Meaning:
    """Every field of a request to Mail Send."""
    body = received.json()
    (person,) = body.pop("personalizations")
    fields = envelope(received)
    for name in ("to", "cc", "bcc"):
        fields[name] = [_mailbox(each) for each in person.pop(name, ())]
    fields["custom_args"] = person.pop("custom_args")
    fields["from"] = _mailbox(body.pop("from"))
    fields["reply_to"] = _mailbox(body.pop("reply_to")) if "reply_to" in body else None
    fields["content"] = [(each["type"], each["value"]) for each in body.pop("content")]
    for name in ("subject", "attachments", "headers", "categories", "ip_pool_name", "mail_settings", "asm"):
        fields[name] = body.pop(name, None)
    fields["tracking_settings"] = body.pop("tracking_settings", None)
    assert (body, person) == ({}, {}), "fields that no comparison knows"
    return fields


def _mailbox(given: dict[str, str]) -> tuple[str, str]:
    assert given.keys() <= {"name", "email"}
    return mailbox(given.get("name"), given["email"])


MAKER = Maker(
    name="sendgrid",
    kind="sendgrid",
    settings=lambda url: {"apiKey": KEY, "baseUrl": url},
    cases=CASES,
    send=_send,
    meaning=meaning,
    exempt=(ACCEPT, AGENT, CONNECTION, LENGTH),
)
