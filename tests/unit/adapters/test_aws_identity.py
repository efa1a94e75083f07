"""Whose keys a request is signed with: a real STS's answers, a real cache, no network."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from services.adapters import aws_identity
from services.adapters.aws_identity import AwsIdentity
from services.adapters.egress import Egress
from services.adapters.identity import NotSigned
from services.adapters.outcome import Outcome, Reason, Result
from tests.fakes.clock import FakeClock
from tests.fakes.sigv4 import is_signed

KEYS = {"accessKeyId": "AKIAOWN", "secretAccessKey": "own-secret", "region": "eu-west-1"}
ROLE = {**KEYS, "roleArn": "arn:aws:iam::123456789012:role/mail", "externalId": "t-7"}
FORBIDDEN = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"


class Sts:
    """Answers AssumeRole with numbered keys that live an hour; `answer` says something else instead."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[httpx.Request] = []
        self.answer: httpx.Response | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.asked.append(request)
        await self.gate.wait()
        if self.answer is not None:
            return self.answer
        number, expires = len(self.asked), self.clock.now() + timedelta(hours=1)
        return httpx.Response(
            200,
            text=f"<AssumeRoleResponse><Credentials><AccessKeyId>ASIA{number}</AccessKeyId>"
            f"<SecretAccessKey>secret{number}</SecretAccessKey><SessionToken>token{number}</SessionToken>"
            f"<Expiration>{expires:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResponse>",
        )


@pytest.fixture
def clock() -> FakeClock:
    """The time."""
    return FakeClock()


@pytest.fixture
def sts(clock: FakeClock) -> Sts:
    """The token service."""
    return Sts(clock)


@pytest.fixture
def identity(clock: FakeClock) -> AwsIdentity:
    """What finds the keys, on a host whose credentials may be used."""
    return AwsIdentity(Egress(host_credentials=True), clock)


async def test_keys_of_the_settings_are_the_keys(identity: AwsIdentity, sts: Sts) -> None:
    """Nobody is asked when there is no role to take."""
    assert await identity.resolve(KEYS, sts.ask) == KEYS
    assert sts.asked == []


async def test_a_role_is_taken_with_a_signed_request(identity: AwsIdentity, sts: Sts) -> None:
    """AssumeRole goes to the region's STS, signed with the own keys, for an hour, with the external id."""
    found = await identity.resolve(ROLE, sts.ask)
    (request,) = sts.asked
    assert str(request.url) == "https://sts.eu-west-1.amazonaws.com/"
    assert {name: values[0] for name, values in parse_qs(request.content.decode()).items()} == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE["roleArn"],
        "RoleSessionName": "messagepipe",
        "DurationSeconds": "3600",
        "ExternalId": "t-7",
    }
    assert is_signed("/", request.headers, request.content, secret="own-secret", service="sts")
    assert (found["accessKeyId"], found["secretAccessKey"], found["sessionToken"]) == ("ASIA1", "secret1", "token1")
    assert found["region"] == "eu-west-1"


async def test_a_role_is_kept_until_shortly_before_it_expires(
    identity: AwsIdentity, sts: Sts, clock: FakeClock
) -> None:
    """Fifty minutes later the keys are the same, 56 minutes later they are new."""
    for minutes, key in ((0, "ASIA1"), (50, "ASIA1"), (6, "ASIA2")):
        clock.advance(minutes * 60)
        assert (await identity.resolve(ROLE, sts.ask))["accessKeyId"] == key


async def test_many_callers_take_a_role_once(identity: AwsIdentity, sts: Sts) -> None:
    """While one asks STS the others wait for its answer."""
    sts.gate.clear()
    callers = [asyncio.ensure_future(identity.resolve(ROLE, sts.ask)) for _ in range(50)]
    await asyncio.sleep(0)
    sts.gate.set()
    assert {found["accessKeyId"] for found in await asyncio.gather(*callers)} == {"ASIA1"}
    assert len(sts.asked) == 1


@pytest.mark.parametrize("change", [{"secretAccessKey": "guessed"}, {"externalId": "t-8"}, {"roleArn": "arn:other"}])
async def test_nobody_gets_the_keys_of_others(identity: AwsIdentity, sts: Sts, change: dict[str, Any]) -> None:
    """A provider that knows the role, but not the secret or external id it was taken with, has to take it itself."""
    await identity.resolve(ROLE, sts.ask)
    assert (await identity.resolve({**ROLE, **change}, sts.ask))["accessKeyId"] == "ASIA2"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(403, text=FORBIDDEN), Outcome.DENIED),
        (httpx.Response(400, text="no xml"), Outcome.DENIED),
        (httpx.Response(500, text="oops"), Outcome.DEFERRED),
        (httpx.Response(503, text="busy"), Outcome.DEFERRED),
        (httpx.Response(200, text="<html>"), Outcome.DEFERRED),
    ],
)
async def test_nothing_about_a_message_that_was_not_sent_is_unknown(
    identity: AwsIdentity, sts: Sts, answer: httpx.Response, outcome: Outcome
) -> None:
    """Whatever STS says, the message did not leave: denied or deferred, and the words say that it was the role."""
    sts.answer = answer
    with pytest.raises(NotSigned) as caught:
        await identity.resolve(ROLE, sts.ask)
    assert caught.value.result.outcome is outcome
    assert caught.value.result.provider_text.startswith("roleArn: ")


async def test_expired_keys_are_taken_anew(identity: AwsIdentity, sts: Sts) -> None:
    """Keys that ran out under way are forgotten, and are no denial of the provider; other refusals are."""
    await identity.resolve(ROLE, sts.ask)
    told = Result(outcome=Outcome.DENIED, reason=Reason.CREDENTIALS, provider_code="ExpiredToken")
    assert identity.refused(ROLE, told).outcome is Outcome.DEFERRED
    assert identity.refused(KEYS, told).outcome is Outcome.DENIED
    wrong = Result(outcome=Outcome.DENIED, reason=Reason.CREDENTIALS, provider_code="InvalidClientTokenId")
    assert identity.refused(ROLE, wrong).outcome is Outcome.DENIED
    assert (await identity.resolve(ROLE, sts.ask))["accessKeyId"] == "ASIA2"


async def test_the_hosts_own_credentials(identity: AwsIdentity, sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's default chain is asked when the settings say so and the operator allows it, a role may be taken with it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHOST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "host-secret")
    host = {"hostCredentials": True, "region": "eu-west-1"}
    assert (await identity.resolve(host, sts.ask))["accessKeyId"] == "AKIAHOST"
    await identity.resolve({**host, "roleArn": ROLE["roleArn"]}, sts.ask)
    assert is_signed("/", sts.asked[0].headers, sts.asked[0].content, secret="host-secret", service="sts")


async def test_the_hosts_credentials_are_the_operators_to_give(clock: FakeClock, sts: Sts) -> None:
    """Projects do not own the host: without the operator's word its credentials are not even looked for."""
    with pytest.raises(NotSigned, match="MESSAGEPIPE_ALLOW_HOST_AWS_CREDENTIALS"):
        await AwsIdentity(Egress(), clock).resolve({"hostCredentials": True, "region": "eu-west-1"}, sts.ask)


async def test_a_host_without_credentials_is_said(
    identity: AwsIdentity, sts: Sts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty chain is a denial in plain words."""
    monkeypatch.setattr(identity, "_frozen", lambda: None)
    with pytest.raises(NotSigned) as caught:
        await identity.resolve({"hostCredentials": True, "region": "eu-west-1"}, sts.ask)
    assert caught.value.result == aws_identity.NOTHING_FOUND
