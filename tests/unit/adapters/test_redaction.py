"""Secrets taken out of a stranger's words, however they are quoted."""

import html
import json
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from services.adapters.base import Channel, ProviderSpec
from services.adapters.outcome import Outcome, Result
from services.adapters.redaction import cleaned, redact, secret_values

SPEC = ProviderSpec(
    kind="k",
    channel=Channel.SMS,
    title="",
    description="",
    documentation_url="",
    config_schema={"properties": {"key": {"writeOnly": True}, "auth": {"properties": {"pass": {"writeOnly": True}}}}},
)


def test_redact() -> None:
    """A secret disappears plain, URL-quoted, and as Basic or Bearer credentials of any make."""
    text = "key a/b+c, quoted a%2Fb%2Bc, Authorization: Basic QUM6c2VrcmV0, bearer SG.zzzzzz"
    assert redact(text, ["a/b+c"]) == "key ***, quoted ***, Authorization: Basic ***, bearer ***"


def test_cleaned() -> None:
    """Provider text is on one line and at most 500 characters; a secret that the cut would halve is gone before."""
    result = Result(outcome=Outcome.UNFIT, reason="X", provider_text="a\r\nb\x00" + "x" * 490 + "sekrit-password")
    text = cleaned(result, ("sekrit-password",)).provider_text
    assert text == "a b " + "x" * 490 + "***"
    assert len(cleaned(Result(outcome=Outcome.UNFIT, reason="X", provider_text="y" * 9999), ()).provider_text) == 500


def test_secret_values() -> None:
    """Secrets are collected at any depth, the longest first; what is missing, no text or too short to hide is left
    out.
    """
    assert secret_values(SPEC, {"key": "abcd", "auth": {"pass": "abcde"}}) == ("abcde", "abcd")
    assert secret_values(SPEC, {"key": "abc"}) == ()
    assert secret_values(SPEC, {"key": "", "auth": None}) == ()


QUOTED: dict[str, Callable[[str], str]] = {
    "plain": lambda s: s,
    "url": lambda s: quote(s, safe=""),
    "url in lower case": lambda s: quote(s, safe="").lower() if quote(s, safe="").lower() != s else s,
    "form": quote_plus,
    "json": lambda s: json.dumps(s)[1:-1],
    "json with escaped slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "html": html.escape,
    "hex": lambda s: s.encode().hex(),
    "base64": lambda s: b64encode(s.encode()).decode(),
    "base64 of user and password": lambda s: b64encode(b"user:" + s.encode()).decode(),
}


@pytest.mark.parametrize("form", QUOTED)
def test_a_secret_is_found_however_it_is_quoted(form: str) -> None:
    """What a provider echoes is searched in every usual spelling, and the words around it stay."""
    for secret in ("s3cr3t/with+odd=chars&more", 'quo"te\\back', "plain-token-0123456789", "<angle> & 'quote'"):
        quoted = QUOTED[form](secret)
        told = redact(f"before {quoted} after", [secret])
        assert quoted not in told
        assert secret not in told
        assert told.startswith("before ")
        assert told.endswith(" after")


def test_words_without_a_secret_stay_as_they_are() -> None:
    """Escapes are undone only where a secret hides behind them."""
    text = "Field &quot;to&quot; is 100%25 wrong \\u0041"
    assert redact(text, ["another-secret"]) == text
    assert redact("", ["another-secret"]) == ""
