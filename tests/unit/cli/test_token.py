"""Tokens from the command line."""

from pathlib import Path

import pytest

from cli.datadir import DataDir
from cli.problem import Problem
from cli.token import DEFAULT_SCOPES, longest_ttl, mint_token, parse_scopes, signing_secret
from services.chassis.auth import AuthSettings, TokenVerifier
from services.chassis.env import SecretText
from tests.fakes.clock import FakeClock

SECRET = SecretText("a secret of the tests that is long enough")


async def test_the_services_take_it() -> None:
    """A token for one project allows that project and the usual scopes."""
    clock = FakeClock()
    token = mint_token(SECRET, project="shop", ttl_seconds=60, environ={}, clock=clock)
    principal = await TokenVerifier(AuthSettings(jwt_secret=SECRET), clock=clock).verify(token)

    assert (principal.projects, principal.scopes) == (frozenset({"shop"}), frozenset(DEFAULT_SCOPES))


async def test_a_star_is_every_project() -> None:
    """`--project '*'` is allowed."""
    clock = FakeClock()
    token = mint_token(SECRET, project="*", ttl_seconds=60, environ={}, clock=clock)

    assert (await TokenVerifier(AuthSettings(jwt_secret=SECRET), clock=clock).verify(token)).projects == "*"


def test_our_own_tokens_last_no_longer_than_tokens_may() -> None:
    """What `up` prints and `send` calls with is cut to MESSAGEPIPE_JWT_MAX_LIFETIME instead of being refused."""
    assert longest_ttl(3600, SECRET, {}) == 3600
    assert longest_ttl(3600, SECRET, {"MESSAGEPIPE_JWT_MAX_LIFETIME": "600"}) == 600


@pytest.mark.parametrize(("project", "seconds"), [("a b", 60), ("", 60), ("x" * 65, 60), ("shop", 86_401)])
def test_what_the_services_would_refuse_is_not_made(project: str, seconds: int) -> None:
    """A bad project and too long a life are problems here, not later."""
    with pytest.raises(Problem):
        mint_token(SECRET, project=project, ttl_seconds=seconds, environ={}, clock=FakeClock())


def test_a_longer_life_can_be_configured() -> None:
    """The limit is the services' own setting."""
    environ = {"MESSAGEPIPE_JWT_MAX_LIFETIME": "172800"}
    assert mint_token(SECRET, project="shop", ttl_seconds=86_401, environ=environ, clock=FakeClock())


def test_scopes_are_read_as_people_write_them() -> None:
    """Repeated, with commas or with spaces; none means the usual ones; unknown ones are named with those there are."""
    assert parse_scopes([]) == DEFAULT_SCOPES
    assert parse_scopes(["config:read,messages:send", "messages:read"]) == (
        "config:read",
        "messages:send",
        "messages:read",
    )
    with pytest.raises(Problem, match="unknown scope send; there are: config:read") as caught:
        parse_scopes(["send"])
    assert caught.value.exit_code == 2


def test_without_a_secret_nothing_is_signed(tmp_path: Path) -> None:
    """The environment's secret wins; without any the line says where one comes from."""
    data = DataDir(root=tmp_path)
    assert signing_secret(data, {"MESSAGEPIPE_JWT_SECRET": "given"}).reveal() == "given"
    with pytest.raises(Problem, match="messagepipe up"):
        signing_secret(data, {})
