"""Fake providers in a process of their own, as light as Python can be: an HTTP server and a mail server at protocol
level, one port each. They check nothing of what they are sent.

An answer is chosen by status: `shares` {202: 0.7, 429: 0.3} deals them out evenly; `latency` delays each.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bench.agent import serve
from bench.arithmetic import Portions

# What each kind says when it has taken a message; {} is its id for it.
_ACCEPTED: Mapping[str, tuple[int, str, str]] = {
    "sendgrid": (202, "x-message-id: sg-{}\r\n", ""),
    "mailgun": (200, "content-type: application/json\r\n", '{{"id":"<{}@mg.example.com>","message":"Queued."}}'),
    "twilio": (201, "content-type: application/json\r\n", '{{"sid":"SM{}","status":"queued"}}'),
    "ses": (200, "content-type: application/json\r\n", '{{"MessageId":"ses-{}"}}'),
    "sns": (
        200,
        "content-type: text/xml\r\n",
        "<PublishResponse><PublishResult><MessageId>sns-{}</MessageId></PublishResult></PublishResponse>",
    ),
}
KINDS = (*_ACCEPTED, "smtp")
_ID_MARK = b'"messagepipe_id":"'


class Desk:
    """What one port has seen, and what it answers next. Times are those of the machine's monotonic clock."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.behave({}, 0.0, log=False)
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.requests = self.accepted = 0
        self.first_at = self.last_at = 0.0
        self.seen: list[tuple[str, float, int]] = []

    def behave(self, shares: Mapping[str, float], latency: float, *, log: bool) -> None:
        """How to answer from now on; no shares: take everything."""
        self._portions = Portions({int(status): share for status, share in shares.items()}) if shares else None
        self.latency, self._log = latency, log

    def answer(self, body: bytes) -> bytes:
        """The answer to one request."""
        now = time.monotonic()
        self.requests += 1
        status = self._portions.next() if self._portions else 0
        if status < 400:
            self.accepted += 1
            self.first_at, self.last_at = self.first_at or now, now
        if self._log:
            self.seen.append((_message_of(body), now, status))
        return self._refused(status) if status >= 400 else self._taken()

    def _taken(self) -> bytes:
        if self._kind == "smtp":
            return b"250 2.0.0 queued as %d\r\n" % self.accepted
        status, headers, body = _ACCEPTED[self._kind]
        return _http(status, headers.format(self.accepted), body.format(self.accepted))

    def _refused(self, status: int) -> bytes:
        if self._kind == "smtp":
            return b"451 4.3.0 try later\r\n"
        return _http(status, "content-type: application/json\r\n", '{"errors":[{"message":"try later"}]}')

    def counts(self) -> Mapping[str, float]:
        """What was seen since the last reset."""
        return {
            "requests": self.requests,
            "accepted": self.accepted,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


def _http(status: int, headers: str, body: str) -> bytes:
    return f"HTTP/1.1 {status} Fake\r\ncontent-length: {len(body)}\r\n{headers}\r\n{body}".encode()


def _message_of(body: bytes) -> str:
    start = body.find(_ID_MARK)
    return body[start + len(_ID_MARK) : start + len(_ID_MARK) + 36].decode() if start >= 0 else ""


class _Speaker(asyncio.Protocol):
    """What both protocols share: a buffer and a line to answer on."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # of a TCP server it always is one

    def say(self, words: bytes, latency: float = 0.0) -> None:
        """Now, or after `latency` seconds."""
        if self._transport is None or self._transport.is_closing():
            return
        if latency:
            asyncio.get_running_loop().call_later(latency, self.say, words)
        else:
            self._transport.write(words)


class HttpSpeaker(_Speaker):
    """HTTP/1.1 as far as a POST with a content-length goes."""

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + content_length(buffer[:end])
            if len(buffer) < size:
                break
            self.say(self.desk.answer(buffer[end + 4 : size]), self.desk.latency)
            buffer = buffer[size:]
        self._buffer = buffer


def content_length(head: bytes) -> int:
    """How many bytes follow this head of a request; 0 when it does not say."""
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    end = lowered.find(b"\r\n", start + 2)
    return int(lowered[start + 17 : end if end >= 0 else None])


class SmtpSpeaker(_Speaker):
    """SMTP as far as a mail without authentication goes."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.say(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._take_mail() if self._in_data else self._take_line():
            pass

    def _take_mail(self) -> bool:
        end = self._buffer.find(b"\r\n.\r\n")
        if end < 0:
            return False
        self.say(self.desk.answer(self._buffer[:end]), self.desk.latency)
        self._buffer, self._in_data = self._buffer[end + 5 :], False
        return True

    def _take_line(self) -> bool:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        match line[:4].upper():
            case b"EHLO" | b"HELO":
                self.say(b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
            case b"DATA":
                self._in_data = True
                self.say(b"354 go on\r\n")
            case b"QUIT":
                self.say(b"221 bye\r\n")
                if self._transport is not None:
                    self._transport.close()
            case _:
                self.say(b"250 2.0.0 ok\r\n")
        return True


class Providers:
    """The orders of this process: open a port, say how it behaves, ask what it saw."""

    def __init__(self) -> None:
        self._desks: dict[int, Desk] = {}

    async def listen(self, kind: str) -> int:
        """A provider of this kind that takes everything, and its port."""
        desk = Desk(kind)
        speaker = SmtpSpeaker if kind == "smtp" else HttpSpeaker
        server = await asyncio.get_running_loop().create_server(lambda: speaker(desk), "127.0.0.1", 0, backlog=2048)
        port = int(server.sockets[0].getsockname()[1])
        self._desks[port] = desk
        return port

    async def behave(
        self, port: int, shares: Mapping[str, float] | None = None, latency: float = 0.0, *, log: bool = False
    ) -> None:
        """How it answers from now on."""
        self._desks[port].behave(shares or {}, latency, log=log)

    async def reset(self) -> None:
        """Every port forgets what it saw."""
        for desk in self._desks.values():
            desk.reset()

    async def counts(self, port: int) -> Mapping[str, float]:
        """What one port saw."""
        return self._desks[port].counts()

    async def seen(self, port: int) -> list[Any]:
        """Message, time and status of every request, where it was told to log; an answer without latency leaves in
        the same moment.
        """
        return [list(each) for each in self._desks[port].seen]


def main() -> None:
    """Follow orders until stdin ends."""
    providers = Providers()
    serve(
        {
            "listen": providers.listen,
            "behave": providers.behave,
            "reset": providers.reset,
            "counts": providers.counts,
            "seen": providers.seen,
        }
    )


if __name__ == "__main__":
    main()
