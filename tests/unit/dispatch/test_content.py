"""What may be sent: every rule, every violation at once, each at its field's path."""

import time
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.base import Address, Attachment
from services.dispatch.content import (
    MAX_ATTACHMENTS,
    MAX_COPIES,
    MAX_HEADER_VALUE,
    MAX_HEADERS,
    MAX_MAILBOX,
    MAX_METADATA,
    MAX_SMS_TEXT,
    MAX_SUBJECT,
    MAX_TAGS,
    RESERVED_HEADERS,
    Draft,
    Findings,
    email_content,
    mailbox,
    phone_number,
    sms_content,
)

LINE_ENDS = ["\r", "\n", "\r\n", "\x00", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1b", "\x7f"]


def an_email_draft(**values: Any) -> Draft:
    """A short email to Ada."""
    return Draft(**{"to": "ada@example.com", "subject": "Hello", "text": "Hello, Ada.", **values})


def an_sms_draft(**values: Any) -> Draft:
    """A short text message."""
    return Draft(**{"to": "+14155550100", "text": "Hello, Ada.", **values})


def an_attachment(**values: Any) -> Attachment:
    """A small file."""
    return Attachment(**{"filename": "a.pdf", "content_type": "application/pdf", "content": b"x", **values})


def paths(draft: Draft, make: Any = email_content) -> list[str]:
    """Where the draft is wrong."""
    findings = Findings()
    made = make(draft, findings)
    assert (made is None) == bool(findings.violations)
    return [violation.field for violation in findings.violations]


def test_a_good_email() -> None:
    """Everything a caller wrote arrives in the content as they wrote it."""
    draft = an_email_draft(
        sender="Shop <shop@example.com>",
        html="<p>Hello</p>",
        cc=("b@example.com",),
        bcc=("C <c@example.com>",),
        reply_to="help@example.com",
        attachments=(an_attachment(content_type="", content_id="logo"),),
        headers={"X-Order": "7"},
        tags=("welcome",),
        metadata={"order": "7"},
    )
    findings = Findings()

    content = email_content(draft, findings)

    assert findings.violations == []
    assert content is not None
    assert content.sender == Address(email="shop@example.com", name="Shop")
    assert (content.cc, content.bcc) == (
        (Address(email="b@example.com"),),
        (Address(email="c@example.com", name="C"),),
    )
    assert content.reply_to == Address(email="help@example.com")
    assert content.attachments[0].content_type == "application/octet-stream"
    assert (content.headers, content.tags, content.metadata) == ((("X-Order", "7"),), ("welcome",), (("order", "7"),))


def test_all_violations_at_once() -> None:
    """A draft that is wrong everywhere says so everywhere."""
    draft = Draft(to="x", sender="y", cc=("z", "ok@example.com", "w"), headers={"Bcc": "a"}, tags=("é",))

    assert paths(draft) == ["to", "from", "cc[0]", "cc[2]", "subject", "text", "headers.Bcc", "tags[0]"]


def test_paths_stand_below_their_prefix() -> None:
    """An item of a batch says which one it is."""
    findings = Findings("messages[3]")
    email_content(an_email_draft(to=""), findings)

    assert [violation.field for violation in findings.violations] == ["messages[3].to"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", Address(email="ada@example.com")),
        ("  ada@example.com ", Address(email="ada@example.com")),
        ("Ada Lovelace <ada@example.com>", Address(email="ada@example.com", name="Ada Lovelace")),
        ('"Lovelace, Ada" <ada@example.com>', Address(email="ada@example.com", name="Lovelace, Ada")),
        (r'"A \"B\" C" <ada@example.com>', Address(email="ada@example.com", name='A "B" C')),
        ("<ada@example.com>", Address(email="ada@example.com")),
        ("Zoë <zoe@EXAMPLE.com>", Address(email="zoe@example.com", name="Zoë")),
        ("ada+news@sub.example.co.uk", Address(email="ada+news@sub.example.co.uk")),
        ("  Ada   Lovelace  <ada@example.com>  ", Address(email="ada@example.com", name="Ada   Lovelace")),
        (' "Ada"<ada@example.com>', Address(email="ada@example.com", name="Ada")),
    ],
)
def test_mailboxes(text: str, address: Address) -> None:
    """RFC 5322 mailboxes with and without a name; the domain in lower case."""
    findings = Findings()

    assert mailbox("to", text, findings) == address
    assert findings.violations == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "ada",
        "ada@",
        "@example.com",
        "ada@localhost",
        "ada@@example.com",
        "ada@example.com, bob@example.com",
        "ada@example.com;bob@example.com",
        "Ada <ada@example.com> <bob@example.com>",
        "Ada <ada@example.com> bob",
        "<ada@example.com><bob@example.com>",
        'Ada" <ada@example.com>',
        "Group: ada@example.com;",
        "ada@exa mple.com",
        "ada@[127.0.0.1]",
        "ada@" + "a" * 64 + ".com",
    ],
)
def test_no_mailboxes(text: str) -> None:
    """Lists, groups, leftovers and addresses without a full domain are refused: nothing is cut away in silence."""
    findings = Findings()

    assert mailbox("to", text, findings) is None
    assert [violation.field for violation in findings.violations] == ["to"]


