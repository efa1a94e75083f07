"""Spans of time as people write and read them: `1h`, `90s`, `1h30m`. Not a calendar."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WHOLE = re.compile(r"(?:[0-9]+[smhd])+|[0-9]+")
_PART = re.compile(r"([0-9]+)([smhd]?)")


def parse_duration(text: str) -> int:
    """Seconds above 0 meant by `text`; a bare number is seconds. ValueError says how to write it."""
    parts = _PART.findall(text) if _WHOLE.fullmatch(text) else []
    seconds = sum(int(number) * _UNITS[unit or "s"] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{text!r} is no span of time; write it as 90s, 30m, 1h or 1h30m")
    return seconds


def show_duration(seconds: float) -> str:
    """`seconds` in the two figures people want: `12 ms`, `1.4 s`, `3 min`, `2 h`."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds / 3600:.1f}".removesuffix(".0") + " h"
