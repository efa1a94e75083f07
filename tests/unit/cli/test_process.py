"""How long to wait before a process is started again, and how its end is told."""

import signal

import pytest

from cli.process import ended, next_delay


def test_the_wait_doubles_and_is_capped() -> None:
    """0.2 s, doubling to 5 s, for a process that dies at once."""
    delays = [next_delay(0.0, 0.1)]
    for _ in range(6):
        delays.append(next_delay(delays[-1], 0.1))

    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_healthy_life_forgets_earlier_deaths() -> None:
    """After 10 s of life the next death is the first one again."""
    assert next_delay(5.0, 10.0) == 0.2
    assert next_delay(1.6, 9.9) == 3.2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (1, "ended with exit code 1"),
        (-signal.SIGKILL, "was ended by SIGKILL"),
        (-63, "was ended by signal 63"),
    ],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    """Signals have names, codes have numbers."""
    assert ended(code) == words
