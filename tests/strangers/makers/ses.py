"""SES through boto3: the request with a MIME message of the standard library's, and the one with simple content."""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from email import policy
from email.header import Header
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.utils import formataddr
from typing import Any

from services.adapters.base import Address, Attachment, EmailContent
from tests.fakes.vendor import Received
from tests.strangers.emails import EMAILS, SENDER, an_email
from tests.strangers.maker import ATTEMPT, MESSAGE_ID, Case, Maker, plain
from tests.strangers.makers.amazon import EXEMPT, KEYS, TOKEN, client, session_token, signed_envelope
from tests.strangers.meaning import LENGTH, Exempt, Meaning, a_labels
from tests.strangers.mime import header_meaning, lines, mime_meaning

OPTIONS = {
    "FeedbackForwardingEmailAddress": "bounces@example.com",
    "FromEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
    "ListManagementOptions": {"ContactListName": "news", "TopicName": "weekly"},
    "TenantName": "tenant-1",
}
CASES: Mapping[str, Case] = {
    **plain(EMAILS),
    "the project's sender": Case(content=an_email(sender=None), call={"project_sender": SENDER}),
    "the sender of the settings": Case(
        content=an_email(sender=None), settings={"fromEmail": SENDER.email, "fromName": SENDER.name}
    ),
    "a session token": Case(content=an_email(), settings={"sessionToken": TOKEN}),
    "a configuration set": Case(
        content=an_email(), settings={"configurationSet": "set_1"}, theirs={"ConfigurationSetName": "set_1"}
    ),
    "options": Case(content=an_email(), call={"options": OPTIONS}, theirs=OPTIONS),
}
# The standard library writes a subject that looks like an encoded word as it is, and readers then decode it.
RAW_CASES = {name: case for name, case in CASES.items() if name != "a subject that looks encoded"}


def _send(arguments: Callable[[EmailContent], dict[str, Any]]) -> Callable[[Case, str], object]:
    def send(case: Case, url: str) -> object:
        content = case.content
        assert isinstance(content, EmailContent)
        tags = {"messagepipe_id": MESSAGE_ID, "messagepipe_attempt": ATTEMPT}
        tags |= {f"tag_{number}": tag for number, tag in enumerate(content.tags, start=1)}
        return client("sesv2", url, token=session_token(case.settings)).send_email(
            **arguments(content),
            EmailTags=[{"Name": name, "Value": value} for name, value in tags.items()],
            **(case.theirs or {}),
        )

    return send


# --- their Raw: a message of the standard library's


def _raw(content: EmailContent) -> dict[str, Any]:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"] = _parsed([content.sender or SENDER]), _parsed([content.to])
    if content.cc:
        message["Cc"] = _parsed(content.cc)
    if content.reply_to:
        message["Reply-To"] = _parsed([content.reply_to])
    message["Subject"] = content.subject
    for name, value in own_headers(content):
        message[name] = value
    if content.text:
        message.set_content(content.text)
    if content.html:
        add = message.add_alternative if content.text else message.set_content
        add(content.html, subtype="html")
    for part in content.attachments:
        _attach(message, part)
    # Folded nowhere: that is where Python 3.11 goes wrong, and it is not what is compared.
    raw = message.as_bytes(policy=policy.SMTP.clone(max_line_length=None))
    return {"Content": {"Raw": {"Data": raw}}, "Destination": _destination(content, _bare)}


def _attach(message: EmailMessage, part: Attachment) -> None:
    kind, _, sub = part.content_type.partition("/")
    if part.content_id:
        html = message.get_body(("html",))
        assert html is not None
        cid = f"<{part.content_id}>"
        html.add_related(part.content, kind, sub, cid=cid, disposition="inline", filename=part.filename)
    else:
        message.add_attachment(part.content, kind, sub, filename=part.filename)


def _parsed(addresses: Iterable[Address]) -> list[HeaderAddress]:
    return [HeaderAddress(address.name, addr_spec=_bare(address)) for address in addresses]


def own_headers(content: EmailContent) -> list[tuple[str, str]]:
    """The message's headers, and its metadata where ours has it."""
    return [*content.headers, *((f"X-Metadata-{name}", value) for name, value in content.metadata)]


# --- their Simple: SES writes the MIME


def _simple(content: EmailContent) -> dict[str, Any]:
    simple: dict[str, Any] = {"Subject": _said(content.subject), "Body": {}}
    simple["Body"] |= {"Text": _said(content.text)} if content.text else {}
    simple["Body"] |= {"Html": _said(content.html)} if content.html else {}
    if headers := own_headers(content):
        simple["Headers"] = [{"Name": name, "Value": _ascii(value)} for name, value in headers]
    if content.attachments:
        simple["Attachments"] = [_simple_file(part) for part in content.attachments]
    more = {"ReplyToAddresses": [_written(content.reply_to)]} if content.reply_to else {}
    return {
        "FromEmailAddress": _written(content.sender or SENDER),
        "Destination": _destination(content, _written),
        "Content": {"Simple": simple},
        **more,
    }


