"""What a MIME message means, field by field, read by the standard library. Ours is built by other code."""

from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from typing import Any

from tests.strangers.meaning import mailbox


def mime_meaning(raw: bytes) -> dict[str, Any]:
    """Every header by name, each body, and every file with its name, type and content id."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    fields: dict[str, Any] = {}
    for name, value in message.items():
        if not name.lower().startswith("content-"):  # of the parts below
            fields.setdefault(f"mail {name.lower()}", []).append(_header(value))
    fields |= {f"body {kind}": _body(message, kind) for kind in ("plain", "html")}
    inline = list(_related(message))
    fields["attached"] = [_file(part) for part in message.iter_attachments() if part not in inline]
    fields["inline"] = [_file(part) for part in inline]
    return fields


def header_meaning(name: str, values: Iterable[str]) -> Any:
    """What a header says: mailboxes of one of addresses, else its words."""
    return _header(policy.default.header_factory(name, ", ".join(values)))


def _header(value: Any) -> Any:
    if isinstance(value, AddressHeader):
        return [mailbox(address.display_name, address.addr_spec) for address in value.addresses]
    # where a long header is folded is nobody's meaning
    return " ".join(str(value).split())


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return None if part is None else lines(part.get_content())


def lines(text: str) -> str:
    """The text with line feeds, without the one that a part of a mail ends with."""
    return text.replace("\r\n", "\n").removesuffix("\n")


def _related(message: EmailMessage) -> Iterator[Any]:
    for part in message.walk():
        if part.get_content_type() == "multipart/related":
            yield from list(part.iter_parts())[1:]


def _file(part: Any) -> dict[str, Any]:
    content = part.get_content()
    parameters = [f"; {name}={value}" for name, value in part["content-type"].params.items() if name != "name"]
    return {
        "name": part.get_filename(),
        "type": part.get_content_type() + "".join(parameters),
        "disposition": part.get_content_disposition(),
        "content id": part["content-id"] and part["content-id"].strip("<>"),
        "content": content.encode() if isinstance(content, str) else content,
    }
