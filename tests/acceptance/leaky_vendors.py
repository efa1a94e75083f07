"""Vendors that quote every secret back at whoever told it, each in several STYLES. No test."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from aiosmtplib.auth import auth_plain_encode

from services.adapters.check import CheckVerdict
from tests.acceptance.canaries import MARK, SMTP_ACCOUNT, STYLES, Account, canary, confession
from tests.contract.check_cases import CASES, answering, asked
from tests.contract.dialects import DIALECTS, Dialect
from tests.fakes.mail import ScriptedMailServer, scripted
from tests.fakes.vendor import Received, Reply, VendorServer

HONEST, REFUSING, ACCEPTING = "honest", "refusing", "accepting"
STATUSES = (400, 401, 403, 422, 500)
# Where an answer may hold the vendor's id for the message.
_IDS = ("id", "MessageId", "sid", "message_id")


@dataclass
class Leaky:
    """A vendor of one account: `addresses` by style, beside an honest, a refusing and an accepting one; `heard` is all
    the secrets it was told, `quoted` the styles in which it told them.
    """

    addresses: Mapping[str, str]
    heard: list[str] = field(default_factory=list)
    quoted: set[str] = field(default_factory=set)


@asynccontextmanager
async def leaky(account: Account) -> AsyncIterator[Leaky]:
    """The vendor of this account: honest at one address, at the others it answers with what it was told."""
    if account is SMTP_ACCOUNT:
        async with _leaky_mail(account) as vendor:
            yield vendor
        return
    (dialect,) = (each for each in DIALECTS if each.kind == account.kind)
    async with VendorServer() as server:
        addresses = {style: f"{server.url}/{style}" for style in (HONEST, REFUSING, ACCEPTING, *account.styles)}
        vendor = Leaky(addresses=addresses)
        server.default = _answerer(vendor, account, dialect)
        yield vendor


def _answerer(vendor: Leaky, account: Account, dialect: Dialect) -> Callable[[Received], Reply]:
    names = account.settings("").keys()
    cases = [case for case in CASES if case.dialect is dialect and case.settings.keys() <= names]
    good = max((case for case in cases if case.verdict is CheckVerdict.GOOD), key=lambda case: len(case.settings))

    def answer(received: Received) -> Reply:
        _, style, path = received.path.split("/", 2)
        told = confession(received.headers, f"{received.path} {received.body.decode('utf-8', 'replace')}")
        vendor.heard.append(f"{told} {unquote(received.path)}")
        if style == "sts":
            return Reply(body=_ROLE_KEYS.encode())
        if style == HONEST:
            plain = Received(method=received.method, path=f"/{path}", headers=received.headers, body=received.body)
            return answering(good)(plain) if asked(plain) in good.replies else dialect.accepted
        if style == REFUSING:
            return dialect.bad_credentials
        vendor.quoted.add(style)
        if style == ACCEPTING:
            return Reply.json(200, dict.fromkeys((*_IDS, "message", "status"), told), headers={"x-message-id": told})
        status = STATUSES[[*STYLES].index(style) % len(STATUSES)]
        return Reply(status=status, headers={"x-request-id": told}, body=STYLES[style](told).encode())

    return answer


# What a role is taken with is as secret as what takes it.
_ROLE_KEYS = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
    f"<AccessKeyId>{canary('^[A-Z0-9a-z-]+$')}</AccessKeyId>"
    f"<SecretAccessKey>{MARK}-{MARK}</SecretAccessKey>"
    f"<SessionToken>{MARK}/+={MARK}</SessionToken>"
    "<Expiration>2099-01-01T00:00:00Z</Expiration>"
    "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


@asynccontextmanager
async def _leaky_mail(account: Account) -> AsyncIterator[Leaky]:
    (password,) = account.planted.values()
    line = auth_plain_encode("postman", password).decode()
    told = f"AUTH PLAIN {line} {base64.b64encode(password.encode()).decode()} {password}"
    replies = {style: {"AUTH": f"535 5.7.8 {STYLES[style](told)}"} for style in account.styles}
    replies[HONEST] = {"AUTH": "235 2.7.0 welcome"}
    replies[REFUSING] = {"AUTH": "535 5.7.8 no"}
    replies[ACCEPTING] = {"AUTH": "235 2.7.0 welcome", ".": f"250 2.0.0 {told}"}
    servers = {name: ScriptedMailServer(each, extensions=("AUTH PLAIN",)) for name, each in replies.items()}
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(scripted(server)) for name, server in servers.items()}
        vendor = Leaky(addresses={name: f"smtp://127.0.0.1:{port}" for name, port in ports.items()})
        yield vendor
        for name, server in servers.items():
            logins = [line.split()[-1] for line in server.lines if line.startswith(b"AUTH")]
            vendor.heard += [base64.b64decode(login).decode() for login in logins]
            vendor.quoted |= {name for _ in logins}
