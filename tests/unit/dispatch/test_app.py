"""The pieces of app.py that need no server: the token for ConfigService, the pulse, the name."""

import asyncio
from datetime import datetime
from typing import Any

import jwt

from services.chassis.auth import AuthSettings
from services.chassis.contract import DISPATCH_SERVICES
from services.chassis.env import SecretText
from services.chassis.service_token import TOKEN_SECONDS
from services.dispatch.app import PULSE_SECONDS, keep_pulse, worker_name
from services.dispatch.database_clock import DatabaseClock
from services.dispatch.doors import token_of
from services.dispatch.errors import DatabaseUnavailable
from services.dispatch.settings import DispatchSettings
from tests.builders import NOON, seconds
from tests.fakes.clock import FakeClock

SECRET = SecretText("a secret of the tests that is long enough")


def some_settings(**values: Any) -> DispatchSettings:
    """Settings that are fine."""
    given = {"database_url": SecretText("postgresql://localhost/x"), "auth": AuthSettings(jwt_secret=SECRET)}
    return DispatchSettings(**{**given, **values})


async def settle() -> None:
    """Lets everything run that can run now."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_token_for_configservice_is_made_anew_before_it_ends() -> None:
    """One token is used for half of its time, then the next is made; it only has the internal scope."""
    clock = FakeClock()
    token = token_of(some_settings(), clock)
    first = token()
    clock.advance(TOKEN_SECONDS / 2)
    assert token() == first
    clock.advance(1)
    second = token()
    claims = jwt.decode(second, options={"verify_signature": False})

    assert second != first
    assert claims["scope"] == "internal"
    assert claims["exp"] - clock.now().timestamp() == TOKEN_SECONDS


def test_the_token_for_configservice_lasts_no_longer_than_tokens_may() -> None:
    """Where tokens may last ten minutes, the dispatcher's own does as well: ConfigService would refuse a longer one."""
    auth = AuthSettings(jwt_secret=SECRET, jwt_max_lifetime=600)
    claims = jwt.decode(token_of(some_settings(auth=auth), FakeClock())(), options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == 600


def test_a_token_that_was_given_is_used() -> None:
    """MESSAGEPIPE_INTERNAL_TOKEN goes to ConfigService as it is."""
    assert token_of(some_settings(internal_token=SecretText("given")), FakeClock())() == "given"


def test_worker_names_differ() -> None:
    """Two processes on one host have two names."""
    assert worker_name() != worker_name()
    assert worker_name().rsplit(":", 1)[0] == worker_name().rsplit(":", 1)[0]


async def test_the_pulse_says_whether_the_database_answers() -> None:
    """Health follows the database, told once per change, and its time is learned each time it answers."""

    class Store:
        away = False
        at = NOON

        async def now(self) -> datetime:
            if self.away:
                raise DatabaseUnavailable
            return self.at

    class Server:
        def __init__(self) -> None:
            self.said: list[tuple[str, bool]] = []

        async def set_serving(self, name: str, serving: bool) -> None:
            self.said.append((name, serving))

    clock, store, server = FakeClock(), Store(), Server()
    database_clock = DatabaseClock(clock)
    pulse: Any = keep_pulse  # it is typed for the real store and server
    task = asyncio.create_task(pulse(store, server, clock, database_clock))
    await settle()
    assert (database_clock.now(), server.said) == (NOON, [])
    store.away = True
    for _ in range(2):
        clock.advance(PULSE_SECONDS)
        await settle()
    names = ["", *(service.full_name for service in DISPATCH_SERVICES)]
    assert server.said == [(name, False) for name in names]
    store.away, store.at = False, NOON + seconds(60)
    clock.advance(PULSE_SECONDS)
    await settle()
    task.cancel()

    assert server.said[len(names) :] == [(name, True) for name in names]
    assert database_clock.now() == NOON + seconds(60)
