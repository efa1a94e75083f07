"""The emails that every maker's library and ours are given: one feature each, and what breaks naive clients."""

from collections.abc import Mapping
from typing import Any

from services.adapters.base import Address, Attachment, EmailContent

SENDER = Address(email="shop@example.com", name="Shop")
ADA = Address(email="ada@example.net", name="Ada Lovelace")
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(range(256))
PDF = Attachment(filename="invoice.pdf", content_type="application/pdf", content=b"%PDF-1.7\r\n" + bytes(range(256)))
DATA = Attachment(filename="data.bin", content_type="application/octet-stream", content=bytes(300))
LOGO = Attachment(filename="logo.png", content_type="image/png", content=PNG, content_id="logo")


def an_email(**values: Any) -> EmailContent:
    """A short email from the shop to Ada."""
    given: dict[str, Any] = {"sender": SENDER, "to": ADA, "subject": "Your receipt", "text": "Thank you."}
    return EmailContent(**{**given, **values})


def _named(name: str, domain: str = "example.net") -> EmailContent:
    """An email with this name, or domain, wherever a mailbox may stand."""
    return an_email(
        sender=Address(email="shop@example.com", name=name),
        to=Address(email=f"ada@{domain}", name=name),
        cc=(Address(email=f"cc@{domain}", name=name), Address(email=f"c2@{domain}", name=name)),
        bcc=(Address(email=f"bcc@{domain}", name=name),),
        reply_to=Address(email=f"reply@{domain}", name=name),
    )


EMAILS: Mapping[str, EmailContent] = {
    "text only": an_email(),
    "html only": an_email(text="", html="<p>Thank you.</p>"),
    "text and html": an_email(html="<p>Thank <b>you</b>.</p>"),
    "no names": an_email(sender=Address(email="shop@example.com"), to=Address(email="ada@example.net")),
    "names that are not ASCII": _named("Ádám Müller-Łukasz"),
    "names with a comma and a semicolon": _named("Lovelace, Ada; Countess"),
    "names with quotes and backslashes": _named('Ada "the \\ Countess" Lovelace'),
    "names with brackets and an at sign": _named("Ada (work) <home> @ Lovelace."),
    "names with emoji and Arabic": _named("🚀 آدا"),
    "long names": _named(" ".join(["Ada Augusta King-Noel Countess of Lovelace"] * 4)),
    "names beyond ASCII with a comma": _named("Müller, Ádám"),
    "an address with a plus": an_email(to=Address(email="ada+receipts@example.net")),
    "a domain beyond ASCII": _named("Ada", "bücher.example"),
    "a domain that IDNA 2003 would change": _named("Ada", "straße.example"),
    "copies": an_email(cc=(Address(email="c1@example.org", name="C One"), Address(email="c2@example.org"))),
    "blind copies": an_email(bcc=(Address(email="b1@example.org", name="B One"), Address(email="b2@example.org"))),
    "copies of both kinds, fifty recipients": an_email(
        cc=tuple(Address(email=f"c{number}@example.org") for number in range(30)),
        bcc=tuple(Address(email=f"b{number}@example.org", name=f"B {number}") for number in range(19)),
    ),
    "a reply address": an_email(reply_to=Address(email="help@example.com", name='Help "Desk"')),
    "an attachment": an_email(attachments=(PDF,)),
    "attachments and html": an_email(html="<p>x</p>", attachments=(PDF, DATA)),
    "an attachment with a name beyond ASCII": an_email(
        attachments=(Attachment(filename="Rechnung März 2026 €.pdf", content_type="application/pdf", content=b"x"),)
    ),
    "an attachment with quotes in its name": an_email(
        attachments=(Attachment(filename='a "b"; c=d, e%20.txt', content_type="text/plain", content=b"line\r\n"),)
    ),
    "an inline image": an_email(text="", html='<img src="cid:logo">', attachments=(LOGO,)),
    "everything with files": an_email(html='<img src="cid:logo">', attachments=(LOGO, PDF)),
    "own headers": an_email(
        headers=(
            ("X-Order", "4711"),
            ("List-Unsubscribe", "<https://example.com/u?a=1&b=2>, <mailto:u@example.com>"),
            ("In-Reply-To", "<1234.5678@example.net>"),
        )
    ),
    "tags": an_email(tags=("receipts", "vip_2026", "a-b")),
    "metadata": an_email(metadata=(("order", "4711"), ("customer_id", "Ä 1; x=y"))),
    "a long subject": an_email(subject=" ".join(f"word{number}" for number in range(80))),
    "a long subject without a space": an_email(subject="x" * 300),
    "a subject with emoji": an_email(
        subject="🎉 Grüße aus Zürich: Ihre Bestellung ist unterwegs \u2013 注文の確認 " * 3
    ),
    "a subject that looks encoded": an_email(subject="=?utf-8?q?not_this?= & <b>"),
    "a body with emoji and long lines": an_email(text="Ŵ 🎉 " * 400 + "\nЖди\n", html=f"<p>{'é' * 1200}</p>"),
    "a body with dots, tabs and blanks": an_email(text=".\n..\n.hidden\n\ttab  \n\n=3D\nFrom here\n"),
}
