"""One suite, every HTTP kind: what the rest of the program may count on, whoever the vendor is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import structlog

from services.adapters.base import Adapter, Address, Attachment, Call, Channel, EmailContent, SmsContent, secret_paths
from services.adapters.egress import Egress, parse_networks
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import build_adapters, spec_for
from services.adapters.schema import settings_errors
from services.chassis.clock import SystemClock
from tests.contract.dialects import DIALECTS, Dialect
from tests.fakes.vendor import Received, Reply, Rude, VendorServer, refusing_port

LOOPBACK = Egress(allow=parse_networks(("127.0.0.0/8",)))


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.kind)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each HTTP kind's words."""
    found: Dialect = request.param
    return found


@pytest.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A test server to point settings at."""
    async with VendorServer() as server:
        yield server


@pytest.fixture
async def adapter(dialect: Dialect) -> AsyncIterator[Adapter]:
    """The kind's own adapter, allowed to reach loopback."""
    adapters = build_adapters(LOOPBACK, SystemClock())
    yield adapters[dialect.channel, dialect.kind]
    for each in adapters.values():
        await each.close()


def a_call(dialect: Dialect, url: str, *, timeout: float = 5.0, **content: object) -> Call:
    """A call any kind of the dialect's channel takes."""
    email = EmailContent(
        sender=Address(email="shop@example.com", name="Shop"),
        to=Address(email="ada@example.com"),
        subject="Hello",
        text="Hi",
        html="<p>Hi</p>",
    )
    sms = SmsContent(to="+14155550100", text="Hi")
    return Call(
        message_id="0199c0de-0000-7000-8000-000000000001",
        attempt=1,
        content=replace(email if dialect.channel is Channel.EMAIL else sms, **content),  # type: ignore[arg-type]
        config=dialect.settings(url),
        provider_id="provider-1",
        config_version=1,
        timeout=timeout,
        time_left=3600,
    )


async def test_settings_are_valid(dialect: Dialect) -> None:
    """The settings used here satisfy the kind's own schema, and every secret in them is marked as one."""
    spec = spec_for(dialect.channel, dialect.kind)
    assert spec is not None
    assert settings_errors(spec, dialect.settings("http://127.0.0.1:4000")) == []
    marked = {
        dialect.settings("http://x")[path[0]] for path in secret_paths(spec) if path[0] in dialect.settings("http://x")
    }
    assert marked == set(dialect.secrets)