def _said(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _ascii(value: str) -> str:
    return value if value.isascii() else Header(value, "utf-8", maxlinelen=900).encode()


def _simple_file(part: Attachment) -> dict[str, Any]:
    disposition = {"ContentDisposition": "INLINE", "ContentId": part.content_id}
    return {
        "RawContent": part.content,
        "FileName": part.filename,
        "ContentType": part.content_type,
        "ContentTransferEncoding": "BASE64",
        **(disposition if part.content_id else {"ContentDisposition": "ATTACHMENT"}),
    }


def _destination(content: EmailContent, write: Callable[[Address], str]) -> dict[str, list[str]]:
    lists = {"ToAddresses": (content.to,), "CcAddresses": content.cc, "BccAddresses": content.bcc}
    return {name: [write(address) for address in addresses] for name, addresses in lists.items() if addresses}


def _bare(address: Address) -> str:
    local, _, domain = address.email.rpartition("@")
    return f"{local}@{a_labels(domain)}"


def _written(address: Address) -> str:
    return formataddr((address.name, _bare(address)))


# --- what any of the three means


def meaning(received: Received) -> Meaning:
    """Every field of a SendEmail, whether its content is Raw or Simple."""
    body = received.json()
    content, destination = body.pop("Content"), body.pop("Destination")
    fields = signed_envelope(received, "ses")
    for name in ("ConfigurationSetName", *OPTIONS):
        fields[name] = body.pop(name, None)
    fields["EmailTags"] = {each["Name"]: each["Value"] for each in body.pop("EmailTags")}
    for name in ("ToAddresses", "CcAddresses", "BccAddresses"):
        fields[f"envelope {name}"] = [address for _, address in header_meaning("To", destination.pop(name, ()))]
    if "Raw" in content:
        fields |= mime_meaning(b64decode(content.pop("Raw").pop("Data")))
    else:
        fields |= _simple_meaning(content.pop("Simple"), body, received.json()["Destination"])
    assert (body, content, destination) == ({}, {}, {}), "fields that no comparison knows"
    return fields


def _simple_meaning(simple: dict[str, Any], body: dict[str, Any], destination: dict[str, list[str]]) -> Meaning:
    written = {
        "from": [body.pop("FromEmailAddress")],
        "to": destination["ToAddresses"],
        "cc": destination.get("CcAddresses"),
        "reply-to": body.pop("ReplyToAddresses", None),
    }
    fields: dict[str, Any] = {f"mail {name}": [header_meaning("To", value)] for name, value in written.items() if value}
    fields["mail subject"] = [" ".join(simple.pop("Subject")["Data"].split())]
    for header in simple.pop("Headers", ()):
        fields[f"mail {header['Name'].lower()}"] = [header_meaning("X-Any", [header["Value"]])]
    bodies = simple.pop("Body")
    for kind, name in (("plain", "Text"), ("html", "Html")):
        fields[f"body {kind}"] = lines(bodies.pop(name)["Data"]) if name in bodies else None
    files = [_file_meaning(part) for part in simple.pop("Attachments", ())]
    fields["attached"] = [each for each in files if each["disposition"] == "attachment"]
    fields["inline"] = [each for each in files if each["disposition"] == "inline"]
    assert (simple, bodies) == ({}, {}), "fields that no comparison knows"
    return fields


def _file_meaning(part: dict[str, Any]) -> dict[str, Any]:
    assert part.pop("ContentTransferEncoding") == "BASE64"
    found = {
        "name": part.pop("FileName"),
        "type": part.pop("ContentType"),
        "disposition": part.pop("ContentDisposition").lower(),
        "content id": part.pop("ContentId", None),
        "content": b64decode(part.pop("RawContent")),
    }
    assert not part, "fields that no comparison knows"
    return found


OURS = (
    Exempt("mail message-id", "ours", "carries our id; SES writes its own over it, and receipts name both"),
    Exempt("mail date", "ours", "SES would write its own"),
)
RAW = Maker(
    name="ses raw",
    kind="ses",
    settings=lambda url: {**KEYS, "endpointUrl": url},
    cases=RAW_CASES,
    send=_send(_raw),
    meaning=meaning,
    exempt=(*EXEMPT, LENGTH, *OURS),
)
SIMPLE = Maker(
    name="ses simple",
    kind="ses",
    settings=RAW.settings,
    cases=CASES,
    send=_send(_simple),
    meaning=meaning,
    exempt=(*EXEMPT, LENGTH, *OURS, Exempt("mail mime-version", "ours", "SES writes the MIME, and this with it")),
)
