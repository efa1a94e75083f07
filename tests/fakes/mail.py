"""Mail servers on a local port: aiosmtpd as an honest one, and a scripted one that is rude at any point. Not mocks:
SMTP over sockets.
"""

import asyncio
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One message as the server took it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class _Handler:
    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.refuse: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.mails.append(Mail(sender=envelope.mail_from or "", recipients=tuple(envelope.rcpt_tos), content=content))
        return "250 2.0.0 Ok: queued as 4F3A2"


@dataclass(slots=True)
class MailServer:
    """A running aiosmtpd: where it listens, what it took, whom it refuses (address → reply)."""

    port: int
    handler: _Handler
    logins: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def mails(self) -> list[Mail]:
        """What it took, in order."""
        return self.handler.mails

    @property
    def refuse(self) -> dict[str, str]:
        """Whom it refuses: address to reply."""
        return self.handler.refuse


@asynccontextmanager
async def mail_server(
    *, password: str = "", tls: str = "", size: int = 0, plaintext_auth: bool = False, smtputf8: bool = True
) -> AsyncIterator[MailServer]:
    """An honest server. `tls` is "", "starttls" or "implicit"; with `password` it wants user `postman` and that
    password.
    """
    handler = _Handler()
    running = MailServer(port=0, handler=handler)

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"postman", password.encode())
        running.logins.append("good" if good else "bad")
        return AuthResult(success=good, handled=False)

    def protocol() -> SMTP:
        running.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # aiosmtpd warns of passwords without TLS: some tests are about them
            return SMTP(
                handler,
                hostname="mail.test",
                loop=asyncio.get_running_loop(),
                data_size_limit=size or None,
                enable_SMTPUTF8=smtputf8,
                tls_context=server_tls() if tls == "starttls" else None,
                authenticator=authenticate if password else None,
                auth_required=bool(password),
                auth_require_tls=bool(password) and not plaintext_auth and tls != "implicit",
            )

    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=server_tls() if tls == "implicit" else None
    )
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()


CLOSE = None
SILENCE = ""


class ScriptedMailServer:
    """Answers each verb as told: a reply, CLOSE (drop the line) or SILENCE. "." is the final dot, "BANNER" the
    greeting, "BODY" at the first body line.
    """

    def __init__(self, replies: Mapping[str, str | None] | None = None, *, extensions: tuple[str, ...] = ()) -> None:
        self.replies = dict(replies or {})
        self.extensions = extensions
        self.verbs: list[str] = []
        self.lines: list[bytes] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one client."""
        self.connections += 1
        try:
            await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away: its right
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive = await self._say(reader, writer, "BANNER", "220 mail.test ESMTP")
        while alive and (line := await reader.readline()):
            verb = line.split(maxsplit=1)[0].decode().upper() if line.strip() else "?"
            self.verbs.append(verb)
            self.lines.append(line)
            if verb == "EHLO":
                names = ["mail.test", *self.extensions]
                usual = "\r\n".join(f"250{' ' if name is names[-1] else '-'}{name}" for name in names)
            else:
                usual = {"DATA": "354 go on", "QUIT": "221 bye"}.get(verb, "250 2.0.0 OK")
            alive = await self._say(reader, writer, verb, usual) and verb != "QUIT"
            if alive and verb == "DATA" and self.replies.get("DATA", "354").startswith("354"):  # type: ignore[union-attr]
                alive = await self._take_body(reader, writer)

    async def _take_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if "BODY" in self.replies:
            await reader.readline()
            self.verbs.append("BODY")
            return await self._say(reader, writer, "BODY", "")
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                return False
        self.verbs.append(".")
        return await self._say(reader, writer, ".", "250 2.0.0 Ok: queued as 77")

    async def _say(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        reply = self.replies.get(verb, usual)
        if reply == SILENCE:
            await reader.read()
        if not reply:
            return False
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def scripted(server: ScriptedMailServer) -> AsyncIterator[int]:
    """Run it; yields its port."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


@lru_cache(maxsize=1)
def server_tls() -> ssl.SSLContext:
    """A TLS server context with a certificate nobody has signed, for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "both.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        both.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(both)
    return context
