"""What DispatchService accepts, the adapters can put on the wire: two floors check the same fields, each by its own
rules. A field that only one of them refuses is a message that is accepted and can never be sent.
"""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest

from services.adapters.base import Address, Attachment
from services.adapters.mime import build_mime, check_headers, header_name
from services.dispatch.content import Draft, Findings, email_content

SENDER = Address(email="shop@example.com")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = Attachment(filename="a.txt", content_type="text/plain", content=b"x")
BREAKS = ["\r\n", "\r", "\n", "\x00", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x7f", "é"]


def a_draft(**values: Any) -> Draft:
    """A draft that is accepted as it is."""
    return replace(Draft(to="ada@example.com", subject="Hello", text="Hi"), **values)


def paths(draft: Draft) -> list[str]:
    """Where acceptance finds something wrong."""
    findings = Findings()
    email_content(draft, findings)
    return [violation.field for violation in findings.violations]


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv; charset=utf-8",
        "text/calendar; method=REQUEST; charset=UTF-8",
        'text/plain;charset="iso-8859-1"',
        'application/pdf; name="a b; c.pdf"',
        "multipart/mixed; boundary=x",
        "image/svg+xml",
    ],
)
def test_a_media_type_with_parameters_can_be_sent(content_type: str) -> None:
    """`text/csv; charset=utf-8` is accepted, so every adapter's check and the MIME builder take it too."""
    content = email_content(a_draft(attachments=(replace(FILE, content_type=content_type),)), Findings())
    assert content is not None

    check_headers(content)
    raw = build_mime(content, sender=SENDER, message_id="m-1", now=NOW)

    (part,) = message_from_bytes(raw, policy=policy.default).iter_attachments()
    given, _, parameters = content_type.partition(";")
    if given.startswith("multipart/"):
        assert part.get_content_type() == "application/octet-stream"
    else:
        assert part.get_content_type() == given
        assert ("charset" in parameters) == ("charset" in part["content-type"].params)


@pytest.mark.parametrize("bad", BREAKS)
def test_no_parameter_of_a_media_type_holds_a_line_break(bad: str) -> None:
    """S16: quotes are no way around it, neither where the message is accepted nor where it is built."""
    attachment = replace(FILE, content_type=f'text/plain; name="a{bad}X-Evil: 1"')
    assert paths(a_draft(attachments=(attachment,))) == ["attachments[0].contentType"]

    content = email_content(a_draft(attachments=(FILE,)), Findings())
    assert content is not None
    with pytest.raises(ValueError, match="type/subtype"):
        check_headers(replace(content, attachments=(attachment,)))


HEADERS = (
    "From Sender Reply-To To Cc Bcc Subject Date Message-ID In-Reply-To References Comments Keywords Received "
    "Return-Path Resent-From Resent-Sender Resent-To Resent-Cc Resent-Bcc Resent-Date Resent-Message-ID MIME-Version "
    "Content-Type Content-Transfer-Encoding Content-ID Content-Description Content-Disposition Content-Language "
    "DKIM-Signature List-Unsubscribe List-Unsubscribe-Post Auto-Submitted Precedence X-Anything"
).split()


@pytest.mark.parametrize("name", HEADERS)
def test_no_header_that_the_adapters_refuse_is_accepted(name: str) -> None:
    """A header that is ours to set is refused at the door, `Resent-Bcc` included, not by each provider in turn."""
    if paths(a_draft(headers={name: "x"})):
        return
    assert header_name(name) == name
