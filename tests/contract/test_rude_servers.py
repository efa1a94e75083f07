"""Every HTTP kind, through its whole adapter, against servers that are rude in the ways test_adapters.py leaves out.

One test is one rudeness, met by all kinds at once. After it the same adapter asks the same server again, and is
answered properly: nothing was sent twice, no late answer is taken for the next one, and nobody stays stuck.
"""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import pytest

from services.adapters.base import Adapter, Channel
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import build_adapters
from services.chassis.clock import SystemClock
from tests.contract.dialects import DIALECTS, Dialect
from tests.contract.smtp_calls import a_call as an_smtp_call
from tests.contract.test_adapters import LOOPBACK, a_call
from tests.fakes.clock import START, FakeClock
from tests.fakes.mail import ScriptedMailServer, scripted
from tests.fakes.vendor import Reply, Rude, VendorServer

Adapters = Mapping[tuple[Channel, str], Adapter]
PATIENCE = 1.0  # seconds a call may take where the server is to run out of it: enough to get as far as asking
SLACK = 5.0  # what a busy machine may add


@pytest.fixture
async def adapters() -> AsyncIterator[Adapters]:
    """All adapters, allowed to reach loopback, at a moment that stands still."""
    made = build_adapters(LOOPBACK, FakeClock())
    # What is loaded at the first request of a process (aiohttp's sessions, botocore) is not what a server is slow with.
    await meet_all(made, lambda dialect: dialect.accepted, 30.0)
    yield made
    for each in made.values():
        await each.close()


class Met(NamedTuple):
    """What came of a rude answer and of the proper one after it."""

    first: Result
    second: Result
    seconds: float
    received: int


async def meet(adapters: Adapters, dialect: Dialect, reply: Reply, timeout: float) -> Met:
    """Send to a server that answers like this, then once more to the same server, which refuses the recipient."""
    adapter, loop = adapters[dialect.channel, dialect.kind], asyncio.get_running_loop()
    async with VendorServer() as vendor:
        vendor.script(reply, dialect.bad_recipient)
        started = loop.time()
        first = await adapter.send(a_call(dialect, vendor.url, timeout=timeout))
        seconds = loop.time() - started
        second = await adapter.send(a_call(dialect, vendor.url))
        return Met(first, second, seconds, len(vendor.received))


async def meet_all(adapters: Adapters, reply: Callable[[Dialect], Reply], timeout: float) -> dict[str, Met]:
    """The same for every kind, at once."""
    async with asyncio.TaskGroup() as group:
        tasks = {d.kind: group.create_task(meet(adapters, d, reply(d), timeout)) for d in DIALECTS}
    return {kind: task.result() for kind, task in tasks.items()}


def spoilt(reply: Reply, rude: Rude) -> Reply:
    """The same answer, spoilt; with a body to spoil."""
    return replace(reply, body=reply.body or b"gremlins", rude=rude)


def cut(dialect: Dialect) -> Outcome:
    """What an acceptance means whose body does not come to its end."""
    return dialect.cut_means


def foreign(dialect: Dialect) -> Outcome:
    """What an acceptance means whose body nobody can read."""
    return dialect.unreadable_means


def always(outcome: Outcome) -> Callable[[Dialect], Outcome]:
    """The same for every kind."""
    return lambda _: outcome


class Rudeness(NamedTuple):
    """One way to be rude, and what it means."""

    reply: Callable[[Dialect], Reply]
    means: Callable[[Dialect], Outcome]
    timeout: float = 30.0


def _two_hundred(body: bytes, rude: Rude | None = None, headers: Mapping[str, str] | None = None) -> Rudeness:
    return Rudeness(lambda _: Reply(status=200, body=body, rude=rude, headers=headers or {}), foreign)


