"""The adapter contract for SMTP: who may read along, who may slip something in, where we connect to at all."""

from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
import structlog

from services.adapters.base import Adapter, Address, Channel
from services.adapters.egress import Egress
from services.adapters.outcome import Outcome, Reason
from services.adapters.registry import build_adapters
from services.chassis.clock import SystemClock
from tests.contract.smtp_calls import AUTH, LOOPBACK, UNVERIFIED, a_call, an_email, meaning
from tests.fakes.mail import Mail, ScriptedMailServer, mail_server, scripted


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    """The SMTP adapter, allowed to reach loopback."""
    adapters = build_adapters(LOOPBACK, SystemClock())
    yield adapters[Channel.EMAIL, "smtp"]
    for each in adapters.values():
        await each.close()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_encrypted_and_logged_in(adapter: Adapter, tls: str) -> None:
    """With credentials the connection is encrypted first, by STARTTLS or from the first byte."""
    async with mail_server(password=AUTH["pass"], tls=tls) as server:
        result = await adapter.send(a_call(server.port, auth=AUTH, secure=tls == "implicit", tls=UNVERIFIED))
    assert meaning(result) == (Outcome.ACCEPTED, Reason.ACCEPTED)
    assert server.logins == ["good"]


async def test_wrong_password(adapter: Adapter) -> None:
    """A refused login is denied, and the password is in no log and no result."""
    async with mail_server(password="another", tls="starttls") as server:
        with structlog.testing.capture_logs() as logs:
            result = await adapter.send(a_call(server.port, auth=AUTH, tls=UNVERIFIED))
    assert meaning(result) == (Outcome.DENIED, Reason.CREDENTIALS)
    assert AUTH["pass"] not in repr(result) + repr(logs)
    assert "ada@example.com" not in repr(logs)


async def test_password_quoted_back(adapter: Adapter) -> None:
    """A server that quotes our AUTH line cannot make the password appear, in plain or encoded form."""
    encoded = "AHBvc3RtYW4Ac2Vrcml0LXBhc3N3b3Jk"
    server = ScriptedMailServer(
        {"AUTH": f"500 what is AUTH PLAIN {encoded} {AUTH['pass']}"}, extensions=("AUTH PLAIN",)
    )
    async with scripted(server) as port:
        result = await adapter.send(a_call(port, auth=AUTH, tls={"allowPlaintextAuth": True}))
    assert f"AUTH PLAIN {encoded}\r\n".encode() in server.lines
    assert encoded not in repr(result)
    assert AUTH["pass"] not in repr(result)
    assert "***" in result.provider_text


async def test_certificate_nobody_signed(adapter: Adapter) -> None:
    """A certificate nobody has signed is not believed: deferred, and no mail or password was sent."""
    for tls in ("starttls", "implicit"):
        async with mail_server(password=AUTH["pass"], tls=tls) as server:
            result = await adapter.send(a_call(server.port, auth=AUTH, secure=tls == "implicit"))
        assert meaning(result) == (Outcome.DEFERRED, Reason.TLS_FAILED)
        assert (server.mails, server.logins) == ([], [])


@pytest.mark.parametrize("settings", [{"auth": AUTH}, {"requireTls": True}])
async def test_stripped_starttls(adapter: Adapter, settings: Any) -> None:
    """When STARTTLS is not offered, or was stripped on the way, credentials and mail stay here."""
    server = ScriptedMailServer(extensions=("AUTH PLAIN LOGIN",))
    async with scripted(server) as port:
        result = await adapter.send(a_call(port, **settings))
    assert meaning(result) == (Outcome.DENIED, Reason.TLS_REQUIRED)
    assert "AUTH" not in server.verbs
    assert "MAIL" not in server.verbs


async def test_plaintext_credentials_when_told(adapter: Adapter) -> None:
    """`tls.allowPlaintextAuth` lets a test server without TLS have the password."""
    async with mail_server(password=AUTH["pass"], plaintext_auth=True) as server:
        result = await adapter.send(a_call(server.port, auth=AUTH, tls={"allowPlaintextAuth": True}))
    assert meaning(result) == (Outcome.ACCEPTED, Reason.ACCEPTED)


async def test_starttls_is_used_when_offered(adapter: Adapter) -> None:
    """Without credentials TLS is used when it is offered; its certificate still has to be right."""
    async with mail_server(tls="starttls") as server:
        assert meaning(await adapter.send(a_call(server.port))) == (Outcome.DEFERRED, Reason.TLS_FAILED)
        assert meaning(await adapter.send(a_call(server.port, tls=UNVERIFIED))) == (Outcome.ACCEPTED, Reason.ACCEPTED)


@pytest.mark.parametrize("trick", ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r\n", "\r.\n"])
async def test_smuggling(adapter: Adapter, trick: str) -> None:
    """No body ends the message early: the server sees one message, with everything in it (reliability.md S18)."""
    text = f"before{trick}MAIL FROM:<eve@evil.test>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nsmuggled{trick}after"
    async with mail_server() as server:
        result = await adapter.send(a_call(server.port, content=an_email(text=text)))
    assert result.outcome is Outcome.ACCEPTED
    (mail,) = server.mails
    body = message_from_bytes(mail.content, policy=policy.default).get_content()
    assert body.split() == text.split()


@pytest.mark.parametrize("poison", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\u0085", "\u2028"])
async def test_header_and_envelope_injection(adapter: Adapter, poison: str) -> None:
    """A line break in a header or an address sends nothing at all, to nobody (reliability.md S16, S17)."""
    text = f"x{poison}RCPT TO:<eve@evil.test>"
    contents = [
        an_email(subject=text),
        an_email(headers=(("X-A", text),)),
        an_email(to=Address(email=f"a@b.test{text}")),
        an_email(to=Address(email="a@b.test", name=text)),
        an_email(sender=Address(email=f"a@b.test{text}")),
    ]
    async with mail_server() as server:
        results = [await adapter.send(a_call(server.port, content=content)) for content in contents]
    assert {result.outcome for result in results} == {Outcome.UNFIT}
    assert server.mails == list[Mail]()


async def test_loopback_is_refused_unless_allowed() -> None:
    """A server on a private network is denied unless the operator has named it, literal address or name alike."""
    adapters = build_adapters(Egress(), SystemClock())
    async with mail_server() as server:
        for host in ("127.0.0.1", "localhost"):
            call = replace(a_call(server.port), config={"host": host, "port": server.port})
            result = await adapters[Channel.EMAIL, "smtp"].send(call)
            assert meaning(result) == (Outcome.DENIED, Reason.EGRESS_REFUSED)
            assert "MESSAGEPIPE_EGRESS_ALLOW" in result.provider_text
        assert server.connections == 0
    for adapter in adapters.values():
        await adapter.close()
