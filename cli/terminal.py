"""Lines on a terminal: colours where somebody sees them, none elsewhere. Not the log: that is chassis/log.py."""

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

from services.chassis.log import neutralise


class Colour(StrEnum):
    """The few colours used, as ANSI codes (ECMA-48 §8.3.117)."""

    GOOD = "32"
    BAD = "31"
    DOUBTFUL = "33"
    QUIET = "2"
    STRONG = "1"


class Terminal:
    """Where a command speaks: answers on `out`, problems on `err`.

    Colours only when the stream is a terminal and NO_COLOR (no-color.org) is not set. Lines are flushed at once, so
    that a pipe sees them live. A reader that went away is no reason to stop serving: from then on nothing is printed.
    """

    def __init__(self, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> None:
        self._out = out
        self._err = err
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self._colours = {stream: not plain and stream.isatty() for stream in (out, err)}
        self._pending = False

    @classmethod
    def of_process(cls, environ: Mapping[str, str]) -> "Terminal":
        """The terminal of this process's own streams."""
        return cls(sys.stdout, sys.stderr, environ)

    @property
    def is_live(self) -> bool:
        """Whether a line may be replaced by a newer one: only somebody who looks at it would see that."""
        return self._out.isatty()

    def paint(self, text: str, colour: Colour | None) -> str:
        """`text` in `colour` where that can be seen."""
        return _painted(text, colour) if colour and self._colours[self._out] else text

    def say(self, text: str = "") -> None:
        """One line (or several) on stdout."""
        self._write(self._out, f"{self._cleared()}{text}\n")

    def pending(self, text: str) -> None:
        """A line that the next one replaces; nothing where lines can not be replaced."""
        if self.is_live:
            self._write(self._out, f"{self._cleared()}{text}")
            self._pending = True

    def problem(self, text: str) -> None:
        """One line on stderr, with the name of the command before it."""
        label = _painted("messagepipe:", Colour.BAD) if self._colours[self._err] else "messagepipe:"
        if self._pending:
            self.say()
        self._write(self._err, f"{label} {neutralise(text)}\n")

    def _cleared(self) -> str:
        # CR, then "erase in line" (ECMA-48 §8.3.41).
        pending, self._pending = self._pending, False
        return "\r\x1b[K" if pending else ""

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            _mute(stream)


def _painted(text: str, colour: Colour) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m"


def _mute(stream: TextIO) -> None:
    # The interpreter flushes once more at its end and would complain; what it flushes goes nowhere instead.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
