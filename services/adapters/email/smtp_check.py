"""Whether a mail server takes credentials and sender (providers.md §4.4): the dialogue up to MAIL FROM, then RSET."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from aiosmtplib import SMTPResponseException

from services.adapters.base import Address
from services.adapters.check import CheckResult, bad, cannot_verify, good
from services.adapters.egress import REFUSED_TEXT, Egress, Progress, current_progress
from services.adapters.email.smtp import SPEC, Phase, verdict_of
from services.adapters.email.smtp_adapter import spoken_secrets
from services.adapters.email.smtp_wire import NoMechanism, Refused, Reply, SmtpConnection, TlsMissing
from services.adapters.http_check import MAX_MESSAGE, failed_unexpectedly
from services.adapters.mime import wire_address
from services.adapters.outcome import Outcome
from services.adapters.redaction import clean


class SmtpChecker:
    """The checker of kind smtp: a connection of its own for each check, no message."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def close(self) -> None:
        """Nothing is kept open."""

    async def check(self, config: Mapping[str, Any], *, timeout: float, sender: str = "") -> CheckResult:
        progress = Progress()
        token = current_progress.set(progress)
        connection = SmtpConnection(config)
        try:
            async with asyncio.timeout(timeout):
                await connection.open(self._egress)
                found = await _converse(connection, config, sender)
        except (OSError, Refused, TlsMissing, NoMechanism, SMTPResponseException, ValueError) as error:
            found = _broken(connection.phase, error, refused=progress.refused)
        except Exception as error:  # noqa: BLE001 - a checker never raises: what nobody knows is a verdict too
            found = failed_unexpectedly(error, SPEC.kind, spoken_secrets(config))
        finally:
            current_progress.reset(token)
            connection.close()
        message = clean(found.message, spoken_secrets(config), MAX_MESSAGE)
        return CheckResult(verdict=found.verdict, message=message)


async def _converse(connection: SmtpConnection, config: Mapping[str, Any], sender: str) -> CheckResult:
    """What the server says once the door is open: NOOP, and the sender if there is one to name."""
    reply = await connection.command(b"NOOP")
    if reply.code != 250:
        return _said(Phase.EHLO, reply)
    known = "The server took the credentials" if config.get("auth") else "The server asks for no credentials so far"
    address = sender or str(config.get("fromEmail") or (config.get("auth") or {}).get("user") or "")
    if "@" not in address:
        return good(f"{known}. Without a sender it was not asked whether it takes one.")
    line = f"MAIL FROM:<{wire_address(Address(email=address))}>".encode()
    reply = await connection.envelope(Phase.MAIL, line)
    if reply.code != 250:
        return _said(Phase.MAIL, reply)
    await connection.command(b"RSET")
    return good(f"{known}, and the sender {address}.")


def _said(phase: Phase, reply: Reply) -> CheckResult:
    words = f"{reply.code} {reply.text}" if reply.code > 0 else reply.text
    if reply.code > 0 and verdict_of(phase, reply.code, reply.text).outcome is Outcome.DENIED:
        return bad(f"The server refuses at {phase}: {words}")
    return cannot_verify(f"The server did not go on at {phase}: {words}")


def _broken(phase: Phase, error: Exception, *, refused: bool) -> CheckResult:
    """What it means when the dialogue did not come to its end."""
    match error:
        case Refused():
            return _said(error.phase, error.reply)
        case SMTPResponseException():
            return _said(phase, Reply(error.code, error.message))
        case TlsMissing():
            return bad("The server offers no STARTTLS, and TLS is required because of `auth` or `requireTls`.")
        case NoMechanism():
            return bad("The server offers no AUTH mechanism we speak (PLAIN, LOGIN, CRAM-MD5) on this connection.")
        case _ if refused and phase is Phase.CONNECT:
            return cannot_verify(REFUSED_TEXT)
        case TimeoutError():
            return cannot_verify(f"No answer in time at {phase}.")
        case ssl.SSLError():
            return cannot_verify(f"TLS failed: {error}")
    return cannot_verify(f"The connection failed at {phase}: {error}")
