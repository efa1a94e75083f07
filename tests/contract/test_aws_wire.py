"""What SES and SNS really receive over a socket: one signed request, as AWS would check it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from services.adapters.base import Adapter, Call
from services.adapters.check import CheckVerdict
from services.adapters.outcome import Outcome, Reason
from services.adapters.registry import build_adapters, kind_for
from services.chassis.clock import SystemClock
from tests.contract.dialects import SES, SNS, Dialect
from tests.contract.test_adapters import LOOPBACK, a_call
from tests.fakes.sigv4 import is_signed
from tests.fakes.vendor import Received, Reply, Rude, VendorServer


@pytest.fixture(params=[SES, SNS], ids=lambda dialect: dialect.kind)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each kind that signs."""
    return cast("Dialect", request.param)


@pytest.fixture
async def adapter(dialect: Dialect) -> AsyncIterator[Adapter]:
    """The kind's adapter, allowed to reach this machine."""
    adapters = build_adapters(LOOPBACK, SystemClock())
    yield adapters[dialect.channel, dialect.kind]
    for each in adapters.values():
        await each.close()


def _checking(dialect: Dialect, secret: str) -> VendorServer:
    """A server that accepts what is signed with this secret and refuses anything else, as AWS does."""

    def answer(received: Received) -> Reply:
        signed = is_signed(received.path, received.headers, received.body, secret=secret, service=dialect.kind)
        return dialect.accepted if signed else dialect.bad_credentials

    return VendorServer(default=answer)


@pytest.mark.parametrize("prefix", ["", "/base/path", "/with space%20and~tilde"])
async def test_the_signature_survives_the_transport(dialect: Dialect, adapter: Adapter, prefix: str) -> None:
    """Whatever the transport adds or rewrites, the signature still covers what arrives, under any base path."""
    async with _checking(dialect, "sekrit/secret+access+key") as vendor:
        call = a_call(dialect, vendor.url)
        result = await adapter.send(replace(call, config={**call.config, "endpointUrl": vendor.url + prefix}))
        assert result.outcome is Outcome.ACCEPTED
        assert [received.headers["x-amz-security-token"] for received in vendor.received] == ["sekrit+session/token=="]


async def test_another_secret_is_refused(dialect: Dialect, adapter: Adapter) -> None:
    """The checking server can fail: a request signed with another secret is denied."""
    async with _checking(dialect, "not the same secret") as vendor:
        result = await adapter.send(a_call(dialect, vendor.url))
        assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.CREDENTIALS)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_one_attempt_is_one_request(dialect: Dialect, adapter: Adapter, status: int) -> None:
    """Answers that make AWS's own clients send again up to five times are asked for once."""
    async with VendorServer(default=Reply(status=status)) as vendor:
        await adapter.send(a_call(dialect, vendor.url))
        assert len(vendor.received) == 1


ROLE = "arn:aws:iam::123456789012:role/mail"
TAKEN = Reply(
    body=b"<AssumeRoleResponse><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role/secret</SecretAccessKey>"
    b"<SessionToken>role+token</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></AssumeRoleResponse>"
)


def _by_role(dialect: Dialect, vendor: VendorServer, sts: VendorServer) -> Call:
    call = a_call(dialect, vendor.url)
    return replace(call, config={**call.config, "roleArn": ROLE, "stsEndpointUrl": sts.url}, timeout=0.5)


async def test_a_role_is_taken_once_and_signs_every_request(dialect: Dialect, adapter: Adapter) -> None:
    """STS is asked before the first request only; every request bears the role's signature and token."""
    async with _checking(dialect, "role/secret") as vendor, VendorServer(default=TAKEN) as sts:
        call = _by_role(dialect, vendor, sts)
        outcomes = [(await adapter.send(call)).outcome for _ in range(3)]
        assert outcomes == [Outcome.ACCEPTED] * 3
        assert (len(sts.received), len(vendor.received)) == (1, 3)
        assert {received.headers["x-amz-security-token"] for received in vendor.received} == {"role+token"}


STS_TROUBLE = [
    (Reply(rude=Rude.HANG), Outcome.DEFERRED),
    (Reply(rude=Rude.RESET), Outcome.DEFERRED),
    (Reply(rude=Rude.GARBAGE), Outcome.DEFERRED),
    (Reply(status=500), Outcome.DEFERRED),
    (Reply(status=403, body=b"<Code>AccessDenied</Code><Message>role/secret</Message>"), Outcome.DENIED),
]


@pytest.mark.parametrize(("trouble", "outcome"), STS_TROUBLE, ids=lambda value: str(value)[:60])
async def test_trouble_with_the_role_is_never_unknown(
    dialect: Dialect, adapter: Adapter, trouble: Reply, outcome: Outcome
) -> None:
    """Silence and nonsense would be unknown of a provider; of STS they say that nothing was sent."""
    async with VendorServer(default=dialect.accepted) as vendor, VendorServer(default=trouble) as sts:
        result = await adapter.send(_by_role(dialect, vendor, sts))
        assert (result.outcome, len(vendor.received)) == (outcome, 0)


async def test_a_role_that_expired_under_way_is_taken_anew(dialect: Dialect, adapter: Adapter) -> None:
    """AWS says that the token expired: deferred, not denied, in one request; the next attempt asks STS again."""
    expired = Reply(status=403, body=b"<Code>ExpiredToken</Code><Message>expired</Message>")
    async with VendorServer(default=dialect.accepted) as vendor, VendorServer(default=TAKEN) as sts:
        vendor.script(expired)
        results = [await adapter.send(_by_role(dialect, vendor, sts)) for _ in range(2)]
        assert [result.outcome for result in results] == [Outcome.DEFERRED, Outcome.ACCEPTED]
        assert (len(sts.received), len(vendor.received)) == (2, 2)


async def test_the_roles_secrets_are_not_told(dialect: Dialect, adapter: Adapter) -> None:
    """What was fetched is as secret as what was set: a provider that echoes it is redacted."""
    echo = Reply(status=400, body=b"<Code>Odd</Code><Message>role/secret role+token</Message>")
    async with VendorServer(default=echo) as vendor, VendorServer(default=TAKEN) as sts:
        result = await adapter.send(_by_role(dialect, vendor, sts))
        assert result.provider_text == "*** ***"


async def test_the_check_takes_the_role_too(dialect: Dialect) -> None:
    """TestProvider asks as the role; a role that may not be taken is bad, an STS that is away is nothing known."""
    kind = kind_for(dialect.channel, dialect.kind)
    assert kind is not None
    assert kind.check is not None
    denied, away = Reply(status=403, body=b"<Code>AccessDenied</Code>"), Reply(status=500)
    async with VendorServer(default=Reply(status=500)) as vendor, VendorServer(default=TAKEN) as sts:
        config = _by_role(dialect, vendor, sts).config
        found = []
        for answer in (TAKEN, denied, away):
            sts.default = answer
            checker = kind.check(LOOPBACK, SystemClock())
            found.append((await checker.check(config, timeout=2)).verdict)
            await checker.close()
        assert found == [CheckVerdict.CANNOT_VERIFY, CheckVerdict.BAD, CheckVerdict.CANNOT_VERIFY]
        assert {received.headers["x-amz-security-token"] for received in vendor.received} == {"role+token"}
