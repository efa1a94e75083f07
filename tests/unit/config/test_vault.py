"""Secrets sealed and opened."""

import base64
import hmac
from dataclasses import replace

import pytest

from services.chassis.env import SecretText
from services.config.vault import CanNotOpen, KeyRing, Place, Sealed, Vault, parse_keys
from tests.unit.config.builders import ID, OTHER_ID

PLACE = Place(project_id="shop", provider_id=ID, version=3)
SECRETS = {"apiKey": "canary", "auth": {"pass": "ü"}}


def a_vault(*ids: str) -> Vault:
    """A vault with these keys, each id always standing for the same key."""
    return Vault(KeyRing({key_id: key_id.encode().ljust(32, b"\0") for key_id in ids}))


def encoded(key: bytes) -> str:
    """A key as it stands in the settings."""
    return base64.b64encode(key).decode()


def test_what_was_sealed_opens_again() -> None:
    """Sealing and opening gives the same, and the sealed text shows nothing of it."""
    sealed = a_vault("a").seal(SECRETS, PLACE)
    assert a_vault("a").open(sealed, PLACE) == SECRETS
    assert b"canary" not in sealed.data
    assert sealed.key_id == "a"


def test_sealing_twice_gives_different_texts() -> None:
    """Nonces are not used again."""
    vault = a_vault("a")
    assert len({vault.seal(SECRETS, PLACE).data[:12] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, project_id="other"),
        replace(PLACE, provider_id=OTHER_ID),
        replace(PLACE, version=2),
        replace(PLACE, version=4),
    ],
)
def test_moved_text_does_not_open(elsewhere: Place) -> None:
    """A text of another project, provider or version does not open."""
    sealed = a_vault("a").seal(SECRETS, PLACE)
    with pytest.raises(CanNotOpen):
        a_vault("a").open(sealed, elsewhere)


@pytest.mark.parametrize("position", [0, 12, -1])
def test_changed_text_does_not_open(position: int) -> None:
    """One flipped bit in nonce, text or tag is enough."""
    sealed = a_vault("a").seal(SECRETS, PLACE)
    data = bytearray(sealed.data)
    data[position] ^= 1
    with pytest.raises(CanNotOpen):
        a_vault("a").open(replace(sealed, data=bytes(data)), PLACE)


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 12])
def test_truncated_text_does_not_open(data: bytes) -> None:
    """A text that is too short to be one is no crash."""
    with pytest.raises(CanNotOpen):
        a_vault("a").open(Sealed(key_id="a", data=data), PLACE)


def test_first_key_seals_and_every_key_opens() -> None:
    """After a rotation new texts are under the new key and old ones still open."""
    old = a_vault("old").seal(SECRETS, PLACE)
    rotated = a_vault("new", "old")
    assert rotated.open(old, PLACE) == SECRETS
    assert rotated.seal(SECRETS, PLACE).key_id == "new"
    with pytest.raises(CanNotOpen, match="'old'"):
        a_vault("new").open(old, PLACE)


def test_keys_are_read_in_order() -> None:
    """The first entry is the primary key; both base64 alphabets work, with padding and without."""
    standard, urlsafe = encoded(b"\xff" * 32), base64.urlsafe_b64encode(b"\xfe" * 32).decode().rstrip("=")
    ring = parse_keys(SecretText(f"k2:{standard}, k1:{urlsafe}"))
    assert ring.primary == "k2"
    assert "k1" in ring


@pytest.mark.parametrize(
    "text",
    ["", "k", "k:", f":{encoded(b'x' * 32)}", "k:!!", f"k:{encoded(b'x' * 31)}", f"a b:{encoded(b'x' * 32)}"],
)
def test_bad_keys_are_refused_without_showing_them(text: str) -> None:
    """A bad entry is named by place or id, never by its key."""
    with pytest.raises(ValueError) as caught:
        parse_keys(SecretText(text))
    assert encoded(b"x" * 31) not in str(caught.value)


def test_key_ids_are_unique() -> None:
    """Two keys under one id are a mistake."""
    key = encoded(b"x" * 32)
    with pytest.raises(ValueError, match="'a' occurs twice"):
        parse_keys(SecretText(f"a:{key},a:{key}"))


def test_keys_are_not_printed() -> None:
    """The ring prints its ids only."""
    assert repr(KeyRing({"a": b"x" * 32})) == "KeyRing(a)"


def test_a_mac_proves_its_text_and_no_other() -> None:
    """The same text under the same key, and nothing else; a rotated ring still knows the older key's MACs."""
    mac = a_vault("old").mac(b"text")

    assert a_vault("new", "old").is_mac_of(mac, b"text")
    assert not a_vault("new", "old").is_mac_of(mac, b"texts")
    assert a_vault("new", "old").mac(b"text") != mac
    assert a_vault("old").mac(b"text") == mac


def test_a_mac_under_a_key_that_is_gone_proves_nothing() -> None:
    """A removed key's MACs fit no text: nobody can tell any more, so the safe answer is no."""
    assert not a_vault("new").is_mac_of(a_vault("old").mac(b"text"), b"text")


def test_a_mac_is_not_made_with_the_key_that_seals() -> None:
    """Each purpose has a key of its own."""
    plain = hmac.digest(b"a".ljust(32, b"\0"), b"text", "sha256")

    assert a_vault("a").mac(b"text").data != plain
