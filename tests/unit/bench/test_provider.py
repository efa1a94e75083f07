"""The fake providers' protocols, fed with bytes: HTTP and SMTP as far as our adapters speak them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bench.provider import KINDS, Desk, HttpSpeaker, SmtpSpeaker, content_length

REQUEST = b'POST /v3/mail/send HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n{"messagepipe_id":"m-1234"}'[:-1]


class _Line(asyncio.Transport):
    """Keeps what is said on it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.said.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def spoken(speaker: HttpSpeaker | SmtpSpeaker, pieces: Sequence[bytes]) -> list[bytes]:
    """What it answers to these pieces, one after the other."""
    line = _Line()
    speaker.connection_made(line)
    for piece in pieces:
        speaker.data_received(piece)
    return line.said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "smtp"])
def test_a_request_is_answered_as_the_kind_does_and_counted(kind: str) -> None:
    """A proper HTTP answer, as long as it says it is."""
    desk = Desk(kind)
    (answer,) = spoken(HttpSpeaker(desk), [REQUEST])
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 20")
    assert content_length(head) == len(body)
    assert desk.counts()["accepted"] == 1
    assert 0 < desk.counts()["first_at"] == desk.counts()["last_at"]


def test_a_request_in_pieces_is_one_request_and_two_at_once_are_two() -> None:
    """TCP knows no requests."""
    desk = Desk("sendgrid")

    assert len(spoken(HttpSpeaker(desk), [REQUEST[:20], REQUEST[20:90], REQUEST[90:]])) == 1
    assert len(spoken(HttpSpeaker(desk), [REQUEST + REQUEST])) == 2


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"POST / HTTP/1.1\r\nCONTENT-LENGTH: 12", 12),
        (b"POST / HTTP/1.1\r\ncontent-length:7\r\nx: y", 7),
        (b"GET / HTTP/1.1\r\nx-content-length: 9", 0),
    ],
)
def test_the_length_of_a_body_is_found(head: bytes, length: int) -> None:
    """However its name is written, and only under its own name."""
    assert content_length(head) == length


def test_shares_are_refused_and_not_counted_as_accepted() -> None:
    """Always 503: nothing is accepted, and what was refused is told with its message where that is wanted."""
    desk = Desk("sendgrid")
    desk.behave({"503": 1}, 0.0, log=True)
    message = "0" * 36
    body = b'{"messagepipe_id":"%s"}' % message.encode()
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    assert spoken(HttpSpeaker(desk), [request])[0].startswith(b"HTTP/1.1 503")
    assert desk.counts()["accepted"] == 0
    assert [(seen, status) for seen, _, status in desk.seen] == [(message, 503)]


async def test_a_slow_provider_answers_later_and_not_never() -> None:
    """Latency is waited for without holding up other connections."""
    desk, line = Desk("sendgrid"), _Line()
    desk.behave({}, 0.02, log=False)
    speaker = HttpSpeaker(desk)
    speaker.connection_made(line)
    speaker.data_received(REQUEST)

    assert line.said == []
    async with asyncio.timeout(5):
        while not line.said:
            await asyncio.sleep(0.005)


def test_a_mail_is_taken_at_its_final_dot() -> None:
    """EHLO to QUIT; a dot inside of the mail does not end it, and a final dot in a packet of its own does."""
    desk = Desk("smtp")
    talk = b"EHLO x\r\n,MAIL FROM:<a@b>\r\n,RCPT TO:<c@d>\r\n,DATA\r\n,a.b\r\n..\r\nc,\r\n.\r\n,QUIT\r\n".split(b",")
    said = spoken(SmtpSpeaker(desk), talk)

    assert [answer[:3] for answer in said] == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert desk.counts()["accepted"] == 1


def test_a_reset_forgets_what_was_seen_and_not_how_to_behave() -> None:
    """The next run counts from zero."""
    desk = Desk("sendgrid")
    desk.behave({"503": 1}, 0.0, log=False)
    spoken(HttpSpeaker(desk), [REQUEST])
    desk.reset()

    assert desk.counts()["requests"] == 0
    assert spoken(HttpSpeaker(desk), [REQUEST])[0].startswith(b"HTTP/1.1 503")
