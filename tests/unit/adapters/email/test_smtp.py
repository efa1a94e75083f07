"""What SMTP replies mean by where they came: providers.md §4.3, row by row."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.email.smtp import CODES, REFUSED_AT, SPEC, Phase, enhanced_code, smtp_sender, verdict_of
from services.adapters.email.smtp_wire import stuffed
from services.adapters.outcome import Outcome, Reason
from services.adapters.schema import settings_errors
from tests.unit.adapters.calls import an_email

A, B, C, F, D = Outcome.INVALID, Outcome.DENIED, Outcome.DEFERRED, Outcome.UNFIT, Outcome.UNKNOWN

SHEET = [
    ("CONNECT", 421, "too many connections", C), ("MAIL", 421, "closing", C), ("DOT", 421, "closing", C),
    ("RCPT", 450, "4.2.2 mailbox full", C), ("RCPT", 451, "4.7.1 greylisted", C), ("RCPT", 452, "later", C),
    ("DATA", 451, "local error", C), ("DOT", 452, "4.3.1 disk full", C),
    ("AUTH", 454, "Temporary authentication failure", C), ("AUTH", 454, "Throttling failure: daily quota", C),
    ("AUTH", 432, "", B), ("AUTH", 534, "5.7.9", B), ("AUTH", 535, "5.7.8 bad credentials", B), ("AUTH", 538, "", B),
    ("MAIL", 530, "5.7.0 authentication required", B), ("RCPT", 530, "5.7.0 must issue STARTTLS", B),
    ("EHLO", 500, "", B), ("MAIL", 501, "syntax", B), ("MAIL", 555, "", B), ("DATA", 503, "sequence", B),
    ("RCPT", 501, "bad address", A), ("RCPT", 553, "bad mailbox name", A),
    ("MAIL", 550, "no", B), ("MAIL", 553, "no", B), ("MAIL", 554, "5.7.1 no", B), ("MAIL", 571, "5.1.8 no", B),
    ("RCPT", 550, "5.1.1 no such user", A), ("RCPT", 550, "5.1.2 no domain", A), ("RCPT", 551, "5.1.6 moved", A),
    ("RCPT", 553, "5.1.3 syntax", A), ("RCPT", 550, "5.1.10 null mx", A), ("RCPT", 550, "5.2.1 disabled", A),
    ("RCPT", 550, "no such user", A),
    ("RCPT", 550, "5.7.1 refused", B), ("RCPT", 554, "5.7.1 refused", B), ("RCPT", 554, "Relay access denied", B),
    ("RCPT", 550, "relaying denied", B),
    ("RCPT", 552, "5.2.2 mailbox full", A), ("MAIL", 552, "5.3.4 too big", F), ("DOT", 552, "5.3.4 too big", F),
    ("DATA", 552, "too big", F),
    ("DOT", 552, "5.2.3 too big for this mailbox", A),
    ("DOT", 554, "5.6.0 malformed", A), ("DOT", 554, "5.7.1 spam", A), ("DATA", 554, "5.7.1 policy", A),
    ("DOT", 554, "5.7.1 listed at Spamhaus", B), ("RCPT", 554, "5.7.1 client is on our blocklist", B),
    ("RCPT", 556, "5.1.10 null MX", A),
    ("AUTH", 451, "Authentication failed: Maximum credits exceeded", B),
    ("MAIL", 421, "Domain x is not allowed to send", B),
    ("DOT", 554, "Message rejected: Email address is not verified.", B),
    ("DOT", 550, "from does not match a verified Sender Identity", B),
    ("DOT", 554, "Access denied: User `x' is not authorized to perform `ses:SendRawEmail' on resource `y'", B),
    ("DOT", 554, "Sandbox subdomains are for test purposes only.", B),
    ("STARTTLS", 554, "no", B), ("CONNECT", 554, "no SMTP service here", B), ("STARTTLS", 454, "TLS not available", C),
    ("DOT", -1, "garbage", D), ("MAIL", -1, "garbage", C), ("DOT", 354, "what", D),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "code", "text", "outcome"), SHEET)
def test_replies(phase: str, code: int, text: str, outcome: Outcome) -> None:
    """Each reply of the sheet means what the sheet says."""
    assert verdict_of(Phase(phase), code, text).outcome is outcome


def test_every_row_is_reached() -> None:
    """Each row of the table decides at least one reply of the sheet: no row is dead."""
    reached = {verdict_of(Phase(phase), code, text) for phase, code, text, _ in SHEET}
    assert {row.verdict for row in CODES} <= reached


def test_rows_are_well_formed() -> None:
    """Rows name phases that exist and codes that are codes, and every phase has a default."""
    for row in CODES:
        assert set(row.phases.split()) <= set(Phase)
        assert all(re.fullmatch(r"[45]\d\d", code) for code in row.codes.split())
    assert set(REFUSED_AT) == set(Phase)


@given(phase=st.sampled_from(Phase), code=st.integers(400, 599), text=st.text(max_size=40))
def test_after_the_dot_only_a_reply_decides(phase: Phase, code: int, text: str) -> None:
    """A reply that is one is never unknown: the server has said no."""
    assert verdict_of(phase, code, text).outcome not in {Outcome.UNKNOWN, Outcome.ACCEPTED}


@pytest.mark.parametrize(
    ("text", "code"), [("5.1.1 no", "5.1.1"), ("5.7.26 x", "5.7.26"), ("no 5.1.1", ""), ("5.1.1.1 x", ""), ("", "")]
)
def test_enhanced_code(text: str, code: str) -> None:
    """The enhanced code is read where RFC 3463 puts it: first."""
    assert enhanced_code(text) == code


@given(
    st.binary(max_size=80).map(lambda raw: raw.replace(b"\x00", b".").replace(b"\x01", b"\r").replace(b"\x02", b"\n"))
)
def test_stuffed(message: bytes) -> None:
    """What goes on the wire has CRLF only, ends a line, and no line is a lone dot; undone, it is the message."""
    wire = stuffed(message)
    assert wire.endswith(b"\r\n")
    assert wire.count(b"\r\n") == wire.count(b"\r") == wire.count(b"\n")
    lines = wire.split(b"\r\n")[:-1]
    assert b"." not in lines
    back = b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)
    assert back == re.sub(rb"\r\n|\r", b"\n", message).removesuffix(b"\n")


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ({"host": "smtp.example.com", "port": 587.0, "secure": False, "auth": {"user": "u", "pass": "p"}}, []),
        ({}, ["host", "port"]),
        ({"host": "smtp://x", "port": 70000}, ["host", "port"]),
        (
            {"host": "x", "port": 25, "auth": {"user": "u"}, "tls": {"rejectUnauthorised": False}},
            ["auth.pass", "tls.rejectUnauthorised"],
        ),
    ],
)
def test_settings(config: dict[str, object], paths: list[str]) -> None:
    """Settings are those users know, checked all at once."""
    assert [path for path, _ in settings_errors(SPEC, config)] == paths


def test_sender_falls_back_to_the_login() -> None:
    """Without any other sender a login that is an address is used."""
    login = {"auth": {"user": "me@example.com", "pass": "p"}}
    found = smtp_sender(an_email(login, sender=None))
    assert found is not None
    assert found.email == "me@example.com"
    assert smtp_sender(an_email({"auth": {"user": "me", "pass": "p"}}, sender=None)) is None


def test_reason_of_a_full_account() -> None:
    """SendGrid's SMTP says 451 when the credits are gone: denied, not deferred."""
    assert verdict_of(Phase.AUTH, 451, "Authentication failed: Maximum credits exceeded") == (
        B,
        Reason.OUT_OF_CREDIT,
        "",
    )
