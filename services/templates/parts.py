"""A template of several parts, as a message has them: read, rendered and refused together.

Only `html` is escaped: a subject or an SMS that says `&amp;` would be wrong.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from services.templates.errors import MissingValues, TemplateError
from services.templates.parser import parse
from services.templates.renderer import LIMITS, Limits, render
from services.templates.tree import Template
from services.templates.variables import variables

ESCAPED = frozenset({"html"})

T = TypeVar("T")


def parse_parts(sources: Mapping[str, str]) -> dict[str, Template]:
    """Every part read; raises TemplateError with the problems of all of them, each with the name of its part."""
    return _each_part(sources, lambda _, source: parse(source))


def render_parts(
    parts: Mapping[str, Template], values: Mapping[str, Any], *, strict: bool = False, limits: Limits = LIMITS
) -> dict[str, str]:
    """Every part rendered; raises TemplateError with the problems of all of them, each with the name of its part.

    With `strict`, MissingValues names what is missing in any part once.
    """
    try:
        return _each_part(
            parts,
            lambda name, part: render(part, values, escape=name in ESCAPED, strict=strict, limits=limits),
        )
    except MissingValues as error:
        first = {each.message: each for each in reversed(error.problems)}
        raise MissingValues([each for each in error.problems if first[each.message] is each]) from None


def variables_of(parts: Mapping[str, Template]) -> tuple[str, ...]:
    """The paths that any part reads, each once."""
    return tuple(dict.fromkeys(name for part in parts.values() for name in variables(part)))


def _each_part(parts: Mapping[str, T], work: Callable[[str, T], Any]) -> dict[str, Any]:
    done: dict[str, Any] = {}
    failed: list[TemplateError] = []
    for name, part in parts.items():
        try:
            done[name] = work(name, part)
        except TemplateError as error:
            failed.append(error.in_part(name))
    # Beside a mistake, what is merely missing says nothing: the rendering never got that far.
    if wrong := [error for error in failed if not isinstance(error, MissingValues)] or failed:
        raise type(wrong[0])([each for error in wrong for each in error.problems])
    return done
