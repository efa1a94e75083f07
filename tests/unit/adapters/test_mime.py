"""The MIME builder: what a reader's parser sees is what was asked for, and no header ends early."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters.base import Address, Attachment, EmailContent
from services.adapters.mime import build_mime, check_headers, header_name, message_id_header, wire_address

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SENDER = Address(email="shop@example.com", name="Shöp, Inc.")
LOGO = Attachment(filename="lögo.png", content_type="image/png", content=b"\x89PNG", content_id="logo")
NOTE = Attachment(filename="note.txt", content_type="text/plain", content=b"a\r\n.\r\nb")
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300)


def an_email(**more: Any) -> EmailContent:
    """A short email."""
    return replace(
        EmailContent(to=Address(email="ada@example.com", name='Ada "the" L'), subject="Hellö", text="Hi"), **more
    )


def built(content: EmailContent) -> bytes:
    """Its bytes."""
    return build_mime(content, sender=SENDER, message_id="0199-m1", now=NOW)


def parsed(content: EmailContent) -> EmailMessage:
    """Its bytes as a reader's parser sees them."""
    message = message_from_bytes(built(content), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_headers() -> None:
    """From, To, Cc, Reply-To, Subject, Date and our stable Message-ID are there; bcc is not."""
    content = an_email(
        cc=(Address(email="c1@example.com"), Address(email="c2@example.com", name="C, Two")),
        bcc=(Address(email="secret@example.com"),),
        reply_to=Address(email="help@example.com"),
        headers=(("X-Campaign", "märz"), ("List-Unsubscribe", "<https://example.com/u>")),
        metadata=(("order", "17"),),
    )
    message = parsed(content)
    assert [str(message[name]) for name in ("from", "to", "reply-to", "subject", "message-id", "x-campaign",
    "x-metadata-order")] == [
        '"Shöp, Inc." <shop@example.com>', '"Ada \\"the\\" L" <ada@example.com>', "help@example.com", "Hellö",
        "<0199-m1@example.com>", "märz", "17",
    ]  # fmt: skip
    assert [address.addr_spec for address in message["cc"].addresses] == ["c1@example.com", "c2@example.com"]
    assert message["date"].datetime == NOW
    assert b"secret@example.com" not in built(content)


def test_structure() -> None:
    """Text and HTML are alternatives, inline files belong to the HTML, the rest is attached."""
    message = parsed(an_email(html='<img src="cid:logo">', attachments=(LOGO, NOTE)))
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "text/plain",
    ]
    inline = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (inline["content-id"], inline.get_content_disposition(), inline.get_filename()) == (
        "<logo>",
        "inline",
        "lögo.png",
    )
    (attached,) = message.iter_attachments()
    assert attached.get_payload(decode=True) == NOTE.content


@pytest.mark.parametrize("kind", ["message/rfc822", "multipart/mixed"])
def test_composite_attachments(kind: str) -> None:
    """An attached mail is carried as plain bytes: its own type may not be base64-encoded (RFC 2046 §5)."""
    (attached,) = parsed(an_email(attachments=(replace(NOTE, content_type=kind),))).iter_attachments()
    assert attached.get_content_type() == "application/octet-stream"
    assert attached.get_payload(decode=True) == NOTE.content


@settings(max_examples=150)
@given(subject=TEXT, name=TEXT, filename=TEXT, body=TEXT)
def test_any_text_survives(subject: str, name: str, filename: str, body: str) -> None:
    """Whatever the words, the bytes are 7-bit with short CRLF lines, and a parser reads back the same words and one
    recipient.
    """
    attachment = replace(NOTE, filename=filename)
    content = an_email(to=Address(email="a@b.co", name=name), subject=subject, text=body, attachments=(attachment,))
    raw = built(content)
    raw.decode("ascii")
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in raw.split(b"\r\n"))
    assert str(make_header(decode_header(message_from_bytes(raw)["subject"]))).strip() == subject.strip()
    message = parsed(content)
    assert [address.addr_spec for address in message["to"].addresses] == ["a@b.co"]
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().rstrip("\r\n") == body.rstrip("\r\n")
    assert next(iter(message.iter_attachments())).get_payload(decode=True) == NOTE.content


@given(text=st.text(st.sampled_from("a.\r\n\x00 ö"), max_size=60))
def test_bodies_hold_only_crlf(text: str) -> None:
    """No body carries a bare CR or LF: what a server might take for an end is gone before it is sent (reliability.md
    S18).
    """
    raw = built(an_email(text=text, html=text))
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert b"\x00" not in raw


