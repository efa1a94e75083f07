"""From what a caller wrote to what a provider can be given: addresses, numbers, headers, limits. All violations at
once; pure.

Nothing that ends in a header may hold a control character or a line separator: providers and mail libraries have sent
injected headers, cut addresses, or thrown in the worker for such input. It is refused here, before the message is
accepted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import phonenumbers
from email_validator import EmailNotValidError

from services.adapters.base import Address, Attachment, EmailContent, SmsContent
from services.adapters.mime import media_type
from services.chassis.errors import FieldViolation
from services.dispatch import addresses

MAX_SUBJECT = 998
MAX_MAILBOX = 998  # RFC 5322 §2.1.1: no line of a mail is longer
MAX_SMS_TEXT = 1600
MAX_COPIES = 50
MAX_ATTACHMENTS = 50
MAX_HEADERS = 50
MAX_HEADER_VALUE = 998
MAX_TAGS = 10
MAX_METADATA = 20
MAX_VALIDITY = 7 * 24 * 3600  # seconds

# C0, DEL, C1 (with U+0085), U+2028 and U+2029: everything some mail software takes for the end of a line, and NUL.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# `Ada <ada@…>` or `"Lovelace, Ada" <ada@…>` and nothing after it: what is cut away silently is mailed to somebody else.
# Of a text without spaces around it. No two parts side by side may take the same character: trying every way to share a
# few thousand spaces among them takes minutes, in which this process does nothing else.
_NAMED_MAILBOX = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"\s*|(?P<plain>[^<>"]*))<(?P<address>[^<>]*)>')
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")  # RFC 5322 §2.2: printable ASCII without the colon
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@-]{1,78}")
_TAG = re.compile(r"[ -~]{1,128}")
_METADATA_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{3,11}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")

RESERVED_HEADERS = frozenset(
    "from to cc bcc resent-bcc sender reply-to subject date message-id return-path received dkim-signature "
    "mime-version content-type content-transfer-encoding content-disposition content-id x-sg-id x-sg-eid".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wrote, still as text; the fields are those of MessageSpec."""

    to: str = ""
    sender: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: str = ""
    attachments: tuple[Attachment, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    validity: float | None = None  # seconds


class Findings:
    """Collects what is wrong, each with the JSON path of its field below a prefix such as `message`."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.violations: list[FieldViolation] = []

    def add(self, path: str, description: str) -> None:
        """One more thing that is wrong with the field at `path`."""
        self.violations.append(FieldViolation(f"{self._prefix}.{path}" if self._prefix else path, description))

    def no_control_characters(self, path: str, value: str) -> bool:
        """Whether `value` may stand in a header; reports it otherwise."""
        if _CONTROL.search(value):
            self.add(path, "must not contain line breaks, NUL or other control characters")
            return False
        return True


def email_content(draft: Draft, findings: Findings) -> EmailContent | None:
    """The email that a draft describes; None when anything is wrong, with every violation in `findings`."""
    before = len(findings.violations)
    to = mailbox("to", draft.to, findings)
    sender = mailbox("from", draft.sender, findings) if draft.sender else None
    reply_to = mailbox("replyTo", draft.reply_to, findings) if draft.reply_to else None
    cc = _copies("cc", draft.cc, findings)
    bcc = _copies("bcc", draft.bcc, findings)
    _check_subject(draft, findings)
    if not draft.text and not draft.html:
        findings.add("text", "is required unless html is given")
    for path, body in (("text", draft.text), ("html", draft.html)):
        if "\x00" in body:
            findings.add(path, "must not contain NUL")
    attachments = tuple(_attachment(number, item, findings) for number, item in enumerate(draft.attachments))
    _check_count("attachments", len(draft.attachments), MAX_ATTACHMENTS, findings)
    _check_headers(draft.headers, findings)
    _check_tags(draft.tags, findings)
    _check_metadata(draft.metadata, findings)
    if draft.validity is not None:
        findings.add("validityPeriod", "is for channel SMS only")
    if to is None or len(findings.violations) > before:
        return None
    return EmailContent(
        sender=sender,
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=reply_to,
        subject=draft.subject,
        text=draft.text,
        html=draft.html,
        attachments=attachments,
        headers=tuple(draft.headers.items()),
        tags=draft.tags,
        metadata=tuple(draft.metadata.items()),
    )


def sms_content(draft: Draft, findings: Findings) -> SmsContent | None:
    """The text message that a draft describes; None when anything is wrong, with every violation in `findings`."""
    before = len(findings.violations)
    to = phone_number("to", draft.to, findings)
    if draft.sender:
        sms_sender("from", draft.sender, findings)
    if not draft.text:
        findings.add("text", "is required")
    elif len(draft.text) > MAX_SMS_TEXT:
        findings.add("text", f"must be at most {MAX_SMS_TEXT} characters; it has {len(draft.text)}")
    if "\x00" in draft.text:
        findings.add("text", "must not contain NUL")
    for path in _email_only(draft):
        findings.add(path, "is for channel EMAIL only")
    _check_tags(draft.tags, findings)
    _check_metadata(draft.metadata, findings)
    if draft.validity is not None and not (1 <= draft.validity <= MAX_VALIDITY and draft.validity.is_integer()):
        findings.add("validityPeriod", "must be whole seconds, 1 s to 7 days")
    if to is None or len(findings.violations) > before:
        return None
    return SmsContent(
        sender=draft.sender,
        to=to,
        text=draft.text,
        validity=None if draft.validity is None else int(draft.validity),
        metadata=tuple(draft.metadata.items()),
    )


def mailbox(path: str, value: str, findings: Findings) -> Address | None:
    """One RFC 5322 mailbox, `ada@example.com` or `Ada <ada@example.com>`; None with the violation reported."""
    text = value.strip()
    if not text:
        findings.add(path, "is required")
        return None
    if len(value) > MAX_MAILBOX:
        findings.add(path, f"must be at most {MAX_MAILBOX} characters; it has {len(value)}")
        return None
    if not findings.no_control_characters(path, value):
        return None
    named = _NAMED_MAILBOX.fullmatch(text) if "<" in text else None
    address = named["address"] if named else text
    name = ((named["plain"] or "").rstrip() or re.sub(r"\\(.)", r"\1", named["quoted"] or "")) if named else ""
    try:
        local, domain = addresses.checked(address)
    except EmailNotValidError as error:
        findings.add(path, f"is not a valid email address: {_lower_first(str(error))}")
        return None
    if "." not in domain:
        findings.add(path, "is not a valid email address: the part after the @ needs a full domain such as example.com")
        return None
    return Address(email=f"{local}@{domain}", name=name)


def phone_number(path: str, value: str, findings: Findings) -> str | None:
    """One E.164 number that a numbering plan could hold (ITU-T E.164); None with the violation reported."""
    if not value:
        findings.add(path, "is required")
        return None
    if _E164.fullmatch(value):
        try:
            if phonenumbers.is_possible_number(phonenumbers.parse(value)):
                return value
        except phonenumbers.NumberParseException:
            pass  # reported below like every other number that can not exist
    findings.add(path, "Invalid phone number format; write it in E.164, such as +14155550100")
    return None


def sms_sender(path: str, value: str, findings: Findings) -> None:
    """A sender of text messages: an E.164 number, a short code, or a name of 3 to 11 letters, digits or spaces."""
    if not (_E164.fullmatch(value) or _SENDER_NAME.fullmatch(value) or _SHORT_CODE.fullmatch(value)):
        findings.add(path, "must be an E.164 number, a short code, or a name of 3-11 letters, digits or spaces")


def _copies(path: str, values: Sequence[str], findings: Findings) -> tuple[Address, ...]:
    if not values:
        return ()
    _check_count(path, len(values), MAX_COPIES, findings)
    found = (mailbox(f"{path}[{number}]", value, findings) for number, value in enumerate(values))
    return tuple(address for address in found if address is not None)


def _check_count(path: str, count: int, limit: int, findings: Findings) -> None:
    if count > limit:
        findings.add(path, f"must have at most {limit} entries; it has {count}")


def _check_subject(draft: Draft, findings: Findings) -> None:
    if not draft.subject.strip():
        findings.add("subject", "is required")
    elif findings.no_control_characters("subject", draft.subject) and len(draft.subject) > MAX_SUBJECT:
        findings.add("subject", f"must be at most {MAX_SUBJECT} characters; it has {len(draft.subject)}")


def _attachment(number: int, item: Attachment, findings: Findings) -> Attachment:
    path = f"attachments[{number}]"
    clean = findings.no_control_characters(f"{path}.filename", item.filename)
    if clean and (not 1 <= len(item.filename) <= 255 or "/" in item.filename or "\\" in item.filename):
        findings.add(f"{path}.filename", "must be 1-255 characters without / or \\")
    if not item.content:
        findings.add(f"{path}.content", "is required")
    content_type = item.content_type or "application/octet-stream"
    try:
        media_type(content_type)
    except ValueError:
        findings.add(f"{path}.contentType", "must be a media type such as application/pdf or text/csv; charset=utf-8")
    if item.content_id and not _CONTENT_ID.fullmatch(item.content_id):
        findings.add(f"{path}.contentId", "must be 1-78 characters of A-Z a-z 0-9 . _ @ -")
    return Attachment(
        filename=item.filename, content_type=content_type, content=item.content, content_id=item.content_id
    )


def _check_headers(headers: Mapping[str, str], findings: Findings) -> None:
    _check_count("headers", len(headers), MAX_HEADERS, findings)
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            findings.add("headers", "has a name that is not 1-76 printable ASCII characters without a colon")
        elif name.lower() in RESERVED_HEADERS:
            findings.add(f"headers.{name}", "is set by the service; use the message's own fields")
        elif findings.no_control_characters(f"headers.{name}", value) and len(value) > MAX_HEADER_VALUE:
            findings.add(f"headers.{name}", f"must be at most {MAX_HEADER_VALUE} characters")


def _check_tags(tags: tuple[str, ...], findings: Findings) -> None:
    _check_count("tags", len(tags), MAX_TAGS, findings)
    for number, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            findings.add(f"tags[{number}]", "must be 1-128 printable ASCII characters")


def _check_metadata(metadata: Mapping[str, str], findings: Findings) -> None:
    _check_count("metadata", len(metadata), MAX_METADATA, findings)
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key):
            findings.add("metadata", "has a key that is not 1-64 characters of A-Z a-z 0-9 _ -")
        elif findings.no_control_characters(f"metadata.{key}", value) and len(value) > 500:
            findings.add(f"metadata.{key}", "must be at most 500 characters")


def _email_only(draft: Draft) -> list[str]:
    names = {
        "subject": draft.subject,
        "html": draft.html,
        "cc": draft.cc,
        "bcc": draft.bcc,
        "replyTo": draft.reply_to,
        "attachments": draft.attachments,
        "headers": draft.headers,
    }
    return [name for name, value in names.items() if value]


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
