"""Mailgun's own library, and what a request to its Messages API means, whichever of the two form types it uses."""

from collections.abc import Mapping
from email.headerregistry import Address as HeaderAddress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from mailgun.builders import MailgunMessageBuilder
from mailgun.client import Client
from werkzeug.formparser import parse_form_data

from services.adapters.base import Address, EmailContent
from tests.fakes.vendor import Received
from tests.strangers.emails import EMAILS, SENDER, an_email
from tests.strangers.maker import ATTEMPT, MESSAGE_ID, Case, Maker, plain
from tests.strangers.meaning import AGENT, COMPRESSION, CONNECTION, LENGTH, Exempt, Meaning, envelope, mailboxes

KEY = "key-of-a-test"
DOMAIN = "mg.example.com"
# fields that stand once, and fields of addresses
SINGLE = ("subject", "text", "html", "amp-html")
ADDRESSES = ("from", "to", "cc", "bcc", "h:Reply-To")
PREFIXES = ("h:", "o:", "v:")

CASES: Mapping[str, Case] = {
    **plain(EMAILS),
    "the project's sender": Case(content=an_email(sender=None), call={"project_sender": SENDER}),
    "the sender of the settings": Case(
        content=an_email(sender=None), settings={"fromEmail": SENDER.email, "fromName": SENDER.name}
    ),
    "test mode": Case(content=an_email(), settings={"testMode": True}, theirs={"testmode": True}),
    "tracking": Case(
        content=an_email(),
        call={"options": {"o:tracking": "htmlonly", "o:tracking-opens": "no", "o:require-tls": "yes"}},
        theirs={"tracking": "htmlonly", "tracking-opens": False, "require-tls": True},
    ),
    "an AMP part": Case(content=an_email(html="<p>x</p>"), call={"options": {"amp-html": "<html amp4email>"}}),
}


def _send(case: Case, url: str) -> object:
    content = case.content
    assert isinstance(content, EmailContent)
    with TemporaryDirectory() as folder, Client(auth=("api", KEY), api_url=url) as client:
        builder = _message(content)
        for name, value in (case.theirs or {}).items():
            builder.add_option(name, value=value)
        if amp := case.call.get("options", {}).get("amp-html"):
            builder.set_amp_html(amp)
        for part in content.attachments:
            path = Path(folder) / part.filename
            path.write_bytes(part.content)
            _ = builder.attach_inline(path, part.content_id) if part.content_id else builder.attach_file(path)
        payload, files = builder.build()
        if content.tags:  # the builder has no word for several; their examples write them so
            payload["o:tag"] = list(content.tags)
        return client.messages.create(data=payload, files=files, domain=DOMAIN)


def _message(content: EmailContent) -> MailgunMessageBuilder:
    builder = MailgunMessageBuilder(_written(content.sender or SENDER)).set_subject(content.subject)
    for kind, addresses in (("to", (content.to,)), ("cc", content.cc), ("bcc", content.bcc)):
        for address in addresses:
            builder.add_recipient(_written(address), kind)
    if content.text:
        builder.set_text(content.text)
    if content.html:
        builder.set_html(content.html)
    if content.reply_to:
        builder.add_custom_header("Reply-To", _written(content.reply_to))
    for name, value in content.headers:
        builder.add_custom_header(name, value)
    for name, value in (*content.metadata, ("messagepipe_id", MESSAGE_ID), ("messagepipe_attempt", ATTEMPT)):
        builder.add_custom_variable(name, value)
    return builder


def _written(address: Address) -> str:
    local, _, domain = address.email.rpartition("@")
    return str(HeaderAddress(address.name, local, domain))


def meaning(received: Received) -> Meaning:
    """Every field of a request to /messages, read as a web server reads forms."""
    environ = {
        "REQUEST_METHOD": received.method,
        "CONTENT_TYPE": received.headers["content-type"],
        "CONTENT_LENGTH": str(len(received.body)),
        "wsgi.input": BytesIO(received.body),
    }
    _, form, files = parse_form_data(environ)
    fields = envelope(received)
    for name, values in form.lists():
        if name in ADDRESSES:
            fields[name] = mailboxes(values)
        elif name in SINGLE:
            (fields[name],) = values
        else:
            assert name.startswith(PREFIXES), f"{name}: a field that no comparison knows"
            fields[name] = sorted(values)
    for name, parts in files.lists():
        assert name in ("attachment", "inline"), f"{name}: a file that no comparison knows"
        fields[name] = [(part.filename, part.content_type, part.read()) for part in parts]
        for part in parts:
            part.close()
    return fields


MAKER = Maker(
    name="mailgun",
    kind="mailgun",
    settings=lambda url: {"apiKey": KEY, "domain": DOMAIN, "baseUrl": url},
    cases=CASES,
    send=_send,
    meaning=meaning,
    exempt=(
        AGENT,
        COMPRESSION,
        CONNECTION,
        LENGTH,
        Exempt(
            "h:X-Idempotency-Key",
            "theirs",
            "a header of the mail that no page of Mailgun's gives a meaning to; the recipient would see it",
        ),
    ),
)
