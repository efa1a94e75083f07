"""Taking a role: our AssumeRole beside boto3's, and a role that moto's STS hands out and its SES believes."""

import asyncio
from urllib.parse import parse_qsl

from services.adapters.base import Channel
from services.adapters.outcome import Outcome, Reason
from tests.contract.dialects import SES
from tests.fakes.vendor import Received, Reply, VendorServer
from tests.strangers.conftest import Adapters, Checked
from tests.strangers.emails import an_email
from tests.strangers.emulator import ACCOUNT, Moto
from tests.strangers.makers.amazon import EXEMPT, KEYS, TOKEN, client, signed_envelope
from tests.strangers.meaning import Meaning, differences
from tests.unit.adapters.calls import a_call

ROLE = f"arn:aws:iam::{ACCOUNT}:role/mail"
EXTERNAL = "tenant-7/=,.@:-"
USER = f"arn:aws:iam::{ACCOUNT}:user/sender"


def _answer(received: Received) -> Reply:
    """STS or SES, whichever was asked."""
    if received.path != "/":
        return SES.accepted
    keys = "<AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    body = f"<Credentials>{keys}<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    whole = f"<AssumeRoleResponse><AssumeRoleResult>{body}</AssumeRoleResult></AssumeRoleResponse>"
    return Reply(headers={"content-type": "text/xml"}, body=whole.encode())


def _meaning(received: Received) -> Meaning:
    form = dict(parse_qsl(received.body.decode("ascii"), strict_parsing=True))
    return signed_envelope(received, "sts") | form


async def test_we_ask_for_a_role_as_boto3_does(adapters: Adapters, vendor: VendorServer) -> None:
    """Field by field our AssumeRole is boto3's, for the same role, session, external id and length."""
    vendor.default = _answer
    settings = {"roleArn": ROLE, "externalId": EXTERNAL, "sessionToken": TOKEN, "stsEndpointUrl": vendor.url}
    call = a_call(an_email(), {**KEYS, "endpointUrl": vendor.url, **settings})

    assert (await adapters[Channel.EMAIL, "ses"].send(call)).outcome is Outcome.ACCEPTED
    ours = vendor.received[0]
    await asyncio.to_thread(
        client("sts", vendor.url, token=TOKEN).assume_role,
        RoleArn=ROLE,
        RoleSessionName="messagepipe",
        ExternalId=EXTERNAL,
        DurationSeconds=3600,
    )
    theirs = vendor.received[2]

    found = differences(_meaning(ours), _meaning(theirs), EXEMPT)
    assert not found, "\n".join(found)


def _settings(moto: Moto, *role_may: str) -> dict[str, str]:
    """Keys of a user who may do nothing but take a role, and that role."""
    keys = moto.user("sts:AssumeRole")
    arn = moto.role(USER, EXTERNAL, *role_may)
    client("sesv2", moto.url).create_email_identity(EmailIdentity="example.com")
    moto.check_credentials()
    return {
        **KEYS,
        **keys,
        "roleArn": arn,
        "externalId": EXTERNAL,
        "endpointUrl": moto.url,
        "stsEndpointUrl": moto.url,
    }


async def test_a_mail_as_a_role(moto: Moto, adapters: Adapters) -> None:
    """Keys that may not send take a role that may; moto checks both signatures, and the role is taken once."""
    settings = _settings(moto, "ses:SendEmail")

    results = [await adapters[Channel.EMAIL, "ses"].send(a_call(an_email(), settings)) for _ in range(2)]

    assert [result.outcome for result in results] == [Outcome.ACCEPTED] * 2
    assert len(moto.recorded("ses", "RawMessage")) == 2
    assert len(moto.recorded("sts", "AssumedRole")) == 1


async def test_a_role_that_does_not_trust_us(moto: Moto, adapters: Adapters) -> None:
    """Another external id than the role asks for is denied for want of permission, and nothing is sent."""
    settings = {**_settings(moto, "ses:SendEmail"), "externalId": "another"}

    result = await adapters[Channel.EMAIL, "ses"].send(a_call(an_email(), settings))

    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.PERMISSION)
    assert moto.recorded("ses", "RawMessage") == []


async def test_a_role_that_may_not_send(moto: Moto, adapters: Adapters) -> None:
    """A role without ses:SendEmail is denied for want of permission."""
    settings = _settings(moto, "sns:Publish")

    result = await adapters[Channel.EMAIL, "ses"].send(a_call(an_email(), settings))

    assert (result.outcome, result.reason) == (Outcome.DENIED, Reason.PERMISSION)


async def test_the_check_of_a_role(moto: Moto, checked: Checked) -> None:
    """The check asks as the role: STS names it, where moto has no GetAccount to ask."""
    result = await checked("ses", _settings(moto, "ses:*"))

    assert f"arn:aws:sts::{ACCOUNT}:assumed-role/mail/messagepipe" in result.message
