"""One suite, every HTTP kind's credential check: what its provider says, and what nobody's credentials may show."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from services.adapters.check import Checker, CheckVerdict
from services.adapters.egress import Egress
from services.adapters.registry import kind_for, specs
from services.chassis.clock import SystemClock
from tests.contract.check_cases import CASES, Case, answering, asked
from tests.contract.dialects import DIALECTS, SENDGRID, Dialect
from tests.contract.test_adapters import LOOPBACK
from tests.fakes.sigv4 import is_signed
from tests.fakes.vendor import Received, Reply, Rude, VendorServer, refusing_port

BUSY = [Reply(status=status, body=b"<h1>gremlins</h1>") for status in (302, 404, 408, 418, 429, 500, 502, 503)]


@asynccontextmanager
async def checking(dialect: Dialect, egress: Egress = LOOPBACK) -> AsyncIterator[Checker]:
    """The kind's own checker, allowed to reach loopback unless told otherwise."""
    kind = kind_for(dialect.channel, dialect.kind)
    assert kind is not None
    assert kind.check is not None
    checker = kind.check(egress, SystemClock())
    try:
        yield checker
    finally:
        await checker.close()


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


def test_every_kind_has_a_check() -> None:
    """No built-in kind leaves its user without an answer."""
    for spec in specs():
        kind = kind_for(spec.channel, spec.kind)
        assert kind is not None
        assert kind.check is not None, spec.kind


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.dialect.kind}-{case.name}")
async def test_what_the_provider_says(case: Case, vendor: VendorServer) -> None:
    """Each answer of a provider has its verdict, and the message says why in the provider's own words."""
    vendor.default = answering(case)
    config = {**case.dialect.settings(vendor.url), **case.settings}
    async with checking(case.dialect) as checker:
        result = await checker.check(config, timeout=5, sender=case.sender)
    assert case.words in result.message
    assert result.verdict is case.verdict
    optional = {"GET /2010-04-01/Accounts/Balance.json"}
    assert {asked(received) for received in vendor.received} - optional == set(case.replies) - optional


@pytest.mark.parametrize("reply", BUSY, ids=lambda reply: str(reply.status))
async def test_a_provider_that_is_busy_or_somebody_else_proves_nothing(
    dialect: Dialect, vendor: VendorServer, reply: Reply
) -> None:
    """Whatever is not the provider's own no is CANNOT_VERIFY with the answer's status or words."""
    vendor.default = reply
    async with checking(dialect) as checker:
        result = await checker.check(dialect.settings(vendor.url), timeout=5)
    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert str(reply.status) in result.message


@pytest.mark.parametrize("rude", [Rude.HANG, Rude.CLOSE, Rude.CUT_HEAD, Rude.GARBAGE])
async def test_silence_is_no_verdict(dialect: Dialect, vendor: VendorServer, rude: Rude) -> None:
    """A provider that does not answer is CANNOT_VERIFY within the limit."""
    vendor.default = Reply(rude=rude)
    async with checking(dialect) as checker:
        result = await checker.check(dialect.settings(vendor.url), timeout=0.4)
    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert "could not be asked" in result.message


async def test_the_limit_is_for_all_questions_together(vendor: VendorServer) -> None:
    """A check of several questions ends with its limit, however quick each answer is."""
    vendor.default = lambda _: Reply(status=403, body=b"{}", delay=0.3)
    async with checking(SENDGRID) as checker:
        result = await checker.check(SENDGRID.settings(vendor.url), timeout=0.45, sender="a@shop.test")
    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert "could not be asked" in result.message


async def test_nobody_listens(dialect: Dialect) -> None:
    """A provider that can not be connected to is CANNOT_VERIFY."""
    async with refusing_port() as port, checking(dialect) as checker:
        result = await checker.check(dialect.settings(f"http://127.0.0.1:{port}"), timeout=5)
    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert "ConnectError" in result.message


async def test_loopback_is_refused_unless_allowed(dialect: Dialect, vendor: VendorServer) -> None:
    """A check reaches no private network that the operator has not named, and says which setting names them."""
    async with checking(dialect, Egress()) as checker:
        result = await checker.check(dialect.settings(vendor.url), timeout=5)
    assert result.verdict is CheckVerdict.CANNOT_VERIFY
    assert "MESSAGEPIPE_EGRESS_ALLOW" in result.message
    assert vendor.connections == 0


async def test_no_secret_is_seen_again(
    dialect: Dialect, vendor: VendorServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """No credential appears in a message or a log, even when the provider quotes our request back."""
    caplog.set_level(logging.DEBUG)

    def echo(received: Received) -> Reply:
        words = " ".join([received.path, repr(received.headers), *dialect.secrets])
        return Reply(status=418, body=words.encode())

    vendor.default = echo
    with structlog.testing.capture_logs() as logs:
        async with checking(dialect) as checker:
            result = await checker.check(dialect.settings(vendor.url), timeout=5)
    seen = " ".join([repr(result), repr(logs), caplog.text, *capsys.readouterr()])
    assert "418" in result.message
    assert not [secret for secret in dialect.secrets if secret in seen]


async def test_settings_nobody_can_use_are_no_crash(dialect: Dialect) -> None:
    """Settings that lack what the check needs, or hold nonsense, are CANNOT_VERIFY and never an exception."""
    odd: list[dict[str, Any]] = [
        {},
        {**dialect.settings("http://x.invalid:99999999")},
        {**dialect.settings("nonsense")},
    ]
    async with checking(dialect) as checker:
        found = [(await checker.check(config, timeout=2)).verdict for config in odd]
    assert found == [CheckVerdict.CANNOT_VERIFY] * 3


@pytest.mark.parametrize("case", [c for c in CASES if c.dialect.kind in ("ses", "sns")], ids=lambda case: case.name)
async def test_every_question_to_aws_is_signed(case: Case, vendor: VendorServer) -> None:
    """Each GET and POST bears a signature that AWS would take, for the service that is asked."""
    vendor.default = answering(case)
    async with checking(case.dialect) as checker:
        await checker.check({**case.dialect.settings(vendor.url), **case.settings}, timeout=5, sender=case.sender)
    assert vendor.received
    for received in vendor.received:
        service = "sts" if asked(received) == "GetCallerIdentity" else case.dialect.kind
        assert is_signed(
            received.path,
            received.headers,
            received.body,
            secret="sekrit/secret+access+key",
            service=service,
            method=received.method,
        )


async def test_the_restricted_sendgrid_key_sends_nothing_for_real(vendor: VendorServer) -> None:
    """The message that proves a key without the scope to list scopes is one in sandbox mode, to nobody."""
    vendor.script(Reply(status=403), Reply(status=200))
    async with checking(SENDGRID) as checker:
        await checker.check(SENDGRID.settings(vendor.url), timeout=5, sender="a@shop.test")
    body = vendor.received[1].json()
    assert body["mail_settings"] == {"sandbox_mode": {"enable": True}}
    assert body["personalizations"][0]["to"] == [{"email": "messagepipe-test@example.com"}]


async def test_the_message_that_proves_a_sending_key_has_no_recipient(vendor: VendorServer) -> None:
    """What is posted to Mailgun to try a sending key can reach nobody."""
    mailgun = next(each for each in DIALECTS if each.kind == "mailgun")
    vendor.script(Reply(status=401), Reply.json(400, {"message": "to parameter is missing"}))
    async with checking(mailgun) as checker:
        await checker.check(mailgun.settings(vendor.url), timeout=5)
    assert not {"to", "cc", "bcc"} & vendor.received[1].form().keys()
