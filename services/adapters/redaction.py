"""Takes secrets out of a stranger's words before they are kept or shown. Not the logs' own guard (chassis/log.py)."""

import functools
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

from services.adapters.base import ProviderSpec, secret_paths
from services.adapters.outcome import Result

MAX_TEXT = 500
SHORTEST_SECRET = 4


def secret_values(spec: ProviderSpec, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Every secret in these settings, longest first so that one inside another leaves nothing behind."""
    found = set()
    for path in secret_paths(spec):
        value: Any = config
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        # A secret of a few characters is in every other word: taking it out would only make the rest unreadable.
        if isinstance(value, str) and len(value) >= SHORTEST_SECRET:
            found.add(value)
    return tuple(sorted(found, key=len, reverse=True))


_AUTHORIZATION = re.compile(r"\b(Basic|Bearer)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
# As JSON, Python and their like escape a character; halves of surrogate pairs are no characters.
_ESCAPED = re.compile(r"\\(?:u(?![Dd][89A-Fa-f])([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")
_MAYBE_ESCAPED = re.compile(r"[\\&%+]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redact(text: str, secrets: Iterable[str]) -> str:
    """The same text without these secrets, however a stranger quotes them (as they are, in hex or Base64, escaped for
    JSON, HTML or a URL), and without any Basic or Bearer credential.

    Where a secret shows only once the text is unescaped, what is left is the unescaped text.
    """
    known = tuple(secrets)
    if not text:
        return text
    hidden = _hide(text, known)
    bare, spoken = _unescaped(hidden), [each for each in map(_spoken, known) if len(each) >= SHORTEST_SECRET]
    if any(each in bare for each in spoken):
        hidden = _hide(bare, spoken)
    return _AUTHORIZATION.sub(r"\1 ***", hidden)


def _hide(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        for form in _forms(secret):
            text = text.replace(form, "***")
    return text


# For every answer of every provider the same: kept for as long as chains keep the secrets themselves in memory.
@functools.lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[str, ...]:
    """The secret as it is and as JSON or a form carries it, each of them also encoded.

    Base64 makes four characters of three bytes, so where the secret begins decides which of three texts it becomes;
    what it shares with its neighbours at both ends is left out.
    """
    found: list[str] = []
    for spelling in dict.fromkeys((secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret))):
        raw = spelling.encode("utf-8", "surrogatepass")
        found += (spelling, raw.hex(), raw.hex().upper())
        for before in range(3):
            coded = b64encode(b"\0" * before + raw).decode()[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
            found += (coded, coded.replace("+", "-").replace("/", "_"))
    return tuple(dict.fromkeys(found))


def _unescaped(text: str) -> str:
    """The text before it was escaped for JSON, HTML or a URL, up to three times over; without any backslash."""
    for _ in range(3):
        if not _MAYBE_ESCAPED.search(text):
            break
        text = _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
        text = unquote_plus(unescape(text)).replace("\\", "")
    return text


@functools.lru_cache(maxsize=256)
def _spoken(secret: str) -> str:
    return _unescaped(secret)


def cleaned(result: Result, secrets: tuple[str, ...]) -> Result:
    """The result as it may be kept and shown: redacted, on one line, cut to length."""
    return replace(
        result,
        provider_code=clean(result.provider_code, secrets, 64),
        provider_text=clean(result.provider_text, secrets),
        provider_message_id=clean(result.provider_message_id, secrets, 256),
    )


def clean(text: str, secrets: Iterable[str], limit: int = MAX_TEXT) -> str:
    """A stranger's words as they may be kept and shown: redacted, on one line, at most `limit` characters."""
    return _UNPRINTABLE.sub(" ", redact(text, secrets)).strip()[:limit]
