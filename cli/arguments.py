"""The command line of `messagepipe`: its words, their help and their defaults. It runs nothing; main.py does."""

import argparse
from importlib.metadata import PackageNotFoundError, version

PROGRAM = "messagepipe"

_UP = """\
examples:
  messagepipe up --demo                    see a message fail over, then keep serving
  messagepipe up --data-dir ./data         keep everything in ./data
  MESSAGEPIPE_DATABASE_URL=postgresql://app:secret@db:5432/messagepipe messagepipe up
"""
_MINT = r"""
examples:
  messagepipe token --project shop
  curl -H "authorization: Bearer $(messagepipe token --project shop)" \
    'http://127.0.0.1:8080/email-config/providers?projectId=shop'
  messagepipe token --project '*' --scope config:read,messages:read --ttl 10m
"""
_SEND = """\
examples:
  messagepipe send --project shop --email --to ada@example.com --subject Hello --text 'Hello Ada'
  messagepipe send --project shop --sms --to +14155550100 --text 'Hello Ada' --prefer twilio
exit code: 0 a provider took it · 1 none did, or nobody knows · 2 wrong usage
"""
_WATCH = """\
examples:
  messagepipe watch 01930000-0000-7000-8000-000000000000     one message, from its first event to its last
  messagepipe watch --project shop --json                    a whole project, from now on, one JSON object a line
"""
_DEAD_LETTERS = """\
examples:
  messagepipe deadletters list --project shop                          what FAILED, the newest first
  messagepipe deadletters list --project shop --reason QUARANTINED     what no dispatcher survived
  messagepipe deadletters replay --project shop --rate 10              dispatch them anew, ten a second
  messagepipe deadletters replay --project shop --state unknown --accept-duplicates
exit code: 0 done · 1 some were refused · 2 wrong usage
"""
_SERVE = "Settings come from MESSAGEPIPE_*; the README lists them. SIGTERM and Ctrl-C drain, then stop."


def build_parser() -> argparse.ArgumentParser:
    """Everything that can be typed after `messagepipe`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Email and SMS through your own provider accounts, in priority order, with failover you can watch.",
        epilog="`messagepipe up --demo` shows a message fail over. Each command has its own --help.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", title="commands")
    _add_up(commands)
    _add_services(commands)
    _add_token(commands)
    _add_send(commands)
    _add_watch(commands)
    _add_dead_letters(commands)
    _add_doctor(commands)
    return parser


def installed_version() -> str:
    """The version of the installed package."""
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "(not installed)"


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str, epilog: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_up(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "up", "start PostgreSQL and the three services here, until Ctrl-C", _UP)
    parser.add_argument("--demo", action="store_true", help="send an email and an SMS whose first provider fails")
    _add_data_dir(parser)
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--http-port", type=int, metavar="PORT", help="the gateway's port (default 8080; 0: any)")
    parser.add_argument("--config-port", type=int, metavar="PORT", help="ConfigService's port (default 50051; 0: any)")
    parser.add_argument("--dispatch-port", type=int, metavar="PORT", help="DispatchService's (default 50052; 0: any)")
    parser.add_argument("--verbose", action="store_true", help="write the services' logs here, not into files")


def _add_services(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _command(commands, "config", "run ConfigService alone", _SERVE)
    _command(commands, "dispatch", "run DispatchService alone", _SERVE)
    _command(commands, "gateway", "run the HTTP gateway alone", _SERVE)
    parser = _command(commands, "healthcheck", "exit with 0 when a service of this machine serves (for containers)")
    parser.add_argument("service", choices=("config", "dispatch", "gateway"), help="which one")
    _command(commands, "migrate", "bring the database of MESSAGEPIPE_DATABASE_URL to the newest schema")


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "token", "print a signed token and nothing else", _MINT)
    parser.add_argument("--project", required=True, help="the project it is for; '*' for every one")
    parser.add_argument("--scope", action="append", default=[], help="what it allows; repeat it or use commas")
    parser.add_argument("--ttl", default="1h", help="how long it lasts (default 1h; at most 24h unless configured)")
    _add_data_dir(parser)


def _add_send(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "send", "send one message and show every attempt", _SEND)
    parser.add_argument("--project", required=True, help="the project it is sent for")
    channel = parser.add_mutually_exclusive_group(required=True)
    channel.add_argument("--channel", choices=("email", "sms"), help="what it travels over")
    channel.add_argument("--email", dest="channel", action="store_const", const="email", help="same as --channel email")
    channel.add_argument("--sms", dest="channel", action="store_const", const="sms", help="same as --channel sms")
    parser.add_argument("--to", required=True, help="the recipient: a mailbox, or a number such as +14155550100")
    parser.add_argument("--subject", default="", help="email only")
    parser.add_argument("--text", default="", help="the plain text")
    parser.add_argument("--html", default="", help="email only")
    parser.add_argument("--from", dest="sender", default="", help="the sender (default: the project's)")
    parser.add_argument("--prefer", default="", metavar="PROVIDER", help="the provider to try first, by kind or id")
    _add_call(parser)


def _add_watch(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "watch", "show the events of a message or a project as they happen", _WATCH)
    parser.add_argument("message_id", nargs="?", metavar="MESSAGE_ID", help="the message; or name a --project")
    parser.add_argument("--project", help="watch all messages of this project, from now on")
    parser.add_argument("--after", type=int, default=0, metavar="N", help="only events after this sequence number")
    _add_call(parser)


def _add_dead_letters(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "list or dispatch anew the messages that nobody took"
    parser = _command(commands, "deadletters", text, _DEAD_LETTERS)
    parser.add_argument("action", choices=("list", "replay"), help="show them, or dispatch them anew")
    parser.add_argument("--project", required=True, help="whose they are")
    parser.add_argument("--state", choices=("failed", "unknown"), default="failed", help="default: failed")
    parser.add_argument("--reason", default="", help="only those that ended for this reason, such as QUARANTINED")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="how many at most (default 100)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="N", help="replay: how many a second (default 10)")
    parser.add_argument("--accept-duplicates", action="store_true", help="replay: they may arrive twice")
    _add_call(parser)


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(commands, "doctor", "say what is wrong on this machine")
    parser.add_argument("--json", action="store_true", dest="as_json", help="as JSON")
    _add_data_dir(parser)


def _add_call(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="HOST:PORT", help="DispatchService (default: the running `up`)")
    parser.add_argument("--token", help="default: MESSAGEPIPE_TOKEN, else one made with the data directory's secret")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per event and line")
    _add_data_dir(parser)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", metavar="DIR", help="default: messagepipe in $XDG_DATA_HOME or ~/.local/share")
