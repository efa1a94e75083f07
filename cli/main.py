"""The entry of `messagepipe`: reads the command line, runs one command, answers its exit code. No command lives here.

Exit codes: 0 done · 1 it could not be done, said on stderr · 2 wrong usage · 130 Ctrl-C in a client command.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence

from cli.arguments import build_parser
from cli.datadir import data_dir
from cli.duration import parse_duration
from cli.problem import Problem
from cli.terminal import Terminal
from services.chassis.clock import SystemClock
from services.chassis.env import SecretText, SettingsError, process_environ

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv` (the process's own by default)."""
    environ = process_environ()
    terminal = Terminal.of_process(environ)
    arguments = build_parser().parse_args(argv)
    try:
        return run(arguments, environ, terminal)
    except Problem as problem:
        lines, code = problem.lines, problem.exit_code
    except SettingsError as error:
        lines, code = error.problems, 1
    except KeyboardInterrupt:
        return INTERRUPTED
    for line in lines:
        terminal.problem(line)
    return code


def run(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    """The command that was typed; raises Problem or SettingsError when it can not be done."""
    # Imported by command: `messagepipe token` is no place to wait for gRPC, a service none for what the others need.
    match arguments.command:
        case "up" | "token" | "send" | "watch" | "deadletters" as word:
            commands = {"up": _up, "token": _token, "send": _send, "watch": _watch, "deadletters": _dead_letters}
            return commands[word](arguments, environ, terminal)
        case "doctor":
            from cli.doctor import doctor

            data = data_dir(arguments.data_dir, environ)
            return asyncio.run(doctor(data, environ, terminal=terminal, clock=SystemClock(), as_json=arguments.as_json))
        case "healthcheck":
            from cli.healthcheck import healthcheck

            return asyncio.run(healthcheck(arguments.service, environ, terminal=terminal))
        case "migrate":
            return _migrate(environ, terminal)
        case service:
            from cli.serve import serve

            return serve(service, environ)


def _up(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.settings import with_flags
    from cli.up import UpOptions, up

    flags = {name: getattr(arguments, name) for name in ("host", "http_port", "config_port", "dispatch_port")}
    options = UpOptions(data=data_dir(arguments.data_dir, environ), demo=arguments.demo, verbose=arguments.verbose)
    return asyncio.run(up(options, with_flags(environ, flags), terminal=terminal, clock=SystemClock()))


def _token(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.token import mint_token, parse_scopes, signing_secret

    try:
        ttl = parse_duration(arguments.ttl)
    except ValueError as error:
        raise Problem(f"--ttl: {error}", exit_code=2) from None
    scopes = parse_scopes(arguments.scope)
    secret = signing_secret(data_dir(arguments.data_dir, environ), environ)
    terminal.say(
        mint_token(
            secret,
            project=arguments.project,
            ttl_seconds=ttl,
            environ=environ,
            clock=SystemClock(),
            scopes=scopes,
        )
    )
    return 0


def _send(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.client import make_caller
    from cli.send import SendOptions, send

    names = ("project", "channel", "to", "subject", "text", "html", "sender", "prefer", "as_json")
    options = SendOptions(**{name: getattr(arguments, name) for name in names})
    caller = make_caller(
        data=data_dir(arguments.data_dir, environ),
        project=arguments.project,
        token=arguments.token,
        target=arguments.target,
        environ=environ,
        clock=SystemClock(),
    )
    return asyncio.run(send(options, caller, terminal=terminal))


def _watch(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.client import make_caller
    from cli.watch import WatchOptions, watch

    if bool(arguments.message_id) == bool(arguments.project):
        raise Problem("name a MESSAGE_ID or a --project, one of the two", exit_code=2)
    options = WatchOptions(
        message_id=arguments.message_id,
        project=arguments.project,
        after=arguments.after,
        as_json=arguments.as_json,
    )
    caller = make_caller(
        data=data_dir(arguments.data_dir, environ),
        project=arguments.project or "*",  # a message's project is not known beforehand
        token=arguments.token,
        target=arguments.target,
        environ=environ,
        clock=SystemClock(),
    )
    return asyncio.run(watch(options, caller, terminal=terminal))


def _dead_letters(arguments: argparse.Namespace, environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.client import make_caller
    from cli.deadletters import Letters, replay, show_dead_letters

    if arguments.limit < 1 or not 0 < arguments.rate <= 1000:
        raise Problem("--limit must be 1 or more, --rate more than 0 and at most 1000", exit_code=2)
    letters = Letters(**{name: getattr(arguments, name) for name in ("project", "state", "reason", "limit", "as_json")})
    caller = make_caller(
        data=data_dir(arguments.data_dir, environ),
        project=arguments.project,
        token=arguments.token,
        target=arguments.target,
        environ=environ,
        clock=SystemClock(),
    )
    if arguments.action == "list":
        return asyncio.run(show_dead_letters(letters, caller, terminal=terminal))
    duplicates = arguments.accept_duplicates
    return asyncio.run(replay(letters, caller, rate=arguments.rate, accept_duplicates=duplicates, terminal=terminal))


def _migrate(environ: Mapping[str, str], terminal: Terminal) -> int:
    from cli.serve import checked_url, migrate_all

    url = environ.get("MESSAGEPIPE_DATABASE_URL")
    if not url:
        raise Problem("MESSAGEPIPE_DATABASE_URL is required; it names the database to migrate")
    asyncio.run(migrate_all(checked_url(SecretText(url)), patience=60.0))
    terminal.say("The database is at the newest schema.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
