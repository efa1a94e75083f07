"""Lines on a terminal, and on what is none."""

import io

import pytest

from cli.terminal import Colour, Terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours() -> None:
    """Where somebody looks, text is painted."""
    assert Terminal(Screen(), Screen(), {}).paint("SENT", Colour.GOOD) == "\x1b[32mSENT\x1b[0m"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_is_respected(environ: dict[str, str]) -> None:
    """NO_COLOR and a dumb terminal get plain text."""
    assert Terminal(Screen(), Screen(), environ).paint("SENT", Colour.GOOD) == "SENT"


def test_a_pipe_gets_plain_lines() -> None:
    """What is read by a program holds no escape codes and no line that is replaced later."""
    out = io.StringIO()
    terminal = Terminal(out, io.StringIO(), {})
    terminal.pending("  1  Primary  …")
    terminal.say(terminal.paint("  1  Primary  deferred", Colour.DOUBTFUL))

    assert out.getvalue() == "  1  Primary  deferred\n"


def test_a_pending_line_is_replaced() -> None:
    """On a terminal the open attempt stands there until its outcome takes its place."""
    out = Screen()
    terminal = Terminal(out, Screen(), {})
    terminal.pending("  1  Primary  …")
    terminal.say("  1  Primary  deferred")

    assert out.getvalue() == "  1  Primary  …\r\x1b[K  1  Primary  deferred\n"


def test_problems_go_to_stderr_with_the_name_of_the_command() -> None:
    """A problem is told from an answer, and can not bring control codes along."""
    out, err = io.StringIO(), io.StringIO()
    Terminal(out, err, {}).problem("port 8080\x1b[2J is taken")

    assert out.getvalue() == ""
    assert err.getvalue() == "messagepipe: port 8080\\x1b[2J is taken\n"
