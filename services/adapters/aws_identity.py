"""Whose keys an AWS request is signed with: the settings' own, this host's, or those of a role taken with either."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx

from services.adapters import aws
from services.adapters.egress import Egress
from services.adapters.identity import Ask, NotSigned, not_sent
from services.adapters.outcome import Outcome, Reason, Result
from services.adapters.redaction import cleaned

ROLE_SECONDS = 3600  # what every role allows at least
RENEW_BEFORE = timedelta(minutes=5)
MAX_ROLES = 1000
SESSION_NAME = "messagepipe"
NOT_TAKEN = "roleArn: the role could not be taken"
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})

NOT_ALLOWED = Result(
    outcome=Outcome.DENIED,
    reason=Reason.MISCONFIGURED,
    provider_text=(
        "hostCredentials: this service's operator has not set MESSAGEPIPE_ALLOW_HOST_AWS_CREDENTIALS=true. Set it, or "
        "give accessKeyId and secretAccessKey."
    ),
)
NOTHING_FOUND = Result(
    outcome=Outcome.DENIED,
    reason=Reason.CREDENTIALS,
    provider_text="hostCredentials: AWS's default chain finds no credentials on this host.",
)

UNREADABLE = Result(
    outcome=Outcome.DEFERRED, reason=Reason.UNREADABLE_ANSWER, provider_text="STS's answer holds no keys."
)


class _Now(Protocol):
    def now(self) -> datetime: ...


@dataclass(slots=True)
class _Role:
    """The keys of one taken role; `lock` lets one caller renew them while the others wait."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires: datetime | None = None


class AwsIdentity:
    """Finds the keys for a provider's settings and keeps those of roles until shortly before they expire."""

    def __init__(self, egress: Egress, clock: _Now) -> None:
        self._host_allowed, self._clock = egress.host_credentials, clock
        self._roles: OrderedDict[tuple[str, ...], _Role] = OrderedDict()
        self._host: Any = None

    async def resolve(self, config: Mapping[str, Any], ask: Ask) -> Mapping[str, Any]:
        """The same settings with the keys to sign with. Raises NotSigned, and what `ask` raises of STS."""
        own = {**config, **await self._host_keys()} if config.get("hostCredentials") else config
        if not config.get("roleArn"):
            return own
        role = self._role(config)
        async with role.lock:
            if role.expires is None or role.expires - RENEW_BEFORE <= self._clock.now():
                role.keys, role.expires = _taken(await ask(self._assume(own)), own)
            return {**own, **role.keys}

    def refused(self, config: Mapping[str, Any], result: Result) -> Result:
        """Temporary keys that expired under way are no fault of the settings: the next call takes new ones."""
        self._roles.pop(_name_of(config), None)
        temporary = config.get("roleArn") or config.get("hostCredentials")
        if temporary and result.provider_code in EXPIRED:
            return replace(result, outcome=Outcome.DEFERRED)
        return result

    def _role(self, config: Mapping[str, Any]) -> _Role:
        name = _name_of(config)
        role = self._roles.pop(name, None) or _Role()
        self._roles[name] = role
        while len(self._roles) > MAX_ROLES:
            self._roles.popitem(last=False)
        return role

    def _assume(self, own: Mapping[str, Any]) -> httpx.Request:
        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": own["roleArn"],
            "RoleSessionName": SESSION_NAME,
            "DurationSeconds": ROLE_SECONDS,
        }
        if external := own.get("externalId"):
            form["ExternalId"] = external
        base = own.get("stsEndpointUrl") or aws.endpoint({"region": own["region"]}, "sts")
        return aws.signed_post(
            f"{str(base).rstrip('/')}/",
            service="sts",
            body=urlencode(form).encode(),
            content_type="application/x-www-form-urlencoded; charset=utf-8",
            config=own,
            now=self._clock.now(),
        )

    async def _host_keys(self) -> Mapping[str, str]:
        if not self._host_allowed:
            raise NotSigned(NOT_ALLOWED)
        # The chain reads files and may ask the machine's metadata service, and its keys renew themselves as they are
        # read: neither may hold up the loop.
        found = await asyncio.to_thread(self._frozen)
        if found is None:
            raise NotSigned(NOTHING_FOUND)
        return found

    def _frozen(self) -> Mapping[str, str] | None:
        from botocore.exceptions import BotoCoreError  # loads botocore: only who signs needs it
        from botocore.session import get_session

        try:
            self._host = self._host or get_session().get_credentials()
            keys = self._host.get_frozen_credentials() if self._host else None
        except BotoCoreError as error:
            text = f"hostCredentials: {type(error).__name__}: {error}"
            raise NotSigned(Result(outcome=Outcome.DENIED, reason=Reason.CREDENTIALS, provider_text=text)) from error
        return _settings(keys.access_key, keys.secret_key, keys.token or "") if keys else None


def _name_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two providers take the same role with the same right: never one project's keys for another's."""
    names = ("accessKeyId", "secretAccessKey", "sessionToken", "roleArn", "externalId", "region", "stsEndpointUrl")
    return tuple(str(config.get(name) or "") for name in names)


def _settings(key: str, secret: str, token: str) -> Mapping[str, str]:
    return {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": token}


def _taken(response: httpx.Response, own: Mapping[str, Any]) -> tuple[Mapping[str, str], datetime]:
    """The keys of STS's answer. Raises NotSigned: nothing was sent, whatever went wrong here."""
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    key, secret, token, expires = (aws.xml_text(response.text, name) for name in names)
    if response.is_success and key and secret and token:
        try:
            return _settings(key, secret, token), datetime.fromisoformat(expires)
        except ValueError:
            pass  # an answer without a readable end is as unreadable as any other
    if response.is_success:
        raise NotSigned(not_sent(UNREADABLE, NOT_TAKEN))
    refusal = aws.refused(response, (), lambda _: "")
    # The host's own keys stand in no settings: nobody else would know to take them out of what STS quotes.
    secrets = [str(own[name]) for name in ("secretAccessKey", "sessionToken", "accessKeyId") if own.get(name)]
    raise NotSigned(not_sent(cleaned(refusal, tuple(secrets)), NOT_TAKEN))
