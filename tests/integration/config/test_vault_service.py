"""VaultService: secrets of our other services, sealed and opened for them alone."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from messagepipe.config.v1 import vault_service_pb2 as pb

from services.chassis.errors import ServiceError
from services.config.vault import KeyRing, OwnersPlace, Place, Vault
from services.config.vault_servicer import VaultServicer

OWNER = str(uuid4())
PLACE = pb.SecretPlace(project_id="shop", owner_id=OWNER, version=1)


def a_servicer(*ids: str) -> Any:
    """The servicer over a vault with these keys, the first sealing."""
    return VaultServicer(Vault(KeyRing({key_id: key_id.encode().ljust(32, b"\0") for key_id in ids})))


async def sealed(servicer: Any, secret: str = "whsec_canary") -> pb.SealedSecret:
    """A secret, sealed for PLACE."""
    answer: pb.SealedSecret = await servicer.SealSecret(pb.SealSecretRequest(place=PLACE, secret=secret), None)
    return answer


async def refused(call: Any) -> ServiceError:
    """The error that a call ends with."""
    with pytest.raises(ServiceError) as raised:
        await call
    return raised.value


async def test_what_was_sealed_opens_at_its_place_only():
    """Another project, owner or version does not open it; what is sealed shows nothing of it."""
    servicer = a_servicer("a")
    kept = await sealed(servicer)
    assert b"canary" not in kept.data
    opened = await servicer.OpenSecret(pb.OpenSecretRequest(place=PLACE, sealed=kept), None)
    assert (opened.secret, opened.HasField("resealed")) == ("whsec_canary", False)
    for change in ({"project_id": "other"}, {"owner_id": str(uuid4())}, {"version": 2}):
        given: dict[str, Any] = {"project_id": "shop", "owner_id": OWNER, "version": 1, **change}
        place = pb.SecretPlace(**given)
        error = await refused(servicer.OpenSecret(pb.OpenSecretRequest(place=place, sealed=kept), None))
        assert error.reason == "SECRET_LOST"


async def test_an_older_key_s_secret_comes_back_sealed_anew():
    """So that the key can be taken out of the ring; with it gone before, the secret is lost."""
    kept = await sealed(a_servicer("a"))
    request = pb.OpenSecretRequest(place=PLACE, sealed=kept)
    opened = await a_servicer("b", "a").OpenSecret(request, None)
    assert (opened.secret, opened.resealed.key_id) == ("whsec_canary", "b")
    again = await a_servicer("b").OpenSecret(pb.OpenSecretRequest(place=PLACE, sealed=opened.resealed), None)
    assert again.secret == "whsec_canary"
    assert (await refused(a_servicer("b").OpenSecret(request, None))).reason == "SECRET_LOST"


async def test_a_provider_s_credentials_do_not_open_here():
    """Places of providers and of other owners are never the same."""
    given: dict[str, Any] = {"project_id": "shop", "provider_id": UUID(OWNER), "version": 1}
    assert Place(**given).binding() != OwnersPlace(**given).binding()


async def test_everything_that_is_wrong_is_told_at_once():
    """By the path of each field."""
    place = pb.SecretPlace(project_id="no project", owner_id="nobody", version=1)
    error = await refused(a_servicer("a").SealSecret(pb.SealSecretRequest(place=place, secret="x" * 4097), None))
    assert sorted(violation.field for violation in error.violations) == ["place.ownerId", "place.projectId", "secret"]