RUDE: dict[str, Rudeness] = {
    "slow-answer": Rudeness(lambda d: replace(d.accepted, delay=2 * PATIENCE), always(Outcome.UNKNOWN), PATIENCE),
    "reset-in-our-body": Rudeness(lambda _: Reply(rude=Rude.RESET_EARLY), always(Outcome.UNKNOWN)),
    "accepted-no-body": Rudeness(lambda d: spoilt(d.accepted, Rude.NO_BODY), cut),
    "accepted-half-body": Rudeness(lambda d: spoilt(d.accepted, Rude.CUT_BODY), cut),
    "accepted-body-stalls": Rudeness(lambda d: spoilt(d.accepted, Rude.STALL_BODY), cut, PATIENCE),
    "accepted-body-drips": Rudeness(lambda d: spoilt(_long(d.accepted), Rude.DRIP), cut, PATIENCE),
    "refused-no-body": Rudeness(lambda d: spoilt(d.bad_credentials, Rude.NO_BODY), always(Outcome.DENIED)),
    "refused-half-body": Rudeness(lambda d: spoilt(d.bad_credentials, Rude.CUT_BODY), always(Outcome.DENIED)),
    "refused-body-stalls": Rudeness(
        lambda d: spoilt(d.bad_credentials, Rude.STALL_BODY), always(Outcome.DENIED), PATIENCE
    ),
    "refused-body-drips": Rudeness(
        lambda d: spoilt(_long(d.bad_credentials), Rude.DRIP), always(Outcome.DENIED), PATIENCE
    ),
    "throttled-no-body": Rudeness(lambda d: spoilt(d.throttled, Rude.NO_BODY), always(Outcome.DEFERRED)),
    "endless-200": _two_hundred(b"x" * 4096, Rude.ENDLESS),
    "endless-401": Rudeness(
        lambda _: Reply(status=401, body=b"x" * 4096, rude=Rude.ENDLESS), always(Outcome.DENIED)
    ),
    "a-200-of-a-list": _two_hundred(b"[]"),
    "a-200-of-null": _two_hundred(b"null"),
    "a-200-of-a-word": _two_hundred(b'"id"'),
    "a-200-of-nesting": _two_hundred(b"[" * 60_000),
    "a-200-of-bytes": _two_hundred(bytes(range(256))),
    "a-200-of-a-bomb": _two_hundred(gzip.compress(bytes(30_000_000)), headers={"content-encoding": "gzip"}),
    "accepted-and-more-promised": Rudeness(
        lambda d: replace(d.accepted, headers={**d.accepted.headers, "content-length": "99999"}, close=True),
        always(Outcome.ACCEPTED),
    ),
    "a-200-of-nothing": Rudeness(lambda _: Reply(status=200), cut),
    "a-200-of-a-brace": Rudeness(lambda _: Reply(status=200, body=b"{"), cut),
}  # fmt: skip


def _long(reply: Reply) -> Reply:
    """The same answer with so much space in front of its body that a drip never comes to its end."""
    return replace(reply, body=b" " * 400 + reply.body)


@pytest.mark.parametrize("rudeness", RUDE)
async def test_rude_servers(adapters: Adapters, rudeness: str) -> None:
    """Each rudeness means what it must for each kind, in the call's time; and what follows is as ever."""
    rude = RUDE[rudeness]
    met = await meet_all(adapters, rude.reply, rude.timeout)
    assert {kind: each.first.outcome for kind, each in met.items()} == {d.kind: rude.means(d) for d in DIALECTS}
    assert {kind: each.second.outcome for kind, each in met.items()} == dict.fromkeys(met, Outcome.INVALID)
    read_by_the_server = 1 if rudeness == "reset-in-our-body" else 2
    assert {each.received for each in met.values()} == {read_by_the_server}
    assert max(each.seconds for each in met.values()) < min(rude.timeout, 5.0) + SLACK


@pytest.mark.parametrize("rudeness", [name for name, rude in RUDE.items() if rude.means is cut])
async def test_what_the_head_says_is_kept(adapters: Adapters, rudeness: str) -> None:
    """An acceptance whose body was lost has the id that its head gave, and no other."""
    rude = RUDE[rudeness]
    met = await meet_all(adapters, rude.reply, rude.timeout)
    ids = {d.kind: rude.reply(d).headers.get("x-message-id", "") for d in DIALECTS}
    assert {kind: each.first.provider_message_id for kind, each in met.items()} == ids


NOT_HTTP = {
    "mail-server": b"220 mail.example.com ESMTP\r\n",
    "ssh-server": b"SSH-2.0-OpenSSH_9.2\r\n",
    "tls-alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "no-status": b"HTTP/1.1\r\n\r\n",
    "status-of-letters": b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
    "negative-length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "length-and-chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "no-colon": b"HTTP/1.1 200 OK\r\nthis is no header\r\n\r\n",
    "zero-byte": b"HTTP/1.1 200 OK\r\nx-a: \x00\r\ncontent-length: 0\r\n\r\n",
    "endless-line": b"HTTP/1.1 200 OK\r\nx-a: " + b"y" * 200_000 + b"\r\n\r\n",
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(5000)) + b"\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_not_http(adapters: Adapters, raw: bytes) -> None:
    """What is no HTTP answer leaves open what became of the message, and nobody waits for more of it."""
    met = await meet_all(adapters, lambda _: Reply(raw=raw, close=True), 10.0)
    assert {kind: each.first.outcome for kind, each in met.items()} == dict.fromkeys(met, Outcome.UNKNOWN)
    assert {kind: each.second.outcome for kind, each in met.items()} == dict.fromkeys(met, Outcome.INVALID)
    assert {each.received for each in met.values()} == {2}
    assert max(each.seconds for each in met.values()) < SLACK


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, b"HTTP/1.1 200 OK\r\nx-a: "], ids=["100s", "half"]
)
async def test_head_that_never_comes(adapters: Adapters, raw: bytes) -> None:
    """A head that is begun, or announced again and again, and never given is silence when the time is up."""
    met = await meet_all(adapters, lambda _: Reply(raw=raw), PATIENCE)
    assert {each.first.outcome for each in met.values()} == {Outcome.UNKNOWN}
    assert {each.first.reason for each in met.values()} == {Reason.TIMEOUT}
    assert max(each.seconds for each in met.values()) < PATIENCE + SLACK


