"""What a request means, field by field, and how two of them are compared: ours, and the one the maker's own library
sends for the same message. Not what any one kind's fields are: those stand in the test of each kind.
"""

from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping
from email.utils import getaddresses
from typing import Any, Literal, NamedTuple

import idna

from tests.fakes.vendor import Received

Meaning = Mapping[str, Any]
"""The name of every field that a request has, and its value in a form in which equal means equal."""


class Exempt(NamedTuple):
    """A field that only one side sends, or that both send differently, and why that is no difference in meaning."""

    field: str
    sent_by: Literal["ours", "theirs", "both"]
    why: str


# How the line is used, and by whom: no field of a message.
AGENT = Exempt("header user-agent", "both", "each side names itself")
ACCEPT = Exempt(
    "header accept", "both", "what a client would like to read; the answers have the documented form anyway"
)
COMPRESSION = Exempt("header accept-encoding", "both", "ours takes no compressed answers: they may be bombs")
CONNECTION = Exempt("header connection", "theirs", "how long the line is kept open")
LENGTH = Exempt("header content-length", "both", "follows from the body, which is compared")


def differences(ours: Meaning, theirs: Meaning, exempt: Iterable[Exempt]) -> list[str]:
    """One line for every field that is not the same on both sides, unless it is exempt in just this way."""
    allowed = {(each.field, each.sent_by) for each in exempt}
    found = []
    for field in sorted(ours.keys() | theirs.keys()):
        sent_by = "both" if field in ours and field in theirs else "ours" if field in ours else "theirs"
        same = sent_by == "both" and ours[field] == theirs[field]
        if not same and not {(field, sent_by), (field, "both")} & allowed:
            found.append(f"{field}: ours {ours.get(field, '(none)')!r}, theirs {theirs.get(field, '(none)')!r}")
    return found


def needed(ours: Meaning, theirs: Meaning, exempt: Collection[Exempt]) -> set[Exempt]:
    """The exemptions without which these two would differ."""
    found = differences(ours, theirs, exempt)
    return {each for each in exempt if differences(ours, theirs, [other for other in exempt if other != each]) != found}


def envelope(received: Received) -> dict[str, Any]:
    """The fields of a request outside its body: method, path, host and every header, credentials opened."""
    fields: dict[str, Any] = {"method": received.method, "path": received.path}
    return fields | {f"header {name}": _header(name, value) for name, value in received.headers.items()}


def _header(name: str, value: str) -> Any:
    if name == "authorization" and value.startswith("Basic "):
        return "Basic", b64decode(value.removeprefix("Basic ")).decode()
    if name == "content-type":
        # the boundary is chosen anew for every request
        return value.partition(";")[0] if value.startswith("multipart/") else value.replace(" ", "").lower()
    return value


def mailbox(name: str | None, address: str) -> tuple[str, str]:
    """Name and address, the domain as A-labels (RFC 5891): a client may leave that to the provider."""
    local, _, domain = address.rpartition("@")
    return name or "", f"{local}@{a_labels(domain)}"


def a_labels(domain: str) -> str:
    """The domain as it is asked for in the DNS, by IDNA 2008."""
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode()


def mailboxes(written: Iterable[str]) -> list[tuple[str, str]]:
    """The mailboxes of address lists as RFC 5322 writes them, in order."""
    return [mailbox(name, address) for name, address in getaddresses(list(written))]
