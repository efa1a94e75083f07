"""What JSON values count as, by Handlebars' rules, which are JavaScript's: their text, and whether they are empty."""

from decimal import Decimal
from typing import Any, Final

MAX_TEXT_DEPTH = 32

_ENTITIES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&#x27;",
        "`": "&#x60;",
        "=": "&#x3D;",
    }
)
_WHOLE_UP_TO = 10**21


class _Missing:
    """The values have nothing there; null is not that."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


class NotJson(Exception):
    """A value that JSON does not have, or one that goes too deep."""


def escaped(text: str) -> str:
    """The text with every character that means something to HTML as an entity."""
    return text.translate(_ENTITIES)


def is_empty(value: Any) -> bool:
    """Missing, null, false, "" and []; not 0, and not {}."""
    return value is MISSING or value is None or value is False or value == "" or (isinstance(value, list) and not value)


def is_falsy(value: Any) -> bool:
    """What `if` takes for false: what is empty, and 0."""
    return is_empty(value) or (is_number(value) and (value == 0 or value != value))  # noqa: PLR0124 - NaN


def is_number(value: Any) -> bool:
    """Whether it is a JSON number; Python would count true and false among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any, depth: int = 0) -> str:
    """The value as JavaScript's `"" + value` writes it; "" for what is missing or null. Raises NotJson."""
    if isinstance(value, str):
        return value
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(value)
    if isinstance(value, list):
        if depth >= MAX_TEXT_DEPTH:
            raise NotJson(f"holds lists within lists, more than {MAX_TEXT_DEPTH} deep")
        return ",".join(text_of(each, depth + 1) for each in value)
    if isinstance(value, dict):
        return "[object Object]"
    raise NotJson(f"is a {type(value).__name__}, which JSON does not have")


def size_of(value: Any, depth: int = 0) -> int:
    """About how many values `text_of` walks through, without walking through more than it would."""
    if not isinstance(value, list) or depth >= MAX_TEXT_DEPTH:
        return 1 + (len(value) // 64 if isinstance(value, str) else 0)
    return 1 + sum(size_of(each, depth + 1) for each in value)


def equal(one: Any, other: Any) -> bool:
    """JavaScript's `==` where it is what people expect: a number equals its text; lists and objects equal nothing."""
    one, other = (None if each is MISSING else each for each in (one, other))
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return False
    if is_number(one) and isinstance(other, str):
        return _number_text(one) == other
    if is_number(other) and isinstance(one, str):
        return _number_text(other) == one
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _number_text(value: float) -> str:
    if isinstance(value, int) and abs(value) < _WHOLE_UP_TO:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    if number != number:  # noqa: PLR0124 - NaN
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    if number.is_integer() and abs(number) < _WHOLE_UP_TO:
        return str(int(number))
    text = repr(number)
    if "e" not in text:
        return text
    if 1e-6 <= abs(number) < 1:
        return format(Decimal(text), "f")
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"
