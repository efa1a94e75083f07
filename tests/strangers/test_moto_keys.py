"""Whose keys send through SES and SNS: moto's IAM makes users, and checks signatures and policies as AWS does."""

from typing import NamedTuple

import pytest

from services.adapters.base import Call, Channel, EmailContent, SmsContent
from services.adapters.outcome import Outcome, Reason
from tests.strangers.conftest import Adapters
from tests.strangers.emails import SENDER, an_email
from tests.strangers.emulator import Moto
from tests.strangers.makers.amazon import KEYS, client
from tests.strangers.texts import a_text
from tests.unit.adapters.calls import a_call


class Service(NamedTuple):
    """One kind: a message of it, what IAM calls the permission to send, and where moto keeps what it took."""

    channel: Channel
    kind: str
    content: EmailContent | SmsContent
    permission: str
    model: str


SES = Service(Channel.EMAIL, "ses", an_email(), "ses:SendEmail", "RawMessage")
SNS = Service(Channel.SMS, "sns", a_text(), "sns:Publish", "SMS")


@pytest.fixture(params=[SES, SNS], ids=["ses", "sns"])
def service(request: pytest.FixtureRequest, moto: Moto) -> Service:
    """Each kind that signs, its sender verified."""
    client("sesv2", moto.url).create_email_identity(EmailIdentity=SENDER.email)
    found: Service = request.param
    return found


def _call(service: Service, moto: Moto, **keys: str) -> Call:
    return a_call(service.content, {**KEYS, "endpointUrl": moto.url, **keys})


async def test_unknown_keys(service: Service, moto: Moto, adapters: Adapters) -> None:
    """Keys that IAM never made deny the provider, and nothing is taken."""
    moto.check_credentials()

    result = await adapters[service.channel, service.kind].send(_call(service, moto))

    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.CREDENTIALS)
    assert moto.recorded(service.kind, service.model) == []


async def test_the_signature_of_a_real_user(service: Service, moto: Moto, adapters: Adapters) -> None:
    """moto checks our signature with the user's secret: the right one sends, another one is denied as credentials."""
    keys = moto.user(service.permission)
    moto.check_credentials()
    adapter = adapters[service.channel, service.kind]

    right = await adapter.send(_call(service, moto, **keys))
    wrong = await adapter.send(_call(service, moto, **{**keys, "secretAccessKey": "another/secret"}))

    assert right.outcome is Outcome.ACCEPTED
    assert (wrong.outcome, wrong.reason) == (Outcome.DENIED, Reason.CREDENTIALS)
    assert len(moto.recorded(service.kind, service.model)) == 1


async def test_a_user_who_may_not_send(service: Service, moto: Moto, adapters: Adapters) -> None:
    """A policy without the permission denies for want of permission, not for bad keys."""
    keys = moto.user("sts:AssumeRole")
    moto.check_credentials()

    result = await adapters[service.channel, service.kind].send(_call(service, moto, **keys))

    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.PERMISSION)
