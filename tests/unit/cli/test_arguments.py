"""The command line: its words and their help."""

import argparse

import pytest

from cli.arguments import build_parser

COMMANDS = set("up config dispatch gateway healthcheck migrate token send watch deadletters doctor".split())


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Every command by its word."""
    (choices,) = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(choices)


def test_every_command_explains_itself() -> None:
    """Each command has a description, and each of its flags a help text."""
    commands = commands_of(build_parser())

    assert set(commands) == COMMANDS
    for name, parser in commands.items():
        assert parser.description, name
        assert not [action.dest for action in parser._actions if not action.help], name


@pytest.mark.parametrize("name", ["up", "token", "send", "watch", "deadletters"])
def test_the_help_has_examples(name: str) -> None:
    """What people type most is shown by example."""
    assert "examples:" in commands_of(build_parser())[name].format_help()


@pytest.mark.parametrize(
    "line", ["", "upp", "up --dem", "send --project p --to a@b.c", "send --project p --email --sms --to a@b.c"]
)
def test_wrong_usage_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No command, an unknown one, an abbreviated flag, no channel or two: exit code 2 and a line that says so."""
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(line.split())

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_email_and_sms_are_short_for_the_channel() -> None:
    """--email is --channel email."""
    typed = [
        build_parser().parse_args(f"send --project p --to x {channel}".split()).channel
        for channel in ("--email", "--channel email", "--sms", "--channel sms")
    ]

    assert typed == ["email", "email", "sms", "sms"]