async def test_an_answer_too_many(adapters: Adapters) -> None:
    """Two answers to one request: the second is not the answer to the next request."""

    def twice(dialect: Dialect) -> Reply:
        head = "".join(f"{name}: {value}\r\n" for name, value in dialect.accepted.headers.items())
        length = len(dialect.accepted.body)
        one = f"HTTP/1.1 {dialect.accepted.status} OK\r\ncontent-length: {length}\r\n{head}\r\n".encode()
        return Reply(raw=2 * (one + dialect.accepted.body))

    met = await meet_all(adapters, twice, 10.0)
    assert {each.first.outcome for each in met.values()} == {Outcome.ACCEPTED}
    assert {each.second.outcome for each in met.values()} == {Outcome.INVALID}
    assert {each.received for each in met.values()} == {2}


async def test_an_answer_nobody_asked_for(adapters: Adapters) -> None:
    """What is said on an idle connection is not the answer to the next request: that goes out on a fresh one."""
    for dialect in DIALECTS:
        adapter = adapters[dialect.channel, dialect.kind]
        async with VendorServer() as vendor:
            vendor.script(dialect.accepted, dialect.bad_recipient)
            first = await adapter.send(a_call(dialect, vendor.url))
            vendor.interject(dialect.accepted)
            await asyncio.sleep(0.05)  # it is in our socket's buffer already; the loop has to get round to reading it
            second = await adapter.send(a_call(dialect, vendor.url))
            assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.INVALID), dialect.kind
            assert (len(vendor.received), vendor.connections) == (2, 2)


# Retry-After as RFC 9110 §10.2.3 has it, in the three forms of a date of §5.6.7, and as nobody has it.
_NOW = int(START.timestamp())
WAITS: dict[str, tuple[Mapping[str, str], float | None]] = {
    "zero": ({"retry-after": "0"}, 0),
    "fraction": ({"retry-after": "1.5"}, 1.5),
    "imf-fixdate": ({"retry-after": "Thu, 01 Jan 2026 00:01:30 GMT"}, 90),
    "rfc-850": ({"retry-after": "Thursday, 01-Jan-26 00:01:30 GMT"}, 90),
    "asctime": ({"retry-after": "Thu Jan  1 00:01:30 2026"}, 90),
    "past-imf-fixdate": ({"retry-after": "Wed, 31 Dec 2025 23:59:00 GMT"}, 0),
    "past-rfc-850": ({"retry-after": "Wednesday, 31-Dec-25 23:59:00 GMT"}, 0),
    "past-asctime": ({"retry-after": "Wed Dec 31 23:59:00 2025"}, 0),
    "negative": ({"retry-after": "-5"}, None),
    "exponent": ({"retry-after": "1e3"}, None),
    "infinite": ({"retry-after": "inf"}, None),
    "empty": ({"retry-after": ""}, None),
    "no-such-day": ({"retry-after": "Fri, 32 Jan 2026 00:00:00 GMT"}, None),
    "huge": ({"retry-after": "999999999"}, 86_400),
    "end-of-time": ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86_400),
    "after-the-end-of-time": ({"retry-after": "Sat, 01 Jan 10000 00:00:00 GMT"}, None),
    "digits-without-end": ({"retry-after": "9" * 4000}, None),
    "reset-time": ({"x-ratelimit-reset": f"{_NOW + 90}"}, 90),
    "reset-time-with-fraction": ({"x-ratelimit-reset": f"{_NOW + 90}.25"}, 90.25),
    "reset-time-past": ({"x-ratelimit-reset": f"{_NOW - 90}"}, 0),
    "reset-time-huge": ({"x-ratelimit-reset": "99999999999"}, 86_400),
    "reset-in-seconds": ({"x-ratelimit-reset": "90"}, 90),
    "reset-nonsense": ({"x-ratelimit-reset": "tomorrow"}, None),
    "both": ({"retry-after": "7", "x-ratelimit-reset": f"{_NOW + 90}"}, 7),
    "one-of-them-nonsense": ({"retry-after": "soon", "x-ratelimit-reset": f"{_NOW + 90}"}, 90),
}  # fmt: skip


