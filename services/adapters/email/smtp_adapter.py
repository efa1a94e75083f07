"""Sends email over SMTP: one transaction per call, on kept connections. Not the socket (smtp_wire.py), not what
replies mean (smtp.py).
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtplib import SMTPResponseException
from aiosmtplib.auth import auth_plain_encode

from services.adapters.base import Address, Call, EmailContent, ProviderSpec
from services.adapters.egress import REFUSED_TEXT, Egress, Progress, current_progress
from services.adapters.email.sender import SENDER_MISSING
from services.adapters.email.smtp import SPEC, Phase, enhanced_code, smtp_sender, verdict_of
from services.adapters.email.smtp_wire import NoMechanism, Refused, Reply, SmtpConnection, TlsMissing, stuffed
from services.adapters.http import is_large, unexpected
from services.adapters.mime import build_mime, message_id_header, needs_smtputf8, wire_address
from services.adapters.outcome import Outcome, Reason, Result, unfit
from services.adapters.redaction import cleaned, secret_values
from services.chassis.clock import Clock
from services.chassis.log import get_logger

IDLE_SECONDS = 15.0
DEFAULT_CONNECTIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mail:
    """One transaction: envelope and message, ready for the wire."""

    sender: str
    recipients: tuple[str, ...]  # the message's own recipient first
    wire: bytes  # the message as DATA carries it, without the final dot
    message_id: str
    smtputf8: bool


@dataclass(slots=True)
class _Attempt:
    """One call under way: how far it came, and until when it may go on (event loop time)."""

    mail: _Mail
    limit: asyncio.Timeout
    deadline: float
    phase: Phase = Phase.CONNECT


@dataclass(slots=True)
class _Pool:
    """The connections of one provider in one config version."""

    slots: asyncio.Semaphore
    idle: list[tuple[SmtpConnection, asyncio.TimerHandle]] = field(default_factory=list)
    users: int = 0


class SmtpAdapter:
    """The adapter of kind smtp; safe for any number of concurrent sends."""

    def __init__(self, egress: Egress, clock: Clock) -> None:
        self._egress, self._clock = egress, clock
        self._pools: dict[tuple[str, int], _Pool] = {}
        self._log = get_logger()

    @property
    def spec(self) -> ProviderSpec:
        return SPEC

    async def close(self) -> None:
        for pool in self._pools.values():
            while (connection := _take_alive(pool)) is not None:
                connection.close()
        self._pools.clear()

    async def send(self, call: Call) -> Result:
        secrets = spoken_secrets(call.config)
        try:
            mail = await asyncio.to_thread(self._mail, call) if is_large(call.content) else self._mail(call)
            result = mail if isinstance(mail, Result) else await self._deliver(call, mail)
        except Exception as error:  # noqa: BLE001 - an adapter never raises: whatever nobody knows is an outcome too
            result = unexpected(error, call, secrets, self._log)
        result = cleaned(result, secrets)
        self._log.debug(
            "provider_answered",
            kind=SPEC.kind,
            provider_id=call.provider_id,
            message_id=call.message_id,
            attempt=call.attempt,
            outcome=str(result.outcome),
            reason=str(result.reason),
        )
        return result

    def _mail(self, call: Call) -> _Mail | Result:
        content, sender = call.content, smtp_sender(call)
        if not isinstance(content, EmailContent):
            raise TypeError("smtp sends email only")
        if sender is None:
            return SENDER_MISSING
        everyone = (content.to, *content.cc, *content.bcc)
        envelope = Address(email=str(call.options.get("envelopeFrom") or sender.email))
        try:
            return _Mail(
                sender=wire_address(envelope),
                recipients=_once(everyone),
                wire=stuffed(build_mime(content, sender=sender, message_id=call.message_id, now=self._clock.now())),
                message_id=message_id_header(call.message_id, sender),
                smtputf8=any(
                    needs_smtputf8(address)
                    for address in (sender, envelope, *everyone, *filter(None, [content.reply_to]))
                ),
            )
        except ValueError as error:
            return Result(
                outcome=Outcome.UNFIT,
                reason=Reason.REQUEST_REFUSED,
                provider_text=f"The message could not be built: {error}",
            )

    async def _deliver(self, call: Call, mail: _Mail) -> Result:
        started = asyncio.get_running_loop().time()
        progress = Progress()
        token = current_progress.set(progress)
        attempt: _Attempt | None = None
        try:
            async with asyncio.timeout_at(started + call.timeout) as limit:
                attempt = _Attempt(mail=mail, limit=limit, deadline=started + call.time_left)
                async with self._slot(call) as pool:
                    return await self._use_pool(call, pool, attempt)
        except (OSError, Refused, TlsMissing, NoMechanism, SMTPResponseException) as error:
            phase = attempt.phase if attempt else Phase.CONNECT
            return _broken(phase, error, mail, refused=progress.refused)
        finally:
            current_progress.reset(token)

    async def _use_pool(self, call: Call, pool: _Pool, attempt: _Attempt) -> Result:
        """On a kept connection if there is one; when that turns out to be stale, nothing was accepted on it: once
        more on a fresh one.
        """
        kept = _take_alive(pool)
        if kept is not None:
            try:
                return await self._converse(call, pool, kept, attempt)
            except (OSError, Refused) as error:
                gone = isinstance(error, OSError) and not isinstance(error, TimeoutError)
                closing = isinstance(error, Refused) and error.reply.code == 421
                if attempt.phase is Phase.DOT or not (gone or closing):
                    raise
        return await self._converse(call, pool, SmtpConnection(call.config), attempt)

    async def _converse(self, call: Call, pool: _Pool, connection: SmtpConnection, attempt: _Attempt) -> Result:
        try:
            if not connection.alive:
                await connection.open(self._egress)
            result = await _transaction(connection, attempt)
        except BaseException:
            connection.close()
            raise
        finally:
            attempt.phase = connection.phase
        self._park(call, pool, connection)
        return result

    @asynccontextmanager
    async def _slot(self, call: Call) -> AsyncIterator[_Pool]:
        key = (call.provider_id, call.config_version)
        size = int(call.config.get("maxConnections") or DEFAULT_CONNECTIONS)
        pool = self._pools.setdefault(key, _Pool(asyncio.Semaphore(size)))
        pool.users += 1
        try:
            async with pool.slots:
                yield pool
        finally:
            pool.users -= 1
            self._forget_unused(key)

    def _park(self, call: Call, pool: _Pool, connection: SmtpConnection) -> None:
        """Keep the connection for the next message, for IDLE_SECONDS at most."""
        if not connection.alive:
            return
        key = (call.provider_id, call.config_version)

        def expire() -> None:
            pool.idle[:] = [entry for entry in pool.idle if entry[0] is not connection]
            connection.close()
            self._forget_unused(key)

        pool.idle.append((connection, asyncio.get_running_loop().call_later(IDLE_SECONDS, expire)))

    def _forget_unused(self, key: tuple[str, int]) -> None:
        pool = self._pools.get(key)
        if pool is not None and not pool.users and not pool.idle:
            del self._pools[key]


def _take_alive(pool: _Pool) -> SmtpConnection | None:
    while pool.idle:
        connection, timer = pool.idle.pop()
        timer.cancel()
        if connection.alive:
            return connection
        connection.close()
    return None


async def _transaction(connection: SmtpConnection, attempt: _Attempt) -> Result:
    """MAIL, RCPT each, DATA, body, dot. The message's own recipient refused means nobody gets it; raises when the
    connection is of no more use.
    """
    mail = attempt.mail
    misfit = _misfit(connection, mail)
    if misfit is not None:
        return misfit
    await connection.reset_if_needed()
    reply = await connection.envelope(Phase.MAIL, _mail_line(connection, mail))
    if reply.code != 250:
        return _refused(Phase.MAIL, reply, mail)
    turned_down = []
    for recipient in mail.recipients:
        reply = await connection.envelope(Phase.RCPT, b"RCPT TO:<" + recipient.encode() + b">")
        if reply.code not in (250, 251):
            if recipient == mail.recipients[0] or reply.code == 421:
                return _refused(Phase.RCPT, reply, mail)
            turned_down.append(f"{recipient} refused: {reply.code} {reply.text}")
    reply = await connection.envelope(Phase.DATA, b"DATA")
    if reply.code != 354:
        return _refused(Phase.DATA, reply, mail)
    answer = await connection.body(mail.wire)
    attempt.limit.reschedule(min(asyncio.get_running_loop().time() + SPEC.verdict_seconds, attempt.deadline))
    reply = await connection.dot(answer)
    if not 200 <= reply.code < 300:
        return _refused(Phase.DOT, reply, mail)
    connection.finished()
    text = "; ".join([*turned_down, reply.text])
    return Result(
        outcome=Outcome.ACCEPTED,
        reason=Reason.ACCEPTED,
        provider_code=_code(reply),
        provider_text=text,
        provider_message_id=mail.message_id,
    )


def _misfit(connection: SmtpConnection, mail: _Mail) -> Result | None:
    size = connection.extensions.get("size", "")
    if size.isdigit() and 0 < int(size) < len(mail.wire):
        text = f"The server takes at most {size} bytes; this message has {len(mail.wire)}."
        return unfit(Reason.TOO_LARGE, "attachments", text)
    if mail.smtputf8 and "smtputf8" not in connection.extensions:
        text = "An address needs SMTPUTF8 (RFC 6531), which the server does not offer."
        return unfit(Reason.FEATURE_UNSUPPORTED, "from, to, cc, bcc, replyTo", text)
    return None


def _mail_line(connection: SmtpConnection, mail: _Mail) -> bytes:
    size = f" SIZE={len(mail.wire)}" if "size" in connection.extensions else ""
    utf8 = " SMTPUTF8" if mail.smtputf8 else ""
    return f"MAIL FROM:<{mail.sender}>{size}{utf8}".encode()


def _refused(phase: Phase, reply: Reply, mail: _Mail) -> Result:
    if reply.code == 421 or reply.code < 0:
        raise Refused(phase, reply)  # the server closes, or talks nonsense: no use keeping the connection
    return _said(phase, reply, mail)


def _said(phase: Phase, reply: Reply, mail: _Mail) -> Result:
    verdict = verdict_of(phase, reply.code, reply.text)
    scope = f"sender:{mail.sender}" if verdict.scope else ""
    return Result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        provider_code=_code(reply),
        provider_text=reply.text,
        scope=scope,
    )


def _code(reply: Reply) -> str:
    return f"{reply.code} {enhanced_code(reply.text)}".strip() if reply.code > 0 else ""


def _broken(phase: Phase, error: Exception, mail: _Mail, *, refused: bool) -> Result:
    """What it means when the dialogue did not come to its end."""
    match error:
        case Refused():
            return _said(error.phase, error.reply, mail)
        case SMTPResponseException():
            return _said(phase, Reply(error.code, error.message), mail)
        case TlsMissing():
            text = "The server offers no STARTTLS, and TLS is required because of `auth` or `requireTls`."
            return Result(outcome=Outcome.DENIED, reason=Reason.TLS_REQUIRED, provider_text=text)
        case NoMechanism():
            text = "The server offers no AUTH mechanism we speak (PLAIN, LOGIN, CRAM-MD5) on this connection."
            return Result(outcome=Outcome.DENIED, reason=Reason.MISCONFIGURED, provider_text=text)
        case _ if refused and phase is Phase.CONNECT:
            return Result(outcome=Outcome.DENIED, reason=Reason.EGRESS_REFUSED, provider_text=REFUSED_TEXT)
    outcome = Outcome.UNKNOWN if phase is Phase.DOT else Outcome.DEFERRED
    where = "after the final dot" if phase is Phase.DOT else f"at {phase}, before anything was accepted"
    match error:
        case TimeoutError():
            reason = Reason.CONNECT_TIMEOUT if phase is Phase.CONNECT else Reason.TIMEOUT
            return Result(outcome=outcome, reason=reason, provider_text=f"No answer in time {where}.")
        case ssl.SSLError() if outcome is Outcome.DEFERRED:
            return Result(outcome=outcome, reason=Reason.TLS_FAILED, provider_text=f"TLS failed: {error}")
        case _:
            reason = Reason.CONNECT_FAILED if phase is Phase.CONNECT else Reason.CONNECTION_LOST
            return Result(outcome=outcome, reason=reason, provider_text=f"The connection broke {where}: {error}")


def _once(addresses: Iterable[Address]) -> tuple[str, ...]:
    """Envelope recipients, each once, in order."""
    seen: dict[str, str] = {}
    for address in addresses:
        wire = wire_address(address)
        seen.setdefault(wire.lower(), wire)
    return tuple(seen.values())


def spoken_secrets(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The password, and the forms AUTH sends it in: servers like to quote the line they did not understand."""
    plain = secret_values(SPEC, config)
    user = str((config.get("auth") or {}).get("user") or "")
    encoded = [base64.b64encode(word.encode()).decode() for word in plain] + [
        auth_plain_encode(user, word).decode() for word in plain
    ]
    return (*encoded[::-1], *plain)
