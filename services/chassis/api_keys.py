"""What an API key looks like, how it is recognised, and whom it stands for. Pure; which keys are active is for the roll
to know (api_key_roll.py).

A key is `mzl_` and 40 random characters of 62, 238 bits: guessing one is hopeless, so a keyed hash without salt or
stretching is enough, and looking the hash up tells nothing by its time.
"""

import hmac
import math
import re
import secrets
import string
from dataclasses import dataclass
from typing import Final

from services.chassis.auth import Principal
from services.chassis.errors import Unauthenticated

HEADER: Final = "x-api-key"
# A key may do what sending takes and nothing else, whatever its maker may do.
KEY_SCOPES: Final = frozenset({"messages:send", "messages:read"})

_PREFIX = "mzl_"
_ALPHABET = string.digits + string.ascii_letters
_LENGTH = 40
_SHOWN = len(_PREFIX) + 8
_FORM = re.compile(rf"{_PREFIX}[0-9A-Za-z]{{{_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveKey:
    """A key that works: its keyed hash, its id, and the project it stands for."""

    hash: bytes
    id: str
    project_id: str

    @property
    def principal(self) -> Principal:
        """Who asks with this key: somebody of its one project, who may send and read, for as long as the key works."""
        return Principal(
            subject=f"api-key:{self.id}",
            projects=frozenset({self.project_id}),
            scopes=KEY_SCOPES,
            expires_at=math.inf,
            api_key=self.id,
        )


def new_key() -> str:
    """A key that nobody has had before."""
    return _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def prefix_of(key: str) -> str:
    """As much of a key as lists may show: 190 bits of it stay unknown."""
    return key[:_SHOWN]


def has_form(text: str) -> bool:
    """Whether this could be a key at all."""
    return _FORM.fullmatch(text) is not None


def hash_of(secret: bytes, key: str) -> bytes:
    """What is kept of a key, and looked for: without the secret it says nothing about the key (HMAC-SHA-256)."""
    return hmac.digest(secret, key.encode(), "sha256")


def key_invalid() -> Unauthenticated:
    """The answer to whatever is no working key, without saying why."""
    return Unauthenticated("The API key is not valid.", reason="KEY_INVALID")


def two_proofs() -> Unauthenticated:
    """The answer to a token and a key at once: which of them would count is nobody's to guess."""
    return Unauthenticated("Send either the header `authorization` or the header `x-api-key`, not both.")