def throttled(dialect: Dialect, headers: Mapping[str, str]) -> Reply:
    """The kind's own 429, with these headers."""
    return replace(dialect.throttled, headers={**dialect.throttled.headers, **headers})


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own time zone is not the one that HTTP speaks in."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_away")
@pytest.mark.parametrize("form", WAITS)
async def test_every_form_of_waiting(adapters: Adapters, form: str) -> None:
    """However the delay is told, all kinds understand the same; nonsense is no delay, and none is longer than a day."""
    headers, seconds = WAITS[form]
    met = await meet_all(adapters, lambda dialect: throttled(dialect, headers), 10.0)
    assert {(each.first.outcome, each.first.reason) for each in met.values()} == {
        (Outcome.DEFERRED, Reason.RATE_LIMITED)
    }
    assert {kind: each.first.retry_after for kind, each in met.items()} == dict.fromkeys(met, seconds)


async def test_a_503_may_ask_to_wait_too(adapters: Adapters) -> None:
    """Retry-After counts with a 503; a reset time, which is about quotas, does not."""
    for headers, seconds in (({"retry-after": "7"}, 7.0), ({"x-ratelimit-reset": f"{_NOW + 90}"}, None)):
        reply = Reply(status=503, headers=headers)
        met = await meet_all(adapters, lambda _, reply=reply: reply, 10.0)  # type: ignore[misc]
        assert {each.first.retry_after for each in met.values()} == {seconds}


_DATE = {"date": "Thu, 01 Jan 2026 09:00:00 GMT"}
_LIMIT = "recipient limit exceeded, try again after %s"


@pytest.mark.parametrize(
    ("words", "headers", "seconds"),
    [
        (_LIMIT % "Thu, 01 Jan 2026 09:00:30 UTC", _DATE, 30),
        (_LIMIT % "Thu, 01 Jan 2026 08:59:30 UTC", _DATE, 0),
        (_LIMIT % "Fri, 01 Jan 2027 09:00:30 UTC", _DATE, 86_400),
        (_LIMIT % "Thu, 01 Jan 2026 09:00:30 UTC", {**_DATE, "retry-after": "7"}, 30),
        (_LIMIT % "Thu, 01 Jan 2026 09:00:30 UTC", {"retry-after": "7"}, 7),
        (_LIMIT % "Thu, 01 Jan 2026 09:00:30 UTC", {"date": "no date", "x-ratelimit-reset": f"{_NOW + 90}"}, 90),
        (_LIMIT % "the end of the world, they say", _DATE, None),
        (_LIMIT % "", _DATE, None),
        ("retry-seconds: 60", {}, None),  # of the management APIs, in a member of its own (§2.4); not of sending
    ],
)
async def test_mailguns_own_words(
    adapters: Adapters, words: str, headers: Mapping[str, str], seconds: float | None
) -> None:
    """Mailgun's date in words counts by Mailgun's own clock; without that, or without sense, the headers do."""
    (mailgun,) = [dialect for dialect in DIALECTS if dialect.kind == "mailgun"]
    body = {"retry-seconds": 60} if words.startswith("retry-seconds") else {"message": words}
    met = await meet(adapters, mailgun, Reply.json(429, body, headers=headers), 10.0)
    assert (met.first.outcome, met.first.retry_after) == (Outcome.DEFERRED, seconds)


async def test_a_mail_server_in_a_vendors_place(adapters: Adapters) -> None:
    """An endpoint that turns out to be a mail server took no message of ours, and gets no second one."""
    for dialect in DIALECTS:
        server = ScriptedMailServer()
        async with scripted(server) as port:
            result = await adapters[dialect.channel, dialect.kind].send(a_call(dialect, f"http://127.0.0.1:{port}"))
        assert result.outcome is Outcome.UNKNOWN
        assert server.connections == 1
        assert "MAIL" not in server.verbs


async def test_a_vendor_in_a_mail_servers_place() -> None:
    """A mail server that turns out to speak HTTP was told nothing: it never greets, or not as one."""
    smtp = build_adapters(LOOPBACK, SystemClock())[Channel.EMAIL, "smtp"]
    async with VendorServer() as vendor:
        silent = await smtp.send(an_smtp_call(vendor.port, timeout=PATIENCE))
    async with scripted(ScriptedMailServer({"BANNER": "HTTP/1.1 400 Bad Request"})) as port:
        talking = await smtp.send(an_smtp_call(port))
    await smtp.close()
    assert (silent.outcome, silent.reason) == (Outcome.DEFERRED, Reason.CONNECT_TIMEOUT)
    assert (talking.outcome, talking.reason) == (Outcome.DEFERRED, Reason.UNREADABLE_ANSWER)
    assert vendor.received == []
