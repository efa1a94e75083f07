"""One SMTP connection: socket, TLS, EHLO, AUTH, and a DATA that knows whether the final dot was written. Not a
policy: it reports what was said.

aiosmtplib's SMTP.data() writes body and final dot in one piece, so it cannot tell "surely not accepted" from "nobody
knows". Its SMTPProtocol has the finest public seam there is: write() and read_response(). The body is written and
drained first, then the dot in a write of its own.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import aiohappyeyeballs
from aiosmtplib import SMTPResponseException
from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.esmtp import parse_esmtp_extensions
from aiosmtplib.protocol import SMTPProtocol

from services.adapters.egress import Egress, tls_context
from services.adapters.email.smtp import Phase

CHUNK = 64 * 1024
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Reply(NamedTuple):
    """A server's reply; `code` is -1 when it was not one."""

    code: int
    text: str


class Refused(Exception):
    """The server said no, or nonsense, in answer to this phase."""

    def __init__(self, phase: Phase, reply: Reply) -> None:
        super().__init__(phase, reply)
        self.phase, self.reply = phase, reply


class TlsMissing(Exception):
    """TLS is required and the server does not offer STARTTLS."""


class NoMechanism(Exception):
    """The server offers no AUTH mechanism we speak."""


class _Wire(SMTPProtocol):
    """aiosmtplib's protocol, which also tells when everything written has been handed to the system."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.drained = asyncio.Event()
        self.drained.set()

    def pause_writing(self) -> None:
        self.drained.clear()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.drained.set()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.drained.set()
        super().connection_lost(exc)


class SmtpConnection:
    """A connection from banner to QUIT, for one message at a time. `phase` always says how far the current message
    has come.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._wire = _Wire(asyncio.get_running_loop())
        self.phase = Phase.CONNECT
        self.extensions: Mapping[str, str] = {}
        self._mechanisms: list[str] = []
        self._encrypted = False
        self._dirty = False

    @property
    def alive(self) -> bool:
        return self._wire.is_connected

    async def open(self, egress: Egress) -> None:
        """Connect, greet, encrypt and log in as the settings ask. Raises Refused, TlsMissing, NoMechanism, OSError
        (EgressDenied too).
        """
        host = str(self._settings["host"])
        sock = await _connect(egress, host, int(self._settings["port"]))
        try:
            self._encrypted = bool(self._settings.get("secure"))
            context, name = (self._context(), host) if self._encrypted else (None, None)
            await asyncio.get_running_loop().create_connection(
                lambda: self._wire, sock=sock, ssl=context, server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
        await self._expect(Phase.CONNECT, 220)
        await self._hello()
        await self._encrypt(host)
        await self._log_in()

    def _context(self) -> ssl.SSLContext:
        return tls_context(verify=self._tls("rejectUnauthorized", True))

    def _tls(self, name: str, default: bool) -> bool:
        return bool((self._settings.get("tls") or {}).get(name, default))

    async def _hello(self) -> None:
        self.phase = Phase.EHLO
        name = str(self._settings.get("ehloName") or self._own_name()).encode("ascii")
        reply = await self.command(b"EHLO", name)
        if 500 <= reply.code < 600:  # a server of before 1995
            reply = await self.command(b"HELO", name)
        self._require(reply, 250)
        self.extensions, self._mechanisms = parse_esmtp_extensions(reply.text)

    def _own_name(self) -> str:
        name = socket.gethostname()
        if "." in name and name.isascii():
            return name
        address = str(self._wire.transport.get_extra_info("sockname")[0]) if self._wire.transport else "127.0.0.1"
        return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"  # RFC 5321 §4.1.3

    async def _encrypt(self, host: str) -> None:
        if self._encrypted:
            return
        self.phase = Phase.STARTTLS
        required = self._settings.get("requireTls") or (
            self._settings.get("auth") and not self._tls("allowPlaintextAuth", False)
        )
        if "starttls" not in self.extensions:
            if required:
                raise TlsMissing
            return
        try:
            await self._wire.start_tls(self._context(), server_hostname=host)
        except SMTPResponseException as error:
            raise Refused(Phase.STARTTLS, Reply(error.code, error.message)) from error
        self._encrypted = True
        await self._hello()  # RFC 3207 §4.2: what was said before TLS is forgotten

    async def _log_in(self) -> None:
        auth = self._settings.get("auth")
        if not auth:
            return
        self.phase = Phase.AUTH
        user, password = str(auth["user"]), str(auth["pass"])
        wanted = ("plain", "login", "cram-md5") if self._encrypted else ("cram-md5", "plain", "login")
        mechanism = next((name for name in wanted if name in self._mechanisms), None)
        match mechanism:
            case "plain":
                reply = await self.command(b"AUTH PLAIN", auth_plain_encode(user, password))
            case "login":
                first, second = auth_login_encode(user, password)
                reply = await self.command(b"AUTH LOGIN")
                for word in (first, second):
                    self._require(reply, 334)
                    reply = await self.command(word)
            case "cram-md5":
                challenge = await self.command(b"AUTH CRAM-MD5")
                self._require(challenge, 334)
                reply = await self.command(auth_crammd5_verify(user, password, challenge.text))
            case _:
                raise NoMechanism
        self._require(reply, 235)

    async def command(self, *words: bytes) -> Reply:
        """Send one line and read its reply, whatever it is."""
        try:
            reply = await self._wire.execute_command(*words)
        except SMTPResponseException as error:
            return Reply(-1, error.message)
        return Reply(reply.code, reply.message)

    async def reset_if_needed(self) -> None:
        """RSET when the last message did not go through to its end; asked lazily, so that a refusal costs no further
        round trip.
        """
        if self._dirty:
            reply = await self.command(b"RSET")
            if reply.code != 250:
                raise ConnectionResetError("the server did not take RSET")
        self._dirty = True

    def finished(self) -> None:
        """The last message was accepted: nothing is left to reset."""
        self._dirty = False

    async def envelope(self, phase: Phase, line: bytes) -> Reply:
        """MAIL, RCPT or DATA: as `command`, noting the phase first."""
        self.phase = phase
        return await self.command(line)

    async def body(self, wire: bytes) -> asyncio.Task[Reply]:
        """Write the `stuffed` body, all but the final dot, after a 354; the returned task holds the reply, which a rude
        server may give early.

        Returning means that nothing is left in our buffers. Raises Refused for an early reply, OSError for a lost
        line: nothing was accepted.
        """
        self.phase = Phase.BODY
        transport = self._wire.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("connection lost")
        # uvloop's transports write as asyncio's do without being of their classes.
        cast(asyncio.WriteTransport, transport).set_write_buffer_limits(high=0)
        reply = asyncio.create_task(self._read())
        try:
            for start in range(0, len(wire), CHUNK):
                self._wire.write(wire[start : start + CHUNK])
                await self._drain(reply)
            return reply
        except BaseException:
            _forget(reply)
            raise

    async def _drain(self, reply: asyncio.Task[Reply]) -> None:
        drained = asyncio.create_task(self._wire.drained.wait())
        try:
            await asyncio.wait((drained, reply), return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if reply.done():
            raise Refused(Phase.BODY, reply.result())

    async def dot(self, reply: asyncio.Task[Reply]) -> Reply:
        """Write the final dot and await the verdict. From the first line on only the server knows."""
        try:
            if reply.done():
                raise Refused(Phase.BODY, reply.result())
            self._wire.write(b".\r\n")  # raises only when it wrote nothing
            self.phase = Phase.DOT
            return await reply
        finally:
            _forget(reply)

    async def _read(self) -> Reply:
        try:
            reply = await self._wire.read_response()
        except SMTPResponseException as error:
            return Reply(-1, error.message)
        return Reply(reply.code, reply.message)

    async def _expect(self, phase: Phase, code: int) -> None:
        self.phase = phase
        self._require(await self._read(), code)

    def _require(self, reply: Reply, code: int) -> None:
        if reply.code != code:
            raise Refused(self.phase, reply)

    def close(self) -> None:
        """Say QUIT if there is anybody to say it to, and close without waiting."""
        transport = self._wire.transport
        if transport is not None:
            if self.alive and self.phase is not Phase.BODY:
                self._wire.write(b"QUIT\r\n")
            transport.close()


def _forget(reply: asyncio.Task[Reply]) -> None:
    """Nobody will ask this task any more: cancel it, and take its exception so that asyncio does not complain."""
    if not reply.cancel() and not reply.cancelled():
        reply.exception()


def stuffed(message: bytes) -> bytes:
    """The message as DATA carries it: CRLF line ends only, so that no server sees another end, and leading dots
    doubled (RFC 5321 §4.5.2).
    """
    lines = _LINE_END.sub(b"\r\n", message)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines)


async def _connect(egress: Egress, host: str, port: int) -> socket.socket:
    """A connected socket to an address that was checked; resolved once, several addresses raced (RFC 8305)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=0.25, socket_factory=egress.open_socket)
