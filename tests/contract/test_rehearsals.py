"""Every kind's way of sending without delivering: what goes over the wire can reach nobody."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.adapters.base import Address, Call, Channel, EmailContent, SmsContent
from services.adapters.check import Rehearsal
from services.adapters.outcome import Outcome
from services.adapters.registry import kind_for, specs
from services.adapters.schema import settings_errors
from services.chassis.clock import SystemClock
from tests.contract.dialects import MAILGUN, SENDGRID, SES, TWILIO, Dialect
from tests.contract.test_adapters import LOOPBACK, a_call
from tests.fakes.vendor import Received, VendorServer


def _ses(received: Received) -> bool:
    return bool(received.json()["Destination"] == {"ToAddresses": ["success@simulator.amazonses.com"]})


# What makes the message one that reaches nobody (providers.md §1.6, 2.6, 3.6, 5.6).
HARMLESS: dict[str, tuple[Dialect, Callable[[Received], bool]]] = {
    "sendgrid": (SENDGRID, lambda it: it.json()["mail_settings"]["sandbox_mode"]["enable"] is True),
    "mailgun": (MAILGUN, lambda it: it.form()["o:testmode"] == "yes"),
    "ses": (SES, _ses),
    "twilio": (TWILIO, lambda it: it.form()["From"] == "+15005550006" and "MessagingServiceSid" not in it.form()),
}


def rehearsal_of(channel: Channel, kind: str) -> Rehearsal | None:
    """The kind's rehearsal."""
    found = kind_for(channel, kind)
    assert found is not None
    return found.rehearsal


def rehearsed(call: Call, rehearsal: Rehearsal, **config: Any) -> Call:
    """The call as a rehearsal makes it."""
    content: EmailContent | SmsContent = call.content
    if isinstance(content, EmailContent):
        content = replace(content, to=Address(email=rehearsal.recipient))
    else:
        content = replace(content, to=rehearsal.recipient, sender=rehearsal.sender)
    return replace(call, content=content, config={**call.config, **config, **rehearsal.settings})


def test_which_kinds_have_one() -> None:
    """The kinds named above and the sandboxes have a rehearsal, no other has."""
    there = {spec.kind for spec in specs() if rehearsal_of(spec.channel, spec.kind)}
    assert there == HARMLESS.keys() | {"sandbox"}


@pytest.mark.parametrize("kind", HARMLESS)
async def test_it_reaches_nobody(kind: str) -> None:
    """One request, with the vendor's own mark of a test in it, from settings that the kind's schema takes."""
    dialect, harmless = HARMLESS[kind]
    found = kind_for(dialect.channel, kind)
    assert found is not None
    assert found.rehearsal is not None
    adapter = found.make(LOOPBACK, SystemClock())
    more = {"messagingServiceSid": "MG" + "0" * 32} if kind == "twilio" else {}
    async with VendorServer(default=dialect.accepted) as vendor:
        call = rehearsed(a_call(dialect, vendor.url), found.rehearsal, **more)
        result = await adapter.send(call)
        await adapter.close()
    assert settings_errors(found.spec, call.config) == []
    assert result.outcome is Outcome.ACCEPTED
    assert [harmless(received) for received in vendor.received] == [True]


@pytest.mark.parametrize("kind", HARMLESS)
async def test_an_ordinary_message_is_none(kind: str) -> None:
    """The marks above can fail: a message as every other has none of them."""
    dialect, harmless = HARMLESS[kind]
    found = kind_for(dialect.channel, kind)
    assert found is not None
    adapter = found.make(LOOPBACK, SystemClock())
    ordinary: dict[str, Any] = {} if dialect.channel is Channel.EMAIL else {"sender": "+14155550199"}
    async with VendorServer(default=dialect.accepted) as vendor:
        await adapter.send(a_call(dialect, vendor.url, **ordinary))
        await adapter.close()
    (received,) = vendor.received
    with contextlib.suppress(KeyError):  # the mark is not even there
        assert not harmless(received)
