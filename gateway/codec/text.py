"""JSON text to Python values, strictly (RFC 8259): not a decoder of messages, that is reader.py.

Stricter than Python's own reader: UTF-8 only, no NaN or Infinity, at most 100 levels. A name that stands twice in an
object is kept as a mark on that object, because only the walk over the message knows the path to complain about.
"""

import json
from typing import Any, NoReturn

from services.chassis.errors import InvalidArgument

MAX_DEPTH = 100


class DuplicateNames(dict[str, Any]):
    """An object in which `names` stood more than once."""

    names: tuple[str, ...] = ()


def parse(data: bytes) -> Any:
    """The one JSON value in `data`; InvalidArgument (MALFORMED_JSON) says line, column and what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start} is not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise malformed(f"line {error.lineno} column {error.colno}: {_words(error.msg)}") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise malformed(str(error) if isinstance(error, _Refused) else "a number has too many digits") from None
    # Counting brackets is a hundred times quicker than walking, and few bodies have a hundred of them.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    return value


def malformed(what: str) -> InvalidArgument:
    """The refusal of a body that is not JSON."""
    return InvalidArgument(f"The body is not valid JSON: {what}.", reason="MALFORMED_JSON")


class _Refused(ValueError):
    """A constant of ours against Python's leniency; its text is ours too."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = DuplicateNames(found)
    names = [name for name, _ in pairs]
    marked.names = (
        tuple(dict.fromkeys(name for name in names if names.count(name) > 1)) if len(names) < 1000 else ("…",)
    )
    return marked


def _constant(word: str) -> NoReturn:
    raise _Refused(f"{word} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _words(message: str) -> str:
    # Python's words begin with a capital and are otherwise good enough for a person.
    return "there is more after the end of the value" if message == "Extra data" else message[:1].lower() + message[1:]


def _too_deep() -> InvalidArgument:
    return malformed(f"it is nested deeper than {MAX_DEPTH} levels")


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            break
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
