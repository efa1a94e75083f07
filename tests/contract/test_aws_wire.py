"""What SES and SNS really receive over a socket: one signed request, as AWS would check it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest

from services.adapters.base import Adapter
from services.adapters.outcome import Outcome, Reason
from services.adapters.registry import build_adapters
from services.chassis.clock import SystemClock
from tests.contract.dialects import SES, SNS, Dialect
from tests.contract.test_adapters import LOOPBACK, a_call
from tests.fakes.sigv4 import is_signed
from tests.fakes.vendor import Received, Reply, VendorServer


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