@pytest.mark.parametrize("shape", ["{}<x", "a{}<x", '"a"{}<x', "{}a{}<x", "<{}"])
def test_an_address_that_is_made_to_take_long_takes_no_time(shape: str) -> None:
    """However many spaces stand where they might belong to either neighbour; what is too long is refused at once."""
    began = time.process_time()
    for count in (450, 1200):
        assert mailbox("to", shape.format(*[" " * count] * 2), Findings()) is None
    assert time.process_time() - began < 0.05


def test_a_mailbox_is_no_longer_than_a_line_of_a_mail() -> None:
    """A name may be long, but every provider has to put it into one header."""
    address = "<ada@example.com>"
    longest = "x" * (MAX_MAILBOX - len(address)) + address
    assert mailbox("to", longest, Findings()) is not None
    findings = Findings()
    assert mailbox("to", "x" + longest, findings) is None
    assert [violation.description for violation in findings.violations] == [
        "must be at most 998 characters; it has 999"
    ]


@pytest.mark.parametrize("end", LINE_ENDS, ids=lambda end: end.encode("unicode_escape").decode())
def test_nothing_that_ends_in_a_header_holds_a_line_end(end: str) -> None:
    """S16: line ends and control characters are refused wherever a header is made of the text."""
    bad = f"a{end}Bcc: eve@example.com"
    draft = Draft(
        to=f"Ada{end} <ada@example.com>",
        sender=f"shop@example.com{end}",
        reply_to=f"{end}help@example.com",
        cc=(f"b@example.com{end}",),
        subject=bad,
        text="fine",
        attachments=(an_attachment(filename=bad, content_type=f"text/plain{end}X: y", content_id=bad),),
        headers={"X-A": bad, f"X-B{end}": "v"},
        tags=(bad,),
        metadata={"k": bad},
    )

    assert set(paths(draft)) == {
        "to",
        "from",
        "replyTo",
        "cc[0]",
        "subject",
        "attachments[0].filename",
        "attachments[0].contentType",
        "attachments[0].contentId",
        "headers.X-A",
        "headers",
        "tags[0]",
        "metadata.k",
    }


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_accepted_is_safe_in_a_header(to: str, subject: str) -> None:
    """No accepted address, name or subject holds a line end or a control character."""
    content = email_content(an_email_draft(to=to, subject=subject, text="x"), Findings())
    if content is not None:
        shown = content.to.email + content.to.name + content.subject
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029" for char in shown)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "  "}, "subject"),
        ({"subject": "x" * (MAX_SUBJECT + 1)}, "subject"),
        ({"text": "", "html": ""}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"html": "a\x00b"}, "html"),
        ({"cc": ("b@example.com",) * (MAX_COPIES + 1)}, "cc"),
        ({"bcc": ("b@example.com",) * (MAX_COPIES + 1)}, "bcc"),
        ({"attachments": (an_attachment(),) * (MAX_ATTACHMENTS + 1)}, "attachments"),
        ({"attachments": (an_attachment(filename=""),)}, "attachments[0].filename"),
        ({"attachments": (an_attachment(), an_attachment(filename="../a"))}, "attachments[1].filename"),
        ({"attachments": (an_attachment(filename="a\\b"),)}, "attachments[0].filename"),
        ({"attachments": (an_attachment(filename="a" * 256),)}, "attachments[0].filename"),
        ({"attachments": (an_attachment(content=b""),)}, "attachments[0].content"),
        ({"attachments": (an_attachment(content_type="pdf"),)}, "attachments[0].contentType"),
        ({"attachments": (an_attachment(content_id="<a>"),)}, "attachments[0].contentId"),
        ({"headers": {f"X-{number}": "" for number in range(MAX_HEADERS + 1)}}, "headers"),
        ({"headers": {"": "x"}}, "headers"),
        ({"headers": {"X A": "x"}}, "headers"),
        ({"headers": {"X:A": "x"}}, "headers"),
        ({"headers": {"X-A": "x" * (MAX_HEADER_VALUE + 1)}}, "headers.X-A"),
        ({"tags": ("a",) * (MAX_TAGS + 1)}, "tags"),
        ({"tags": ("a", "")}, "tags[1]"),
        ({"metadata": {str(number): "" for number in range(MAX_METADATA + 1)}}, "metadata"),
        ({"metadata": {"a b": "x"}}, "metadata"),
        ({"metadata": {"a": "x" * 501}}, "metadata.a"),
    ],
)
def test_the_limits_of_an_email(values: dict[str, Any], path: str) -> None:
    """Each limit is told at the field it is about, and nowhere else."""
    assert paths(an_email_draft(**values)) == [path]


