"""Pages of a list, by an opaque token (AIP-158). It knows no table: the caller turns the cursor into a condition.

A token is the last row's sort key and a hash of the filter it belongs to. It is not secret and not signed: it gives no
access, every query is limited to the caller's projects anyway.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from services.chassis.errors import FieldViolation, InvalidArgument

DEFAULT_SIZE = 50
MAX_SIZE = 100
MAX_TOKEN_CHARS = 1024

Cursor = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """How many rows are wanted, and after which: `cursor` is None on the first page."""

    size: int
    cursor: Cursor | None
    fingerprint: str

    def next_token(self, *cursor: str | int) -> str:
        """The token that continues after the row with this sort key, under the same filter."""
        document = json.dumps([self.fingerprint, *cursor], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def parse_page(
    page_size: int,
    page_token: str,
    *filter_parts: str,
    default: int = DEFAULT_SIZE,
    maximum: int = MAX_SIZE,
    key_types: tuple[type[str] | type[int], ...] | None = None,
) -> PageRequest:
    """The page asked for; 0 is `default`, more than `maximum` is `maximum`.

    Raises InvalidArgument: `pageSize` when negative, `pageToken` when it is not ours, belongs to another filter, or its
    sort key is not of `key_types`. `filter_parts` are the method and everything that decides which rows are listed.
    """
    fingerprint = _fingerprint(filter_parts)
    violations = []
    if page_size < 0:
        violations.append(FieldViolation("pageSize", "must be 0 (the default) or more"))
    cursor = _cursor_of(page_token, fingerprint, key_types) if page_token else None
    if page_token and cursor is None:
        violations.append(
            FieldViolation(
                "pageToken", "is not a token of this list and filter; take nextPageToken as it came, or leave it out"
            )
        )
    if violations:
        raise InvalidArgument(violations=violations)
    return PageRequest(size=min(page_size or default, maximum), cursor=cursor, fingerprint=fingerprint)


def _fingerprint(parts: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _cursor_of(token: str, fingerprint: str, key_types: tuple[type, ...] | None) -> Cursor | None:
    if len(token) > MAX_TOKEN_CHARS:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    match document:
        case [str(found), *keys] if found == fingerprint and all(type(key) in (str, int) for key in keys):
            fits = key_types is None or tuple(map(type, keys)) == key_types
            return tuple(keys) if fits else None
        case _:
            return None
