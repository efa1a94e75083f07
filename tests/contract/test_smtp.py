"""The adapter contract for SMTP: honest servers, and servers that are rude at every point of the dialogue."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes, policy

import pytest

from services.adapters.base import Adapter, Address, Attachment, Channel
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import build_adapters
from services.chassis.clock import SystemClock
from tests.contract.smtp_calls import AUTH, LOOPBACK, UNVERIFIED, a_call, an_email, meaning
from tests.fakes.mail import CLOSE, SILENCE, ScriptedMailServer, mail_server, scripted
from tests.fakes.vendor import refusing_port


@pytest.fixture
async def adapter() -> AsyncIterator[Adapter]:
    """The SMTP adapter, allowed to reach loopback."""
    adapters = build_adapters(LOOPBACK, SystemClock())
    yield adapters[Channel.EMAIL, "smtp"]
    for each in adapters.values():
        await each.close()


async def test_accepted(adapter: Adapter) -> None:
    """A message arrives whole; its id is our own Message-ID and the server's words are kept."""
    async with mail_server() as server:
        content = an_email(
            html="<p>Hi</p>",
            cc=(Address(email="cc@example.com"),),
            bcc=(Address(email="bcc@example.com"),),
            headers=(("X-Campaign", "c1"),),
        )
        result = await adapter.send(a_call(server.port, content=content))
    assert meaning(result) == (Outcome.ACCEPTED, Reason.ACCEPTED)
    assert result.provider_message_id == "<0199c0de-0000-7000-8000-000000000001@example.com>"
    assert "4F3A2" in result.provider_text
    (mail,) = server.mails
    assert mail.recipients == ("ada@example.com", "cc@example.com", "bcc@example.com")
    parsed = message_from_bytes(mail.content, policy=policy.default)
    assert (parsed["subject"], parsed["x-campaign"], parsed["message-id"]) == (
        "Hello",
        "c1",
        result.provider_message_id,
    )
    assert b"bcc@example.com" not in mail.content


def test_on_uvloop() -> None:
    """The same holds on uvloop, whose transports are of classes of their own: TLS, login, one line lost, one mail."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> tuple[Result, Result]:
        adapters = build_adapters(LOOPBACK, SystemClock())
        smtp = adapters[Channel.EMAIL, "smtp"]
        async with mail_server(password=AUTH["pass"], tls="starttls") as server:
            good = await smtp.send(a_call(server.port, auth=AUTH, tls=UNVERIFIED))
            assert len(server.mails) == 1
        async with scripted(ScriptedMailServer({".": CLOSE})) as port:
            lost = await smtp.send(replace(a_call(port), config_version=2))
        for adapter in adapters.values():
            await adapter.close()
        return good, lost

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        good, lost = runner.run(scenario())
    assert meaning(good) == (Outcome.ACCEPTED, Reason.ACCEPTED)
    assert meaning(lost) == (Outcome.UNKNOWN, Reason.CONNECTION_LOST)


async def test_recipient_refused(adapter: Adapter) -> None:
    """When the message's own recipient is refused nobody gets it, whoever else would."""
    async with mail_server() as server:
        server.refuse["ada@example.com"] = "550 5.1.1 no such user"
        result = await adapter.send(a_call(server.port, content=an_email(cc=(Address(email="cc@example.com"),))))
        assert meaning(result) == (Outcome.INVALID, Reason.RECIPIENT_INVALID)
        assert result.provider_code == "550 5.1.1"
        assert server.mails == []
        again = await adapter.send(a_call(server.port, content=an_email(to=Address(email="bob@example.com"))))
    assert again.outcome is Outcome.ACCEPTED
    assert [mail.recipients for mail in server.mails] == [("bob@example.com",)]
    assert server.connections == 1


async def test_copy_refused(adapter: Adapter) -> None:
    """A refused copy does not stop the message; the result names who was refused."""
    async with mail_server() as server:
        server.refuse["cc@example.com"] = "550 5.1.1 no such user"
        result = await adapter.send(a_call(server.port, content=an_email(cc=(Address(email="cc@example.com"),))))
    assert result.outcome is Outcome.ACCEPTED
    assert "cc@example.com refused: 550" in result.provider_text
    assert [mail.recipients for mail in server.mails] == [("ada@example.com",)]


