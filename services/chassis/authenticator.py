"""Who asks, by the metadata of a call: a token or an API key, and whether it is good for the method. What happens
around a call is interceptors.py's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.chassis.api_key_roll import ApiKeyRoll
from services.chassis.api_keys import HEADER, key_invalid, two_proofs
from services.chassis.auth import Principal, TokenVerifier, expired
from services.chassis.errors import PermissionDenied, ServiceError, Unauthenticated

RequiredScope = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyDoor:
    """The way in with an API key: which keys work, and the methods that take one."""

    roll: ApiKeyRoll
    methods: frozenset[str]


class Authenticator:
    """Who asks, and whether the method is theirs to call; a method without a scope is closed to everybody."""

    def __init__(
        self, verifier: TokenVerifier, required_scope: RequiredScope, api_keys: ApiKeyDoor | None = None
    ) -> None:
        self._verifier = verifier
        self._required_scope = required_scope
        self._api_keys = api_keys

    async def admit(self, method: str, metadata: Iterable[Any]) -> Principal:
        """The caller; raises Unauthenticated, PermissionDenied (SCOPE_MISSING) naming the scope, or Unavailable."""
        given = list(metadata)
        if (key := api_key(given)) is not None:
            return await self._admit_key(key, method)
        principal = await self._verifier.verify(bearer_token(given))
        scope = self._required_scope(method)
        if scope is None:
            raise PermissionDenied("This method is closed: it declares no scope.", metadata={"method": method})
        if scope not in principal.scopes:
            raise PermissionDenied(f"The token needs the scope {scope}.", metadata={"scope": scope})
        return principal

    @asynccontextmanager
    async def while_valid(self, principal: Principal) -> AsyncIterator[None]:
        """The block is cut off and Unauthenticated raised when the caller's token ends or API key stops working;
        Unavailable when it can not be known any more whether the key works.
        """
        limit = asyncio.timeout(None if principal.api_key else self._remaining(principal))
        watch: asyncio.Task[ServiceError] | None = None
        try:
            async with limit:
                if principal.api_key and self._api_keys is not None:
                    watch = asyncio.create_task(_cut_off(self._api_keys.roll, principal.api_key, limit))
                try:
                    yield
                finally:
                    if watch is not None:
                        watch.cancel()
        except TimeoutError:
            if limit.expired():
                raise (expired() if watch is None else watch.result()) from None
            raise

    def _remaining(self, principal: Principal) -> float:
        """Seconds until the token, leeway included, is over."""
        return principal.expires_at + self._verifier.leeway - self._verifier.clock.now().timestamp()

    async def _admit_key(self, key: str, method: str) -> Principal:
        if self._api_keys is None or method not in self._api_keys.methods:
            scope = self._required_scope(method) or ""
            raise PermissionDenied("An API key can not do this: a token is needed.", metadata={"scope": scope})
        return (await self._api_keys.roll.find(key)).principal


async def _cut_off(roll: ApiKeyRoll, key_id: str, limit: asyncio.Timeout) -> ServiceError:
    why = await roll.until_gone(key_id)
    limit.reschedule(asyncio.get_running_loop().time())
    return why


def bearer_token(metadata: Iterable[Any]) -> str:
    """The token of the one `authorization: Bearer` header, "" without one; TOKEN_INVALID for two, or another scheme."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        return ""
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("The header must be exactly one `authorization: Bearer <token>`.")
    return token.strip(" ")


def api_key(metadata: Iterable[Any]) -> str | None:
    """The text of the one `x-api-key` header, None without one; Unauthenticated for two, or a token beside."""
    values = [value for key, value in metadata if key == HEADER]
    if not values:
        return None
    if len(values) > 1:
        raise key_invalid()
    if any(key == "authorization" for key, _ in metadata):
        raise two_proofs()
    return str(values[0])
