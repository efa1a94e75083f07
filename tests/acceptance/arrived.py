"""What a message looks like where it arrives: each vendor's request, and each mail, as plain values to compare. No
test.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.mail import MailServer
from tests.fakes.sigv4 import is_signed
from tests.fakes.vendor import Received

# Headers of a mail that say how it is packed, or when it was: not what it says.
_PACKING = frozenset({"mime-version", "content-type", "content-transfer-encoding", "date"})


def json_call(received: Received) -> dict[str, Any]:
    """Where a JSON request went, as whom, and what it says."""
    return {"path": received.path, "as": received.headers.get("authorization", ""), **received.json()}


def form_call(received: Received) -> dict[str, Any]:
    """The same for a form; a Basic credential is shown as `user:password`."""
    return {"path": received.path, "as": _basic(received), **received.form()}


def multipart_call(received: Received) -> dict[str, Any]:
    """The same for multipart/form-data: every field as the list of its values, a file as (name, type, bytes)."""
    head = f"content-type: {received.headers['content-type']}\r\n\r\n".encode()
    form = message_from_bytes(head + received.body, policy=modern)
    assert isinstance(form, EmailMessage)
    fields: dict[str, Any] = {"path": received.path, "as": _basic(received)}
    for part in form.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name, filename = (part.get_param(key, header="content-disposition") for key in ("name", "filename"))
        value = content.decode() if filename is None else (filename, part.get_content_type(), content)
        fields.setdefault(str(name), []).append(value)
    return fields


def ses_call(secret: str) -> Callable[[Received], dict[str, Any]]:
    """The same for SES, its raw mail opened; `signed` says whether this secret signed the request."""

    def read(received: Received) -> dict[str, Any]:
        body = received.json()
        mail = b64decode(body.pop("Content")["Raw"]["Data"])
        signed = is_signed(received.path, received.headers, received.body, secret=secret, service="ses")
        return {"path": received.path, "signed": signed, **body, "mail": mail_of(mail)}

    return read


def sns_call(secret: str) -> Callable[[Received], dict[str, Any]]:
    """The same for SNS, its numbered attributes as (type, value) by name."""

    def read(received: Received) -> dict[str, Any]:
        form, attributes = received.form(), {}
        for number in count(1):
            entry = f"MessageAttributes.entry.{number}"
            if f"{entry}.Name" not in form:
                break
            kind, value = form.pop(f"{entry}.Value.DataType"), form.pop(f"{entry}.Value.StringValue")
            attributes[form.pop(f"{entry}.Name")] = (kind, value)
        signed = is_signed(received.path, received.headers, received.body, secret=secret, service="sns")
        return {"path": received.path, "signed": signed, **form, "attributes": attributes}

    return read


def smtp_mail(server: MailServer) -> dict[str, Any]:
    """The one mail that a server took, with its envelope."""
    (mail,) = server.mails
    return {"login": server.logins, "mail from": mail.sender, "rcpt to": mail.recipients, **mail_of(mail.content)}


def mail_of(raw: bytes) -> dict[str, Any]:
    """A mail as people see it: every header that says something, its texts, what is attached and what is shown."""
    mail = message_from_bytes(raw, policy=modern)
    assert isinstance(mail, EmailMessage)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    files = [part for part in mail.walk() if part.get_content_disposition() in ("attachment", "inline")]
    return {
        "headers": {name.lower(): str(value) for name, value in mail.items() if name.lower() not in _PACKING},
        "text": text.get_content().rstrip("\r\n"),
        "html": html.get_content().rstrip("\r\n"),
        "files": [_file(part) for part in files],
    }


def _file(part: Any) -> tuple[str, str, str, str, bytes]:
    return (
        part.get_content_disposition(),
        part.get_filename(),
        part.get_content_type(),
        str(part["content-id"] or ""),
        part.get_payload(decode=True),
    )


def query_of(url: str) -> Mapping[str, list[str]]:
    """The parameters of an address."""
    return parse_qs(urlsplit(url).query)


def _basic(received: Received) -> str:
    scheme, _, encoded = received.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    return b64decode(encoded).decode()
