"""One service in this process, and the migrations of all. Not the services themselves: each has its own app.py."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from cli.problem import Problem
from services.chassis.database import DatabaseUnreachable, parse_dsn, wait_until_reachable
from services.chassis.env import SecretText, load
from services.chassis.failpoints import FailpointSettings, arm
from services.chassis.stopping import hard_stop

SERVICES = ("config", "dispatch", "gateway")
THREADS_SECONDS = 2.0
ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = {schema: ROOT / "services" / schema / "migrations" for schema in ("config", "dispatch")}

Main = Callable[[Mapping[str, str]], Coroutine[Any, Any, int]]


def serve(name: str, environ: Mapping[str, str]) -> int:
    """Run one service until SIGTERM or SIGINT; answers its exit code."""
    arm(load(FailpointSettings, environ))
    main = _main_of(name)
    _calm_the_collector()
    with hard_stop() as limit, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = runner.run(main(environ))
        # Closing the loop waits for its threads, and one may hang in a name that nobody resolves.
        limit.arm(THREADS_SECONDS)
        return code


async def migrate_all(database_url: SecretText, *, patience: float) -> None:
    """Both schemas are at their newest migration; Problem when the database does not answer for `patience` seconds."""
    try:
        await wait_until_reachable(database_url, timeout=patience)
    except DatabaseUnreachable as error:
        raise Problem(f"the database can not be reached: {error}") from None
    from services.chassis.migrations import migrate  # only who migrates pays for it: 14 MB of memory

    for schema, scripts in MIGRATIONS.items():
        await migrate(database_url, script_location=scripts, version_schema=schema)


def checked_url(database_url: SecretText) -> SecretText:
    """The address as it came; Problem when nobody could connect to such an address."""
    try:
        parse_dsn(database_url)
    except ValueError as error:
        raise Problem(f"MESSAGEPIPE_DATABASE_URL is wrong: {error}") from None
    return database_url


def _calm_the_collector() -> None:
    """What was imported stays for ever, so it need not be looked at again and again; and a message makes hundreds of
    objects that die by themselves, so the young ones are looked at by the ten thousand instead of by the 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _main_of(name: str) -> Main:
    # Imported here: each process loads its own service and nothing of the others.
    if name == "config":
        from services.config.app import main as config_main

        return config_main
    if name == "dispatch":
        from services.dispatch.app import main as dispatch_main

        return dispatch_main
    from gateway.app import main as gateway_main

    return gateway_main


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
