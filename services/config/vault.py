"""Secrets at rest: sealed with AES-256-GCM under a ring of named keys, and opened again. It stores nothing itself.

A sealed text is bound to its project, its provider and the provider's version, so that moving it to another row, or
putting back an older one, does not open (NIST SP 800-38D: the additional authenticated data). Nonces are 96 random
bits; one key is good for 2^32 seals.

Rotation: 1. add the new key as the last one, on every replica; 2. make it the first one, on every replica: the service
seals everything anew in the background; 3. remove the old key once no row names it (a service that still needs it
refuses to start).
"""

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.env import SecretText

KEY_BYTES = 32
NONCE_BYTES = 12
MAC_PURPOSE = b"messagepipe: MACs of requests"

_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


class CanNotOpen(Exception):
    """A sealed text does not open: the key is not in the ring, or text and place do not belong together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The row a sealed text belongs to, and the provider's version that was written with it."""

    project_id: str
    provider_id: UUID
    version: int

    def binding(self) -> bytes:
        """What the seal is bound to; no two places have the same, as a project id holds no `|`."""
        return f"{self.project_id}|{self.provider_id}|{self.version}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersPlace(Place):
    """Where a secret belongs that another of our services keeps (VaultService); never a provider's place."""

    def binding(self) -> bytes:
        """As of a provider's place, and different from each of those."""
        # The zero-argument super() does not know a class that slots=True made anew.
        return b"owner|" + Place.binding(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Nonce and ciphertext, and the id of the key that opens them."""

    key_id: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mac:
    """Proof of a text that says nothing about it to who does not have the key of this id."""

    key_id: str
    data: bytes


class KeyRing:
    """Named AES-256 keys; the first is the primary, which seals, and all of them open."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise ValueError("the key ring is empty")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        # A key of its own for a purpose of its own: what seals signs nothing.
        self._mac_keys = {key_id: hmac.digest(key, MAC_PURPOSE, "sha256") for key_id, key in keys.items()}
        self.primary = next(iter(keys))

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._ciphers)})"

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._ciphers

    def cipher(self, key_id: str) -> AESGCM:
        """The cipher of this key; raises CanNotOpen when the ring does not have it."""
        try:
            return self._ciphers[key_id]
        except KeyError:
            raise CanNotOpen(f"the key {key_id!r} is not among the vault keys") from None

    def mac_key(self, key_id: str) -> bytes:
        """What MACs under this key are made with; raises KeyError when the ring does not have it."""
        return self._mac_keys[key_id]


def parse_keys(text: SecretText) -> KeyRing:
    """The ring that `id:base64key,id:base64key` means; raises ValueError that names the place and never a key."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.reveal().split(","), start=1):
        key_id, separator, encoded = part.strip().partition(":")
        if not separator or not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"entry {number} must be id:key, the id 1 to 32 of the characters A-Z a-z 0-9 _ . -")
        if key_id in keys:
            raise ValueError(f"the key id {key_id!r} occurs twice")
        keys[key_id] = _key(key_id, encoded)
    return KeyRing(keys)


class Vault:
    """Seals and opens the secrets of providers."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    @property
    def primary(self) -> str:
        """The id of the key that seals."""
        return self._keys.primary

    def seal(self, opened: Mapping[str, Any], place: Place) -> Sealed:
        """The secrets, readable only with the primary key and only at `place`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        text = json.dumps(opened, separators=(",", ":")).encode()
        data = nonce + self._keys.cipher(self.primary).encrypt(nonce, text, place.binding())
        return Sealed(key_id=self.primary, data=data)

    def open(self, sealed: Sealed, place: Place) -> dict[str, Any]:
        """The secrets again; raises CanNotOpen. Never log the answer."""
        cipher = self._keys.cipher(sealed.key_id)
        nonce, text = sealed.data[:NONCE_BYTES], sealed.data[NONCE_BYTES:]
        try:
            opened: dict[str, Any] = json.loads(cipher.decrypt(nonce, text, place.binding()))
        except (InvalidTag, ValueError):
            raise CanNotOpen(
                f"the credentials of provider {place.provider_id} do not open with the key {sealed.key_id!r}"
            ) from None
        return opened

    def mac(self, text: bytes) -> Mac:
        """The text's MAC under the primary key (HMAC-SHA-256)."""
        return Mac(key_id=self.primary, data=hmac.digest(self._keys.mac_key(self.primary), text, "sha256"))

    def is_mac_of(self, mac: Mac, text: bytes) -> bool:
        """Whether `mac` was made of this very text; never when its key is not in the ring any more."""
        if mac.key_id not in self._keys:
            return False
        return hmac.compare_digest(hmac.digest(self._keys.mac_key(mac.key_id), text, "sha256"), mac.data)


def _key(key_id: str, encoded: str) -> bytes:
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        key = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the key {key_id!r} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key {key_id!r} has {len(key)} bytes; {KEY_BYTES} are needed")
    return key
