"""The helpers that make a value of values. The blocks are the renderer's own; a new helper is a line in HELPERS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.templates.dates import MAX_PATTERN_CHARS, moment_of, written
from services.templates.values import MISSING, is_number, text_of


class Refused(Exception):
    """A helper can not work with what it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """How many values it takes, what it makes of them, and which of them may be missing without `strict` naming it.

    `reads`: it reads them to the end, which is work to be counted.
    """

    takes: int
    make: Callable[..., Any]
    may_miss: tuple[int, ...] = ()
    reads: bool = True


def _capitalize(value: Any) -> str:
    text = text_of(value)
    return text[:1].upper() + text[1:]


def _default(value: Any, fallback: Any) -> Any:
    return fallback if value is MISSING or value is None or value == "" else value


def _format_date(value: Any, pattern: Any) -> str:
    form = text_of(pattern)
    if len(form) > MAX_PATTERN_CHARS:
        raise Refused(f"formatDate: the form has more than {MAX_PATTERN_CHARS} characters")
    if value is MISSING or value is None or value == "":
        return ""
    time = moment_of(value)
    if time is None:
        raise Refused("formatDate: the value is no date in ISO 8601 form and no number of milliseconds since 1970")
    return written(time, form)


def _lookup(value: Any, name: Any) -> Any:
    return member_of(value, text_of(name)) if isinstance(name, str) or is_number(name) else MISSING


HELPERS: Mapping[str, Helper] = {
    "uppercase": Helper(takes=1, make=lambda value: text_of(value).upper()),
    "lowercase": Helper(takes=1, make=lambda value: text_of(value).lower()),
    "capitalize": Helper(takes=1, make=_capitalize),
    "default": Helper(takes=2, make=_default, may_miss=(0,), reads=False),
    "formatDate": Helper(takes=2, make=_format_date),
    "lookup": Helper(takes=2, make=_lookup, reads=False),
}


def member_of(value: Any, name: str) -> Any:
    """What `value` holds under `name`: a member of an object, an item or the `length` of a list; else MISSING.

    Only JSON is looked into: no attribute, no method, nothing of Python.
    """
    if isinstance(value, dict):
        return value.get(name, MISSING)
    if isinstance(value, list):
        if name == "length":
            return len(value)
        # By its text: 007 is no index, and a number of a million digits is not even read.
        if len(name) < 10 and name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < len(value):
            return value[int(name)]
    return MISSING