def test_the_limits_are_reachable() -> None:
    """What is exactly at its limit is accepted."""
    draft = an_email_draft(
        subject="x" * MAX_SUBJECT,
        cc=("b@example.com",) * MAX_COPIES,
        attachments=(an_attachment(filename="a" * 255),) * MAX_ATTACHMENTS,
        headers={f"X-{number}": "x" * MAX_HEADER_VALUE for number in range(MAX_HEADERS)},
        tags=("x" * 128,) * MAX_TAGS,
        metadata={f"k{number}": "x" * 500 for number in range(MAX_METADATA)},
    )

    assert paths(draft) == []


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS))
def test_headers_that_the_service_sets(name: str) -> None:
    """A reserved header is refused in any spelling."""
    assert paths(an_email_draft(headers={name.title(): "x"})) == [f"headers.{name.title()}"]


def test_a_good_text_message() -> None:
    """Number, sender, text and metadata arrive as written."""
    findings = Findings()

    content = sms_content(an_sms_draft(sender="Shop", metadata={"order": "7"}), findings)

    assert content is not None
    assert (content.to, content.sender, content.text) == ("+14155550100", "Shop", "Hello, Ada.")
    assert content.metadata == (("order", "7"),)


@pytest.mark.parametrize("number", ["+14155550100", "+2348031234567", "+447700900123", "+33612345678"])
def test_numbers(number: str) -> None:
    """E.164 numbers that their country's plan could hold are accepted."""
    assert phone_number("to", number, Findings()) == number


@pytest.mark.parametrize(
    "number",
    ["", "4155550100", "+0123456789", "+1415555", "+1 415 555 0100", "+1415555010000", "+999123456789", "0031612345678",
     "+1415555\N{FULLWIDTH DIGIT ZERO}100", "+14155550100\n", "ada@example.com"],
)  # fmt: skip
def test_no_numbers(number: str) -> None:
    """Anything else is refused, with spaces, foreign digits or a line end too."""
    findings = Findings()

    assert phone_number("to", number, findings) is None
    assert [violation.field for violation in findings.violations] == ["to"]


@pytest.mark.parametrize("sender", ["", "+14155550100", "12345", "Shop", "My Shop 24", "AB1"])
def test_senders_of_text_messages(sender: str) -> None:
    """A number, a short code, a name of 3 to 11 letters, digits or spaces, or none."""
    assert paths(an_sms_draft(sender=sender), sms_content) == []


@pytest.mark.parametrize("sender", ["AB", "A name too long", "Sh@p", "12", "123456789", "Shop\n", "Größe"])
def test_no_senders_of_text_messages(sender: str) -> None:
    """Everything else is refused at `from`."""
    assert paths(an_sms_draft(sender=sender), sms_content) == ["from"]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"to": "ada@example.com"}, "to"),
        ({"text": ""}, "text"),
        ({"text": "x" * (MAX_SMS_TEXT + 1)}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"subject": "x"}, "subject"),
        ({"html": "x"}, "html"),
        ({"cc": ("x",)}, "cc"),
        ({"bcc": ("x",)}, "bcc"),
        ({"reply_to": "x"}, "replyTo"),
        ({"attachments": (an_attachment(),)}, "attachments"),
        ({"headers": {"X-A": "x"}}, "headers"),
        ({"tags": ("",)}, "tags[0]"),
        ({"metadata": {"": "x"}}, "metadata"),
    ],
)
def test_the_limits_of_a_text_message(values: dict[str, Any], path: str) -> None:
    """Each limit is told at its field; what only an email can have is refused by name."""
    assert paths(an_sms_draft(**values), sms_content) == [path]


def test_no_violation_repeats_what_was_written() -> None:
    """Errors are logged and shown: they hold no address, number or content of the caller."""
    findings = Findings()
    email_content(Draft(to="secret person@example.com", subject="secret\n", cc=("secret",)), findings)
    sms_content(Draft(to="+1 secret", sender="secret secret", text="s" * 2000), findings)

    assert not any("secret" in violation.description for violation in findings.violations)


def test_every_field_of_a_draft_is_checked() -> None:
    """A new field of Draft has to be taken up here and in content.py."""
    assert {each.name for each in fields(Draft)} == {
        *("to", "sender", "subject", "text", "html", "cc", "bcc", "reply_to"),
        *("attachments", "headers", "tags", "metadata", "validity"),
    }
