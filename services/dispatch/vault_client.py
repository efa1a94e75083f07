"""Secrets that DispatchService keeps and can not read by itself: ConfigService's vault seals and opens them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
from messagepipe.config.v1 import vault_service_pb2 as pb
from messagepipe.config.v1.vault_service_pb2_grpc import VaultServiceStub

from services.chassis.log import get_logger
from services.dispatch.errors import ServiceUnavailable
from services.dispatch.webhook import Sealed

if TYPE_CHECKING:  # only the type stubs know the asynchronous stub class
    from messagepipe.config.v1.vault_service_pb2_grpc import VaultServiceAsyncStub

TIMEOUT = 5.0
# Opened secrets by what was sealed, so that posting costs no call; as many as one process may have to post to.
REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A secret in the clear, and the same sealed anew when an older key had sealed it. Never logged."""

    secret: str
    resealed: Sealed | None = None

    def __repr__(self) -> str:
        return "Opened()"


class SecretLost(Exception):
    """What was sealed does not open: its key is no longer among the vault's."""


class VaultClient:
    """Seals and opens through ConfigService; raises ServiceUnavailable while nobody can."""

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[], str]) -> None:
        self._stub: VaultServiceAsyncStub = VaultServiceStub(channel)
        self._token = token
        self._known: dict[bytes, str] = {}
        self.primary = ""  # the vault's newest key, once one was seen
        self._log = get_logger()

    async def seal(self, project_id: str, owner: UUID, version: int, secret: str) -> Sealed:
        """The secret, readable for ConfigService alone and only as this owner's."""
        place = pb.SecretPlace(project_id=project_id, owner_id=str(owner), version=version)
        sealed = await self._call(self._stub.SealSecret, pb.SealSecretRequest(place=place, secret=secret))
        self.primary = sealed.key_id
        return Sealed(key_id=sealed.key_id, data=sealed.data, version=version)

    async def open(self, project_id: str, owner: UUID, sealed: Sealed, *, afresh: bool = False) -> Opened:
        """The secret again; raises SecretLost. What was opened once is remembered unless `afresh`."""
        if not afresh and sealed.data in self._known:
            return Opened(secret=self._known[sealed.data])
        place = pb.SecretPlace(project_id=project_id, owner_id=str(owner), version=sealed.version)
        request = pb.OpenSecretRequest(place=place, sealed=pb.SealedSecret(key_id=sealed.key_id, data=sealed.data))
        answer = await self._call(self._stub.OpenSecret, request)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[sealed.data] = answer.secret
        newer = answer.resealed if answer.HasField("resealed") else None
        self.primary = newer.key_id if newer else sealed.key_id
        resealed = Sealed(key_id=newer.key_id, data=newer.data, version=sealed.version) if newer else None
        return Opened(secret=answer.secret, resealed=resealed)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, metadata=(("authorization", f"Bearer {self._token()}"),), timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise SecretLost from None
            self._log.warning("vault_unreachable", code=error.code().name)
            raise ServiceUnavailable("ConfigService") from None
