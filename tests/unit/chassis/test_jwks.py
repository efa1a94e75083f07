"""Public keys: one algorithm per key, few fetches, and reliability.md S03 line by line."""

import asyncio
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from services.chassis.auth import AuthSettings, TokenVerifier
from services.chassis.env import SecretText
from services.chassis.errors import Unauthenticated, Unavailable
from services.chassis.jwks import MAX_BYTES, KeySet, VerifyingKey, check_url, parse_keys
from tests.fakes.clock import START, FakeClock

URL = "https://keys.example.org/jwks"
NOW = int(START.timestamp())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def public(algorithm: str, kid: str, **extra: object) -> dict[str, object]:
    """The JWK of one of the test keys."""
    to_jwk = jwt.get_algorithm_by_name(algorithm).to_jwk
    return {**json.loads(to_jwk(PRIVATE[algorithm].public_key())), "kid": kid, **extra}


class Endpoint:
    """A JWKS endpoint that can be told to be down, slow, or to list other keys."""

    def __init__(self, *keys: dict[str, object]) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, url: str) -> bytes:
        self.fetches += 1
        await self.gate.wait()
        if self.down:
            raise OSError("connection refused")
        return json.dumps({"keys": self.keys}).encode()


@pytest.fixture
def clock() -> FakeClock:
    """Time that moves when told."""
    return FakeClock()


def token(algorithm: str, kid: object, *, key: Any = None, exp: int = NOW + 3600) -> str:
    """A token signed with one of the test keys."""
    claims = {"iss": "messagepipe", "aud": "messagepipe", "sub": "a", "iat": NOW, "exp": exp, "projects": "*"}
    return jwt.encode(claims, key or PRIVATE[algorithm], algorithm=algorithm, headers={"kid": kid})


def verifier_of(endpoint: Endpoint, clock: FakeClock, secret: SecretText | None = None) -> TokenVerifier:
    """A verifier that asks this endpoint."""
    return TokenVerifier(AuthSettings(jwks_url=URL, jwt_secret=secret), clock=clock, fetch=endpoint.fetch)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_key_verifies_its_own_algorithm(clock, algorithm):
    """RSA, P-256 and Ed25519 keys verify RS256, ES256 and EdDSA."""
    endpoint = Endpoint(public(algorithm, "k"))
    assert (await verifier_of(endpoint, clock).verify(token(algorithm, "k"))).subject == "a"


@pytest.mark.parametrize(
    ("key", "used"), [("RS256", "ES256"), ("ES256", "RS256"), ("ES256", "EdDSA"), ("EdDSA", "ES256")]
)
async def test_s01_a_key_verifies_nothing_else(clock, key, used):
    """S01: a token whose algorithm is not its key's is refused, however it is signed."""
    with pytest.raises(Unauthenticated):
        await verifier_of(Endpoint(public(key, "k")), clock).verify(token(used, "k"))


async def test_s01_a_public_key_is_no_shared_secret(clock):
    """S01: HS256 with the public key's text as the secret is refused, also beside a real secret."""
    # PyJWT refuses to sign with what looks like a key, so the forger does it by hand.
    document = json.dumps(public("RS256", "k")).encode()
    for secret in (None, SecretText("s" * 32)):
        signing_input = token("HS256", "k", key=b"x" * 32).rpartition(".")[0]
        mac = hmac.new(document, signing_input.encode(), "sha256").digest()
        forged = f"{signing_input}.{jwt.utils.base64url_encode(mac).decode()}"
        with pytest.raises(Unauthenticated):
            await verifier_of(Endpoint(public("RS256", "k")), clock, secret).verify(forged)


async def test_secret_and_jwks_side_by_side(clock):
    """With both configured, tokens without a kid are checked with the secret, tokens with one by the JWKS alone."""
    secret = SecretText("s" * 32)
    verifier = verifier_of(Endpoint(public("ES256", "k")), clock, secret)
    claims = {"iss": "messagepipe", "aud": "messagepipe", "sub": "b", "iat": NOW, "exp": NOW + 9, "projects": "*"}
    assert (await verifier.verify(jwt.encode(claims, secret.reveal(), algorithm="HS256"))).subject == "b"
    with pytest.raises(Unauthenticated):
        await verifier.verify(jwt.encode(claims, secret.reveal(), algorithm="HS256", headers={"kid": "k"}))


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k"},
        {**public("ES256", "k"), "crv": "P-384"},
        public("RS256", "k", alg="RS512"),
        public("RS256", "k", alg="HS256"),
        public("RS256", "k", use="enc"),
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "k"},
        {"kty": "RSA", "kid": "k"},
        {key: value for key, value in public("ES256", "k").items() if key != "kid"},
        "k",
        None,
    ],
    # The keys are made anew by each process: ids of their own, or workers would not agree which tests there are.
    ids=["symmetric", "curve", "RS512", "HS256", "use", "bad number", "no numbers", "no kid", "text", "nothing"],
)
def test_unusable_keys_are_left_out(entry):
    """A symmetric, encrypting, foreign-algorithm or broken key is left out, and the good one beside it stays."""
    document = json.dumps({"keys": [entry, public("EdDSA", "good", alg="Ed25519", use="sig")]}).encode()
    assert {kid: key.algorithm for kid, key in parse_keys(document).items()} == {"good": "EdDSA"}


