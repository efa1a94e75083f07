"""Tokens: what is let in, and reliability.md S01, S02 and S04 line by line."""

import base64
import hashlib
import hmac
import json
import pickle
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.chassis.auth import (
    ALL,
    CACHED_TOKENS,
    PROJECT_ID,
    SCOPES,
    AuthSettings,
    Principal,
    TokenVerifier,
    as_principal,
    current_principal,
    mint,
)
from services.chassis.env import SecretText, SettingsError, load
from services.chassis.errors import Unauthenticated
from tests.fakes.clock import START, FakeClock

SECRET = SecretText("0123456789abcdef0123456789abcdef")
NOW = int(START.timestamp())
GOOD = {
    "iss": "messagepipe",
    "aud": "messagepipe",
    "sub": "app",
    "iat": NOW,
    "exp": NOW + 3600,
    "projects": ["demo", "other"],
    "scope": "messages:send messages:read",
}


def b64(raw: bytes | str) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw.encode() if isinstance(raw, str) else raw).rstrip(b"=").decode()


def signed(header: object, payload: object, secret: SecretText = SECRET) -> str:
    """A token with a good HMAC over whatever header and payload, even broken ones."""
    parts = [b64(part if isinstance(part, str) else json.dumps(part)) for part in (header, payload)]
    mac = hmac.new(secret.reveal().encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, b64(mac)])


def token(**claims: object) -> str:
    """A good token but for these claims; None leaves one out."""
    merged = {key: value for key, value in {**GOOD, **claims}.items() if value is not None}
    return signed({"alg": "HS256", "typ": "JWT"}, merged)


@pytest.fixture
def clock() -> FakeClock:
    """Time that moves when told."""
    return FakeClock()


@pytest.fixture
def verifier(clock: FakeClock) -> TokenVerifier:
    """A verifier with a secret and no JWKS."""
    return TokenVerifier(AuthSettings(jwt_secret=SECRET), clock=clock)


async def reason_of(verifier: TokenVerifier, text: str) -> str:
    """Why the token is refused; fails when it is not."""
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(text)
    return caught.value.reason


async def test_a_good_token_is_a_principal(verifier):
    """Subject, projects, scopes and end come out of the token."""
    assert await verifier.verify(token()) == Principal(
        subject="app",
        projects=frozenset({"demo", "other"}),
        scopes=frozenset({"messages:send", "messages:read"}),
        expires_at=NOW + 3600,
    )


async def test_a_minted_token_verifies(verifier, clock):
    """What mint makes, the verifier takes, for every scope and for all projects."""
    made = mint(SECRET, subject="cli", projects="*", scopes=SCOPES, ttl_seconds=60, now=clock.now())
    principal = await verifier.verify(made)
    assert (principal.projects, principal.scopes, principal.expires_at) == (ALL, frozenset(SCOPES), NOW + 60)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scopes": ["messages:sned"]}, "unknown scope messages:sned"),
        ({"projects": ["a b"]}, "a project is 1 to 64"),
        ({"subject": ""}, "needs a subject"),
        ({"ttl_seconds": 0}, "lifetime above 0"),
    ],
)
def test_mint_refuses_nonsense(wrong, words):
    """A token nobody would accept is not made."""
    good = {"subject": "a", "projects": ["p"], "scopes": ["internal"], "ttl_seconds": 60.0, "now": START}
    with pytest.raises(ValueError, match=words):
        mint(SECRET, **{**good, **wrong})


async def test_no_token_is_missing(verifier):
    """No token at all has its own reason, so that clients can tell."""
    assert await reason_of(verifier, "") == "TOKEN_MISSING"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""])
async def test_s01_only_the_keys_own_algorithm_counts(verifier, alg):
    """S01: whatever algorithm the header names, a secret verifies HS256 and nothing else."""
    assert await reason_of(verifier, signed({"alg": alg, "typ": "JWT"}, GOOD)) == "TOKEN_INVALID"


@pytest.mark.parametrize("header", [{}, {"alg": ["HS256"]}, {"alg": None}, {"alg": {"HS256": 1}}, [], "HS256", 1])
async def test_s01_a_header_without_an_algorithm_word_is_refused(verifier, header):
    """S01: a missing algorithm, a list of them, or a header that is no object is refused."""
    assert await reason_of(verifier, signed(header, GOOD)) == "TOKEN_INVALID"


async def test_s01_asymmetric_tokens_need_a_jwks(verifier):
    """S01: a verifier with only a secret takes no ES256 token, with a kid or without."""
    key = ec.generate_private_key(ec.SECP256R1())
    for headers in ({}, {"kid": "k1"}):
        assert await reason_of(verifier, jwt.encode(GOOD, key, algorithm="ES256", headers=headers)) == "TOKEN_INVALID"


