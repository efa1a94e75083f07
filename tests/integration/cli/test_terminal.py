"""A terminal whose reader went away."""

import os
import subprocess
import sys

CODE = """
from cli.terminal import Terminal
terminal = Terminal.of_process({})
for number in range(1000):
    terminal.say("x" * 1000)
print("still here", file=__import__("sys").stderr)
"""


def test_a_reader_that_goes_away_stops_nothing() -> None:
    """`messagepipe up | head -1` goes on serving: what can not be printed is dropped, without a traceback."""
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)
    _, said = process.communicate(timeout=30)

    assert (process.returncode, said) == (0, "still here\n")
