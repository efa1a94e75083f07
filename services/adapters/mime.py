"""Builds the one MIME form of an email that SMTP, SES raw and Mailgun raw share. Not an envelope: bcc never appears
here.
"""

import functools
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, quote

import idna

from services.adapters.base import Address, Attachment, EmailContent

# CR, LF, NUL, VT, FF and the line separators of Unicode: none may enter a header (reliability.md S16).
_HEADER_BREAK = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}\Z")  # RFC 5322 §3.6.8: printable ASCII without the colon
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# RFC 6838 §4.2, and parameters as RFC 2045 §5.1 has them; quotes hold printable ASCII only.
_NAME = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_PARAMETER = re.compile(r'; ?([A-Za-z0-9_-]{1,60})=(?:([A-Za-z0-9_.+-]{1,127})|"([ !#-\[\]-~]{0,127})")')
_MEDIA_TYPE = re.compile(rf"(?P<main>{_NAME})/(?P<sub>{_NAME})(?P<parameters>(?:{_PARAMETER.pattern}){{0,8}})\Z")
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,255}\Z")
_PLAIN_LOCAL = re.compile(r"[^\x00-\x20\x7f-\xa0\u2028\u2029<>()\[\],;:\\\"@]+\Z")
_QUOTED_LOCAL = re.compile(r'"([^\x00-\x1f\x7f-\x9f\u2028\u2029\\\"]|\\[ -~])*"\Z')
_DOMAIN = re.compile(r"[^\x00-\x20\x7f-\xa0\u2028\u2029<>(),;\\\"@]+\Z")
_OURS = frozenset(
    "bcc cc content-disposition content-id content-transfer-encoding content-type date from message-id mime-version "
    "received reply-to resent-bcc return-path sender subject to".split()
)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")  # RFC 5322 §3.2.3, spaces between
# What nearly every part says in the same words; file names and content ids are nobody's to keep.
_COMMON = frozenset(("mime-version", "content-type", "content-transfer-encoding"))
_LONGEST_KEPT = 120  # characters of a value
# Of this process: a boundary of its own for each mail would be one more header to parse and fold, and a search for it.
_BOUNDARY = f"=_{secrets.token_hex(16)}"


