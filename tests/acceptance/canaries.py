"""Secrets that must never be seen again: one for every secret setting of every kind, what strangers make of them when
they quote them back, and a search that finds any of it. No test.
"""

import base64
import contextlib
import html
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from services.adapters.base import Channel, ProviderSpec, secret_paths
from services.adapters.registry import spec_for
from tests.contract.dialects import DIALECTS

# Begins and ends every canary, so that one search finds all, and finds the head or the tail of one that was cut.
MARK = secrets.token_hex(6)
_numbers = count(1)


def canary(pattern: str = "") -> str:
    """A new secret; with characters that every encoding writes differently, where the setting's pattern lets them."""
    number = next(_numbers)
    odd = f'{MARK}/+="%<&\\>{number:03}{MARK}'
    return odd if re.search(pattern, odd) else f"{MARK}-{number:03}-{MARK}"


def _needles() -> tuple[bytes, ...]:
    plain = MARK.encode()
    written = [plain, plain.hex().encode(), "".join(f"%{byte:02x}" for byte in plain).encode()]
    # Base64 writes three bytes in four characters: where the mark begins decides which of three texts it becomes.
    shifted = [base64.b64encode(b"\0" * before + plain) for before in range(3)]
    inner = [text[-(-8 * before // 6) : 8 * (before + len(plain)) // 6] for before, text in enumerate(shifted)]
    return (*written, *(each.upper() for each in written), *inner)


NEEDLES = _needles()


def leaks(haystack: str | bytes) -> list[str]:
    """Every canary in it, in plain, hex, percent or Base64 form, each with what stands around it."""
    raw = haystack if isinstance(haystack, bytes) else haystack.encode("utf-8", "backslashreplace")
    found = [raw.find(needle) for needle in NEEDLES]
    return [raw[max(0, at - 80) : at + 120].decode("utf-8", "backslashreplace") for at in found if at >= 0]


def leaks_in_files(root: Path, *, without: str = "") -> list[str]:
    """The same for every file below a folder, each with the file's name; paths that match `without` are passed by."""
    found = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not (without and re.search(without, str(path))):
                with contextlib.suppress(FileNotFoundError):  # PostgreSQL tidies up while we look
                    found += [f"{path}: {leak}" for leak in leaks(path.read_bytes())]
    return found


# --- How a stranger quotes what it was told


def _escaped(text: str, characters: str, form: str) -> str:
    return "".join(form.format(ord(each)) if each in characters else each for each in text)


STYLES: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda told: json.dumps({"message": told, "errors": [{"message": told}], "code": told}),
    "json-list": lambda told: json.dumps([told]),
    "json-slashes": lambda told: json.dumps([told]).replace("/", "\\/"),
    "json-unicode": lambda told: json.dumps([_escaped(told, '/+="%<&\\>', "\\u{:04x}")]).replace("\\\\u", "\\u"),
    "xml": lambda told: f"<ErrorResponse><Error><Code>{html.escape(told)}</Code></Error></ErrorResponse>",
    "html": lambda told: _escaped(told, '/+="%<&\\>', "&#{};"),
    "url": lambda told: quote(told, safe=""),
    "url-lower": lambda told: re.sub("%..", lambda found: found[0].lower(), quote(told, safe="")),
    "form": quote_plus,
    "base64": lambda told: base64.b64encode(told.encode()).decode(),
    "base64-url": lambda told: base64.urlsafe_b64encode(told.encode()).decode(),
    "hex": lambda told: told.encode().hex(),
    "hex-upper": lambda told: told.encode().hex().upper(),
    "without-scheme": lambda told: re.sub("(?i)basic |bearer ", "", told),
    "repr": repr,
}
"""What becomes of the words, by name."""

FEW = ("plain", "json", "json-slashes", "url", "base64", "hex")


def confession(headers: Mapping[str, str], rest: str) -> str:
    """Everything secret in a request, as short as can be: each secret with what stands before it, each Basic credential
    as it came and opened.
    """
    said = []
    for name, value in [*headers.items(), ("", rest)]:
        said += [f"{name}: {near}" for near in re.findall(rf".{{0,16}}{MARK}.{{0,40}}", unquote(value))]
        scheme, _, word = value.partition(" ")
        if scheme == "Basic":
            said += [f"{name}: {value}", base64.b64decode(word).decode()]
    return " ".join(said)


# --- Planting


@dataclass(frozen=True, kw_only=True)
class Account:
    """One configured account of a kind with a canary in every secret that its settings have.

    `settings` makes them for an address; `planted` are the canaries by path, `silent` the ones that never travel. Its
    vendor quotes it in these `styles`.
    """

    name: str
    channel: Channel
    kind: str
    settings: Callable[[str], dict[str, Any]]
    planted: Mapping[tuple[str, ...], str] = field(repr=False)
    silent: tuple[str, ...] = ()
    styles: tuple[str, ...]

    def settings_with(self, url: str, path: tuple[str, ...], change: Callable[[dict[str, Any], str], None]) -> Any:
        """The settings with one secret's own object changed: `change` gets that object and the secret's name."""
        settings: dict[str, Any] = json.loads(json.dumps(self.settings(url)))
        below = settings
        for name in path[:-1]:
            below = below[name]
        change(below, path[-1])
        return settings


def planted(spec: ProviderSpec, without: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    """A canary for every secret of a kind, except for those named."""
    found = {}
    for path in secret_paths(spec):
        schema: Any = spec.config_schema
        for name in path:
            schema = schema["properties"][name]
        if path[-1] not in without:
            found[path] = canary(schema.get("pattern", ""))
    return found


def account(
    channel: Channel,
    kind: str,
    base: Callable[[str], Mapping[str, Any]],
    *,
    name: str = "",
    without: tuple[str, ...] = (),
    silent: tuple[str, ...] = (),
    travels_alike: bool = False,
) -> Account:
    """An account whose settings are `base` of an address, and canaries.

    One whose secrets travel like those of another, in the same header, is quoted in a few styles only.
    """
    spec = spec_for(channel, kind)
    assert spec is not None
    secret = planted(spec, without)

    def settings(url: str) -> dict[str, Any]:
        made = {key: value for key, value in base(url).items() if key not in without}
        for path, value in secret.items():
            below = made
            for part in path[:-1]:
                below = below.setdefault(part, {})
            below[path[-1]] = value
        return made

    return Account(
        name=name or kind,
        channel=channel,
        kind=kind,
        settings=settings,
        planted=secret,
        silent=silent,
        styles=FEW if travels_alike else tuple(STYLES),
    )


def smtp_settings(url: str) -> dict[str, Any]:
    """Of a mail server at the port of this address, which may be told the password without TLS."""
    return {
        "host": "127.0.0.1",
        "port": int(url.rpartition(":")[2].partition("/")[0]),
        "auth": {"user": "postman"},
        "tls": {"allowPlaintextAuth": True},
    }


_BASES = {dialect.kind: dialect.settings for dialect in DIALECTS}
_API_KEY = {"apiKeySid": "SK" + "1" * 32}
_ROLE = {"roleArn": "arn:aws:iam::123456789012:role/sender"}
# What only signs, or only checks what comes in.
_AWS, _HOOK = "secretAccessKey", "webhookSharedKeySecret"

HTTP_ACCOUNTS = (
    account(Channel.EMAIL, "sendgrid", _BASES["sendgrid"]),
    account(Channel.EMAIL, "mailgun", _BASES["mailgun"], silent=("webhookSigningKey",)),
    account(Channel.EMAIL, "ses", _BASES["ses"], silent=(_AWS,), travels_alike=True),
    account(
        Channel.EMAIL,
        "ses",
        lambda url: {**_BASES["ses"](url), **_ROLE, "stsEndpointUrl": f"{url.rpartition('/')[0]}/sts"},
        name="ses-role",
        silent=(_AWS,),
    ),
    account(Channel.SMS, "twilio", _BASES["twilio"], without=("apiKeySecret",), silent=(_HOOK,), travels_alike=True),
    account(
        Channel.SMS,
        "twilio",
        lambda url: {**_BASES["twilio"](url), **_API_KEY},
        name="twilio-key",
        silent=("authToken", _HOOK),
        travels_alike=True,
    ),
    account(Channel.SMS, "termii", _BASES["termii"], silent=("webhookSecret",)),
    account(Channel.SMS, "sns", _BASES["sns"], silent=(_AWS, "receiptSecret"), travels_alike=True),
)
SMTP_ACCOUNT = account(Channel.EMAIL, "smtp", smtp_settings)
ACCOUNTS = (*HTTP_ACCOUNTS, SMTP_ACCOUNT)