async def test_too_large(adapter: Adapter) -> None:
    """A message over the announced SIZE does not fit, and is not begun."""
    async with mail_server(size=2000) as server:
        result = await adapter.send(a_call(server.port, content=an_email(text="long " * 1000)))
    assert meaning(result) == (Outcome.UNFIT, Reason.TOO_LARGE)
    assert server.mails == []


async def test_large_attachment(adapter: Adapter) -> None:
    """An attachment of 3 MB arrives byte for byte."""
    content = bytes(range(256)) * 12_000
    attachment = Attachment(filename="a.bin", content_type="application/octet-stream", content=content)
    async with mail_server() as server:
        result = await adapter.send(a_call(server.port, timeout=20, content=an_email(attachments=(attachment,))))
    assert result.outcome is Outcome.ACCEPTED
    (attached,) = message_from_bytes(server.mails[0].content, policy=policy.default).iter_attachments()
    assert attached.get_payload(decode=True) == content


async def test_smtputf8(adapter: Adapter) -> None:
    """A non-ASCII local part goes with SMTPUTF8 where it is offered, and does not fit where it is not."""
    content = an_email(to=Address(email="jörg@bücher.example"))
    async with mail_server() as server:
        assert (await adapter.send(a_call(server.port, content=content))).outcome is Outcome.ACCEPTED
        assert server.mails[0].recipients == ("jörg@xn--bcher-kva.example",)
    async with mail_server(smtputf8=False) as server:
        result = await adapter.send(replace(a_call(server.port, content=content), config_version=2))
    assert meaning(result) == (Outcome.UNFIT, Reason.FEATURE_UNSUPPORTED)


BEFORE_THE_DOT = ["BANNER", "EHLO", "MAIL", "RCPT", "DATA", "BODY"]


@pytest.mark.parametrize("verb", BEFORE_THE_DOT)
async def test_line_lost_before_the_dot(adapter: Adapter, verb: str) -> None:
    """A line that breaks before the final dot was written is deferred: nothing was accepted."""
    content = an_email(text="more than any socket buffers\n" * 500_000 if verb == "BODY" else "Hi")
    server = ScriptedMailServer({verb: CLOSE})
    async with scripted(server) as port:
        result = await adapter.send(a_call(port, content=content))
    assert result.outcome is Outcome.DEFERRED
    assert "." not in server.verbs


