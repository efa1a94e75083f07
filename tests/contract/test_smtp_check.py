"""The credential check of kind smtp against real and rude mail servers."""

import base64
from typing import Any

import pytest

from services.adapters.check import CheckResult, CheckVerdict
from services.adapters.egress import Egress
from services.adapters.email.smtp_check import SmtpChecker
from tests.contract.smtp_calls import AUTH, LOOPBACK, UNVERIFIED
from tests.fakes.mail import CLOSE, SILENCE, ScriptedMailServer, mail_server, scripted
from tests.fakes.vendor import refusing_port

GOOD, BAD, CANNOT = CheckVerdict.GOOD, CheckVerdict.BAD, CheckVerdict.CANNOT_VERIFY
PASSWORD = AUTH["pass"]


async def checked(port: int, *, sender: str = "", timeout: float = 3.0, **config: Any) -> CheckResult:
    """What the checker finds at this port."""
    checker = SmtpChecker(LOOPBACK)
    return await checker.check({"host": "127.0.0.1", "port": port, **config}, timeout=timeout, sender=sender)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_good_credentials(tls: str) -> None:
    """A server that takes user, password and sender over TLS is GOOD, and got no message."""
    async with mail_server(password=PASSWORD, tls=tls) as server:
        result = await checked(
            server.port, sender="shop@example.com", auth=AUTH, tls=UNVERIFIED, secure=tls == "implicit"
        )
    assert result.verdict is GOOD, result
    assert "shop@example.com" in result.message
    assert (server.logins, server.mails) == (["good"], [])


async def test_wrong_password() -> None:
    """A wrong password is BAD in the server's words, without the password."""
    async with mail_server(password=PASSWORD, tls="starttls") as server:
        result = await checked(server.port, auth={**AUTH, "pass": "not-the-password"}, tls=UNVERIFIED)
    assert result.verdict is BAD
    assert "535" in result.message
    assert "not-the-password" not in result.message


async def test_no_credentials() -> None:
    """A server that asks for none is GOOD, and the message claims no credentials; without a sender it says so."""
    async with mail_server() as server:
        result = await checked(server.port)
    assert result.verdict is GOOD
    assert "asks for no credentials so far. Without a sender" in result.message


async def test_credentials_required_and_not_given() -> None:
    """A server that wants a login before MAIL is BAD when the settings have none."""
    async with mail_server(password=PASSWORD, plaintext_auth=True) as server:
        result = await checked(server.port, sender="shop@example.com")
    assert result.verdict is BAD
    assert "530" in result.message


async def test_the_sender_is_tried_and_taken_back() -> None:
    """MAIL FROM names the project's sender, else the settings'; RSET follows, and neither RCPT nor DATA."""
    server = ScriptedMailServer()
    async with scripted(server) as port:
        await checked(port, sender="shop@example.com", fromEmail="other@example.com")
        await checked(port, fromEmail="other@example.com")
    mails = [line for line in server.lines if line.startswith(b"MAIL")]
    assert mails == [b"MAIL FROM:<shop@example.com>\r\n", b"MAIL FROM:<other@example.com>\r\n"]
    assert server.verbs[:5] == ["EHLO", "NOOP", "MAIL", "RSET", "QUIT"]
    assert not {"RCPT", "DATA"} & set(server.verbs)


@pytest.mark.parametrize(
    ("replies", "verdict", "words"),
    [
        ({"MAIL": "550 5.7.1 sender not allowed"}, BAD, "sender not allowed"),
        ({"MAIL": "451 4.3.0 try later"}, CANNOT, "try later"),
        ({"BANNER": "554 go away"}, BAD, "go away"),
        ({"BANNER": "421 too busy"}, CANNOT, "too busy"),
        ({"NOOP": "421 closing"}, CANNOT, "closing"),
        ({"BANNER": "I am not SMTP"}, CANNOT, "CONNECT"),
        ({"BANNER": CLOSE}, CANNOT, "CONNECT"),
        ({"EHLO": CLOSE}, CANNOT, "EHLO"),
        ({"MAIL": CLOSE}, CANNOT, "MAIL"),
        ({"BANNER": SILENCE}, CANNOT, "No answer in time at CONNECT"),
        ({"MAIL": SILENCE}, CANNOT, "No answer in time at MAIL"),
    ],
)
async def test_what_the_server_says(replies: dict[str, str | None], verdict: CheckVerdict, words: str) -> None:
    """A lasting no is BAD, a passing one or silence is CANNOT_VERIFY, each with where and what was said."""
    async with scripted(ScriptedMailServer(replies)) as port:
        result = await checked(port, sender="shop@example.com", timeout=0.5)
    assert words in result.message
    assert result.verdict is verdict


@pytest.mark.parametrize(
    ("extensions", "config", "words"),
    [
        ((), {"auth": AUTH}, "no STARTTLS"),
        ((), {"requireTls": True}, "no STARTTLS"),
        (("AUTH GSSAPI",), {"auth": AUTH, "tls": {"allowPlaintextAuth": True}}, "no AUTH mechanism"),
    ],
)
async def test_settings_the_server_can_not_meet(
    extensions: tuple[str, ...], config: dict[str, Any], words: str
) -> None:
    """TLS that is required and not offered, and a login no one can make, are BAD before a password was sent."""
    server = ScriptedMailServer(extensions=extensions)
    async with scripted(server) as port:
        result = await checked(port, **config)
    assert (result.verdict, "AUTH" in server.verbs) == (BAD, False)
    assert words in result.message


async def test_a_certificate_nobody_signed() -> None:
    """A certificate that is not believed is CANNOT_VERIFY, and the password stays here."""
    async with mail_server(password=PASSWORD, tls="starttls") as server:
        result = await checked(server.port, auth=AUTH)
    assert result.verdict is CANNOT
    assert "TLS failed" in result.message
    assert server.logins == []


async def test_nobody_listens() -> None:
    """A closed port is CANNOT_VERIFY."""
    async with refusing_port() as port:
        result = await checked(port)
    assert result.verdict is CANNOT


async def test_loopback_is_refused_unless_allowed() -> None:
    """A check reaches no private network that the operator has not named, and says which setting names them."""
    async with mail_server() as server:
        result = await SmtpChecker(Egress()).check({"host": "127.0.0.1", "port": server.port}, timeout=3)
    assert result.verdict is CANNOT
    assert "MESSAGEPIPE_EGRESS_ALLOW" in result.message
    assert server.connections == 0


async def test_a_server_that_quotes_the_password_back() -> None:
    """Neither the password nor the form AUTH sends it in is seen in the message."""
    encoded = base64.b64encode(f"\0{AUTH['user']}\0{PASSWORD}".encode()).decode()
    server = ScriptedMailServer({"AUTH": f"535 no: {encoded} {PASSWORD}"}, extensions=("AUTH PLAIN",))
    async with scripted(server) as port:
        result = await checked(port, auth=AUTH, tls={"allowPlaintextAuth": True})
    assert result.verdict is BAD
    assert encoded not in result.message
    assert PASSWORD not in result.message


async def test_settings_nobody_can_use_are_no_crash() -> None:
    """Settings without a host, and names that no socket takes, are CANNOT_VERIFY and never an exception."""
    for config in ({}, {"host": "a" * 300, "port": 25}, {"host": "x.invalid", "port": 99}):
        assert (await SmtpChecker(LOOPBACK).check(config, timeout=3)).verdict is CANNOT