class _PartPolicy(EmailPolicy):
    """The standard library's policy, except that it parses and folds the same common header once: half of what
    building a small mail cost was reading `text/plain` again and again.
    """

    def header_store_parse(self, name: str, value: str) -> tuple[str, str]:
        return _parsed(name, value) if _is_common(name, value) else super().header_store_parse(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        return _folded(name, value) if _is_common(name, value) else super().fold_binary(name, value)


def _is_common(name: str, value: str) -> bool:
    return name.lower() in _COMMON and len(value) <= _LONGEST_KEPT


_STANDARD = SMTP.clone(cte_type="7bit")
_PARTS = _PartPolicy(linesep=_STANDARD.linesep, cte_type=_STANDARD.cte_type)


@functools.lru_cache(maxsize=256)
def _parsed(name: str, value: str) -> tuple[str, str]:
    return _STANDARD.header_store_parse(name, value)


@functools.lru_cache(maxsize=256)
def _folded(name: str, value: str) -> bytes:
    return _STANDARD.fold_binary(name, value)


def message_id_header(message_id: str, sender: Address) -> str:
    """Our stable Message-ID: the same for every attempt, so that a receiver can drop a copy. Raises ValueError when
    it cannot be one.
    """
    domain = ascii_domain(sender.email.rpartition("@")[2])
    value = f"<{message_id}@{domain}>"
    if not re.fullmatch(r"<[A-Za-z0-9._+-]+@[A-Za-z0-9.\[\]:_-]+>", value, re.ASCII):
        raise ValueError("the sender's domain or the message id cannot stand in a Message-ID")
    return value


def build_mime(content: EmailContent, *, sender: Address, message_id: str, now: datetime) -> bytes:
    """The email as bytes with CRLF line ends, 7-bit clean unless an address itself needs UTF-8 headers (RFC 6532).

    Raises ValueError, naming the field, for whatever no header can carry.
    """
    check_headers(content)
    headers = [("From", _mailbox(sender)), ("To", _mailbox(content.to))]
    if content.cc:
        headers.append(("Cc", ",\r\n ".join(_mailbox(address) for address in content.cc)))
    if content.reply_to is not None:
        headers.append(("Reply-To", _mailbox(content.reply_to)))
    headers.append(("Subject", _unstructured("Subject", content.subject)))
    headers += [("Date", format_datetime(now)), ("Message-ID", message_id_header(message_id, sender))]
    if content.tags:
        headers.append(("Keywords", _keywords(content.tags)))
    headers += [(header_name(name), _unstructured(name, value)) for name, value in content.headers]
    metadata = [
        (header_name(f"X-Metadata-{name}"), _line(value, f"metadata.{name}")) for name, value in content.metadata
    ]
    headers += [(name, _unstructured(name, value)) for name, value in metadata]
    # EmailMessage folds long non-ASCII headers wrongly (Python 3.11 repeats words and leaves blank lines), so it only
    # builds the body.
    message = EmailMessage(policy=_PARTS)
    _fill(message, content)
    if _BOUNDARY not in content.text and _BOUNDARY not in content.html:
        _set_boundaries(message)
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode() + message.as_bytes()


def _unstructured(name: str, value: str) -> str:
    """RFC 2047 where it is needed: non-ASCII, what would read as an encoded word, or a word too long to fold."""
    plain = value.isascii() and "=?" not in value and max((len(word) for word in value.split(" ")), default=0) < 900
    return _encode(value, "us-ascii" if plain else "utf-8", name)


def _encode(value: str, charset: str, name: str) -> str:
    return Header(value, charset, header_name=name, maxlinelen=76).encode(linesep="\r\n")


def check_headers(content: EmailContent) -> None:
    """Raise ValueError, naming the field, when any field that ends up in a header holds a line break or control
    character.

    The second line of defence (reliability.md S16): the services refuse such a message when they accept it. Kinds
    whose API takes JSON
    or a form need it too, because their provider writes the headers.
    """
    _line(content.subject, "subject")
    for address in (content.sender, content.to, *content.cc, *content.bcc, content.reply_to):
        if address is not None:
            _line(address.name, "name")
            wire_address(address)
    for name, value in content.headers:
        _line(value, f"headers.{header_name(name)}")
    for part in content.attachments:
        _line(part.filename, "attachments.filename")
        _content_type(part)
        if part.content_id and not _CONTENT_ID.match(part.content_id):
            raise ValueError("attachments.contentId holds a character no header can carry")


def needs_smtputf8(address: Address) -> bool:
    """Whether this address can only travel with SMTPUTF8 (RFC 6531): a non-ASCII local part. A non-ASCII domain
    becomes A-labels.
    """
    return not address.email.rpartition("@")[0].isascii()


def needing_smtputf8(content: EmailContent, sender: Address) -> str:
    """The first field of the message with such an address, in its JSON name; "" when there is none."""
    fields: dict[str, Iterable[Address]] = {"from": [sender], "to": [content.to], "cc": content.cc, "bcc": content.bcc}
    if content.reply_to is not None:
        fields["replyTo"] = [content.reply_to]
    return next((name for name, listed in fields.items() if any(map(needs_smtputf8, listed))), "")


def wire_address(address: Address) -> str:
    """The address as an envelope carries it, domain as A-labels. Raises ValueError for one that is not `local@domain`
    or holds a break.
    """
    local, _, domain = address.email.rpartition("@")
    if not (_QUOTED_LOCAL.match(local) or _PLAIN_LOCAL.match(local)) or not _DOMAIN.match(domain):
        raise ValueError("an address is not local@domain, or holds a character no envelope can carry")
    return f"{local}@{ascii_domain(domain)}"


def ascii_domain(domain: str) -> str:
    """The domain as A-labels; raises ValueError when it cannot be written so.

    By IDNA 2008: Python's own codec is IDNA 2003, for which straße.de is strasse.de, somebody else's domain.
    """
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")


def header_name(name: str) -> str:
    """The name itself if a caller may set it; raises ValueError for one that is malformed or ours to set."""
    if not _HEADER_NAME.match(name):
        raise ValueError(f"headers: {name[:80]!r} is not a header name")
    if name.lower() in _OURS:
        raise ValueError(f"headers: {name} is set by messagepipe itself")
    return name


def _line(value: str, field: str) -> str:
    if _HEADER_BREAK.search(value):
        raise ValueError(f"{field} holds a line break or control character")
    return value


def _keywords(tags: tuple[str, ...]) -> str:
    """The tags as the field that RFC 5322 §3.6.5 has for them: phrases, separated by commas."""
    return ",\r\n ".join(_phrase(_line(tag, f"tags[{number}]")) for number, tag in enumerate(dict.fromkeys(tags)))


def _phrase(words: str) -> str:
    return words if _ATOMS.match(words) and words.strip() else f'"{quote(words)}"'


def _mailbox(address: Address) -> str:
    _line(address.name, "name")
    if not address.name:
        return wire_address(address)
    if not address.name.isascii() or "=?" in address.name or len(address.name) > 200:
        return f"{_encode(address.name, 'utf-8', 'Reply-To')}\r\n <{wire_address(address)}>"
    return f"{_phrase(address.name)} <{wire_address(address)}>"


def mailbox_on_one_line(address: Address) -> str:
    """The mailbox as it stands in a header, for an API that takes it as text; raises ValueError as `build_mime`."""
    return _mailbox(address).replace("\r\n", "")


def media_type(text: str) -> tuple[str, str, dict[str, str]]:
    """Type, subtype and parameters of `text/csv; charset=utf-8`; raises ValueError for anything else, line breaks in
    quotes included.
    """
    found = _MEDIA_TYPE.match(text)
    if found is None:
        raise ValueError("attachments.contentType is not of the form type/subtype")
    parameters = {name: bare or quoted for name, bare, quoted in _PARAMETER.findall(found["parameters"])}
    return found["main"], found["sub"], parameters


def _fill(message: EmailMessage, content: EmailContent) -> None:
    inline = [part for part in content.attachments if part.content_id] if content.html else []
    attached = [part for part in content.attachments if part not in inline]
    if content.text or not content.html:
        _set_text(message, content.text, "plain")
    if content.html and content.text:
        html = EmailMessage(policy=message.policy)
        _fill_html(html, content.html, inline)
        message.make_alternative()
        message.attach(html)
    elif content.html:
        _fill_html(message, content.html, inline)
    for part in attached:
        main, sub, parameters = _content_type(part)
        message.add_attachment(
            part.content, maintype=main, subtype=sub, params=parameters, filename=part.filename, cte="base64"
        )


def _set_boundaries(message: EmailMessage) -> None:
    """What no part can hold: "=_" is in no quoted-printable and no base64 text (RFC 2045 §6.7), and the rest is told
    to nobody before the first mail. For a text that holds it all the same, the generator looks for another one.
    """
    for number, part in enumerate(each for each in message.walk() if each.is_multipart()):
        part.set_boundary(f"{_BOUNDARY}.{number}")


def _fill_html(message: EmailMessage, html: str, inline: list[Attachment]) -> None:
    _set_text(message, html, "html")
    for part in inline:
        main, sub, parameters = _content_type(part)
        message.add_related(
            part.content,
            maintype=main,
            subtype=sub,
            params=parameters,
            filename=part.filename,
            cid=f"<{part.content_id}>",
            disposition="inline",
            cte="base64",
        )


def _set_text(message: EmailMessage, text: str, subtype: str) -> None:
    message.set_content(text, subtype=subtype, charset="utf-8", cte=_encoding(text))


def _encoding(text: str) -> str:
    """7bit for plain short lines; quoted-printable where mostly ASCII; base64 for the rest. Chosen here so that 8bit
    never happens.
    """
    if text.isascii():
        short = all(len(line) <= 76 for line in text.splitlines())
        return "7bit" if short and not _CONTROL.search(text) else "quoted-printable"
    odd = sum(1 for character in text if ord(character) > 126)
    return "quoted-printable" if odd * 6 < len(text) else "base64"


def _content_type(part: Attachment) -> tuple[str, str, dict[str, str]]:
    main, sub, parameters = media_type(part.content_type or "application/octet-stream")
    # A message/* or multipart/* part may not be base64-encoded (RFC 2046 §5): hand it over as plain bytes.
    if main.lower() in ("message", "multipart"):
        return "application", "octet-stream", {}
    return main, sub, parameters
