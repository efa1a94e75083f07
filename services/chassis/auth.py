"""Who is asking, and what they may do: tokens checked, made and remembered. Not the interceptor that reads the header.

The checks follow RFC 8725 (JWT best current practices): one algorithm per key and never from the header, issuer and
audience required, and a cap on the lifetime.
"""

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import jwt
from jwt.types import Options

from services.chassis.clock import Clock, SystemClock
from services.chassis.env import SecretText, SettingsError
from services.chassis.errors import Unauthenticated
from services.chassis.jwks import FRESH_SECONDS, Fetch, KeySet, check_url

AUDIENCE: Final = "messagepipe"
ALL: Final = "*"
SCOPES: Final = ("config:read", "config:write", "messages:send", "messages:read", "internal")
PROJECT_ID: Final = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z")
MAX_TOKEN_BYTES: Final = 8 * 1024
MIN_SECRET_BYTES: Final = 32
CACHED_TOKENS: Final = 4096

_REQUIRED = ["exp", "iat", "aud", "iss", "sub"]
# Compact serialisation only (RFC 7515 §7.1): Python's base64 would skip foreign characters, so they are refused first.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """How tokens are checked: a shared secret, a JWKS endpoint, or both. Times in seconds."""

    jwt_secret: SecretText | None = None
    jwks_url: str | None = None
    jwt_issuer: str = "messagepipe"
    jwt_leeway: float = 60.0
    jwt_max_lifetime: float = 24 * 3600.0

    def __post_init__(self) -> None:
        problems = []
        if self.jwt_secret is None and self.jwks_url is None:
            problems.append("MESSAGEPIPE_JWT_SECRET or MESSAGEPIPE_JWKS_URL is required to check tokens")
        if self.jwt_secret is not None and (weakness := _weakness(self.jwt_secret)):
            problems.append(f"MESSAGEPIPE_JWT_SECRET is too short: {weakness}")
        if self.jwks_url is not None:
            try:
                check_url(self.jwks_url)
            except ValueError as error:
                problems.append(f"MESSAGEPIPE_JWKS_URL is wrong: {error}")
        if self.jwt_leeway < 0:
            problems.append("MESSAGEPIPE_JWT_LEEWAY must be 0 or more seconds")
        if self.jwt_max_lifetime <= 0:
            problems.append("MESSAGEPIPE_JWT_MAX_LIFETIME must be more than 0 seconds")
        if problems:
            raise SettingsError(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: the token's subject, its projects ("*" is every one), its scopes, and when it ends (Unix seconds).

    Who came with an API key has its id in `api_key`.
    """

    subject: str
    projects: frozenset[str] | Literal["*"]
    scopes: frozenset[str]
    expires_at: float
    api_key: str = ""

    def may_use(self, project_id: str) -> bool:
        """Whether the token names this project; another project must then be answered like one that does not exist."""
        return self.projects == ALL or project_id in self.projects

    def project_filter(self) -> list[str] | None:
        """The projects a query must be limited to, sorted; None means no limit."""
        return None if self.projects == ALL else sorted(self.projects)


_principal: ContextVar[Principal] = ContextVar("messagepipe_principal")


def current_principal() -> Principal:
    """Who asks in this RPC; Unauthenticated (TOKEN_MISSING) outside of one."""
    try:
        return _principal.get()
    except LookupError:
        raise _missing() from None


def set_principal(principal: Principal) -> None:
    """For the interceptor: from here to the end of this task, `principal` is who asks."""
    _principal.set(principal)


@contextmanager
def as_principal(principal: Principal) -> Iterator[Principal]:
    """Within the block, `principal` is who asks."""
    reset = _principal.set(principal)
    try:
        yield principal
    finally:
        _principal.reset(reset)


def mint(
    secret: SecretText,
    *,
    subject: str,
    projects: Sequence[str] | Literal["*"],
    scopes: Iterable[str],
    ttl_seconds: float,
    now: datetime,
    issuer: str = "messagepipe",
) -> str:
    """An HS256 token that TokenVerifier accepts from `now` on for `ttl_seconds`; ValueError names what is wrong."""
    if weakness := _weakness(secret):
        raise ValueError(f"the secret is too short: {weakness}")
    wanted = list(scopes)
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise ValueError(f"unknown scope {', '.join(unknown)}; there are {' '.join(SCOPES)}")
    if projects != ALL and not all(PROJECT_ID.match(project) for project in projects):
        raise ValueError("a project is 1 to 64 of the characters A-Z a-z 0-9 _ -")
    if not subject or ttl_seconds <= 0:
        raise ValueError("a token needs a subject and a lifetime above 0 seconds")
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": issued,
        "exp": issued + math.ceil(ttl_seconds),
        "projects": ALL if projects == ALL else list(projects),
        "scope": " ".join(wanted),
    }
    return jwt.encode(claims, secret.reveal(), algorithm="HS256")


class TokenVerifier:
    """Turns a token into a Principal; checked tokens are remembered by their SHA-256, never past their end."""

    def __init__(self, settings: AuthSettings, *, clock: Clock | None = None, fetch: Fetch | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._keys = KeySet(settings.jwks_url, clock=self._clock, fetch=fetch) if settings.jwks_url else None
        self._cache: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    @property
    def leeway(self) -> float:
        """Seconds a token is still accepted after its end."""
        return self._settings.jwt_leeway

    @property
    def clock(self) -> Clock:
        """The clock the tokens are checked by."""
        return self._clock

    async def verify(self, token: str) -> Principal:
        """Raises Unauthenticated: TOKEN_MISSING, TOKEN_EXPIRED, or TOKEN_INVALID without saying which check failed."""
        if not token:
            raise _missing()
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            raise _invalid()
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock.now().timestamp()
        if (principal := self._cached(digest, now)) is not None:
            return principal
        principal, keep_until = await self._check(token, now)
        self._cache[digest] = (principal, keep_until)
        if len(self._cache) > CACHED_TOKENS:
            self._cache.popitem(last=False)
        return principal

    def _cached(self, digest: bytes, now: float) -> Principal | None:
        entry = self._cache.get(digest)
        if entry is None:
            return None
        if now >= entry[1]:
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return entry[0]

    async def _check(self, token: str, now: float) -> tuple[Principal, float]:
        header = _header_of(token)
        kid = header.get("kid")
        if kid is not None and self._keys is not None:
            claims = await self._check_public(token, kid, self._keys)
            newest = now + FRESH_SECONDS  # a key taken out of the JWKS must stop working within its cache time
        else:
            claims = self._check_shared(token)
            newest = math.inf
        principal = principal_of(claims, settings=self._settings, now=now)
        return principal, min(newest, principal.expires_at + self._settings.jwt_leeway)

    async def _check_public(self, token: str, kid: object, keys: KeySet) -> dict[str, Any]:
        found = await keys.find(kid) if isinstance(kid, str) else None
        if found is None:
            raise _invalid()
        return self._decode(token, found.key, found.algorithm)

    def _check_shared(self, token: str) -> dict[str, Any]:
        if self._settings.jwt_secret is None:
            raise _invalid()
        return self._decode(token, self._settings.jwt_secret.reveal(), "HS256")

    def _decode(self, token: str, key: str | jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        # PyJWT would read the system's clock: times are checked in principal_of, by the clock handed in.
        options: Options = {
            "require": _REQUIRED,
            "enforce_minimum_key_length": True,
            "strict_aud": True,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=self._settings.jwt_issuer,
                options=options,
            )
            _strict_json(token, 1)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _invalid() from None
        return claims


def principal_of(claims: dict[str, Any], *, settings: AuthSettings, now: float) -> Principal:
    """The principal that claims with a good signature, issuer and audience stand for at `now` (Unix seconds)."""
    expires, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    not_before = _number(claims.get("nbf", issued))
    subject, scope = claims.get("sub"), claims.get("scope", "")
    if expires - issued > settings.jwt_max_lifetime or expires <= issued:
        raise _invalid()
    if max(issued, not_before) > now + settings.jwt_leeway:
        raise _invalid()
    if now >= expires + settings.jwt_leeway:
        raise expired()
    if not isinstance(subject, str) or not subject or not isinstance(scope, str):
        raise _invalid()
    return Principal(
        subject=subject,
        projects=_projects(claims.get("projects")),
        scopes=frozenset(scope.split()),
        expires_at=expires,
    )


def expired() -> Unauthenticated:
    """The answer to a token whose time is over, also in the middle of a stream."""
    return Unauthenticated("The token has expired; get a new one.", reason="TOKEN_EXPIRED")


def _missing() -> Unauthenticated:
    return Unauthenticated(
        "A token is needed: send the header `authorization: Bearer <token>`.", reason="TOKEN_MISSING"
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated("The token is not valid.", reason="TOKEN_INVALID")


def _weakness(secret: SecretText) -> str:
    enough = len(secret.reveal().encode()) >= MIN_SECRET_BYTES
    return "" if enough else f"{MIN_SECRET_BYTES} bytes or more are needed (RFC 7518 §3.2)"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise _invalid()
    return float(value)


def _projects(value: object) -> frozenset[str] | Literal["*"]:
    if value == ALL:
        return ALL
    if not isinstance(value, list) or not all(isinstance(each, str) and PROJECT_ID.match(each) for each in value):
        raise _invalid()
    return frozenset(value)


def _header_of(token: str) -> dict[str, Any]:
    try:
        header = _strict_json(token, 0)
    except (ValueError, RecursionError):
        raise _invalid() from None
    # A nested token (RFC 7519 §5.2) is none of ours. PyJWT refuses `crit`, the extensions it would have to understand.
    if not isinstance(header, dict) or "cty" in header or not isinstance(header.get("alg"), str):
        raise _invalid()
    return header


def _strict_json(token: str, part: int) -> Any:
    encoded = token.split(".")[part].encode()
    decoded = jwt.utils.base64url_decode(encoded)
    return json.loads(decoded, object_pairs_hook=_no_duplicates)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")  # RFC 7519 §4: such a token must be refused
    return result