def test_non_ascii_addresses() -> None:
    """A non-ASCII domain becomes A-labels; a non-ASCII local part makes the headers UTF-8 (RFC 6532)."""
    assert b"To: ada@xn--bcher-kva.example\r\n" in built(an_email(to=Address(email="ada@bücher.example")))
    assert "To: jörg@example.com\r\n".encode() in built(an_email(to=Address(email="jörg@example.com")))


POISON = ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\u0085", "\u2028", "\u2029"]


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize(
    "where",
    [
        lambda bad: {"subject": bad},
        lambda bad: {"to": Address(email="a@b.co", name=bad)},
        lambda bad: {"to": Address(email=f"a@b.co{bad}")},
        lambda bad: {"cc": (Address(email=f"{bad}@b.co"),)},
        lambda bad: {"bcc": (Address(email="a@b.co", name=bad),)},
        lambda bad: {"reply_to": Address(email="a@b.co", name=bad)},
        lambda bad: {"headers": (("X-A", bad),)},
        lambda bad: {"headers": ((bad, "x"),)},
        lambda bad: {"attachments": (replace(NOTE, filename=bad),)},
        lambda bad: {"attachments": (replace(NOTE, content_type=f"text/{bad}"),)},
        lambda bad: {"attachments": (replace(LOGO, content_id=bad),)},
    ],
)
def test_injection(where: Any, poison: str) -> None:
    """A line break in anything header-bound is refused, by the builder and by the check JSON kinds use
    (reliability.md S16).
    """
    content = an_email(html="x", **where(f"x{poison}Bcc: eve@example.com"))
    with pytest.raises(ValueError, match=r"holds|not a header name|not local|type/subtype"):
        check_headers(content)
    with pytest.raises(ValueError, match=r"holds|not a header name|not local|type/subtype"):
        built(content)


@pytest.mark.parametrize("poison", POISON)
def test_injection_by_metadata_and_sender(poison: str) -> None:
    """The same holds for metadata and the sender."""
    with pytest.raises(ValueError, match="metadata"):
        built(an_email(metadata=(("k", f"v{poison}"),)))
    with pytest.raises(ValueError, match="name holds"):
        build_mime(an_email(sender=Address(email="a@b.co", name=f"n{poison}")), sender=SENDER, message_id="m", now=NOW)
    with pytest.raises(ValueError, match="name holds"):
        build_mime(an_email(), sender=Address(email="a@b.co", name=f"n{poison}"), message_id="m", now=NOW)
    with pytest.raises(ValueError, match="Message-ID"):
        message_id_header(f"m{poison}", SENDER)


@pytest.mark.parametrize(
    "name", ["To", "bcc", "Content-Type", "Message-ID", "Subject", "a b", "a:b", "", "ä", "x" * 77]
)
def test_headers_that_are_ours(name: str) -> None:
    """Nobody sets a header that is ours, or one with a malformed name."""
    with pytest.raises(ValueError, match="headers"):
        header_name(name)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "@b.co",
        "a@",
        "a@b@c.co",
        "a b@c.co",
        "<a@b.co>",
        "a@b.co>",
        "a@b.co RCPT TO:<x@y.z>",
        "a,b@c.co",
        '"a\r"@b.co',
        '"a"b"@c.co',
    ],
)
def test_addresses_no_envelope_carries(email: str) -> None:
    """An address that would be cut or read differently on the wire is refused (reliability.md S17)."""
    with pytest.raises(ValueError, match="address"):
        wire_address(Address(email=email))


@pytest.mark.parametrize(
    "email", ["a@b.co", "a+b@c.co", '"a b"@c.co', "a@localhost", "a@[192.0.2.1]", "o'hara!#$@b.co"]
)
def test_addresses(email: str) -> None:
    """An address goes on the wire exactly as it was asked for."""
    assert wire_address(Address(email=email)) == email


def test_a_text_that_holds_our_boundary_ends_no_part() -> None:
    """Whoever has read one of our mails knows the boundary; the next mail that holds it gets another."""
    boundary = parsed(an_email(html="<p>x</p>")).get_boundary()
    poisoned = f"before\n--{boundary}\nafter\n--{boundary}--\n"
    plain, html = parsed(an_email(text=poisoned, html="<p>x</p>")).iter_parts()
    assert (plain.get_content(), html.get_content()) == (poisoned.replace("\n", "\r\n"), "<p>x</p>\r\n")