async def test_s01_unsigned_tokens_are_refused(verifier):
    """S01: no signature, an empty one, or another key's is refused."""
    head, body, _ = token().split(".")
    other = SecretText("x" * 32)
    for bad in (f"{head}.{body}.", f"{head}.{body}", signed({"alg": "HS256"}, GOOD, other)):
        assert await reason_of(verifier, bad) == "TOKEN_INVALID"


@pytest.mark.parametrize("claim", ["exp", "iat", "aud", "iss", "sub", "projects"])
async def test_s02_required_claims(verifier, claim):
    """S02: a token without one of the required claims is refused."""
    assert await reason_of(verifier, token(**{claim: None})) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["messagepipe", "other"]},
        {"iss": "other"},
        {"iss": "message"},
        {"iss": ["messagepipe"]},
        {"sub": ""},
        {"sub": 7},
        {"nbf": NOW + 61},
        {"iat": NOW + 61, "exp": NOW + 120},
        {"exp": str(NOW + 3600)},
        {"iat": str(NOW)},
        {"exp": True},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"exp": NOW + 24 * 3600 + 1},
        {"exp": NOW},
        {"projects": "demo"},
        {"projects": ["*"]},
        {"projects": [7]},
        {"projects": ["../demo"]},
        {"projects": ["demo\n"]},
        {"scope": ["messages:send"]},
    ],
    ids=str,
)
async def test_s02_wrong_claims(verifier, claims):
    """S02: wrong, early, overlong or wrongly typed claims are refused, all with the same answer."""
    assert await reason_of(verifier, token(**claims)) == "TOKEN_INVALID"


async def test_s02_the_leeway_is_60_seconds(verifier, clock):
    """S02: 59 s after its end a token still works, 61 s after it is expired; 60 s early it works already."""
    await verifier.verify(token(nbf=NOW + 60))
    text = token(exp=NOW + 10)
    clock.advance(69)
    await verifier.verify(text)
    clock.advance(2)
    assert await reason_of(verifier, text) == "TOKEN_EXPIRED"


async def test_the_lifetime_cap_is_a_setting(clock):
    """A longer cap lets longer tokens in."""
    settings = AuthSettings(jwt_secret=SECRET, jwt_max_lifetime=366 * 86400.0)
    await TokenVerifier(settings, clock=clock).verify(token(exp=NOW + 365 * 86400))


async def test_s04_unknown_critical_extensions(verifier):
    """S04: a header with `crit` is refused, whatever it names."""
    for crit in (["x"], [], ["exp"], "x"):
        assert await reason_of(verifier, signed({"alg": "HS256", "crit": crit, "x": 1}, GOOD)) == "TOKEN_INVALID"


async def test_s04_duplicate_names(verifier):
    """S04: a name that occurs twice in header or payload is refused, though the signature is good."""
    payload = json.dumps(GOOD)[:-1] + ', "sub": "admin"}'
    assert await reason_of(verifier, signed({"alg": "HS256"}, payload)) == "TOKEN_INVALID"
    assert await reason_of(verifier, signed('{"alg": "none", "alg": "HS256"}', GOOD)) == "TOKEN_INVALID"


async def test_s04_huge_tokens(verifier):
    """S04: a token of 1 MB is refused before anything is computed, and so is one just over 8 KiB."""
    assert await reason_of(verifier, "a" * 1_000_000) == "TOKEN_INVALID"
    assert await reason_of(verifier, token(x="y" * 7000)) == "TOKEN_INVALID"


async def test_s04_nested_tokens(verifier):
    """S04: a token inside a token is refused."""
    assert await reason_of(verifier, signed({"alg": "HS256", "cty": "JWT"}, token())) == "TOKEN_INVALID"
    assert await reason_of(verifier, signed({"alg": "HS256"}, token())) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t + ".x",
        lambda t: t + "=",
        lambda t: t + "\n",
        lambda t: t + "é",
        lambda t: " " + t,
        lambda t: t.replace(".", "..", 1),
        lambda t: t[:-1],
        lambda t: t + "AAAA",
        lambda t: "." + t,
        lambda t: "[" * 3000,
    ],
)
async def test_s04_trailing_data(verifier, spoil):
    """S04: anything before, between or after the three parts is refused."""
    assert await reason_of(verifier, spoil(token())) == "TOKEN_INVALID"