async def test_accepted(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """Accepted yields the provider's id, and one request was made."""
    vendor.script(dialect.accepted)
    result = await adapter.send(a_call(dialect, vendor.url))
    assert (result.outcome, result.reason, result.provider_message_id) == (
        Outcome.ACCEPTED,
        Reason.ACCEPTED,
        dialect.accepted_id,
    )
    assert [received.method for received in vendor.received] == ["POST"]


def test_on_uvloop(dialect: Dialect) -> None:
    """The same holds on uvloop: one message is accepted, one is unknown because the line was lost."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> list[Outcome]:
        adapters = build_adapters(LOOPBACK, SystemClock())
        adapter = adapters[dialect.channel, dialect.kind]
        async with VendorServer() as vendor:
            vendor.script(dialect.accepted, Reply(rude=Rude.CLOSE))
            outcomes = [(await adapter.send(a_call(dialect, vendor.url))).outcome for _ in range(2)]
        for each in adapters.values():
            await each.close()
        return outcomes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == [Outcome.ACCEPTED, Outcome.UNKNOWN]


# How the delay is told, and the seconds it must be understood as: at least, at most.
RETRY_FORMS: dict[str, tuple[Callable[[], dict[str, str]], float | None, float]] = {
    "seconds": (lambda: {"retry-after": "37"}, 36, 37),
    "http-date": (
        lambda: {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)},
        55,
        60,
    ),
    "past-date": (lambda: {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0),
    "reset-time": (lambda: {"x-ratelimit-reset": str(int(datetime.now(UTC).timestamp()) + 90)}, 85, 90),
    "nonsense": (lambda: {"retry-after": "soon"}, None, 0),
    "nothing": (dict, None, 0),
}


@pytest.mark.parametrize("form", RETRY_FORMS)
async def test_throttled(dialect: Dialect, adapter: Adapter, vendor: VendorServer, form: str) -> None:
    """Throttled is deferred with the provider's delay, in whichever form it is given."""
    headers, low, high = RETRY_FORMS[form]
    vendor.script(replace(dialect.throttled, headers={**dialect.throttled.headers, **headers()}))
    result = await adapter.send(a_call(dialect, vendor.url))
    assert result.outcome is Outcome.DEFERRED
    assert result.reason == Reason.RATE_LIMITED
    if low is None or not dialect.obeys_retry_after:
        assert result.retry_after is None
    else:
        assert result.retry_after is not None
        assert low <= result.retry_after <= high


async def test_bad_credentials(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """Bad credentials are denied, with the provider's own words."""
    vendor.script(dialect.bad_credentials)
    result = await adapter.send(a_call(dialect, vendor.url))
    assert (result.outcome, result.reason, result.scope) == (Outcome.DENIED, Reason.CREDENTIALS, "")
    assert result.provider_text


async def test_bad_recipient(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """A recipient no provider would take is invalid."""
    vendor.script(dialect.bad_recipient)
    result = await adapter.send(a_call(dialect, vendor.url))
    assert (result.outcome, result.reason) == (Outcome.INVALID, Reason.RECIPIENT_INVALID)
    assert result.provider_text


async def test_unreadable_success(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """A 2xx nobody can read is never sent again blindly: accepted without an id, or unknown with the raw words kept."""
    vendor.script(dialect.unreadable)
    result = await adapter.send(a_call(dialect, vendor.url))
    assert (result.outcome, result.provider_message_id) == (dialect.unreadable_means, "")
    if result.outcome is not Outcome.ACCEPTED:
        assert "hotel network" in result.provider_text


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (302, Outcome.DENIED),
        (408, Outcome.DEFERRED),
        (418, Outcome.UNFIT),
        (425, Outcome.DEFERRED),
        (500, Outcome.UNKNOWN),
        (502, Outcome.UNKNOWN),
        (503, Outcome.DEFERRED),
        (504, Outcome.UNKNOWN),
        (599, Outcome.UNKNOWN),
    ],
)
async def test_unknown_words_fall_back_to_the_status(
    dialect: Dialect, adapter: Adapter, vendor: VendorServer, status: int, outcome: Outcome
) -> None:
    """An answer in words nobody knows is decided by its HTTP status, and the raw words are kept."""
    vendor.script(Reply(status=status, body=b"<h1>gremlins</h1>", headers={"location": "http://127.0.0.1:1/"}))
    result = await adapter.send(a_call(dialect, vendor.url))
    assert result.outcome is outcome
    assert "gremlins" in result.provider_text
    assert len(vendor.received) == 1


async def test_nobody_listens(dialect: Dialect, adapter: Adapter) -> None:
    """A provider that cannot be connected to is deferred: nothing was sent."""
    async with refusing_port() as port:
        result = await adapter.send(a_call(dialect, f"http://127.0.0.1:{port}"))
    assert (result.outcome, result.reason) == (Outcome.DEFERRED, Reason.CONNECT_FAILED)


@pytest.mark.parametrize("rude", [Rude.HANG, Rude.CLOSE, Rude.RESET, Rude.CUT_HEAD, Rude.GARBAGE])
async def test_silence_after_the_request(dialect: Dialect, adapter: Adapter, vendor: VendorServer, rude: Rude) -> None:
    """When the request was written and no answer can be read, the outcome is unknown, and the request was made
    exactly once.
    """
    vendor.script(Reply(rude=rude))
    result = await adapter.send(a_call(dialect, vendor.url, timeout=0.5))
    assert result.outcome is Outcome.UNKNOWN
    assert result.reason in {Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.UNREADABLE_ANSWER}
    await asyncio.sleep(0.05)
    assert len(vendor.received) == 1


async def test_connection_dropped_while_idle(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """A kept connection the provider has dropped costs no message: a fresh one is made, and nothing is sent twice."""
    vendor.script(dialect.accepted, dialect.accepted)
    await adapter.send(a_call(dialect, vendor.url))
    vendor.drop_connections()
    await asyncio.sleep(0.05)
    result = await adapter.send(a_call(dialect, vendor.url))
    assert result.outcome is Outcome.ACCEPTED
    assert (len(vendor.received), vendor.connections) == (2, 2)


async def test_kept_connection_closed_without_an_answer(
    dialect: Dialect, adapter: Adapter, vendor: VendorServer
) -> None:
    """A kept connection that breaks after the request was written is unknown, and the request is not made again
    behind our back.
    """
    vendor.script(dialect.accepted, Reply(rude=Rude.CLOSE), dialect.accepted)
    await adapter.send(a_call(dialect, vendor.url))
    result = await adapter.send(a_call(dialect, vendor.url))
    assert result.outcome is Outcome.UNKNOWN
    await asyncio.sleep(0.05)
    assert len(vendor.received) == 2


async def test_loopback_is_refused_unless_allowed(dialect: Dialect, vendor: VendorServer) -> None:
    """An endpoint on a private network is denied unless the operator has named it, and the text names the setting."""
    adapter = build_adapters(Egress(), SystemClock())[dialect.channel, dialect.kind]
    result = await adapter.send(a_call(dialect, vendor.url))
    await adapter.close()
    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.EGRESS_REFUSED)
    assert "MESSAGEPIPE_EGRESS_ALLOW" in result.provider_text
    assert vendor.connections == 0


async def test_no_secret_is_seen_again(
    dialect: Dialect,
    adapter: Adapter,
    vendor: VendorServer,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No credential appears in a result, a repr or a log, even when the provider quotes our request back."""
    caplog.set_level(logging.DEBUG)

    def echo(received: Received) -> Reply:
        return Reply(status=418, body=repr(received.headers).encode() + b" " + " ".join(dialect.secrets).encode())

    vendor.default = echo
    call = a_call(dialect, vendor.url)
    with structlog.testing.capture_logs() as logs:
        result = await adapter.send(call)
    seen = " ".join([repr(result), repr(call), repr(logs), caplog.text, *capsys.readouterr()])
    assert "***" in result.provider_text
    assert not [secret for secret in dialect.secrets if secret in seen]


async def test_no_recipient_in_a_log(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """A log line names ids, never a recipient or a body."""
    vendor.script(dialect.bad_recipient)
    with structlog.testing.capture_logs() as logs:
        await adapter.send(a_call(dialect, vendor.url))
    assert logs
    assert not [word for word in ("ada@example.com", "+14155550100", "Hi") if word in repr(logs)]


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if d.channel is Channel.EMAIL], ids=lambda d: d.kind)
@pytest.mark.parametrize("poison", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\u0085", "\u2028"])
async def test_header_injection(dialect: Dialect, adapter: Adapter, vendor: VendorServer, poison: str) -> None:
    """A line break in anything that becomes a header never reaches the provider."""
    text = f"Hi{poison}Bcc: eve@example.com"
    calls: list[dict[str, Any]] = [
        {"subject": text},
        {"headers": (("X-Campaign", text),)},
        {"headers": ((f"X-{text}", "x"),)},
        {"to": Address(email="ada@example.com", name=text)},
        {"to": Address(email=f"ada@example.com{poison}eve@example.com")},
        {"reply_to": Address(email="ada@example.com", name=text)},
    ]
    for content in calls:
        result = await adapter.send(a_call(dialect, vendor.url, **content))
        assert (result.outcome, result.reason) == (Outcome.UNFIT, Reason.REQUEST_REFUSED)
    assert vendor.received == []


async def test_answers_larger_than_the_cap(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """An answer is read only as far as the cap, however much was promised, and at most 500 characters of it are
    kept.
    """
    vendor.script(Reply(status=418, body=b"x" * 2_000_000, rude=Rude.STALL_BODY))
    async with asyncio.timeout(10):  # without the cap the call would wait for the second half until its own time is up
        result = await adapter.send(a_call(dialect, vendor.url, timeout=60))
    assert result.outcome is Outcome.UNFIT
    assert len(result.provider_text) <= 500


@pytest.mark.parametrize("dialect", [d for d in DIALECTS if d.channel is Channel.EMAIL], ids=lambda d: d.kind)
async def test_large_attachment(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """An email with an attachment of 3 MB goes out whole, in one request."""
    vendor.script(dialect.accepted)
    attachment = Attachment(filename="a.bin", content_type="application/octet-stream", content=bytes(3_000_000))
    result = await adapter.send(a_call(dialect, vendor.url, timeout=20, attachments=(attachment,)))
    assert result.outcome is Outcome.ACCEPTED
    (received,) = vendor.received
    assert len(received.body) >= 3_000_000


async def test_body_that_breaks_off(dialect: Dialect, adapter: Adapter, vendor: VendorServer) -> None:
    """Once the status has arrived it decides, even when the body breaks off or stalls."""
    for rude in (Rude.CUT_BODY, Rude.STALL_BODY):
        vendor.script(Reply(status=503, body=b"gremlins" * 100, rude=rude))
        result: Result = await adapter.send(a_call(dialect, vendor.url, timeout=0.5))
        assert result.outcome is Outcome.DEFERRED
