"""The public keys of a JWKS endpoint, cached. It checks no token; auth.py does, with the keys it gets here.

Only asymmetric signing keys are taken, each bound to the one algorithm its type allows (RFC 8725 §3.1): RSA to RS256,
P-256 to ES256, Ed25519 to EdDSA. A `oct` key in a public document would be a shared secret everybody knows.
"""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from services.chassis.clock import Clock
from services.chassis.errors import Unavailable
from services.chassis.log import get_logger

FRESH_SECONDS = 60.0
KEEP_SECONDS = 600.0
MIN_INTERVAL_SECONDS = 30.0
FIRST_RETRY_SECONDS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
FETCH_TIMEOUT_SECONDS = 5.0

Fetch = Callable[[str], Awaitable[bytes]]

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKey:
    """A public key and the only algorithm it may be used with."""

    algorithm: str
    key: jwt.PyJWK = field(repr=False)


class KeySet:
    """Keys by `kid`, at most 60 s old while the endpoint answers and at most 10 min old while it does not.

    Whatever callers ask for, fetches begin at least 30 s apart (5 s while none has ever succeeded).
    """

    def __init__(self, url: str, *, clock: Clock, fetch: Fetch | None = None) -> None:
        check_url(url)
        self._url = url
        self._clock = clock
        self._fetch = fetch or fetch_over_https
        self._keys: Mapping[str, VerifyingKey] = {}
        self._loaded_at: float | None = None
        self._began_at: float | None = None
        self._running: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> VerifyingKey | None:
        """The key, or None when the endpoint does not list it; Unavailable when no key can be trusted right now."""
        if kid not in self._keys or self._age() >= FRESH_SECONDS:
            await self._refresh()
        if self._age() >= KEEP_SECONDS:
            raise Unavailable("Tokens cannot be checked right now; try again shortly.", retry_after=5.0)
        return self._keys.get(kid)

    def _age(self) -> float:
        return float("inf") if self._loaded_at is None else self._clock.boottime() - self._loaded_at

    def _may_begin(self) -> bool:
        if self._began_at is None:
            return True
        interval = FIRST_RETRY_SECONDS if self._loaded_at is None else MIN_INTERVAL_SECONDS
        return self._clock.boottime() - self._began_at >= interval

    async def _refresh(self) -> None:
        if self._running is None:
            if not self._may_begin():
                return
            self._began_at = self._clock.boottime()
            self._running = asyncio.create_task(self._load(), name="jwks")
        # Shielded: one caller hanging up must not take the keys away from all the others.
        await asyncio.shield(self._running)

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                document = await self._fetch(self._url)
            self._keys = parse_keys(document)
            self._loaded_at = self._clock.boottime()
        except Exception as error:  # noqa: BLE001 - known keys go on whatever it is; the log says why they are not fresh
            _log.warning("jwks_fetch_failed", reason=f"{type(error).__name__}: {error}")
        finally:
            self._running = None


def check_url(url: str) -> None:
    """Raises ValueError unless `url` is https, or http on a loopback host."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise ValueError("the JWKS URL must begin with https:// (http:// only for a loopback host)")


def parse_keys(document: bytes) -> dict[str, VerifyingKey]:
    """The usable keys of a JWK set (RFC 7517 §5), the others left out; ValueError when it is no JWK set."""
    if len(document) > MAX_BYTES:
        raise ValueError(f"the document is larger than {MAX_BYTES} bytes")
    parsed = json.loads(document)
    match parsed:
        case {"keys": [*listed]}:
            pass
        case _:
            raise ValueError('the document has no list "keys"')
    keys: dict[str, VerifyingKey] = {}
    for each in listed[:MAX_KEYS]:
        kid, key = _usable(each)
        if key is not None:
            keys[kid] = key
    return keys


async def fetch_over_https(url: str) -> bytes:
    """The body at `url`, at most MAX_BYTES; no redirect is followed and no proxy taken from the environment."""
    headers = {"accept": "application/json"}
    async with (
        httpx.AsyncClient(timeout=FETCH_TIMEOUT_SECONDS, trust_env=False) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"the endpoint answered {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"the document is larger than {MAX_BYTES} bytes")
        return bytes(body)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _usable(entry: Any) -> tuple[str, VerifyingKey | None]:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
        return "", None
    algorithm = _algorithm_of(entry)
    if algorithm is None or entry.get("alg", algorithm) not in (algorithm, _ALSO_CALLED.get(algorithm)):
        return "", None
    try:
        return entry["kid"], VerifyingKey(algorithm=algorithm, key=jwt.PyJWK(entry, algorithm=algorithm))
    except (jwt.PyJWTError, ValueError, TypeError):
        return "", None


_ALSO_CALLED = {"EdDSA": "Ed25519"}  # RFC 9864 gives the curve its own name


def _algorithm_of(entry: Mapping[str, Any]) -> str | None:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            return "RS256"
        case "EC", "P-256":
            return "ES256"
        case "OKP", "Ed25519":
            return "EdDSA"
        case _:
            return None