async def test_s04_deep_json(verifier):
    """S04: JSON too deep to read is a bad token, not a crash."""
    assert await reason_of(verifier, signed({"alg": "HS256"}, "[" * 5000)) == "TOKEN_INVALID"


async def test_a_refusal_says_no_more_than_needed(verifier):
    """Wrong issuer, wrong signature and rubbish get one and the same sentence."""
    words = set()
    for bad in (token(iss="x"), signed({"alg": "HS256"}, GOOD, SecretText("x" * 32)), "a.b.c"):
        with pytest.raises(Unauthenticated) as caught:
            await verifier.verify(bad)
        words.add((caught.value.message, tuple(caught.value.metadata)))
    assert words == {("The token is not valid.", ())}


async def test_a_remembered_token_ends_on_time(verifier, clock):
    """A token that was verified before is refused once its end and the leeway have passed."""
    text = token(exp=NOW + 10)
    first = await verifier.verify(text)
    assert await verifier.verify(text) is first
    clock.advance(70)
    assert await reason_of(verifier, text) == "TOKEN_EXPIRED"


async def test_the_memory_is_bounded(verifier):
    """However many tokens come, at most CACHED_TOKENS are remembered; the first is forgotten, not refused."""
    first = await verifier.verify(token(sub="first"))
    for n in range(CACHED_TOKENS):
        await verifier.verify(token(sub=f"s{n}"))
    assert len(verifier._cache) == CACHED_TOKENS
    again = await verifier.verify(token(sub="first"))
    assert again == first
    assert again is not first


def test_a_principal_knows_its_projects():
    """A principal may use the projects it names and no other; "*" is every project."""
    some = Principal(subject="a", projects=frozenset({"b", "a"}), scopes=frozenset(), expires_at=0)
    assert (some.may_use("a"), some.may_use("c"), some.project_filter()) == (True, False, ["a", "b"])
    every = Principal(subject="a", projects=ALL, scopes=frozenset(), expires_at=0)
    assert (every.may_use("c"), every.project_filter()) == (True, None)


def test_the_current_principal():
    """Inside as_principal the caller is known; outside there is none, which is TOKEN_MISSING."""
    principal = Principal(subject="a", projects=ALL, scopes=frozenset(), expires_at=0)
    with as_principal(principal):
        assert current_principal() is principal
    with pytest.raises(Unauthenticated) as caught:
        current_principal()
    assert caught.value.reason == "TOKEN_MISSING"


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 64])
def test_project_ids(name):
    """1 to 64 of A-Z a-z 0-9 _ - name a project."""
    assert PROJECT_ID.match(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "ä", "a/b", "*"])
def test_bad_project_ids(name):
    """Nothing else does, a trailing line break included."""
    assert not PROJECT_ID.match(name)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "MESSAGEPIPE_JWT_SECRET or MESSAGEPIPE_JWKS_URL is required"),
        ({"JWT_SECRET": "short"}, "MESSAGEPIPE_JWT_SECRET is too short: 32 bytes"),
        (
            {"JWKS_URL": "http://keys.example.org/jwks"},
            "MESSAGEPIPE_JWKS_URL is wrong: the JWKS URL must begin with https",
        ),
        (
            {"JWT_SECRET": "x" * 32, "JWT_LEEWAY": "-1", "JWT_MAX_LIFETIME": "0"},
            "MESSAGEPIPE_JWT_LEEWAY must be 0 or more seconds\nMESSAGEPIPE_JWT_MAX_LIFETIME must be more than 0",
        ),
    ],
)
def test_bad_settings_stop_the_start(environ, words):
    """No way to check tokens, a guessable secret or an open JWKS address is one clear line at the start."""
    with pytest.raises(SettingsError, match=words) as caught:
        load(AuthSettings, {f"MESSAGEPIPE_{name}": value for name, value in environ.items()})
    assert "short" not in str(caught.value).replace("too short", "")


def test_settings_hide_the_secret():
    """Settings can be printed and not pickled."""
    settings = AuthSettings(jwt_secret=SECRET)
    assert SECRET.reveal() not in repr(settings)
    with pytest.raises(TypeError):
        pickle.dumps(settings)


def test_lifetime_counts_from_now():
    """A minted token begins now and ends ttl_seconds later."""
    claims = jwt.decode(
        mint(SECRET, subject="a", projects=["p"], scopes=[], ttl_seconds=90, now=START + timedelta(seconds=5)),
        options={"verify_signature": False},
    )
    assert (claims["iat"], claims["exp"], claims["projects"], claims["scope"]) == (NOW + 5, NOW + 95, ["p"], "")
