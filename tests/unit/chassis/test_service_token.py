"""The token by which one process proves itself to another."""

import jwt

from services.chassis.auth import AuthSettings
from services.chassis.env import SecretText
from services.chassis.service_token import TOKEN_SECONDS, service_token
from tests.fakes.clock import FakeClock

SECRET = SecretText("a secret of the tests that is long enough")


def test_it_is_made_for_one_subject_and_anew_before_it_ends() -> None:
    """One token is used for half of its time; it has the internal scope alone and never outlives what is allowed."""
    clock = FakeClock()
    auth = AuthSettings(jwt_secret=SECRET, jwt_max_lifetime=600)
    token = service_token(None, auth, clock, subject="gateway")
    assert token is not None
    first = token()
    clock.advance(299)
    assert token() == first
    clock.advance(2)
    claims = jwt.decode(token(), options={"verify_signature": False})

    assert (claims["sub"], claims["scope"], claims["exp"] - claims["iat"]) == ("gateway", "internal", 600)
    assert TOKEN_SECONDS > 600


def test_one_that_was_given_is_used() -> None:
    """A given token goes first; with neither there is none."""
    given = service_token(SecretText("given"), AuthSettings(jwt_secret=SECRET), FakeClock(), subject="x")

    assert given is not None
    assert given() == "given"
    assert service_token(None, AuthSettings(jwks_url="https://keys.example.com/jwks"), FakeClock(), subject="x") is None
