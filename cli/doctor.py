"""`messagepipe doctor`: what is wrong on this machine, and what to do about it. It looks; it repairs nothing."""

import json
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict

from cli.checkup import (
    CONFIG_SERVICE,
    DISPATCH_SERVICE,
    Finding,
    Level,
    check_clock,
    check_database,
    check_migrations,
    check_service,
    check_url,
)
from cli.datadir import DataDir
from cli.plan import ALL_SETTINGS
from cli.postgres import SOCKET_NAME, Cluster
from cli.problem import Problem
from cli.settings import UpSettings, connect_host, join
from cli.terminal import Colour, Terminal
from cli.token import mint_token, signing_secret
from services.chassis.auth import AuthSettings, TokenVerifier
from services.chassis.clock import Clock
from services.chassis.env import SecretText, SettingsError, check_names, load
from services.chassis.errors import ServiceError

OLDEST_PYTHON = (3, 11)

_COLOURS = {Level.OK: Colour.GOOD, Level.WARN: Colour.DOUBTFUL, Level.FAIL: Colour.BAD}


async def doctor(
    data: DataDir, environ: Mapping[str, str], *, terminal: Terminal, clock: Clock, as_json: bool = False
) -> int:
    """Say what was looked at and what was found; exit code 1 when something fails."""
    findings = [finding async for finding in examine(data, environ, clock=clock)]
    if as_json:
        terminal.say(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            level = terminal.paint(finding.level.ljust(4), _COLOURS[finding.level])
            terminal.say(f"{level}  {finding.name.ljust(width)}  {finding.detail}")
    return 1 if any(finding.level is Level.FAIL for finding in findings) else 0


async def examine(data: DataDir, environ: Mapping[str, str], *, clock: Clock) -> AsyncIterator[Finding]:
    """Everything that is looked at, in the order in which one stands on the other."""
    yield python_finding(tuple(sys.version_info[:3]))
    settings, finding = settings_finding(environ)
    yield finding
    yield data_dir_finding(data)
    yield await token_finding(data, environ, clock=clock)
    database = settings.database_url or embedded_database(data)
    if database is None:
        yield Finding("database", Level.WARN, f"none served in {data.root}; start `messagepipe up`")
    else:
        async for each in _database_findings(database, settings, clock=clock):
            yield each
    running = data.running()
    host = connect_host(settings.host)
    config = running.config if running else join(host, settings.config_port)
    dispatch = running.dispatch if running else join(host, settings.dispatch_port)
    gateway = running.http if running else join(host, settings.http_port)
    yield await check_service("config", config, CONFIG_SERVICE)
    yield await check_service("dispatch", dispatch, DISPATCH_SERVICE)
    yield await check_url("gateway", f"http://{gateway}/readyz")


def python_finding(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    text = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return Finding("python", Level.FAIL, f"{text} is too old; 3.11 or newer is needed")
    return Finding("python", Level.OK, text)


def settings_finding(environ: Mapping[str, str]) -> tuple[UpSettings, Finding]:
    """The settings, or the defaults in place of bad ones, so that the rest can be looked at."""
    try:
        check_names(environ, ALL_SETTINGS)
        settings = load(UpSettings, environ)
    except SettingsError as error:
        return UpSettings(), Finding("settings", Level.FAIL, "; ".join(error.problems))
    given = sum(name.startswith("MESSAGEPIPE_") for name in environ)
    return settings, Finding("settings", Level.OK, f"{given} set by the environment, defaults otherwise")


def data_dir_finding(data: DataDir) -> Finding:
    """Whether the data directory is there, and closed to others."""
    try:
        mode = stat.S_IMODE(data.root.stat().st_mode)
        loose = [
            path.name for path in (data.jwt_secret, data.vault_keys) if path.exists() and path.stat().st_mode & 0o077
        ]
    except FileNotFoundError:
        return Finding("data dir", Level.WARN, f"{data.root} does not exist; `messagepipe up` makes it")
    except PermissionError:
        return Finding("data dir", Level.FAIL, f"{data.root} belongs to another user; name yours with --data-dir")
    if loose:
        return Finding("data dir", Level.FAIL, f"others can read {', '.join(loose)} in {data.root}; chmod 600")
    running = data.running()
    state = f"in use by process {running.pid}" if running else "not in use"
    return Finding("data dir", Level.OK, f"{data.root} (mode {mode:o}), {state}")


async def token_finding(data: DataDir, environ: Mapping[str, str], *, clock: Clock) -> Finding:
    """Whether a token made here is one that the services take, in this environment."""
    try:
        secret = signing_secret(data, environ)
        token = mint_token(secret, project="doctor", ttl_seconds=60, environ=environ, clock=clock)
        settings = load(AuthSettings, {**environ, "MESSAGEPIPE_JWT_SECRET": secret.reveal()})
        await TokenVerifier(settings, clock=clock).verify(token)
    except Problem as problem:
        return Finding("tokens", Level.WARN, "; ".join(problem.lines))
    except SettingsError as error:
        return Finding("tokens", Level.FAIL, "; ".join(error.problems))
    except ServiceError as error:
        return Finding("tokens", Level.FAIL, f"a fresh token is refused: {error.message}")
    return Finding("tokens", Level.OK, "made and checked with the secret of this machine")


def embedded_database(data: DataDir) -> SecretText | None:
    """The address of the database in the data directory; None while nobody serves it."""
    try:
        served = (data.postgres / SOCKET_NAME).exists()
    except PermissionError:
        served = False
    return SecretText(Cluster(folder=data.postgres, user=None).dsn) if served else None


async def _database_findings(database: SecretText, settings: UpSettings, *, clock: Clock) -> AsyncIterator[Finding]:
    reachable = await check_database(database, allow_unsafe=settings.allow_unsafe_durability)
    yield reachable
    if reachable.level is Level.FAIL:
        return
    yield await check_migrations(database)
    yield await check_clock(database, clock)
