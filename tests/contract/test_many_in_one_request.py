"""Every kind whose API takes many messages in one request, over a real socket: what each of them may count on."""

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import structlog

from services.adapters.base import Adapter, Address, Attachment, Call, Channel, JointAdapter
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.registry import build_adapters
from services.chassis.clock import SystemClock
from tests.contract.dialects import MAILGUN, SENDGRID, SES, Dialect
from tests.contract.test_adapters import LOOPBACK, a_call
from tests.fakes.vendor import Reply, Rude, VendorServer, refusing_port

JOINT = {dialect.kind: dialect for dialect in (SENDGRID, MAILGUN, SES)}
# What each says when it takes three, and the ids that these have then.
ENTRIES = [{"Status": "SUCCESS", "MessageId": f"ses-{number}"} for number in (1, 2, 3)]
TAKEN = {"ses": Reply.json(200, {"BulkEmailEntryResults": ENTRIES})}
IDS = {"ses": ["ses-1", "ses-2", "ses-3"]}


@pytest.fixture(params=JOINT)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """The words of each kind that takes many."""
    return JOINT[request.param]


@pytest.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A test server to point settings at."""
    async with VendorServer() as server:
        yield server


@pytest.fixture
async def adapters() -> AsyncIterator[dict[str, Adapter]]:
    """Every email adapter, allowed to reach loopback."""
    made = build_adapters(LOOPBACK, SystemClock())
    yield {kind: adapter for (channel, kind), adapter in made.items() if channel is Channel.EMAIL}
    for each in made.values():
        await each.close()


def calls(dialect: Dialect, url: str, *, timeout: float = 5.0, **content: object) -> list[Call]:
    """Three calls of one content."""
    people = [Address(email=f"{name}@example.com") for name in ("ada", "bob", "eve")]
    return [
        replace(a_call(dialect, url, timeout=timeout, to=to, **content), message_id=f"id-{place}")
        for place, to in enumerate(people)
    ]


async def together(adapters: dict[str, Adapter], calls: Sequence[Call], dialect: Dialect) -> list[Result | None]:
    """What the kind's adapter says of each."""
    adapter = adapters[dialect.kind]
    assert isinstance(adapter, JointAdapter)
    return list(await adapter.send_together(calls))


async def test_every_such_kind_is_here(adapters: dict[str, Adapter]) -> None:
    """What takes many is tested below."""
    assert {kind for kind, adapter in adapters.items() if isinstance(adapter, JointAdapter)} == set(JOINT)


async def test_accepted(dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer) -> None:
    """One request; each is accepted, with an id of its own: the vendor's, and a number where all have one."""
    vendor.script(TAKEN.get(dialect.kind, dialect.accepted))
    results = await together(adapters, calls(dialect, vendor.url), dialect)

    assert {result and result.outcome for result in results} == {Outcome.ACCEPTED}
    ids = IDS.get(dialect.kind, [f"{dialect.accepted_id}#{number}" for number in (1, 2, 3)])
    assert [result and result.provider_message_id for result in results] == ids
    assert len(vendor.received) == 1


@pytest.mark.parametrize("dialect", [SENDGRID, MAILGUN], ids=lambda dialect: dialect.kind)
async def test_large(dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer) -> None:
    """A megabyte goes over the wire once, whoever gets it."""
    vendor.script(dialect.accepted)
    file = Attachment(filename="a.bin", content_type="application/octet-stream", content=bytes(1024 * 1024))
    results = await together(adapters, calls(dialect, vendor.url, attachments=(file,)), dialect)

    assert all(result and result.outcome is Outcome.ACCEPTED for result in results)
    assert len(vendor.received) == 1
    assert len(vendor.received[0].body) < 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(status=429, headers={"retry-after": "37"}), Outcome.DEFERRED),
        (Reply(status=503), Outcome.DEFERRED),
        (Reply(status=500), Outcome.UNKNOWN),
        (Reply(status=502), Outcome.UNKNOWN),
        (Reply(rude=Rude.CLOSE), Outcome.UNKNOWN),
        (Reply(rude=Rude.RESET), Outcome.UNKNOWN),
        (Reply(rude=Rude.GARBAGE), Outcome.UNKNOWN),
        (Reply(rude=Rude.HANG), Outcome.UNKNOWN),
    ],
    ids="429 503 500 502 close reset garbage hang".split(),
)
async def test_what_holds_for_each(
    dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer, reply: Reply, outcome: Outcome
) -> None:
    """What one would be told alone, each is told; a delay too."""
    vendor.script(reply)
    results = await together(adapters, calls(dialect, vendor.url, timeout=1.0), dialect)

    assert [result and result.outcome for result in results] == [outcome] * 3
    wait = 37.0 if reply.status == 429 else None
    assert [result and result.retry_after for result in results] == [wait] * 3
    assert len(vendor.received) == 1


async def test_nobody_listens(dialect: Dialect, adapters: dict[str, Adapter]) -> None:
    """Without a connection each is deferred: surely nothing was sent."""
    async with refusing_port() as port:
        results = await together(adapters, calls(dialect, f"http://127.0.0.1:{port}"), dialect)
    assert [result and result.reason for result in results] == [Reason.CONNECT_FAILED] * 3


async def test_bad_credentials(
    dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Bad credentials are bad for each; they are in no result and in no log."""
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    caplog.set_level(logging.DEBUG)
    secret = dialect.secrets[0]
    vendor.script(replace(dialect.bad_credentials, body=dialect.bad_credentials.body + secret.encode()))
    results = await together(adapters, calls(dialect, vendor.url), dialect)

    assert [result and result.reason for result in results] == [Reason.CREDENTIALS] * 3
    assert secret not in repr(results)
    assert secret not in caplog.text
    assert "provider_answered_together" in caplog.text


async def test_bad_recipient(dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer) -> None:
    """One bad recipient fails the whole request; each may fare better alone."""
    vendor.script(dialect.bad_recipient)
    assert await together(adapters, calls(dialect, vendor.url), dialect) == [None, None, None]


async def test_a_bug_is_an_outcome(dialect: Dialect, adapters: dict[str, Adapter], vendor: VendorServer) -> None:
    """What nobody knows is unknown for each, and nothing escapes."""
    broken = [replace(call, config={}) for call in calls(dialect, vendor.url)]
    results = await together(adapters, broken, dialect)
    assert [result and result.reason for result in results] == [Reason.UNEXPECTED] * 3
    assert not vendor.received
