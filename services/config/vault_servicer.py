"""VaultService as gRPC sees it: secrets that another of our services keeps, sealed and opened. It stores nothing."""

# ruff: noqa: N802 - methods have the contract's names

from typing import Any

import grpc
from messagepipe.config.v1 import vault_service_pb2 as pb2
from messagepipe.config.v1.vault_service_pb2_grpc import VaultServiceServicer

from services.chassis.auth import PROJECT_ID
from services.chassis.errors import FieldViolation, InvalidArgument
from services.chassis.validation import validate
from services.config.errors import SecretLost
from services.config.provider import parse_id
from services.config.vault import CanNotOpen, OwnersPlace, Sealed, Vault

Context = grpc.aio.ServicerContext[Any, Any]
MOST_CHARACTERS = 4096


class VaultServicer(VaultServiceServicer):
    """VaultService behind the interceptor, which lets in our own services only."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def SealSecret(self, request: pb2.SealSecretRequest, context: Context) -> pb2.SealedSecret:
        """The secret, sealed by the primary key for its place."""
        place, violations = _place(request)
        if len(request.secret) > MOST_CHARACTERS:
            violations.append(FieldViolation("secret", f"must be at most {MOST_CHARACTERS} characters"))
        if place is None or violations:
            raise InvalidArgument(violations=violations)
        return _shown(self._vault.seal({"secret": request.secret}, place))

    async def OpenSecret(self, request: pb2.OpenSecretRequest, context: Context) -> pb2.OpenSecretResponse:
        """The secret, sealed anew if an older key had sealed it."""
        place, violations = _place(request)
        if place is None or violations:
            raise InvalidArgument(violations=violations)
        sealed = Sealed(key_id=request.sealed.key_id, data=request.sealed.data)
        try:
            opened = self._vault.open(sealed, place)
        except CanNotOpen:
            raise SecretLost(request.sealed.key_id[:32]) from None
        newer = None if sealed.key_id == self._vault.primary else _shown(self._vault.seal(opened, place))
        return pb2.OpenSecretResponse(secret=opened["secret"], resealed=newer)


def _place(request: pb2.SealSecretRequest | pb2.OpenSecretRequest) -> tuple[OwnersPlace | None, list[FieldViolation]]:
    violations = list(validate(request))
    asked, owner = request.place, parse_id(request.place.owner_id)
    if asked.owner_id and owner is None:
        violations.append(FieldViolation("place.ownerId", "must be a UUID"))
    if asked.project_id and not PROJECT_ID.match(asked.project_id):
        violations.append(FieldViolation("place.projectId", "must be 1-64 characters of A-Z a-z 0-9 _ -"))
    if owner is None:
        return None, violations
    return OwnersPlace(project_id=asked.project_id, provider_id=owner, version=asked.version), violations


def _shown(sealed: Sealed) -> pb2.SealedSecret:
    return pb2.SealedSecret(key_id=sealed.key_id, data=sealed.data)