async def test_a_short_rsa_key_is_refused(clock):
    """An RSA key below 2048 bits verifies nothing (RFC 7518 §3.3)."""
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    entry = {**json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(small.public_key())), "kid": "k"}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        forged = token("RS256", "k", key=small)
    with pytest.raises(Unauthenticated):
        await verifier_of(Endpoint(entry), clock).verify(forged)


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys": {}}', b"{}", b"<html>", b" " * (MAX_BYTES + 1)])
def test_what_is_no_key_set_is_refused(document):
    """A document that is not a JWK set, or is larger than 256 KiB, is an error and not an empty set."""
    with pytest.raises(ValueError):
        parse_keys(document)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "x" * 5000, "", "\x00", "unknown"])
async def test_s03_strange_kids_are_just_unknown(clock, kid):
    """S03: a kid is looked up in a table and used for nothing else."""
    with pytest.raises(Unauthenticated):
        await verifier_of(Endpoint(public("ES256", "k")), clock).verify(token("ES256", kid))


async def test_s03_a_flood_of_unknown_kids_is_one_fetch(clock):
    """S03: 1,000 different unknown kids cost one fetch per 30 s."""
    endpoint = Endpoint(public("ES256", "k"))
    keys = KeySet(URL, clock=clock, fetch=endpoint.fetch)
    assert [await keys.find(f"x{n}") for n in range(1000)] == [None] * 1000
    assert endpoint.fetches == 1
    clock.advance(29.9)
    await keys.find("y")
    assert endpoint.fetches == 1
    clock.advance(0.1)
    await asyncio.gather(*(keys.find(f"z{n}") for n in range(1000)))
    assert endpoint.fetches == 2


async def test_s03_a_new_key_works_within_60_seconds(clock):
    """S03: a rotated-in key works without a restart, at the latest 30 s after it was first asked for."""
    endpoint = Endpoint(public("ES256", "old"))
    verifier = verifier_of(endpoint, clock)
    await verifier.verify(token("ES256", "old"))
    endpoint.keys.append(public("EdDSA", "new"))
    with pytest.raises(Unauthenticated):
        await verifier.verify(token("EdDSA", "new"))
    clock.advance(30)
    await verifier.verify(token("EdDSA", "new"))


async def test_s03_a_removed_key_dies_within_the_cache_time(clock):
    """S03: 60 s after its key was removed even a token that was verified before is refused."""
    endpoint = Endpoint(public("ES256", "old"), public("EdDSA", "new"))
    verifier = verifier_of(endpoint, clock)
    text = token("ES256", "old")
    await verifier.verify(text)
    endpoint.keys.pop(0)
    clock.advance(59)
    await verifier.verify(text)
    clock.advance(1)
    with pytest.raises(Unauthenticated):
        await verifier.verify(text)


async def test_s03_known_keys_outlive_an_outage_of_ten_minutes(clock):
    """S03: while the endpoint is down known keys work for 10 min, with a fetch each 30 s at most; then none does."""
    endpoint = Endpoint(public("ES256", "k"))
    keys = KeySet(URL, clock=clock, fetch=endpoint.fetch)
    assert await keys.find("k")
    endpoint.down = True
    for _ in range(599):
        clock.advance(1)
        assert await keys.find("k")
    assert endpoint.fetches <= 1 + 599 // 30
    clock.advance(1)
    with pytest.raises(Unavailable):
        await keys.find("k")
    endpoint.down = False
    clock.advance(30)
    assert await keys.find("k")


async def test_a_start_without_the_endpoint_is_unavailable_not_forbidden(clock):
    """Before any key was ever loaded a token cannot be judged: UNAVAILABLE, and another try after 5 s."""
    endpoint = Endpoint(public("ES256", "k"))
    endpoint.down = True
    verifier = verifier_of(endpoint, clock)
    with pytest.raises(Unavailable):
        await verifier.verify(token("ES256", "k"))
    endpoint.down = False
    clock.advance(5)
    await verifier.verify(token("ES256", "k"))
    assert endpoint.fetches == 2


async def test_many_callers_share_one_fetch_and_one_leaving_does_not_end_it(clock):
    """Callers that need the same fetch wait for one; a caller who hangs up does not take it from the others."""
    endpoint = Endpoint(public("ES256", "k"))
    endpoint.gate.clear()
    keys = KeySet(URL, clock=clock, fetch=endpoint.fetch)
    callers = [asyncio.create_task(keys.find("k")) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0)
    endpoint.gate.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert endpoint.fetches == 1
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(each, VerifyingKey) for each in found[1:])


@pytest.mark.parametrize(
    "url", ["https://a.example/jwks", "http://127.0.0.1:9/j", "http://localhost/j", "http://[::1]/j"]
)
def test_good_urls(url):
    """https anywhere, plain http on loopback."""
    check_url(url)


@pytest.mark.parametrize(
    "url", ["http://a.example/j", "http://127.0.0.1.a.example/", "file:///etc/passwd", "https://", ""]
)
def test_bad_urls(url):
    """Nothing else, and no host that only looks like loopback."""
    with pytest.raises(ValueError, match="must begin with https"):
        check_url(url)