@pytest.mark.parametrize("verb", ["BANNER", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_silence_before_the_dot(adapter: Adapter, verb: str) -> None:
    """Silence before the final dot is deferred when the call's time is up."""
    async with scripted(ScriptedMailServer({verb: SILENCE})) as port:
        result = await adapter.send(a_call(port, timeout=0.3))
    assert result.outcome is Outcome.DEFERRED


@pytest.mark.parametrize("rude", [CLOSE, SILENCE])
async def test_silence_after_the_dot(adapter: Adapter, rude: str | None) -> None:
    """Once the final dot was written, a lost line or silence is unknown."""
    server = ScriptedMailServer({".": rude})
    async with scripted(server) as port:
        result = await adapter.send(a_call(port, time_left=0.5))
    assert meaning(result) == (Outcome.UNKNOWN, Reason.CONNECTION_LOST if rude is CLOSE else Reason.TIMEOUT)
    assert server.verbs.count(".") == 1


async def test_the_dot_has_more_time_than_the_call(adapter: Adapter) -> None:
    """After the final dot the server may take longer than the call's timeout, as long as the message's deadline
    allows.
    """

    class Slow(ScriptedMailServer):
        async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
            await asyncio.sleep(0.6 if verb == "." else 0)
            return await super()._say(reader, writer, verb, usual)

    async with scripted(Slow()) as port:
        result = await adapter.send(a_call(port, timeout=0.4, time_left=5))
    assert result.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("verb", "reply", "outcome"),
    [
        ("BANNER", "421 busy", Outcome.DEFERRED),
        ("BANNER", "554 go away", Outcome.DENIED),
        ("BANNER", "hello there", Outcome.DEFERRED),
        ("MAIL", "451 later", Outcome.DEFERRED),
        ("MAIL", "550 5.7.1 not you", Outcome.DENIED),
        ("RCPT", "450 4.7.1 greylisted", Outcome.DEFERRED),
        ("RCPT", "554 5.7.1 relay access denied", Outcome.DENIED),
        ("DATA", "451 4.3.1 disk full", Outcome.DEFERRED),
        ("BODY", "552 5.3.4 too big", Outcome.UNFIT),
        (".", "421 closing", Outcome.DEFERRED),
        (".", "554 5.6.0 looks like spam", Outcome.INVALID),
        (".", "what was that", Outcome.UNKNOWN),
    ],
)
async def test_refusals(adapter: Adapter, verb: str, reply: str, outcome: Outcome) -> None:
    """A refusal means what its place and code say, and the server's words are kept."""
    async with scripted(ScriptedMailServer({verb: reply})) as port:
        result = await adapter.send(a_call(port))
    assert result.outcome is outcome
    assert reply.rsplit(maxsplit=1)[-1] in result.provider_text


async def test_stale_connection(adapter: Adapter) -> None:
    """A kept connection that turns out to be closed, or closes at once, costs the message nothing: a fresh one is
    used.
    """

    class Impatient(ScriptedMailServer):
        async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
            if verb == "MAIL" and self.verbs.count("MAIL") == 2:
                writer.write(b"421 idle too long\r\n")
                return False
            return await super()._say(reader, writer, verb, usual)

    server = Impatient()
    async with scripted(server) as port:
        results = [await adapter.send(a_call(port)) for _ in range(2)]
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert (server.connections, server.verbs.count(".")) == (2, 2)


async def test_connection_is_kept(adapter: Adapter) -> None:
    """Messages after one another use one connection; another config version does not."""
    async with mail_server() as server:
        for _ in range(3):
            await adapter.send(a_call(server.port))
        assert server.connections == 1
        await adapter.send(replace(a_call(server.port), config_version=2))
        assert server.connections == 2


async def test_many_at_once(adapter: Adapter) -> None:
    """Messages at once share at most maxConnections connections, and each arrives once."""
    async with mail_server() as server:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(adapter.send(a_call(server.port, maxConnections=3))) for _ in range(20)]
        assert {task.result().outcome for task in tasks} == {Outcome.ACCEPTED}
        assert (len(server.mails), server.connections) == (20, 3)


async def test_sender(adapter: Adapter) -> None:
    """Without a sender on the message, `fromEmail`, then auth.user is used; with none it does not fit and the text
    says where to set it.
    """
    async with mail_server(password=AUTH["pass"], plaintext_auth=True) as server:
        plain = {"allowPlaintextAuth": True}
        none = await adapter.send(a_call(server.port, content=an_email(sender=None), auth=AUTH, tls=plain))
        own = await adapter.send(
            a_call(server.port, content=an_email(sender=None), auth=AUTH, tls=plain, fromEmail="own@example.com")
        )
    assert meaning(none) == (Outcome.UNFIT, Reason.SENDER_MISSING)
    assert "fromEmail" in none.provider_text
    assert own.outcome is Outcome.ACCEPTED
    assert server.mails[0].sender == "own@example.com"


async def test_nobody_listens(adapter: Adapter) -> None:
    """A server that cannot be connected to is deferred."""
    async with refusing_port() as port:
        result = await adapter.send(a_call(port))
    assert meaning(result) == (Outcome.DEFERRED, Reason.CONNECT_FAILED)


async def test_unresolvable_host(adapter: Adapter) -> None:
    """A host nobody knows is deferred."""
    result = await adapter.send(replace(a_call(25), config={"host": "nowhere.invalid", "port": 25}))
    assert result.outcome is Outcome.DEFERRED
