"""What the readers of receipts share: hostile values made harmless, secrets compared, freshness. Not what any
provider means by its words.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any, NamedTuple

from services.adapters.receipts import DETAIL_LIMIT, ReceiptRefused, ReceiptRequest, ReceiptStatus

MAX_AGE_SECONDS = 300.0
MAX_AGE_SETTING: Mapping[str, Any] = {
    "type": "number",
    "minimum": 60,
    "maximum": 90_000,
    "default": MAX_AGE_SECONDS,
    "title": "Oldest receipt",
    "description": (
        "How old a signed receipt may be, in seconds. The default refuses what the provider repeats after an outage "
        "of ours when it does not sign it anew; an hour or a day lets that in."
    ),
    "examples": [300, 86_400],
}
MAX_AHEAD_SECONDS = 300.0
ID_LIMIT = 256
STATUS_LIMIT = 128

# Control characters, line separators and lone surrogates: none can be kept as text, and no log line may hold a break.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class Meaning(NamedTuple):
    """One row of a kind's table: what the provider's word is in ours, and whether another provider might do better."""

    status: ReceiptStatus
    route_at_fault: bool = False


def json_value(raw: bytes | str) -> Any:
    """The JSON value in it, or None for whatever is none: bad UTF-8, a number too long, nesting too deep."""
    try:
        return json.loads(raw.decode("utf-8") if isinstance(raw, bytes) else raw)
    except (ValueError, RecursionError):
        return None


def member(value: Any, *path: str) -> Any:
    """What stands at this path of nested objects; None as soon as one of them is no object."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def members(value: Any) -> tuple[Any, ...]:
    """A list as a tuple; empty for anything else."""
    return tuple(value) if isinstance(value, list) else ()


def text(value: Any, limit: int = ID_LIMIT) -> str:
    """A string or number as one clean line of at most `limit` characters; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return _UNPRINTABLE.sub(" ", str(value)[: limit * 2]).strip()[:limit]
    except ValueError:  # a whole number of more than 4300 digits
        return ""


def words(*values: Any) -> str:
    """The provider's own words as a receipt keeps them, joined by a space."""
    return " ".join(filter(None, (text(value, DETAIL_LIMIT) for value in values)))[:DETAIL_LIMIT]


def from_unix(seconds: Any) -> datetime | None:
    """The moment of a Unix time given as number or digits; None for what cannot be one."""
    if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", seconds, re.ASCII):
        seconds = float(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def from_iso(value: Any) -> datetime | None:
    """The moment of an ISO 8601 text that names its zone; None for what cannot be one."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def same(given: str, wanted: str) -> bool:
    """Whether both are equal, in a time that does not tell where they differ."""
    return compare_digest(given.encode("utf-8", "backslashreplace"), wanted.encode("utf-8", "backslashreplace"))


def strict_base64(encoded: str) -> bytes:
    """The bytes of the one canonical base64 form; raises ReceiptRefused for any other, so that none means the same."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != encoded:
        raise ReceiptRefused("signature_malformed")
    return raw


def secrets_of(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Every active secret of this setting: several stand in it, separated by commas, while one replaces another.

    Raises ReceiptRefused when there is none.
    """
    found = tuple(filter(None, (part.strip() for part in str(config.get(name) or "").split(","))))
    if not found:
        raise ReceiptRefused("no_key")
    return found


def check_fresh(
    signed_at: datetime | None, request: ReceiptRequest, max_age: float, max_ahead: float = MAX_AHEAD_SECONDS
) -> None:
    """Raise ReceiptRefused unless this moment is at most `max_age` seconds past and `max_ahead` ahead."""
    if signed_at is None:
        raise ReceiptRefused("timestamp_malformed")
    age = (request.received_at - signed_at) / timedelta(seconds=1)
    if age > max_age:
        raise ReceiptRefused("stale")
    if age < -max_ahead:
        raise ReceiptRefused("from_the_future")


def max_age_of(config: Mapping[str, Any]) -> float:
    """The setting `webhookMaxAgeSeconds`, in seconds."""
    return float(config.get("webhookMaxAgeSeconds") or MAX_AGE_SECONDS)
